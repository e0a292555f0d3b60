-- Which transaction had written the session's row before the latest send of a message: with it a worker that keeps the session's lease
-- proves that nobody else has written it since (message_send). Each writer leaves its own in xmin by itself.
ALTER TABLE session ADD COLUMN prior xid;
