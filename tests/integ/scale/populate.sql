-- An installation with :sessions sessions in one workspace (and a hundredth of that in another): psql -v sessions=N -v events=M -v long=L.
-- Each session has M events; one more has a log of L. Nine in ten are idle, one in ten archived; a hundred each wait for a confirmation,
-- are due, are leased, are rescheduled; ten ended by an error. Ids are made as the product makes them: the time first.
SET synchronous_commit = off;
SET maintenance_work_mem = '256MB';
INSERT INTO organization (id, name) VALUES ('org', 'Org');
INSERT INTO workspace (id, organization_id, name) VALUES ('wrkspc_big', 'org', 'Big'), ('wrkspc_small', 'org', 'Small');
INSERT INTO agent (id, organization_id, workspace_id, name, version, created_at, updated_at)
SELECT 'agent_' || k, 'org', 'wrkspc_big', 'a', 1, now(), now() FROM generate_series(1, 2000) k;
INSERT INTO agent_version (agent_id, version, workspace_id, body, created_at)
SELECT 'agent_' || k, 1, 'wrkspc_big', '{"name":"a"}', now() FROM generate_series(1, 2000) k;
INSERT INTO worker (id, lock_key, lease_until) VALUES ('w1', 1, now() + interval '1 hour');

-- One session a second, the newest just now. The id's upper digits are those of its minute, the lower ones count.
CREATE TEMP TABLE minute AS
SELECT m, left(id_floor('', us(now()) - m * 60000000::bigint), 10) AS top FROM generate_series(0, :sessions / 60 + 1) m;
CREATE TEMP TABLE made AS
SELECT k, top || translate(lpad(to_hex(:sessions - k), 14, '0'), '0123456789abcdef', '123456789ABCDEFG') AS tail,
       now() - k * interval '1 second' AS at
  FROM generate_series(1, :sessions) k JOIN minute ON m = (k - 1) / 60;

INSERT INTO session (id, organization_id, workspace_id, agent_id, agent_version, environment_id, thread_id, title, agent, status, last_seq,
                     last_at, created_at, updated_at, archived_at, terminated_at)
SELECT 'sesn_' || tail, 'org', CASE WHEN k % 100 = 7 THEN 'wrkspc_small' ELSE 'wrkspc_big' END, 'agent_' || 1 + k % 2000, 1,
       'env_' || k % 10, 'sthr_' || tail, 'Session ' || k, '{"type":"agent","name":"a","system":"' || repeat('x', 300) || '"}',
       CASE WHEN k % 10 = 3 THEN 'terminated' ELSE 'idle' END, :events, at, at, at, CASE WHEN k % 10 = 3 THEN at END,
       CASE WHEN k % 10 = 3 THEN at END
  FROM made ORDER BY k DESC;

-- A body as they are: some hundred bytes, half of them with a fragment; types as a turn has them.
CREATE TEMP TABLE kind AS SELECT * FROM (VALUES (0, 'session.status_running', NULL), (1, 'user.message', 'u'), (2, 'span.model_request_start', NULL),
  (3, 'agent.message', 'a'), (4, 'agent.tool_use', 'a'), (5, 'span.model_request_end', NULL), (6, 'agent.tool_result', 'u'),
  (7, 'agent.message', 'a'), (8, 'session.usage', NULL), (9, 'session.status_idle', NULL)) v(n, type, role);
INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body, role, fragment)
SELECT 'sesn_' || tail, e, 'sevt_' || left(tail, 14) || lpad(e::text, 8, '1'), type, 'sthr_' || tail, at + e * interval '1 ms',
       '{"id":"sevt_","type":"' || type || '","content":"' || repeat('y', 150) || '"}', role::"char",
       CASE WHEN role IS NOT NULL THEN '{"type":"text","text":"' || repeat('y', 150) || '"}' END
  FROM made CROSS JOIN generate_series(1, :events) e JOIN kind ON n = (e - 1) % 10;

