-- Each worker tells with its beat where it runs, whether it takes sessions, and how busy it is, so that work is packed onto the first ones of
-- each machine (workers/harness/peers.h). open is false for the previous release's workers, which do not tell; they come where nobody does.
ALTER TABLE worker
  ADD COLUMN host   text NOT NULL DEFAULT '',         -- the machine
  ADD COLUMN open   boolean NOT NULL DEFAULT false,   -- it takes sessions: neither drains, nor is it full, nor alone with a suspect
  ADD COLUMN load   int NOT NULL DEFAULT 0,           -- percent of what it can do
  ADD COLUMN spread int NOT NULL DEFAULT 1;           -- how many workers of its machine it thinks should be at work
