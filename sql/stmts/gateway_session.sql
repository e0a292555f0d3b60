-- Sessions and their events as the API shows them. A session's columns for the wire, in this order everywhere:
--   id, agent, environment_id, title, metadata, status, created, updated, archived, active_us (an open interval counts up to now),
--   duration_us, input, output, cache read, cache 5m, cache 1h, spent (wire_spent), budget_cents, resources, outcomes (NULL: none).
--   Tokens and spent are those at the beginning of the turn that runs

-- What a session is made of, in one read: the agent's version ($3 NULL: the newest) and the environment. Columns are NULL where
-- something is missing.
-- in: workspace, agent, version or NULL, environment
-- stmt: session_parts  for: gw
SELECT a.id, v.version, v.body, a.archived_at IS NOT NULL, e.id, e.archived_at IS NOT NULL, e.body, us(e.updated_at)
  FROM (SELECT 1) one
  LEFT JOIN agent a ON a.workspace_id = $1::text AND a.id = $2::text
  LEFT JOIN agent_version v ON v.agent_id = a.id AND v.version = coalesce($3::int, a.version)
  LEFT JOIN environment e ON e.workspace_id = $1::text AND e.id = $4::text;

-- No row: the organization is suspended.
-- in: workspace, organization, id, agent id, agent version, environment, key, thread, title, metadata, agent, budget or NULL
-- stmt: session_insert  for: gw
INSERT INTO session AS s (id, organization_id, workspace_id, agent_id, agent_version, environment_id, api_key_id, thread_id, title,
                          metadata, agent, last_at, created_at, updated_at, budget_cents)
SELECT $3::text, o.id, $1::text, $4::text, $5::int, $6::text, $7::text, $8::text, $9::text, $10::text, $11::text, t, t, t,
       $12::bigint
  FROM organization o, clock_timestamp() t WHERE o.id = $2::text AND o.state = 'active'
RETURNING s.id, s.agent, s.environment_id, s.title, s.metadata, s.status, wire_stamp(s.created_at), wire_stamp(s.updated_at),
          wire_stamp(s.archived_at), 0, 0, 0, 0, 0, 0, 0, '0 0', s.budget_cents, s.resources, NULL;

-- The same from parts that are known: an agent's version ($12 false: it has to be the newest) and an environment of that time. No row: they are
-- no more what they were, or the organization is suspended.
-- in: workspace, organization, id, agent id, agent version, environment, key, thread, title, metadata, agent, pinned, when the environment was
--     changed (microseconds); what is kept of the answer, as for agent_insert
-- stmt: session_insert_known  for: gw  grouped
WITH s AS (
  INSERT INTO session (id, organization_id, workspace_id, agent_id, agent_version, environment_id, api_key_id, thread_id, title, metadata,
                       agent, last_at, created_at, updated_at)
  SELECT $3::text, o.id, $1::text, a.id, $5::int, e.id, $7::text, $8::text, $9::text, $10::text, $11::text, t, t, t
    FROM organization o, agent a, environment e, clock_timestamp() t
   WHERE o.id = $2::text AND o.state = 'active'
     AND a.workspace_id = $1::text AND a.id = $4::text AND a.archived_at IS NULL AND ($12::boolean OR a.version = $5::int)
     AND e.workspace_id = $1::text AND e.id = $6::text AND e.archived_at IS NULL AND us(e.updated_at) = $13::bigint
  RETURNING id, created_at)
SELECT wire_stamp(created_at),
       (SELECT request_store($14::bigint, $15::uuid, $16::text, 'p', 0, $17::uuid, 200, array_to_string($18::text[], wire_stamp(created_at)), NULL,
                             id, $19::int, $20::text) WHERE $16::text IS NOT NULL)
  FROM s;

