-- Threads of sessions. The primary thread's row is the session itself; child threads will have rows of their own, with the same columns:
--   id, parent, agent, status, created, updated, archived, active_us (an open interval counts up to now), duration_us, input, output,
--   cache read, cache 5m, cache 1h, moved (its status has changed at least once), workflow run, spent (wire_spent)

-- Newest first, cut as other lists (gateway.sql). A thread id picks one.
-- in: workspace, session, thread id or NULL, statuses or NULL, cursor id or NULL, limit, bytes
-- stmt: thread_list  for: gw
SELECT id, parent, agent, status, created, updated, archived, active_us, duration_us, input, output, cache_read, cache_5m, cache_1h, moved,
       workflow_run, spent, found FROM (
  SELECT q.*, sum(octet_length(q.agent)) OVER w AS bytes, row_number() OVER w AS n, count(*) OVER () AS found FROM (
    SELECT * FROM (
      SELECT s.thread_id AS id, NULL::text AS parent, s.agent, wire_status(s.status, s.inbox_wakes, s.at_work) AS status,
             wire_stamp(s.created_at) AS created, wire_stamp(s.updated_at) AS updated, wire_stamp(s.archived_at) AS archived,
             s.active_us + coalesce(greatest(0, us(clock_timestamp()) - us(s.running_since)), 0) AS active_us,
             us(coalesce(s.terminated_at, clock_timestamp())) - us(s.created_at) AS duration_us,
             wire_total(s.status, s.told, 1, s.input_tokens) AS input, wire_total(s.status, s.told, 2, s.output_tokens) AS output,
             wire_total(s.status, s.told, 3, s.cache_read_tokens) AS cache_read, wire_total(s.status, s.told, 4, s.cache_5m_tokens) AS cache_5m,
             wire_total(s.status, s.told, 5, s.cache_1h_tokens) AS cache_1h,
             s.active_us > 0 OR s.running_since IS NOT NULL OR s.terminated_at IS NOT NULL AS moved, NULL::text AS workflow_run,
             wire_spent(s.status, s.told, s.token_nano, s.active_us, s.unpriced) AS spent
        FROM session s WHERE s.workspace_id = $1::text AND s.id = $2::text) t
     WHERE ($3::text IS NULL OR t.id = $3::text) AND ($4::text[] IS NULL OR t.status = ANY ($4::text[]))
       AND ($5::text IS NULL OR t.id < $5::text)
     ORDER BY t.id DESC LIMIT $6::int + 1) q
  WINDOW w AS (ORDER BY q.id DESC)) p
 WHERE n = 1 OR (n <= $6::int AND bytes <= $7::bigint) ORDER BY id DESC;

-- Is it a thread of this session? No row: there is no such session.
-- in: workspace, session, thread id
-- stmt: thread_exists  for: gw
SELECT thread_id = $3::text FROM session WHERE workspace_id = $1::text AND id = $2::text;
