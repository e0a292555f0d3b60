-- The worker's own questions; its hand-overs with the gateway are in session.sql.

-- Does this session have calls that wait, or whose answer has not become a result yet?
-- in: session     rows: 1
-- stmt: calls_waiting  for: worker
SELECT count(*) FROM action WHERE session_id = $1 AND state <> 'closed'

-- Where an event stands, and its stamp.
-- in: session, event id     rows: 0..1
-- stmt: event_written  for: worker
SELECT seq, us(processed_at) FROM event WHERE session_id = $1 AND id = $2