-- stmt: session_get  for: gw  shared
SELECT s.id, s.agent, s.environment_id, s.title, s.metadata, wire_status(s.status, s.inbox_wakes, s.at_work), wire_stamp(s.created_at),
       wire_stamp(s.updated_at), wire_stamp(s.archived_at),
       s.active_us + coalesce(greatest(0, us(clock_timestamp()) - us(s.running_since)), 0),
       us(coalesce(s.terminated_at, clock_timestamp())) - us(s.created_at),
       wire_total(s.status, s.told, 1, s.input_tokens),
       wire_total(s.status, s.told, 2, s.output_tokens),
       wire_total(s.status, s.told, 3, s.cache_read_tokens),
       wire_total(s.status, s.told, 4, s.cache_5m_tokens),
       wire_total(s.status, s.told, 5, s.cache_1h_tokens),
       wire_spent(s.status, s.told, s.token_nano, s.active_us, s.unpriced), s.budget_cents, s.resources,
       CASE WHEN s.outcomes THEN session_outcomes(s.id) END
  FROM session s WHERE s.workspace_id = $1::text AND s.id = $2::text;

-- Each filter that leaves few of many sessions is worded so that an index holds just those (0020_scale.sql): at work, ended, not archived.
-- A time bounds the id as well, with an hour for clocks that differ.
-- in: workspace, agent, version, statuses (NULL: all but terminated), with archived, created gt, gte, lt, lte (microseconds or NULL),
--     cursor id or NULL, limit, bytes
-- stmt: session_list_desc  for: gw  replan
SELECT id, agent, environment_id, title, metadata, status, created, updated, archived, active_us, duration_us, input_tokens,
       output_tokens, cache_read_tokens, cache_5m_tokens, cache_1h_tokens, spent, budget_cents, resources,
       CASE WHEN outcomes THEN session_outcomes(id) END, found, created_us FROM (
  SELECT q.*, sum(octet_length(q.agent) + octet_length(q.resources)) OVER w AS bytes, row_number() OVER w AS n, count(*) OVER () AS found FROM (
    SELECT s.id, s.agent, s.environment_id, s.title, s.metadata, wire_status(s.status, s.inbox_wakes, s.at_work) AS status,
           wire_stamp(s.created_at) AS created, wire_stamp(s.updated_at) AS updated, wire_stamp(s.archived_at) AS archived,
           s.active_us + coalesce(greatest(0, us(clock_timestamp()) - us(s.running_since)), 0) AS active_us,
           us(coalesce(s.terminated_at, clock_timestamp())) - us(s.created_at) AS duration_us,
           wire_total(s.status, s.told, 1, s.input_tokens) AS input_tokens,
           wire_total(s.status, s.told, 2, s.output_tokens) AS output_tokens,
           wire_total(s.status, s.told, 3, s.cache_read_tokens) AS cache_read_tokens,
           wire_total(s.status, s.told, 4, s.cache_5m_tokens) AS cache_5m_tokens,
           wire_total(s.status, s.told, 5, s.cache_1h_tokens) AS cache_1h_tokens,
           wire_spent(s.status, s.told, s.token_nano, s.active_us, s.unpriced) AS spent,
           s.budget_cents, s.resources, s.outcomes, us(s.created_at) AS created_us
      FROM session s
     WHERE s.workspace_id = $1::text AND ($2::text IS NULL OR s.agent_id = $2::text) AND ($3::int IS NULL OR s.agent_version = $3::int)
       AND ($4::text[] IS NULL AND (s.status <> 'terminated' OR ($5::boolean AND s.archived_at IS NOT NULL))
            OR wire_status(s.status, s.inbox_wakes, s.at_work) = ANY ($4::text[]))
       AND ($4::text[] IS NULL OR $4::text[] && '{idle,terminated}' OR s.id = ANY (ARRAY(SELECT k.session_id FROM work k WHERE k.workspace_id = $1::text)))
       AND ($4::text[] IS NULL OR NOT $4::text[] <@ '{terminated}' OR s.terminated_at IS NOT NULL)
       AND s.id >= coalesce(id_floor('sesn_', coalesce($6::bigint, $7::bigint) - 3600000000), '')
       AND s.id < coalesce(id_floor('sesn_', coalesce($8::bigint, $9::bigint) + 3600000000), 'sesn_~')
       AND ($5::boolean OR s.archived_at IS NULL)
       AND ($6::bigint IS NULL OR s.created_at > stamp($6::bigint)) AND ($7::bigint IS NULL OR s.created_at >= stamp($7::bigint))
       AND ($8::bigint IS NULL OR s.created_at < stamp($8::bigint)) AND ($9::bigint IS NULL OR s.created_at <= stamp($9::bigint))
       AND ($10::text IS NULL OR s.id < $10::text)
     ORDER BY s.id DESC LIMIT $11::int + 1) q
  WINDOW w AS (ORDER BY q.id DESC)) p
 WHERE n = 1 OR (n <= $11::int AND bytes <= $12::bigint) ORDER BY id DESC;

