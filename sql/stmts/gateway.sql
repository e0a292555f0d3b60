-- What the gateway reads and writes, sessions and their events aside (gateway_session.sql). Times travel as RFC 3339 text in the
-- contract's form; every statement on tenant data binds the workspace first.

-- stmt: tenant_key_get  for: gw stream
-- in: public id     rows: 0..1     The row's hash decides; a key of an archived workspace is no key.
SELECT k.id, k.organization_id, k.workspace_id, k.secret_hash,
       (extract(epoch FROM k.expires_at - clock_timestamp()) * 1000)::bigint, o.state <> 'active'
  FROM api_key k
  JOIN organization o ON o.id = k.organization_id
  LEFT JOIN workspace w ON w.id = k.workspace_id
 WHERE k.public_id = $1::text AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
   AND w.archived_at IS NULL;
