-- Vaults and credentials (contract 2.4, 7). The functions are in sql/functions/vault.sql. No statement here reads a secret, sealed or not.

-- No row: the organization is suspended. in: workspace, organization, id, body
-- stmt: vault_insert  for: gw
INSERT INTO vault (id, organization_id, workspace_id, body, created_at, updated_at)
SELECT $3::text, o.id, $1::text, $4::text, t, t
  FROM organization o, clock_timestamp() t WHERE o.id = $2::text AND o.state = 'active'
RETURNING id, body, wire_stamp(created_at), wire_stamp(updated_at), wire_stamp(archived_at);

-- stmt: vault_get  for: gw
SELECT id, body, wire_stamp(created_at), wire_stamp(updated_at), wire_stamp(archived_at)
  FROM vault WHERE workspace_id = $1::text AND id = $2::text;

-- A cursor that is behind every id stands for none: a bound of the index whatever the value, so that one plan does for all calls.
-- in: workspace, cursor id or NULL, with archived, limit, bytes
-- stmt: vault_list  for: gw
SELECT id, body, created, updated, archived, found FROM (
  SELECT q.*, sum(octet_length(q.body)) OVER w AS bytes, row_number() OVER w AS n, count(*) OVER () AS found FROM (
    SELECT id, body, wire_stamp(created_at) AS created, wire_stamp(updated_at) AS updated, wire_stamp(archived_at) AS archived
      FROM vault
     WHERE workspace_id = $1::text AND id < coalesce($2::text, '~') AND ($3::boolean OR archived_at IS NULL)
     ORDER BY id DESC LIMIT $4::int + 1) q
  WINDOW w AS (ORDER BY q.id DESC)) p
 WHERE n = 1 OR (n <= $4::int AND bytes <= $5::bigint) ORDER BY id DESC;

-- stmt: vault_lock  for: gw
SELECT v.body, v.archived_at IS NOT NULL, o.state
  FROM vault v JOIN organization o ON o.id = v.organization_id
 WHERE v.workspace_id = $1::text AND v.id = $2::text FOR UPDATE OF v;

-- in: workspace, id, body
-- stmt: vault_put  for: gw
UPDATE vault SET body = $3::text, updated_at = clock_timestamp() WHERE workspace_id = $1::text AND id = $2::text;

-- stmt: vault_archive  for: gw
SELECT vault_archive($1::text, $2::text);

-- What was answered about a vault and its credentials is not shown again.
-- stmt: vault_forget  for: gw
SELECT request_forget(x.id) FROM (
  SELECT v.id FROM vault v WHERE v.workspace_id = $1::text AND v.id = $2::text
  UNION ALL
  SELECT c.id FROM credential c WHERE c.workspace_id = $1::text AND c.vault_id = $2::text) x;

-- Its credentials and their secrets go with it.
-- stmt: vault_delete  for: gw
DELETE FROM vault WHERE workspace_id = $1::text AND id = $2::text;

-- in: workspace, vault, id, type, key, body; url, expiry (microseconds), token endpoint, client, its kind, scope, resource; name, hosts (a JSON
--     list or NULL), in headers, in bodies; slots, key ids, boxes; the most
-- stmt: credential_insert  for: gw
SELECT credential_insert($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::bigint, $9::text, $10::text, $11::text,
  $12::text, $13::text, $14::text, CASE WHEN $15::text IS NOT NULL THEN ARRAY(SELECT json_array_elements_text($15::json)) END, $16::boolean,
  $17::boolean, $18::text[], $19::text[], $20::bytea[], $21::int);

-- stmt: credential_get  for: gw
SELECT id, vault_id, type, body, created, updated, archived, mcp_server_url, expires_us, expires, token_endpoint, client_id, endpoint_auth,
       refresh_scope, refresh_resource, secret_name, allowed_hosts, inject_header, inject_body, secret_version
  FROM credential_shown WHERE workspace_id = $1::text AND vault_id = $2::text AND id = $3::text;

-- in: workspace, vault, cursor id or NULL, with archived, limit, bytes
-- stmt: credential_list  for: gw
SELECT p.id, vault_id, type, body, created, updated, archived, mcp_server_url, expires_us, expires, token_endpoint, client_id, endpoint_auth,
       refresh_scope, refresh_resource, secret_name, allowed_hosts, inject_header, inject_body, secret_version, found FROM (
  SELECT q.*, sum(octet_length(q.body) + coalesce(octet_length(q.allowed_hosts), 0)) OVER w AS bytes, row_number() OVER w AS n,
         count(*) OVER () AS found FROM (
    SELECT * FROM credential_shown
     WHERE workspace_id = $1::text AND vault_id = $2::text AND id < coalesce($3::text, '~') AND ($4::boolean OR archived IS NULL)
     ORDER BY id DESC LIMIT $5::int + 1) q
  WINDOW w AS (ORDER BY q.id DESC)) p
 WHERE n = 1 OR (n <= $5::int AND bytes <= $6::bigint) ORDER BY p.id DESC;

-- Within a transaction. in: workspace, vault, id
-- stmt: credential_lock  for: gw
SELECT credential_lock($1::text, $2::text, $3::text);

-- in: workspace, vault, id, version, body, expiry (microseconds), scope, hosts (a JSON list or NULL), in headers, in bodies; slots, key ids, boxes
-- stmt: credential_put  for: gw
SELECT credential_put($1::text, $2::text, $3::text, $4::bigint, $5::text, $6::bigint, $7::text,
  CASE WHEN $8::text IS NOT NULL THEN ARRAY(SELECT json_array_elements_text($8::json)) END, $9::boolean, $10::boolean, $11::text[], $12::text[],
  $13::bytea[]);

-- stmt: credential_archive  for: gw
SELECT credential_archive($1::text, $2::text, $3::text);

-- stmt: credential_delete  for: gw
DELETE FROM credential WHERE workspace_id = $1::text AND vault_id = $2::text AND id = $3::text;