-- The same, the other way.
-- stmt: session_list_asc  for: gw  replan
SELECT id, agent, environment_id, title, metadata, status, created, updated, archived, active_us, duration_us, input_tokens,
       output_tokens, cache_read_tokens, cache_5m_tokens, cache_1h_tokens, spent, budget_cents, resources,
       CASE WHEN outcomes THEN session_outcomes(id) END, found, created_us FROM (
  SELECT q.*, sum(octet_length(q.agent) + octet_length(q.resources)) OVER w AS bytes, row_number() OVER w AS n, count(*) OVER () AS found FROM (
    SELECT s.id, s.agent, s.environment_id, s.title, s.metadata, wire_status(s.status, s.inbox_wakes, s.at_work) AS status,
           wire_stamp(s.created_at) AS created, wire_stamp(s.updated_at) AS updated, wire_stamp(s.archived_at) AS archived,
           s.active_us + coalesce(greatest(0, us(clock_timestamp()) - us(s.running_since)), 0) AS active_us,
           us(coalesce(s.terminated_at, clock_timestamp())) - us(s.created_at) AS duration_us,
           wire_total(s.status, s.told, 1, s.input_tokens) AS input_tokens,
           wire_total(s.status, s.told, 2, s.output_tokens) AS output_tokens,
           wire_total(s.status, s.told, 3, s.cache_read_tokens) AS cache_read_tokens,
           wire_total(s.status, s.told, 4, s.cache_5m_tokens) AS cache_5m_tokens,
           wire_total(s.status, s.told, 5, s.cache_1h_tokens) AS cache_1h_tokens,
           wire_spent(s.status, s.told, s.token_nano, s.active_us, s.unpriced) AS spent,
           s.budget_cents, s.resources, s.outcomes, us(s.created_at) AS created_us
      FROM session s
     WHERE s.workspace_id = $1::text AND ($2::text IS NULL OR s.agent_id = $2::text) AND ($3::int IS NULL OR s.agent_version = $3::int)
       AND ($4::text[] IS NULL AND (s.status <> 'terminated' OR ($5::boolean AND s.archived_at IS NOT NULL))
            OR wire_status(s.status, s.inbox_wakes, s.at_work) = ANY ($4::text[]))
       AND ($4::text[] IS NULL OR $4::text[] && '{idle,terminated}' OR s.id = ANY (ARRAY(SELECT k.session_id FROM work k WHERE k.workspace_id = $1::text)))
       AND ($4::text[] IS NULL OR NOT $4::text[] <@ '{terminated}' OR s.terminated_at IS NOT NULL)
       AND s.id >= coalesce(id_floor('sesn_', coalesce($6::bigint, $7::bigint) - 3600000000), '')
       AND s.id < coalesce(id_floor('sesn_', coalesce($8::bigint, $9::bigint) + 3600000000), 'sesn_~')
       AND ($5::boolean OR s.archived_at IS NULL)
       AND ($6::bigint IS NULL OR s.created_at > stamp($6::bigint)) AND ($7::bigint IS NULL OR s.created_at >= stamp($7::bigint))
       AND ($8::bigint IS NULL OR s.created_at < stamp($8::bigint)) AND ($9::bigint IS NULL OR s.created_at <= stamp($9::bigint))
       AND ($10::text IS NULL OR s.id > $10::text)
     ORDER BY s.id LIMIT $11::int + 1) q
  WINDOW w AS (ORDER BY q.id)) p
 WHERE n = 1 OR (n <= $11::int AND bytes <= $12::bigint) ORDER BY id;

