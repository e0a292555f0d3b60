-- Validations, and what roost-vault does with credentials (sql/functions/credential_use.sql).

-- in: request, organization, workspace, vault, credential, key, how many at a time
-- stmt: credential_probe_begin  for: gw
SELECT credential_probe_begin($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::int);

-- stmt: credential_probe_end  for: gw
SELECT credential_probe_end($1::text, $2::text);

-- stmt: credential_release  for: vault
SELECT * FROM credential_release($1::text);

-- in: probe, owner, version of the access token that was refused, milliseconds
-- stmt: credential_refresh_begin  for: vault
SELECT * FROM credential_refresh_begin($1::text, $2::text, $3::bigint, $4::int);

-- in: probe, owner, version refreshed, version used, base, key, access token, refresh token or NULL, seconds or NULL
-- stmt: credential_refresh_store  for: vault
SELECT * FROM credential_refresh_store($1::text, $2::text, $3::bigint, $4::bigint, $5::bigint, $6::text, $7::bytea, $8::bytea, $9::bigint);

-- stmt: credential_refresh_end  for: vault
SELECT credential_refresh_end($1::text);

-- in: current key, position (credential, slot), how many
-- stmt: credential_old  for: vault
SELECT * FROM credential_old($1::text, $2::text, $3::text, $4::int);

-- in: credential, slot, version, old key, new key, box
-- stmt: credential_reseal  for: vault
SELECT credential_reseal($1::text, $2::text, $3::bigint, $4::text, $5::text, $6::bytea);

-- The last openings of an organization's credentials, or of one. in: organization, credential or NULL
-- stmt: credential_uses  for: admin replan
SELECT wire_stamp(u.at), u.deed, array_to_string(u.slots, ','), u.credential_id, u.vault_id, p.asked_by, u.probe_id
  FROM credential_use u LEFT JOIN credential_probe p ON p.id = u.probe_id
 WHERE u.organization_id = $1::text AND ($2::text IS NULL OR u.credential_id = $2::text)
 ORDER BY u.id DESC LIMIT 200;

-- How many secrets each key opens.
-- stmt: credential_keys  for: admin
SELECT key_id, count(*) FROM credential_secret GROUP BY key_id;
