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

-- in: workspace, cursor id or NULL, with archived, limit, bytes
-- stmt: vault_list  for: gw
SELECT id, body, created, updated, archived, found FROM (
  SELECT q.*, sum(octet_length(q.body)) OVER w AS bytes, row_number() OVER w AS n, count(*) OVER () AS found FROM (
    SELECT id, body, wire_stamp(created_at) AS created, wire_stamp(updated_at) AS updated, wire_stamp(archived_at) AS archived
      FROM vault
     WHERE workspace_id = $1::text AND ($2::text IS NULL OR id < $2::text) AND ($3::boolean OR archived_at IS NULL)
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

-- Its credentials and their secrets go with it.
-- stmt: vault_delete  for: gw
DELETE FROM vault WHERE workspace_id = $1::text AND id = $2::text;
