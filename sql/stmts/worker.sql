-- The worker's own questions; its hand-overs with the gateway are in session.sql.

-- Who lives, oldest first (ids rise with time), and what it said of itself; whose beat is older than $1 ms takes nothing now.
-- stmt: worker_peers  for: worker
SELECT id, host, open AND beat_at > clock_timestamp() - make_interval(secs => $1::int / 1000.0), hands, load, spread
  FROM worker WHERE lease_until > clock_timestamp() ORDER BY id

-- stmt: worker_leave  for: worker
SELECT worker_leave($1)

-- Where an event stands, and its stamp.
-- in: session, event id     rows: 0..1
-- stmt: event_written  for: worker
SELECT seq, us(processed_at) FROM event WHERE session_id = $1 AND id = $2

-- Are there suspects; has one waited for over five seconds for a worker that holds nothing?
-- stmt: suspect_waits  for: worker
SELECT EXISTS (SELECT FROM suspect),
       EXISTS (SELECT FROM suspect x JOIN session s ON s.id = x.session_id
                 JOIN work k ON k.workspace_id = s.workspace_id AND k.session_id = s.id
                WHERE k.lease_owner IS NULL AND k.attempts >= 2 AND k.due_at < clock_timestamp() - interval '5 seconds')

-- Count a crash, or end a session that has enough of them.
-- in: the dead worker, session, epoch of the claim, attempts that end it, count one, reason     rows: attempts; if it ended its epoch, its id and an event each
-- stmt: worker_blame  for: worker
SELECT attempts, ended_epoch, $2, seq, type, body FROM worker_blame($1, $2, $3::bigint, $4::int, $5::boolean, $6)
