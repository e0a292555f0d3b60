-- What the gateway does to vaults beyond reading them. Locks are taken in the order vault, credential, credential_secret.

-- A vault ends: so do its credentials, and their secrets are gone. Twice is once.
CREATE OR REPLACE FUNCTION vault_archive(p_workspace text, p_vault text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  v_now timestamptz := clock_timestamp();
BEGIN
  UPDATE vault SET archived_at = v_now, updated_at = v_now WHERE workspace_id = p_workspace AND id = p_vault AND archived_at IS NULL;
  IF FOUND THEN
    UPDATE credential SET archived_at = v_now, updated_at = v_now WHERE vault_id = p_vault AND archived_at IS NULL;
    DELETE FROM credential_secret s USING credential c WHERE c.vault_id = p_vault AND s.credential_id = c.id;
  END IF;
END $$;
REVOKE ALL ON FUNCTION vault_archive FROM PUBLIC;
GRANT EXECUTE ON FUNCTION vault_archive TO roost_gw;

-- What may be shown of a credential, in the wire's forms. It names no secret.
CREATE OR REPLACE VIEW credential_shown AS
SELECT c.workspace_id, c.vault_id, c.id, c.type, c.body, wire_stamp(c.created_at) AS created, wire_stamp(c.updated_at) AS updated,
       wire_stamp(c.archived_at) AS archived, c.mcp_server_url, us(c.expires_at) AS expires_us, wire_stamp(c.expires_at) AS expires,
       c.token_endpoint, c.client_id, c.endpoint_auth, c.refresh_scope, c.refresh_resource, c.secret_name,
       array_to_json(c.allowed_hosts)::text AS allowed_hosts, c.inject_header, c.inject_body, c.secret_version
  FROM credential c;
GRANT SELECT ON credential_shown TO roost_gw;

-- The boxes of a credential whose row the caller has locked or just made. For the functions below only.
CREATE OR REPLACE FUNCTION credential_seal(p_id text, p_version bigint, p_slots text[], p_key_ids text[], p_sealed bytea[]) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  INSERT INTO credential_secret (credential_id, slot, version, key_id, sealed)
  SELECT p_id, u.slot, p_version, u.key_id, u.sealed FROM unnest(p_slots, p_key_ids, p_sealed) u (slot, key_id, sealed)
  ON CONFLICT (credential_id, slot) DO UPDATE
     SET version = excluded.version, key_id = excluded.key_id, sealed = excluded.sealed, written_at = clock_timestamp()
$$;
REVOKE ALL ON FUNCTION credential_seal FROM PUBLIC;

-- A new credential with its secrets, version 1. The vault's row lets creates in one by one, so that p_most is exact.
-- result: ok; gone (no such vault); suspended; archived; taken (an active credential has the key); full. Only ok writes.
CREATE OR REPLACE FUNCTION credential_insert(p_workspace text, p_vault text, p_id text, p_type text, p_match_key text, p_body text,
    p_mcp_server_url text, p_expires_us bigint, p_token_endpoint text, p_client_id text, p_endpoint_auth text, p_refresh_scope text,
    p_refresh_resource text, p_secret_name text, p_allowed_hosts text[], p_inject_header boolean, p_inject_body boolean,
    p_slots text[], p_key_ids text[], p_sealed bytea[], p_most int) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  v vault;
  v_now timestamptz;
BEGIN
  SELECT * INTO v FROM vault x WHERE x.workspace_id = p_workspace AND x.id = p_vault FOR NO KEY UPDATE;
  IF v.id IS NULL THEN
    RETURN 'gone';
  ELSIF NOT EXISTS (SELECT FROM organization o WHERE o.id = v.organization_id AND o.state = 'active') THEN
    RETURN 'suspended';
  ELSIF v.archived_at IS NOT NULL THEN
    RETURN 'archived';
  ELSIF EXISTS (SELECT FROM credential c WHERE c.vault_id = p_vault AND c.match_key = p_match_key AND c.archived_at IS NULL) THEN
    RETURN 'taken';
  ELSIF (SELECT count(*) FROM credential c WHERE c.vault_id = p_vault AND c.archived_at IS NULL) >= p_most THEN
    RETURN 'full';
  END IF;
  v_now := clock_timestamp();
  INSERT INTO credential (id, vault_id, organization_id, workspace_id, type, match_key, secret_version, body, mcp_server_url, expires_at,
                          token_endpoint, client_id, endpoint_auth, refresh_scope, refresh_resource, secret_name, allowed_hosts,
                          inject_header, inject_body, created_at, updated_at)
  VALUES (p_id, p_vault, v.organization_id, p_workspace, p_type, p_match_key, 1, p_body, p_mcp_server_url, stamp(p_expires_us),
          p_token_endpoint, p_client_id, p_endpoint_auth, p_refresh_scope, p_refresh_resource, p_secret_name, p_allowed_hosts,
          p_inject_header, p_inject_body, v_now, v_now);
  PERFORM credential_seal(p_id, 1, p_slots, p_key_ids, p_sealed);
  RETURN 'ok';
END $$;

-- Lock a credential to change it: the state of its organization, or NULL when it is not there. It is read by the next statement.
CREATE OR REPLACE FUNCTION credential_lock(p_workspace text, p_vault text, p_id text) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  v_state text;
BEGIN
  SELECT o.state INTO v_state FROM credential c JOIN organization o ON o.id = c.organization_id
   WHERE c.workspace_id = p_workspace AND c.vault_id = p_vault AND c.id = p_id FOR NO KEY UPDATE OF c;
  RETURN v_state;
END $$;

-- Change a credential that the caller has locked. With secrets, p_version is the next one: they were sealed for it. False: it is not there,
-- is archived, or another version is the next.
CREATE OR REPLACE FUNCTION credential_put(p_workspace text, p_vault text, p_id text, p_version bigint, p_body text, p_expires_us bigint,
    p_refresh_scope text, p_allowed_hosts text[], p_inject_header boolean, p_inject_body boolean, p_slots text[], p_key_ids text[],
    p_sealed bytea[]) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
BEGIN
  UPDATE credential c
     SET body = p_body, expires_at = stamp(p_expires_us), refresh_scope = p_refresh_scope, allowed_hosts = p_allowed_hosts,
         inject_header = p_inject_header, inject_body = p_inject_body, secret_version = p_version, updated_at = clock_timestamp()
   WHERE c.workspace_id = p_workspace AND c.vault_id = p_vault AND c.id = p_id AND c.archived_at IS NULL
     AND c.secret_version + (cardinality(p_slots) > 0)::int = p_version;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM credential_seal(p_id, p_version, p_slots, p_key_ids, p_sealed);
  RETURN true;
END $$;

-- A credential ends: its secrets are gone, its key is free again, the row stays. Twice is once. Within a transaction that has locked it.
CREATE OR REPLACE FUNCTION credential_archive(p_workspace text, p_vault text, p_id text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  v_now timestamptz := clock_timestamp();
BEGIN
  UPDATE credential c SET archived_at = v_now, updated_at = v_now
   WHERE c.workspace_id = p_workspace AND c.vault_id = p_vault AND c.id = p_id AND c.archived_at IS NULL;
  IF FOUND THEN
    DELETE FROM credential_secret s WHERE s.credential_id = p_id;
  END IF;
END $$;
REVOKE ALL ON FUNCTION credential_insert, credential_lock, credential_put, credential_archive FROM PUBLIC;
GRANT EXECUTE ON FUNCTION credential_insert, credential_lock, credential_put, credential_archive TO roost_gw;
