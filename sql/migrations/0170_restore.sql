-- A database that was restored to a point in time, or an asynchronous standby that took over, has lost the end of some logs: their numbers
-- come again with other events. Each such restore begins a timeline; without a row it is 0.
CREATE TABLE restore (
  timeline  int PRIMARY KEY,
  at        timestamptz NOT NULL                      -- what is stamped before it, and not below, is older than the restore
);
-- Sessions that were at work then: their logs go on, at the restore itself, behind this number.
CREATE TABLE restore_point (
  session_id  text NOT NULL,
  timeline    int NOT NULL REFERENCES restore ON DELETE CASCADE,
  seq         bigint NOT NULL,
  PRIMARY KEY (session_id, timeline)
);
GRANT SELECT ON restore, restore_point TO roost_gw, roost_stream;
