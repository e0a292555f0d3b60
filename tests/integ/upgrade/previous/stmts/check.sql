-- roostctl check: read-only questions that an operator, and the chaos tests, ask about invariants. Each answers with one row per offender:
-- session, sentence, and (those asked twice) what must still be the same two seconds later. $1: a session's id, or NULL for all.

-- stmt: check_snapshot  for: admin
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY

-- stmt: check_patience  for: admin
-- Of the transaction only: a check of a large database takes minutes
SELECT set_config('statement_timeout', $1::text, true)

-- stmt: check_sessions  for: admin
-- in: session or NULL, last id seen, limit
SELECT id, status, last_seq, us(last_at), us(created_at), coalesce(us(running_since), 0), active_us, input_tokens, output_tokens,
       cache_read_tokens, cache_5m_tokens, cache_1h_tokens
  FROM session WHERE ($1::text IS NULL OR id = $1::text) AND id > $2::text ORDER BY id LIMIT $3::int

-- stmt: check_events  for: admin
-- in: session, last seq seen, limit
SELECT seq, id, type, us(processed_at), body, coalesce(private, fragment) IS NOT NULL
  FROM event WHERE session_id = $1::text AND seq > $2::bigint ORDER BY seq LIMIT $3::int

-- stmt: check_meters  for: admin
SELECT seq, meter, quantity, cum_before, us(period_start), us(period_end), purpose IS NOT NULL, list_nano
  FROM meter_event WHERE session_id = $1::text AND meter <> 'session.runtime' ORDER BY seq, meter, part

-- stmt: check_slices  for: admin
SELECT seq, quantity, cum_before, us(period_start), us(period_end)
  FROM meter_event WHERE session_id = $1::text AND meter = 'session.runtime' ORDER BY seq, part

-- stmt: check_actions  for: admin
SELECT tool_use_id FROM action WHERE session_id = $1::text AND state <> 'closed'

-- stmt: check_inbox_ids  for: admin
SELECT id FROM inbox WHERE session_id = $1::text

-- stmt: check_orphan_events  for: admin
SELECT e.session_id, count(*) || ' events of a session that is not there'
  FROM event e WHERE ($1::text IS NULL OR e.session_id = $1::text) AND NOT EXISTS (SELECT FROM session s WHERE s.id = e.session_id)
 GROUP BY e.session_id LIMIT 1000

-- stmt: check_event_ids  for: admin
-- Unique within a session by the table's key; here across sessions
SELECT min(e.session_id), 'event ' || e.id || ' also stands in ' || max(e.session_id)
  FROM event e WHERE $1::text IS NULL OR e.id IN (SELECT id FROM event WHERE session_id = $1::text)
 GROUP BY e.id HAVING count(*) > 1 LIMIT 1000

-- stmt: check_inbox_counts  for: admin
SELECT s.id, format('row says %s waiting, %s bytes, %s waking; the inbox holds %s, %s, %s', s.inbox_events, s.inbox_bytes, s.inbox_wakes,
       i.n, i.bytes, i.wakes)
  FROM session s, LATERAL (SELECT count(*) AS n, coalesce(sum(octet_length(stem)), 0) AS bytes, count(*) FILTER (WHERE wakes) AS wakes,
       coalesce(max(inbox_seq), 0) AS top FROM inbox WHERE session_id = s.id) i
 WHERE ($1::text IS NULL OR s.id = $1::text) AND (s.inbox_events, s.inbox_bytes, s.inbox_wakes) <> (i.n, i.bytes, i.wakes)
    OR ($1::text IS NULL OR s.id = $1::text) AND i.top > s.inbox_seq
 LIMIT 1000

-- stmt: check_inbox_logged  for: admin
SELECT i.session_id, 'event ' || i.id || ' waits in the inbox and stands in the log'
  FROM inbox i JOIN event e ON e.session_id = i.session_id AND e.id = i.id WHERE $1::text IS NULL OR i.session_id = $1::text LIMIT 1000