-- Is an outcome active? The session, whose lock is held, is marked as one that has outcomes.
-- stmt: session_outcome  for: gw
UPDATE session SET outcomes = true WHERE workspace_id = $1::text AND id = $2::text RETURNING session_outcome_open(id);

-- in: workspace, session, title, metadata, agent (NULL: unchanged), budget (NULL: none)
-- stmt: session_put  for: gw
UPDATE session SET title = $3::text, metadata = $4::text, agent = coalesce($5::text, agent), budget_cents = $6::bigint,
       updated_at = clock_timestamp()
 WHERE workspace_id = $1::text AND id = $2::text;

-- Does the session exist in this workspace? Its primary thread.
-- stmt: session_exists  for: gw
SELECT thread_id FROM session WHERE workspace_id = $1::text AND id = $2::text;

-- What a session runs with: its agent snapshot, its environment, if that is still there, and its resources.
-- stmt: session_setup  for: gw
SELECT s.agent, e.body, s.resources
  FROM session s LEFT JOIN environment e ON e.workspace_id = s.workspace_id AND e.id = s.environment_id
 WHERE s.workspace_id = $1::text AND s.id = $2::text;

-- What the events that close a session's log name.
-- stmt: session_names  for: gw
SELECT thread_id, agent FROM session WHERE workspace_id = $1::text AND id = $2::text;

-- One event by id, from the log or the inbox (as a stem, with the stamp its echo carries, if any). The session is the caller's and locked.
-- stmt: event_find  for: gw
SELECT body, NULL::text, NULL::text FROM event WHERE session_id = $1::text AND id = $2::text
UNION ALL
SELECT NULL, stem, CASE WHEN on_receipt THEN wire_stamp(received_at) END FROM inbox WHERE session_id = $1::text AND id = $2::text;

-- A short page of a session's own log, as nearly all are: nothing but the position is asked for. Rows are as many as the limit and one
-- more; one row without an event when there is none, none without a session. What it cannot tell, a longer statement must: something
-- waits in the inbox (first column: how much), or an event is larger than one of so many may be (no body). Nothing is sorted: the caller
-- looks whether the rows came in order, which one session's always have. (CASE: the planner must not take the thread, nearly all of the
-- log, for something rare that is better searched for and sorted.)
-- in: workspace, session, position in the log, limit, bytes of one event
-- stmt: event_page_asc  for: gw  shared
SELECT s.inbox_events, e.seq, CASE WHEN octet_length(e.body) <= $5::bigint THEN e.body END
  FROM session s LEFT JOIN LATERAL (
    SELECT seq, body FROM event WHERE session_id = $2::text AND seq > $3::bigint AND CASE WHEN thread_id = s.thread_id THEN true END
     ORDER BY seq LIMIT $4::int + 1) e ON true
 WHERE s.workspace_id = $1::text AND s.id = $2::text;

-- The same, newest first.
-- stmt: event_page_desc  for: gw  shared
SELECT s.inbox_events, e.seq, CASE WHEN octet_length(e.body) <= $5::bigint THEN e.body END
  FROM session s LEFT JOIN LATERAL (
    SELECT seq, body FROM event WHERE session_id = $2::text AND seq < $3::bigint AND CASE WHEN thread_id = s.thread_id THEN true END
     ORDER BY seq DESC LIMIT $4::int + 1) e ON true
 WHERE s.workspace_id = $1::text AND s.id = $2::text;

