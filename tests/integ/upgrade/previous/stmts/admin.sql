-- roostctl: tenants and keys, the ledgers of migrations and functions, and what an operator asks about.

-- stmt: migration_lock  for: migrate
-- One migration run at a time, until the connection ends.
SELECT pg_advisory_lock(7236178);

-- stmt: migration_patience  for: migrate
-- From here on this connection waits for a lock for a moment only: behind a waiting ALTER TABLE everybody else waits too.
SET lock_timeout = '500ms';

-- stmt: migration_list  for: migrate
-- out: version, sha256 of the applied file
SELECT version, sha256 FROM schema_migration ORDER BY version;

-- stmt: migration_put  for: migrate
-- in: version, name, sha256
INSERT INTO schema_migration (version, name, sha256) VALUES ($1::int, $2::text, $3::text);

-- stmt: function_list  for: migrate
-- out: name, sha256 of the file as it was last applied
SELECT name, sha256 FROM schema_function;

-- stmt: function_put  for: migrate
-- in: name, sha256
INSERT INTO schema_function (name, sha256) VALUES ($1::text, $2::text)
ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, applied_at = excluded.applied_at;

-- stmt: function_forget  for: migrate
-- A migration may have dropped or replaced any: all are applied after it.
DELETE FROM schema_function;

-- stmt: org_create  for: admin
-- in: id, name
INSERT INTO organization (id, name) VALUES ($1::text, $2::text);

-- stmt: org_list  for: admin
SELECT o.id, o.name, o.state, to_char(o.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
       (SELECT count(*) FROM workspace w WHERE w.organization_id = o.id AND w.archived_at IS NULL)
  FROM organization o
 ORDER BY o.created_at, o.id;

-- stmt: org_state  for: admin
-- in: id, state     rows: 0..1
UPDATE organization SET state = $2::text WHERE id = $1::text RETURNING id, state;

-- stmt: workspace_create  for: admin
-- in: id, organization id, name     rows: 0 when there is no such organization
INSERT INTO workspace (id, organization_id, name)
SELECT $1::text, o.id, $3::text FROM organization o WHERE o.id = $2::text
RETURNING id;

-- stmt: workspace_list  for: admin
-- in: organization id or NULL for all
SELECT w.id, w.organization_id, w.name, CASE WHEN w.archived_at IS NULL THEN 'active' ELSE 'archived' END,
       to_char(w.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
  FROM workspace w
 WHERE $1::text IS NULL OR w.organization_id = $1::text
 ORDER BY w.created_at, w.id;

-- stmt: workspace_archive  for: admin
-- in: id     rows: 0..1     Its keys stop working; archiving is for good.
UPDATE workspace SET archived_at = coalesce(archived_at, clock_timestamp()) WHERE id = $1::text
RETURNING id, to_char(archived_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');

-- stmt: key_create_workspace  for: admin
-- in: id, workspace id, name, public id, secret hash, hint, days to live or NULL     rows: 0 when there is no such living workspace
INSERT INTO api_key (id, organization_id, workspace_id, name, public_id, secret_hash, hint, expires_at)
SELECT $1::text, w.organization_id, w.id, $3::text, $4::text, $5::text, $6::text, clock_timestamp() + make_interval(days => $7::int)
  FROM workspace w
 WHERE w.id = $2::text AND w.archived_at IS NULL
RETURNING id;

-- stmt: key_create_admin  for: admin
-- in: id, organization id, name, public id, secret hash, hint, days to live or NULL     rows: 0 when there is no such organization
INSERT INTO api_key (id, organization_id, workspace_id, name, public_id, secret_hash, hint, expires_at)
SELECT $1::text, o.id, NULL, $3::text, $4::text, $5::text, $6::text, clock_timestamp() + make_interval(days => $7::int)
  FROM organization o
 WHERE o.id = $2::text
RETURNING id;

-- stmt: key_list  for: admin
SELECT k.id, k.hint, CASE WHEN k.workspace_id IS NULL THEN 'admin' ELSE 'workspace' END, coalesce(k.workspace_id, k.organization_id),
       CASE WHEN k.revoked_at IS NOT NULL THEN 'revoked' WHEN k.expires_at <= clock_timestamp() THEN 'expired' ELSE 'active' END,
       to_char(k.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
       to_char(k.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), k.name
  FROM api_key k
 ORDER BY k.created_at, k.id;

-- stmt: key_revoke  for: admin
-- in: key id or public id     rows: 0..1
UPDATE api_key SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE id = $1::text OR public_id = $1::text
RETURNING id, to_char(revoked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');

-- stmt: status_server  for: admin
-- One row: server version, seconds up, connections, schema version, microseconds since 1970 (its clock)
SELECT current_setting('server_version'), extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::bigint,
       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()),
       (SELECT max(version) FROM schema_migration),
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
       pg_size_pretty(pg_database_size(current_database()));

-- stmt: status_sessions  for: admin
-- One row: living sessions, running, rescheduling, due and unclaimed, oldest of these waits for milliseconds, leased
SELECT count(*), count(*) FILTER (WHERE s.status = 'running'), count(*) FILTER (WHERE s.status = 'rescheduling'),
       count(*) FILTER (WHERE k.due_at <= clock_timestamp() AND k.lease_owner IS NULL),
       coalesce(max(extract(epoch FROM clock_timestamp() - k.due_at) * 1000)
                FILTER (WHERE k.due_at <= clock_timestamp() AND k.lease_owner IS NULL), 0)::bigint,
       count(k.lease_owner)
  FROM session s LEFT JOIN work k ON k.workspace_id = s.workspace_id AND k.session_id = s.id
 WHERE s.archived_at IS NULL AND s.terminated_at IS NULL;

-- stmt: status_workers  for: admin
-- Per worker: id, milliseconds since its beat, whether its lease lives, sessions it holds
SELECT w.id, (extract(epoch FROM clock_timestamp() - w.beat_at) * 1000)::bigint, w.lease_until > clock_timestamp(),
       (SELECT count(*) FROM work k WHERE k.lease_owner = w.id)
  FROM worker w
 ORDER BY w.id;

-- stmt: gaps  for: admin
-- Requests that nobody was billed for, of the last days. in: days. out: organization, model, cause, how many, the latest
SELECT g.organization_id, g.model, g.cause, count(*), to_char(max(g.at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
  FROM meter_gap g WHERE g.at > clock_timestamp() - make_interval(days => $1::int)
 GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3;

-- stmt: dead_list  for: admin
-- Sessions that were given up: session, attempts, last worker, reason, when, waiting events
SELECT d.session_id, d.attempts, d.worker, d.reason, to_char(d.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), s.inbox_events
  FROM dead_letter d JOIN session s ON s.id = d.session_id
 ORDER BY d.at, d.session_id;

-- stmt: dead_retry  for: admin
-- in: session     rows: 0..1
SELECT id FROM dead_retry($1) AS id;

-- stmt: restored  for: admin
-- out: timeline, sessions that were at work
SELECT timeline, sessions FROM restored();

-- stmt: archive_state  for: admin
-- out: does the latest attempt stand for a failure, seconds since the first one without success, how often
SELECT coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false),
       coalesce(extract(epoch FROM clock_timestamp() - coalesce(last_archived_time, stats_reset)), 0)::bigint, failed_count
  FROM pg_stat_archiver;
