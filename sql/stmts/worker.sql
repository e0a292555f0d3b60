-- The worker's own questions; its hand-overs with the gateway are in session.sql.

-- Does this session have calls that wait, or whose answer has not become a result yet?
-- in: session     rows: 1
-- stmt: calls_waiting  for: worker
SELECT count(*) FROM action WHERE session_id = $1 AND state <> 'closed'