-- The log, then what waits (part 1: a stem, and the stamp that an event processed on receipt shows). One statement, so that an item on
-- its way from the inbox into the log is seen exactly once. Time filters compare the stamp (of the log: bound seq, which rises with it);
-- an item without one fails them.
-- One thread's events; what waits is the primary's. A thread is a filter, not a search: the log of a session is read in order anyway.
-- in: session, position in the log, position in the inbox, types or NULL, gt, gte, lt, lte (microseconds or NULL), limit, bytes, thread
-- stmt: event_list_asc  for: gw
SELECT part, seq, body, stamp, found FROM (
  SELECT q.*, sum(octet_length(q.body)) OVER w AS bytes, row_number() OVER w AS n, count(*) OVER () AS found FROM (
    SELECT * FROM (
      SELECT 0 AS part, seq, body, NULL AS stamp FROM event
       WHERE session_id = $1::text AND seq > $2::bigint AND thread_id = $11::text AND ($4::text[] IS NULL OR type = ANY ($4::text[]))
         AND seq > greatest(0, event_seq_at($1::text, $5::bigint), event_seq_at($1::text, $6::bigint - 1))
         AND seq <= least(9223372036854775807, event_seq_at($1::text, $7::bigint - 1), event_seq_at($1::text, $8::bigint))
       ORDER BY seq LIMIT $9::int + 1) log
    UNION ALL
    SELECT * FROM (
      SELECT 1, inbox_seq, stem, CASE WHEN on_receipt THEN wire_stamp(received_at) END FROM inbox
       WHERE session_id = $1::text AND inbox_seq > $3::bigint AND ($4::text[] IS NULL OR type = ANY ($4::text[]))
         AND (on_receipt OR $5::bigint IS NULL AND $6::bigint IS NULL AND $7::bigint IS NULL AND $8::bigint IS NULL)
         AND ($5::bigint IS NULL OR received_at > stamp($5::bigint)) AND ($6::bigint IS NULL OR received_at >= stamp($6::bigint))
         AND ($7::bigint IS NULL OR received_at < stamp($7::bigint)) AND ($8::bigint IS NULL OR received_at <= stamp($8::bigint))
       ORDER BY inbox_seq LIMIT $9::int + 1) waiting
    ORDER BY 1, 2 LIMIT $9::int + 1) q
  WINDOW w AS (ORDER BY q.part, q.seq)) p
 WHERE n = 1 OR (n <= $9::int AND bytes <= $10::bigint) ORDER BY part, seq;

-- The same, newest first.
-- stmt: event_list_desc  for: gw
SELECT part, seq, body, stamp, found FROM (
  SELECT q.*, sum(octet_length(q.body)) OVER w AS bytes, row_number() OVER w AS n, count(*) OVER () AS found FROM (
    SELECT * FROM (
      SELECT 0 AS part, seq, body, NULL AS stamp FROM event
       WHERE session_id = $1::text AND seq < $2::bigint AND thread_id = $11::text AND ($4::text[] IS NULL OR type = ANY ($4::text[]))
         AND seq > greatest(0, event_seq_at($1::text, $5::bigint), event_seq_at($1::text, $6::bigint - 1))
         AND seq <= least(9223372036854775807, event_seq_at($1::text, $7::bigint - 1), event_seq_at($1::text, $8::bigint))
       ORDER BY seq DESC LIMIT $9::int + 1) log
    UNION ALL
    SELECT * FROM (
      SELECT 1, inbox_seq, stem, CASE WHEN on_receipt THEN wire_stamp(received_at) END FROM inbox
       WHERE session_id = $1::text AND inbox_seq < $3::bigint AND ($4::text[] IS NULL OR type = ANY ($4::text[]))
         AND (on_receipt OR $5::bigint IS NULL AND $6::bigint IS NULL AND $7::bigint IS NULL AND $8::bigint IS NULL)
         AND ($5::bigint IS NULL OR received_at > stamp($5::bigint)) AND ($6::bigint IS NULL OR received_at >= stamp($6::bigint))
         AND ($7::bigint IS NULL OR received_at < stamp($7::bigint)) AND ($8::bigint IS NULL OR received_at <= stamp($8::bigint))
       ORDER BY inbox_seq DESC LIMIT $9::int + 1) waiting
    ORDER BY 1 DESC, 2 DESC LIMIT $9::int + 1) q
  WINDOW w AS (ORDER BY q.part DESC, q.seq DESC)) p
 WHERE n = 1 OR (n <= $9::int AND bytes <= $10::bigint) ORDER BY part DESC, seq DESC;
