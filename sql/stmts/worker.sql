-- The worker's own questions; its hand-overs with the gateway are in session.sql.

-- Does this session have calls that wait, or whose answer has not become a result yet?
-- in: session     rows: 1
-- stmt: calls_waiting  for: worker
SELECT count(*) FROM action WHERE session_id = $1 AND state <> 'closed'

-- Where an event stands, and its stamp.
-- in: session, event id     rows: 0..1
-- stmt: event_written  for: worker
SELECT seq, us(processed_at) FROM event WHERE session_id = $1 AND id = $2

-- As session_claim (the same columns), for one session that has killed its worker twice: by a worker that holds nothing else.
-- in: worker     rows: 0..1
-- stmt: suspect_claim  for: worker
UPDATE session s SET lease_owner = $1, lease_epoch = s.lease_epoch + 1
 WHERE s.id = ANY (ARRAY(SELECT d.id FROM session d WHERE d.due_at <= clock_timestamp() AND d.lease_owner IS NULL AND d.attempts >= 2
                          ORDER BY d.due_at LIMIT 1 FOR UPDATE SKIP LOCKED))
RETURNING s.id, s.lease_epoch, s.organization_id, s.workspace_id, s.thread_id, s.status, s.last_seq, us(s.last_at), s.wake_gen,
          s.attempts, s.agent, s.environment_id, us(s.running_since), s.active_us, s.input_tokens, s.output_tokens, s.cache_read_tokens,
          s.cache_5m_tokens, s.cache_1h_tokens, s.title, us(s.created_at)

-- Has a suspect waited for over five seconds for a worker that holds nothing?
-- stmt: suspect_waits  for: worker
SELECT EXISTS (SELECT FROM suspect x JOIN session s ON s.id = x.session_id
                WHERE s.lease_owner IS NULL AND s.attempts >= 2 AND s.due_at < clock_timestamp() - interval '5 seconds')

-- Count a crash, or end a session that has enough of them.
-- in: the dead worker, session, epoch of the claim, attempts that end it, count one, reason     rows: 0..1: attempts, epoch if it ended
-- stmt: worker_blame  for: worker
SELECT attempts, ended_epoch FROM worker_blame($1, $2, $3::bigint, $4::int, $5::boolean, $6)