-- The long one.
INSERT INTO session (id, organization_id, workspace_id, agent_id, agent_version, environment_id, thread_id, agent, last_seq, last_at,
                     created_at, updated_at)
VALUES ('sesn_long', 'org', 'wrkspc_big', 'agent_1', 1, 'env_1', 'sthr_long', '{}', :long, now(), now(), now());
INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body, role, fragment)
SELECT 'sesn_long', e, 'sevt_long' || e, type, 'sthr_long', now() - (:long - e) * interval '1 ms',
       '{"id":"sevt_","type":"' || type || '","content":"' || repeat('z', 500) || '"}', role::"char",
       CASE WHEN role IS NOT NULL THEN '{"type":"text","text":"' || repeat('z', 500) || '"}' END
  FROM generate_series(1, :long) e JOIN kind ON n = (e - 1) % 10;
UPDATE event SET type = 'session.error' WHERE session_id = 'sesn_long' AND seq = :long / 2;

-- A few of the many are at work. They are spread over the whole age.
CREATE TEMP TABLE few AS
SELECT 'sesn_' || tail AS id, k * 600 / :sessions AS n FROM made
 WHERE k % (:sessions / 600) = 0 AND k % 10 <> 3 AND k % 100 <> 7;
UPDATE session s SET inbox_wakes = 1, inbox_events = 1, at_work = true FROM few f WHERE f.id = s.id AND n < 200;
INSERT INTO inbox (session_id, inbox_seq, id, type, stem, role, fragment, received_at, wakes)
SELECT id, 1, 'sevt_wait' || n, 'user.message', '{"id":"sevt_wait","type":"user.message"', 'u', '{}', now(), true FROM few WHERE n < 200;
UPDATE session s SET status = 'running', running_since = greatest(s.last_at, clock_timestamp() - interval '30 s'), at_work = true FROM few f WHERE f.id = s.id AND n BETWEEN 100 AND 199;
UPDATE session s SET status = 'rescheduling', at_work = true FROM few f WHERE f.id = s.id AND n BETWEEN 200 AND 299;
INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch, bytes)
SELECT s.workspace_id, s.id, CASE WHEN n < 200 THEN clock_timestamp() - n * interval '1 ms' ELSE clock_timestamp() + interval '1 hour' END,
       CASE WHEN n BETWEEN 100 AND 199 THEN 'w1' END, CASE WHEN n BETWEEN 100 AND 199 THEN 1 ELSE 0 END, 1000
  FROM few f JOIN session s ON s.id = f.id WHERE n < 300;
INSERT INTO action (session_id, tool_use_id, ordinal, kind, tool_name, input) SELECT id, 'sevt_ask', 1, 'confirm', 'bash', '{}' FROM few
 WHERE n BETWEEN 300 AND 399;
UPDATE session s SET status = 'terminated', terminated_at = s.last_at FROM few f WHERE f.id = s.id AND n BETWEEN 400 AND 409;
INSERT INTO action (session_id, tool_use_id, ordinal, kind, tool_name, input, state)
SELECT 'sesn_' || tail, 'sevt_old', 1, 'custom', 'weather', '{}', 'closed' FROM made WHERE k % 5 = 1;
INSERT INTO meter_event (session_id, seq, meter, organization_id, workspace_id, agent_id, agent_version, environment_id, period_start,
                         period_end, quantity, unit, cum_before)
SELECT 'sesn_' || tail, 6, 'tokens.input', 'org', 'wrkspc_big', 'agent_1', 1, 'env_1', at, at, 10, 'token', 0 FROM made WHERE k % 5 = 1;
INSERT INTO request_dedupe (ident, request, kind, digest, made_by, seen, status, reply, object, expires_at)
SELECT lpad(n::text, 32, '0')::uuid, 'req_' || n, 'p', lpad('', 32, '0')::uuid, 0, 1, 200, repeat('r', 300),
       CASE WHEN n % 2 = 1 THEN 'sesn_' || n END, now() + (n % 1000 - 20) * interval '1 s'
  FROM generate_series(1, 100000) n;
