-- What the gateway reads and writes, sessions and their events aside (gateway_session.sql). Times travel as RFC 3339 text in the
-- contract's form (wire_stamp). Every statement on tenant data binds the workspace first. Lists are cut at $bytes so that a page of
-- large objects cannot fill a process's memory; `found` tells how many rows there were before the cut (at most limit + 1).

-- in: public id     rows: 0..1     The row's hash decides; a key of an archived workspace is no key.
-- stmt: tenant_key_get  for: gw stream
SELECT k.id, k.organization_id, k.workspace_id, k.secret_hash,
       (extract(epoch FROM k.expires_at - clock_timestamp()) * 1000)::bigint, o.state <> 'active'
  FROM api_key k
  JOIN organization o ON o.id = k.organization_id
  LEFT JOIN workspace w ON w.id = k.workspace_id
 WHERE k.public_id = $1::text AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
   AND w.archived_at IS NULL;

-- A new agent with its first version. No row: the organization is suspended.
-- in: workspace, organization, id, name, body; what is kept of the answer, or NULL: lock, ident, request, digest, the reply's pieces between
--     which the stamp stands (NULL: too large to keep), seconds to keep, connection
-- stmt: agent_insert  for: gw  grouped
WITH active AS (SELECT id FROM organization WHERE id = $2::text AND state = 'active'),
     a AS (INSERT INTO agent (id, organization_id, workspace_id, name, version, created_at, updated_at)
           SELECT $3::text, active.id, $1::text, $4::text, 1, t, t FROM active, clock_timestamp() t RETURNING id, created_at),
     v AS (INSERT INTO agent_version (agent_id, version, workspace_id, body, created_at)
           SELECT a.id, 1, $1::text, $5::text, a.created_at FROM a)
SELECT wire_stamp(created_at),
       (SELECT request_store($6::bigint, $7::uuid, $8::text, 'p', 0, $9::uuid, 200, array_to_string($10::text[], wire_stamp(created_at)), NULL, id,
                             $11::int, $12::text) WHERE $8::text IS NOT NULL)
  FROM a;

-- One version of an agent, the newest when $3 is NULL. A row without body: the agent exists, that version does not.
-- stmt: agent_get  for: gw  shared
SELECT a.id, v.version, v.body, wire_stamp(a.created_at),
       wire_stamp(CASE WHEN v.version = a.version THEN a.updated_at ELSE v.created_at END), wire_stamp(a.archived_at)
  FROM agent a
  LEFT JOIN agent_version v ON v.agent_id = a.id AND v.version = coalesce($3::int, a.version)
 WHERE a.workspace_id = $1::text AND a.id = $2::text;

-- in: workspace, cursor id or NULL, created from, created to (microseconds or NULL), with archived, limit, bytes
-- stmt: agent_list  for: gw  replan
SELECT id, version, body, created, updated, archived, found, us FROM (
  SELECT q.*, sum(octet_length(q.body)) OVER w AS bytes, row_number() OVER w AS n, count(*) OVER () AS found FROM (
    SELECT a.id, v.version, v.body, wire_stamp(a.created_at) AS created, wire_stamp(a.updated_at) AS updated,
           wire_stamp(a.archived_at) AS archived, us(a.created_at) AS us
      FROM agent a JOIN agent_version v ON v.agent_id = a.id AND v.version = a.version
     WHERE a.workspace_id = $1::text AND ($2::text IS NULL OR a.id < $2::text)
       AND ($3::bigint IS NULL OR a.created_at >= stamp($3::bigint)) AND ($4::bigint IS NULL OR a.created_at <= stamp($4::bigint))
       AND ($5::boolean OR a.archived_at IS NULL)
     ORDER BY a.id DESC LIMIT $6::int + 1) q
  WINDOW w AS (ORDER BY q.id DESC)) p
 WHERE n = 1 OR (n <= $6::int AND bytes <= $7::bigint) ORDER BY id DESC;

-- in: workspace, agent, cursor version or NULL, limit, bytes
-- stmt: agent_versions  for: gw
SELECT id, version, body, created, updated, archived, found FROM (
  SELECT q.*, sum(octet_length(q.body)) OVER w AS bytes, row_number() OVER w AS n, count(*) OVER () AS found FROM (
    SELECT a.id, v.version, v.body, wire_stamp(a.created_at) AS created,
           wire_stamp(CASE WHEN v.version = a.version THEN a.updated_at ELSE v.created_at END) AS updated,
           wire_stamp(a.archived_at) AS archived
      FROM agent a JOIN agent_version v ON v.agent_id = a.id
     WHERE a.workspace_id = $1::text AND a.id = $2::text AND ($3::int IS NULL OR v.version < $3::int)
     ORDER BY v.version DESC LIMIT $4::int + 1) q
  WINDOW w AS (ORDER BY q.version DESC)) p
 WHERE n = 1 OR (n <= $4::int AND bytes <= $5::bigint) ORDER BY version DESC;

-- Lock an agent to change it. Its body is read by the next statement: this one's snapshot may be older than the row it waited for.
-- stmt: agent_lock  for: gw
SELECT a.version, a.archived_at IS NOT NULL, o.state
  FROM agent a JOIN organization o ON o.id = a.organization_id
 WHERE a.workspace_id = $1::text AND a.id = $2::text FOR UPDATE OF a;