-- stmt: check_meter_chain  for: admin
-- Also of deleted sessions: their rows outlive them
SELECT m.session_id, format('%s at seq %s begins at %s, the rows before it add up to %s', m.meter, m.seq, m.cum_before, m.before)
  FROM (SELECT session_id, meter, seq, cum_before,
               coalesce(sum(quantity) OVER (PARTITION BY session_id, meter ORDER BY seq, part
                                            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
          FROM meter_event WHERE $1::text IS NULL OR session_id = $1::text) m
 WHERE m.cum_before <> m.before LIMIT 1000

-- stmt: check_meter_overlap  for: admin
SELECT m.session_id, format('runtime at seq %s covers %s to %s, the one before ends at %s', m.seq, m.period_start, m.period_end, m.before)
  FROM (SELECT session_id, seq, period_start, period_end, quantity,
               lag(period_end) OVER (PARTITION BY session_id ORDER BY seq, part) AS before
          FROM meter_event WHERE meter = 'session.runtime' AND ($1::text IS NULL OR session_id = $1::text)) m
 WHERE m.period_end < m.period_start OR m.period_start < m.before
    OR abs(m.quantity - extract(epoch FROM m.period_end - m.period_start) * 1000) > 1
    OR m.period_end > clock_timestamp() + interval '1 second'
 LIMIT 1000

-- stmt: check_meter_owner  for: admin
SELECT m.session_id, format('%s at seq %s names another tenant, key, agent or environment than its session', m.meter, m.seq)
  FROM meter_event m JOIN session s ON s.id = m.session_id
 WHERE ($1::text IS NULL OR s.id = $1::text)
   AND (m.organization_id, m.workspace_id, m.api_key_id, m.agent_id, m.environment_id)
       IS DISTINCT FROM (s.organization_id, s.workspace_id, s.api_key_id, s.agent_id, s.environment_id)
 LIMIT 1000

-- stmt: check_gaps  for: admin
-- A gap belongs to a request whose tokens were not billed; a finished request without any tokens is one. Judging that was lost stands
-- beside the request whose calls it was for, an evaluation beside the one before it
SELECT g.session_id, format('a gap at seq %s, where %s', g.seq, CASE WHEN e.seq IS NULL THEN 'no request begins' ELSE 'the request is billed' END)
  FROM meter_gap g JOIN session s ON s.id = g.session_id
  LEFT JOIN event e ON e.session_id = g.session_id AND e.seq = g.seq AND e.type = 'span.model_request_start'
 WHERE ($1::text IS NULL OR g.session_id = $1::text)
   AND NOT EXISTS (SELECT FROM event v WHERE v.session_id = g.session_id AND v.seq > g.seq AND v.type = 'span.outcome_evaluation_end'
                      AND v.seq < coalesce((SELECT min(n.seq) FROM event n WHERE n.session_id = g.session_id AND n.seq > g.seq
                                               AND n.type = 'span.model_request_start'), 9223372036854775807))
   AND (e.seq IS NULL OR g.cause <> 'judge_lost' AND EXISTS (
        SELECT FROM meter_event m WHERE m.session_id = g.session_id AND m.meter LIKE 'tokens.%' AND m.seq =
        (SELECT min(x.seq) FROM event x WHERE x.session_id = g.session_id AND x.seq > g.seq AND x.type = 'span.model_request_end')))
UNION ALL
SELECT x.session_id, format('the request that ended at seq %s has neither tokens nor a gap', x.seq)
  FROM event x
 WHERE ($1::text IS NULL OR x.session_id = $1::text) AND x.type = 'span.model_request_end' AND x.body LIKE '%"is_error":false%'
   AND NOT EXISTS (SELECT FROM meter_event m WHERE m.session_id = x.session_id AND m.seq = x.seq)
   AND NOT EXISTS (SELECT FROM meter_gap g WHERE g.session_id = x.session_id AND g.seq =
       (SELECT max(b.seq) FROM event b WHERE b.session_id = x.session_id AND b.seq < x.seq AND b.type = 'span.model_request_start'))
 LIMIT 1000

-- stmt: check_tenants  for: admin
SELECT s.id, 'its workspace belongs to another organization'
  FROM session s LEFT JOIN workspace w ON w.id = s.workspace_id
 WHERE ($1::text IS NULL OR s.id = $1::text) AND w.organization_id IS DISTINCT FROM s.organization_id LIMIT 1000

-- stmt: check_leases  for: admin
-- A session that runs, or is held, without a worker that beats. A worker is alive while its lease has not run out and its lock is held.
SELECT s.id, format('%s, owner %s, beat %s', s.status, coalesce(k.lease_owner, 'none'), coalesce(w.beat_at::text, 'never')),
       coalesce(k.lease_epoch, 0) || ' ' || coalesce(k.lease_owner, '')
  FROM session s
  LEFT JOIN work k ON k.workspace_id = s.workspace_id AND k.session_id = s.id
  LEFT JOIN worker w ON w.id = k.lease_owner
  LEFT JOIN pg_locks l ON l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
        AND (l.classid::bigint << 32 | l.objid::bigint) = w.lock_key
 WHERE ($1::text IS NULL OR s.id = $1::text)
   AND (s.status = 'running' AND k.lease_owner IS NULL AND coalesce(k.due_at, '-infinity') < clock_timestamp() - interval '2 seconds'
        OR k.lease_owner IS NOT NULL AND (w.id IS NULL OR w.lease_until < clock_timestamp() OR l.locktype IS NULL))
 LIMIT 1000

-- stmt: check_waiting  for: admin
SELECT s.id, format('due since %s ms and nobody has it, %s waiting', (extract(epoch FROM clock_timestamp() - k.due_at) * 1000)::bigint,
       s.inbox_events), k.lease_epoch || ' ' || k.due_at
  FROM work k JOIN session s ON s.id = k.session_id
 WHERE ($1::text IS NULL OR s.id = $1::text) AND k.lease_owner IS NULL AND k.due_at < clock_timestamp() LIMIT 1000

-- stmt: check_stranded  for: admin
-- Work that nobody will look at: it may only wait behind an open question to the client, or with a dead letter
SELECT s.id, format('%s items that start work wait, nothing is due', s.inbox_wakes), s.wake_gen::text
  FROM session s
 WHERE ($1::text IS NULL OR s.id = $1::text) AND NOT s.at_work
   AND (s.inbox_wakes > 0 AND s.status <> 'terminated' AND NOT EXISTS (SELECT FROM action a WHERE a.session_id = s.id AND a.state = 'open')
        OR s.status IN ('running', 'rescheduling'))
 LIMIT 1000

-- stmt: check_work  for: admin
-- A session says whether it has a row in work; it has one there, of its own workspace
SELECT coalesce(s.id, k.session_id), CASE WHEN s.id IS NULL THEN 'a row in work without its session'
                                          WHEN s.at_work THEN 'at work, without a row in work' ELSE 'not at work, with a row in work' END
  FROM session s FULL JOIN work k ON k.workspace_id = s.workspace_id AND k.session_id = s.id
 WHERE ($1::text IS NULL OR coalesce(s.id, k.session_id) = $1::text) AND coalesce(s.at_work, false) <> (k.session_id IS NOT NULL)
    OR ($1::text IS NULL OR k.session_id = $1::text) AND s.id IS NULL
 LIMIT 1000

-- stmt: check_drops  for: admin
SELECT d.session_id, 'its sandbox was to be destroyed at ' || d.dropped_at
  FROM sandbox_drop d
 WHERE ($1::text IS NULL OR d.session_id = $1::text) AND d.dropped_at < clock_timestamp() - interval '60 seconds' LIMIT 1000

-- stmt: check_cost  for: admin
-- A row that counts tokens without a price leaves its session without a sum
SELECT s.id, format('the row says %s nano-dollars%s, its meter rows add up to %s%s', s.token_nano,
       CASE WHEN s.unpriced THEN ' and some without a price' ELSE '' END, m.nano,
       CASE WHEN m.without THEN ' and some have no price' ELSE '' END)
  FROM session s, LATERAL (SELECT coalesce(sum(list_nano), 0) AS nano, coalesce(bool_or(list_nano IS NULL), false) AS without
                             FROM meter_event WHERE session_id = s.id AND meter LIKE 'tokens.%') m
 WHERE ($1::text IS NULL OR s.id = $1::text)
   AND (s.token_nano <> m.nano OR m.without AND NOT s.unpriced) LIMIT 1000

-- stmt: check_files  for: admin
SELECT coalesce(f.session_id, f.id),
       CASE WHEN f.size_bytes <> b.size_bytes THEN format('file %s has %s bytes, its blob %s', f.id, f.size_bytes, b.size_bytes)
            WHEN b.doomed_at IS NOT NULL THEN format('the blob of file %s is given up', f.id)
            ELSE format('file %s belongs to another tenant than its session', f.id) END
  FROM file f LEFT JOIN blob b ON b.id = f.blob_id LEFT JOIN session s ON s.id = f.session_id
 WHERE ($1::text IS NULL OR f.session_id = $1::text)
   AND (f.size_bytes <> b.size_bytes OR b.doomed_at IS NOT NULL OR s.workspace_id <> f.workspace_id OR s.organization_id <> f.organization_id)
 LIMIT 1000

-- stmt: check_stored  for: admin
-- Blobs count, once each, from their first file to their last
SELECT coalesce(u.organization_id, f.organization_id),
       format('%s bytes and %s blobs are counted, there are %s and %s', coalesce(u.bytes, 0), coalesce(u.files, 0), coalesce(f.bytes, 0),
              coalesce(f.files, 0))
  FROM (SELECT organization_id, sum(bytes) AS bytes, sum(files) AS files FROM file_usage GROUP BY 1) u
  FULL JOIN (SELECT charged_to AS organization_id, sum(size_bytes) AS bytes, count(*) AS files FROM blob b
              WHERE charged_to IS NOT NULL OR EXISTS (SELECT FROM file x WHERE x.blob_id = b.id) GROUP BY 1) f USING (organization_id)
 WHERE $1::text IS NULL AND (coalesce(u.bytes, 0) <> coalesce(f.bytes, 0) OR coalesce(u.files, 0) <> coalesce(f.files, 0)) LIMIT 1000

-- stmt: check_blobs  for: admin
-- in: session or NULL, last id seen, limit
SELECT b.id, b.size_bytes FROM blob b
 WHERE b.id > $2::text AND EXISTS (SELECT FROM file f WHERE f.blob_id = b.id AND ($1::text IS NULL OR f.session_id = $1::text))
 ORDER BY b.id LIMIT $3::int

-- stmt: check_blob_named  for: admin
SELECT f.id, f.session_id FROM file f WHERE f.blob_id = $1::text LIMIT 1

-- What a session shows of its resources, against its rows and its mounted copies.
-- stmt: check_resources  for: admin
SELECT s.id, 'its resources are shown as ' || left(s.resources, 80) || ', its rows say otherwise'
  FROM session s
 WHERE ($1::text IS NULL OR s.id = $1::text)
   AND s.resources <> coalesce((SELECT '[' || string_agg(resource_wire(r), ',' ORDER BY r.ordinal) || ']'
                                  FROM session_resource r WHERE r.session_id = s.id), '[]')
UNION ALL
SELECT f.session_id, 'the copy ' || f.id || ' is mounted by no resource'
  FROM file f
 WHERE f.origin = 'mount' AND ($1::text IS NULL OR f.session_id = $1::text)
   AND NOT EXISTS (SELECT FROM session_resource r WHERE r.file_id = f.id AND r.session_id = f.session_id AND r.mount_path = f.path)
 LIMIT 1000

-- stmt: check_outputs  for: admin
SELECT f.session_id, f.path || ' was published more than once: ' || string_agg(f.id, ', ')
  FROM file f WHERE f.origin = 'output' AND f.blob_id IS NOT NULL AND ($1::text IS NULL OR f.session_id = $1::text)
 GROUP BY f.session_id, f.path, f.blob_id HAVING count(*) > 1 LIMIT 1000

-- in: session or NULL, active credentials of a vault at most
-- stmt: check_vaults  for: admin
SELECT NULL::text, c.id || ' is archived and has secrets'
  FROM credential c
 WHERE $1::text IS NULL AND c.archived_at IS NOT NULL AND EXISTS (SELECT FROM credential_secret s WHERE s.credential_id = c.id)
UNION ALL
SELECT NULL, c.id || ' has no ' || n.slot
  FROM credential c
 CROSS JOIN LATERAL (VALUES ('static_bearer', 'token', true), ('environment_variable', 'secret_value', true), ('mcp_oauth', 'access_token', true),
   ('mcp_oauth', 'refresh_token', c.token_endpoint IS NOT NULL), ('mcp_oauth', 'client_secret', c.endpoint_auth <> 'none')) n (type, slot, needed)
 WHERE $1::text IS NULL AND c.archived_at IS NULL AND n.type = c.type AND n.needed
   AND NOT EXISTS (SELECT FROM credential_secret s WHERE s.credential_id = c.id AND s.slot = n.slot)
UNION ALL
SELECT NULL, s.credential_id || ' has a ' || s.slot || ' of version ' || s.version || ', beyond its newest'
  FROM credential_secret s JOIN credential c ON c.id = s.credential_id WHERE $1::text IS NULL AND s.version > c.secret_version
UNION ALL
SELECT NULL, c.id || ' is not of its vault''s tenant, or outlives it'
  FROM credential c JOIN vault v ON v.id = c.vault_id
 WHERE $1::text IS NULL AND ((c.workspace_id, c.organization_id) IS DISTINCT FROM (v.workspace_id, v.organization_id)
    OR (v.archived_at IS NOT NULL AND c.archived_at IS NULL))
UNION ALL
SELECT NULL, c.vault_id || ' has ' || count(*) || ' active credentials'
  FROM credential c WHERE $1::text IS NULL AND c.archived_at IS NULL GROUP BY c.vault_id HAVING count(*) > $2::int
 LIMIT 1000
