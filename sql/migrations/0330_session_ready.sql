-- What a worker that keeps an idle session's lease has prepared for its next turn (message_send): the stems of the events with which it
-- opens, then the lease's epoch. It counts as long as nobody has written the row since: `prior` is the row's own transaction then.
ALTER TABLE session ADD COLUMN ready text[];
ALTER TABLE session ALTER COLUMN ready SET STORAGE MAIN;