-- Files, written without their triggers: each 10th shares its blob with one of the long session.
SET session_replication_role = replica;
INSERT INTO blob (id, size_bytes, sha256, charged_to) SELECT lpad(n::text, 32, '0'), 5, repeat('a', 64), 'org' FROM generate_series(1, 100000) n;
INSERT INTO file (id, organization_id, workspace_id, origin, filename, mime_type, size_bytes, blob_id, downloadable, created_at, expires_at)
SELECT 'file_' || lpad(n::text, 9, '0'), 'org', CASE WHEN n % 2000 = 7 THEN 'wrkspc_small' ELSE 'wrkspc_big' END, 'upload', 'f' || n || '.txt', 'text/plain', 5,
       CASE WHEN n > 50000 THEN lpad(n::text, 32, '0') END, false, now() - (100000 - n) * interval '1 s',
       CASE WHEN n <= 60000 THEN now() - (60000 - n) * interval '1 s' END
  FROM generate_series(1, 100000) n;
INSERT INTO file (id, organization_id, workspace_id, session_id, origin, path, filename, mime_type, size_bytes, blob_id, downloadable, created_at)
SELECT 'file_copy' || n, 'org', 'wrkspc_big', 'sesn_long', 'mount', '/mnt/session/uploads/' || n, 'f.txt', 'text/plain', 5,
       lpad((60000 + n * 10)::text, 32, '0'), false, now() FROM generate_series(1, 500) n;
INSERT INTO blob_drop SELECT lpad(n::text, 32, '0'), now() - interval '1 hour' FROM generate_series(1, 50000) n;
INSERT INTO file_usage SELECT 'org', 5, 1 FROM generate_series(1, 90);
INSERT INTO file_usage SELECT 'org-' || n, 5, 1 FROM generate_series(1, 1000) n;
RESET session_replication_role;
-- A vault for each of many users, one in a hundred archived.
INSERT INTO vault (id, organization_id, workspace_id, body, created_at, updated_at, archived_at)
SELECT 'vlt_' || lpad(n::text, 9, '0'), 'org', CASE WHEN n % 2000 = 7 THEN 'wrkspc_small' ELSE 'wrkspc_big' END, '{"display_name":"v","metadata":{}}', now(), now(),
       CASE WHEN n % 100 = 3 THEN now() END
  FROM generate_series(1, 50000) n;
INSERT INTO credential (id, vault_id, organization_id, workspace_id, type, match_key, secret_version, body, mcp_server_url, created_at, updated_at, archived_at)
SELECT 'vcrd_' || lpad(n::text, 9, '0'), 'vlt_' || lpad((1 + n % 50000)::text, 9, '0'), 'org', 'wrkspc_big', 'static_bearer', 'https://' || n, 1,
       '{"display_name":null,"metadata":{}}', 'https://' || n, now(), now(), CASE WHEN n % 50 = 3 THEN now() END
  FROM generate_series(1, 100000) n;
-- One whose credentials are replaced all the time.
INSERT INTO credential (id, vault_id, organization_id, workspace_id, type, match_key, secret_version, body, mcp_server_url, created_at, updated_at, archived_at)
SELECT 'vcrd_old_' || lpad(n::text, 6, '0'), 'vlt_000000009', 'org', 'wrkspc_big', 'static_bearer', 'https://x', 1,
       '{"display_name":null,"metadata":{}}', 'https://x', now(), now(), now()
  FROM generate_series(1, 5000) n;
INSERT INTO credential_secret (credential_id, slot, version, key_id, sealed) SELECT id, 'token', 1, 'k', '\x00' FROM credential WHERE archived_at IS NULL;
VACUUM (ANALYZE) file;
VACUUM (ANALYZE) session;
VACUUM (ANALYZE) work;
VACUUM (ANALYZE) event_default;
ANALYZE;
