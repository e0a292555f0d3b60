-- What the stream hub reads. It writes nothing; its role may SELECT only.

-- stmt: stream_session  for: stream
-- in: workspace, session     rows: 0..1     The start of a subscription; read after it was registered. And the database's timeline.
SELECT last_seq, thread_id, (SELECT coalesce(max(r.timeline), 0) FROM restore r)
  FROM session
 WHERE workspace_id = $1::text AND id = $2::text;

-- stmt: stream_events  for: stream
-- in: session, after seq     rows: in order, as many as make about 1 MB (at least one)     What subscribers have missed. The workspace
-- was checked when they subscribed.
SELECT seq, type, body
  FROM (SELECT seq, type, body, sum(octet_length(body)) OVER (ORDER BY seq) - octet_length(body) AS before
          FROM (SELECT seq, type, body
                  FROM event
                 WHERE session_id = $1::text AND seq > $2::bigint
                 ORDER BY seq
                 LIMIT 100) AS page) AS sized
 WHERE before < 1048576
 ORDER BY seq;

-- stmt: stream_replay  for: stream
-- in: session, after seq     rows: in order, as many as make about 128 kB (at least one)     The next piece for one who resumes.
SELECT seq, type, body
  FROM (SELECT seq, type, body, sum(octet_length(body)) OVER (ORDER BY seq) - octet_length(body) AS before
          FROM (SELECT seq, type, body
                  FROM event
                 WHERE session_id = $1::text AND seq > $2::bigint
                 ORDER BY seq
                 LIMIT 500) AS page) AS sized
 WHERE before < 131072
 ORDER BY seq;

-- stmt: stream_event_seq  for: stream
-- in: session, event     rows: 0..1     Where an event stands.
SELECT seq
  FROM event
 WHERE session_id = $1::text AND id = $2::text;

-- stmt: stream_fork  for: stream
-- in: session, timeline     The last number that this earlier timeline has in common with what the log is now.
SELECT coalesce((SELECT p.seq FROM restore_point p WHERE p.session_id = $1::text AND p.timeline = r.timeline),
                (SELECT e.seq FROM event e WHERE e.session_id = $1::text AND e.processed_at < r.at ORDER BY e.seq DESC LIMIT 1), 0)
  FROM restore r WHERE r.timeline > $2::int ORDER BY r.timeline LIMIT 1;

-- stmt: stream_moved  for: stream
-- in: sessions, the lowest seq a subscriber of each has     rows: those that moved on, and with NULL those that are gone
SELECT w.id, s.last_seq
  FROM unnest($1::text[], $2::bigint[]) AS w(id, seen)
  LEFT JOIN session s ON s.id = w.id
 WHERE s.id IS NULL OR s.last_seq > w.seen;

-- stmt: stream_keys_refused  for: stream
-- in: ids of keys that opened streams     rows: those that would not be let in now (the same rules as tenant_key_get)
SELECT w.id
  FROM unnest($1::text[]) AS w(id)
  LEFT JOIN api_key k ON k.id = w.id
  LEFT JOIN workspace ws ON ws.id = k.workspace_id
 WHERE k.id IS NULL OR k.revoked_at IS NOT NULL OR k.expires_at <= clock_timestamp() OR ws.archived_at IS NOT NULL;