-- in: workspace, agent, new version, name, body
-- stmt: agent_put_version  for: gw
WITH v AS (INSERT INTO agent_version (agent_id, version, workspace_id, body, created_at)
           VALUES ($2::text, $3::int, $1::text, $5::text, clock_timestamp()) RETURNING created_at)
UPDATE agent SET version = $3::int, name = $4::text, updated_at = v.created_at FROM v
 WHERE workspace_id = $1::text AND id = $2::text;

-- stmt: agent_archive  for: gw
UPDATE agent SET archived_at = clock_timestamp(), updated_at = clock_timestamp()
 WHERE workspace_id = $1::text AND id = $2::text AND archived_at IS NULL;

-- No row: the organization is suspended. A live environment of that name: unique violation.
-- in: workspace, organization, id, name, body
-- stmt: environment_insert  for: gw
INSERT INTO environment (id, organization_id, workspace_id, name, body, created_at, updated_at)
SELECT $3::text, o.id, $1::text, $4::text, $5::text, t, t
  FROM organization o, clock_timestamp() t WHERE o.id = $2::text AND o.state = 'active'
RETURNING id, body, wire_stamp(created_at), wire_stamp(updated_at), wire_stamp(archived_at);

-- stmt: environment_get  for: gw  shared
SELECT id, body, wire_stamp(created_at), wire_stamp(updated_at), wire_stamp(archived_at)
  FROM environment WHERE workspace_id = $1::text AND id = $2::text;

-- in: workspace, cursor id or NULL, with archived, limit, bytes
-- stmt: environment_list  for: gw
SELECT id, body, created, updated, archived, found FROM (
  SELECT q.*, sum(octet_length(q.body)) OVER w AS bytes, row_number() OVER w AS n, count(*) OVER () AS found FROM (
    SELECT id, body, wire_stamp(created_at) AS created, wire_stamp(updated_at) AS updated, wire_stamp(archived_at) AS archived
      FROM environment
     WHERE workspace_id = $1::text AND ($2::text IS NULL OR id < $2::text) AND ($3::boolean OR archived_at IS NULL)
     ORDER BY id DESC LIMIT $4::int + 1) q
  WINDOW w AS (ORDER BY q.id DESC)) p
 WHERE n = 1 OR (n <= $4::int AND bytes <= $5::bigint) ORDER BY id DESC;

-- stmt: environment_lock  for: gw
SELECT v.body, v.archived_at IS NOT NULL, o.state
  FROM environment v JOIN organization o ON o.id = v.organization_id
 WHERE v.workspace_id = $1::text AND v.id = $2::text FOR UPDATE OF v;

-- in: workspace, id, name, body
-- stmt: environment_put  for: gw
UPDATE environment SET name = $3::text, body = $4::text, updated_at = clock_timestamp()
 WHERE workspace_id = $1::text AND id = $2::text;

-- stmt: environment_archive  for: gw
UPDATE environment SET archived_at = clock_timestamp(), updated_at = clock_timestamp()
 WHERE workspace_id = $1::text AND id = $2::text AND archived_at IS NULL;

-- Sessions that keep an environment from being deleted: at work, or waiting for their client (contract A36).
-- stmt: environment_busy  for: gw
SELECT (SELECT count(*) FROM work k JOIN session s ON s.id = k.session_id
         WHERE k.workspace_id = $1::text AND s.workspace_id = $1::text AND s.environment_id = $2::text
           AND (s.status = 'rescheduling' OR wire_status(s.status, s.inbox_wakes, s.at_work) = 'running'))
     + (SELECT count(*) FROM action a JOIN session s ON s.id = a.session_id
         WHERE a.state = 'open' AND s.workspace_id = $1::text AND s.environment_id = $2::text);

-- stmt: environment_delete  for: gw
DELETE FROM environment WHERE workspace_id = $1::text AND id = $2::text;

-- The whole catalogue, newest first; it is small.
-- stmt: model_list  for: gw
SELECT id, display_name, context_window, max_output_tokens, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
  FROM model ORDER BY created_at DESC, id;

-- stmt: model_get  for: gw
SELECT id, display_name, context_window, max_output_tokens, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
  FROM model WHERE id = $1::text;

-- stmt: health_workers  for: gw
-- Workers that live, does one of them reach hands, how often the database was restored, does its archive refuse to take anything. Writes
-- nothing: it is asked when health_write has failed.
SELECT count(*), coalesce(bool_or(w.hands), false),
       (SELECT coalesce(max(timeline), 0) FROM restore),
       (SELECT coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) FROM pg_stat_archiver)
  FROM worker w WHERE w.lease_until > clock_timestamp();

-- Does a commit get through to the disk, and to a synchronous standby? It waits for no lock: what others hold says nothing about that.
-- stmt: still_ask  for: gw
SELECT pg_logical_emit_message(true, 'roost', '');

-- The same from a database that takes writes; fails where it does not.
-- stmt: health_write  for: gw
SELECT workers, hands, timeline, archive_fails FROM readiness();
