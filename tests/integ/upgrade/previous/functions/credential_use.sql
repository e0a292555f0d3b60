-- Validations of credentials, which gateways let in and roost-vault opens credentials for. roost-vault has no right on any table: what it
-- may see and change is what these give and take. Locks are taken in the order credential, credential_secret, credential_lease.

-- A validation is let in: at most p_max of an organization at a time, on all gateways together. One that was never ended counts for a
-- minute. result: ok, full
CREATE OR REPLACE FUNCTION credential_probe_begin(p_id text, p_organization text, p_workspace text, p_vault text, p_credential text,
    p_asked_by text, p_max int) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  v_now timestamptz := clock_timestamp();
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('credential_probe ' || p_organization, 0));
  IF (SELECT count(*) FROM credential_probe p WHERE p.organization_id = p_organization AND p.created_at > v_now - interval '1 minute'
         AND p.ended_at IS NULL) >= p_max THEN
    RETURN 'full';
  END IF;
  -- The audit is credential_use; these are only needed while they are young.
  DELETE FROM credential_probe p WHERE p.id IN (SELECT o.id FROM credential_probe o WHERE o.organization_id = p_organization
                                                   AND o.created_at < v_now - interval '30 days' ORDER BY o.created_at LIMIT 20);
  INSERT INTO credential_probe (id, organization_id, workspace_id, vault_id, credential_id, asked_by, created_at)
  VALUES (p_id, p_organization, p_workspace, p_vault, p_credential, p_asked_by, v_now);
  RETURN 'ok';
END $$;
REVOKE ALL ON FUNCTION credential_probe_begin FROM PUBLIC;
GRANT EXECUTE ON FUNCTION credential_probe_begin TO roost_gw;

CREATE OR REPLACE FUNCTION credential_probe_end(p_id text, p_status text) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  UPDATE credential_probe SET ended_at = clock_timestamp(), status = p_status WHERE id = p_id AND ended_at IS NULL
$$;
REVOKE ALL ON FUNCTION credential_probe_end FROM PUBLIC;
GRANT EXECUTE ON FUNCTION credential_probe_end TO roost_gw;

-- The credential that a probe is about, if it is where it was when that was let in. p_under_way: and the probe is young and has not ended.
CREATE OR REPLACE FUNCTION credential_probed(p_probe text, p_under_way boolean) RETURNS text
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT c.id
    FROM credential_probe p
    JOIN credential c ON c.id = p.credential_id AND c.vault_id = p.vault_id AND c.workspace_id = p.workspace_id
                     AND c.organization_id = p.organization_id
   WHERE p.id = p_probe AND (NOT p_under_way OR (p.ended_at IS NULL AND p.created_at > clock_timestamp() - interval '1 minute'))
$$;
REVOKE ALL ON FUNCTION credential_probed FROM PUBLIC;

-- The access token of a young probe's credential, with what it is bound to and what a refresh needs to know. No row: there is no such probe,
-- or the credential has gone or been archived since. version NULL: no token is stored.
CREATE OR REPLACE FUNCTION credential_release(p_probe text)
  RETURNS TABLE (organization_id text, vault_id text, credential_id text, type text, mcp_server_url text, token_endpoint text, client_id text,
    endpoint_auth text, refresh_scope text, refresh_resource text, has_refresh boolean, version bigint, sealed bytea)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
#variable_conflict use_column
DECLARE
  v record;
BEGIN
  SELECT c.*, s.version AS s_version, s.sealed AS s_sealed,
         EXISTS (SELECT FROM credential_secret r WHERE r.credential_id = c.id AND r.slot = 'refresh_token') AS s_refresh
    INTO v
    FROM credential c LEFT JOIN credential_secret s ON s.credential_id = c.id AND s.slot = 'access_token'
   WHERE c.id = credential_probed(p_probe, true) AND c.archived_at IS NULL AND c.type = 'mcp_oauth';
  IF NOT FOUND THEN
    RETURN;
  END IF;
  INSERT INTO credential_use (organization_id, workspace_id, vault_id, credential_id, deed, slots, probe_id)
  VALUES (v.organization_id, v.workspace_id, v.vault_id, v.id, 'release',
          CASE WHEN v.s_version IS NULL THEN '{}' ELSE '{access_token}' END::text[], p_probe);
  RETURN QUERY SELECT v.organization_id, v.vault_id, v.id, v.type, v.mcp_server_url, v.token_endpoint, v.client_id, v.endpoint_auth,
    v.refresh_scope, v.refresh_resource, v.s_refresh, v.s_version, v.s_sealed;
END $$;
REVOKE ALL ON FUNCTION credential_release FROM PUBLIC;
GRANT EXECUTE ON FUNCTION credential_release TO roost_vault;

-- Who was refused with the access token of version p_seen asks for what refreshes it.
-- state: go (the boxes follow, and the lease is p_owner's for p_lease_ms) · changed (there is another access token by now) · busy (somebody
-- else is at it) · none (no refresh token) · gone
CREATE OR REPLACE FUNCTION credential_refresh_begin(p_probe text, p_owner text, p_seen bigint, p_lease_ms int)
  RETURNS TABLE (state text, refresh_version bigint, refresh_sealed bytea, client_version bigint, client_sealed bytea)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
#variable_conflict use_column
DECLARE
  v record;
  v_refresh record;
  v_client record;
  v_now timestamptz := clock_timestamp();
BEGIN
  SELECT c.id, c.organization_id, c.workspace_id, c.vault_id INTO v
    FROM credential c WHERE c.id = credential_probed(p_probe, true) AND c.archived_at IS NULL FOR UPDATE;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 'gone', NULL::bigint, NULL::bytea, NULL::bigint, NULL::bytea;
    RETURN;
  END IF;
  IF NOT EXISTS (SELECT FROM credential_secret s WHERE s.credential_id = v.id AND s.slot = 'access_token' AND s.version = p_seen) THEN
    RETURN QUERY SELECT 'changed', NULL::bigint, NULL::bytea, NULL::bigint, NULL::bytea;
    RETURN;
  END IF;
  SELECT s.version, s.sealed INTO v_refresh FROM credential_secret s WHERE s.credential_id = v.id AND s.slot = 'refresh_token';
  IF NOT FOUND THEN
    RETURN QUERY SELECT 'none', NULL::bigint, NULL::bytea, NULL::bigint, NULL::bytea;
    RETURN;
  END IF;
  INSERT INTO credential_lease AS l (credential_id, owner, until) VALUES (v.id, p_owner, v_now + p_lease_ms * interval '1 millisecond')
  ON CONFLICT (credential_id) DO UPDATE SET owner = excluded.owner, until = excluded.until WHERE l.until < v_now;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 'busy', NULL::bigint, NULL::bytea, NULL::bigint, NULL::bytea;
    RETURN;
  END IF;
  SELECT s.version, s.sealed INTO v_client FROM credential_secret s WHERE s.credential_id = v.id AND s.slot = 'client_secret';
  INSERT INTO credential_use (organization_id, workspace_id, vault_id, credential_id, deed, slots, probe_id)
  VALUES (v.organization_id, v.workspace_id, v.vault_id, v.id, 'refresh',
          CASE WHEN v_client.version IS NULL THEN '{refresh_token}' ELSE '{refresh_token,client_secret}' END::text[], p_probe);
  RETURN QUERY SELECT 'go', v_refresh.version, v_refresh.sealed, v_client.version, v_client.sealed;
END $$;
REVOKE ALL ON FUNCTION credential_refresh_begin FROM PUBLIC;
GRANT EXECUTE ON FUNCTION credential_refresh_begin TO roost_vault;

-- What came back. p_base: the credential's secret_version that p_access (as p_base + 1) and p_refresh (p_base + 2, NULL: the old one stays)
-- are sealed for. p_seen, p_used: the versions that were refreshed and used: what the customer wrote meanwhile wins.
-- state: stored · moved (seal again for this base) · changed (the customer's stay, these are dropped) · gone
CREATE OR REPLACE FUNCTION credential_refresh_store(p_probe text, p_owner text, p_seen bigint, p_used bigint, p_base bigint, p_key_id text,
    p_access bytea, p_refresh bytea, p_expires_s bigint) RETURNS TABLE (state text, base bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
#variable_conflict use_column
DECLARE
  v record;
  v_now timestamptz := clock_timestamp();
BEGIN
  SELECT c.id, c.organization_id, c.workspace_id, c.vault_id, c.secret_version INTO v
    FROM credential c WHERE c.id = credential_probed(p_probe, false) AND c.archived_at IS NULL FOR UPDATE;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 'gone', NULL::bigint;
    RETURN;
  END IF;
  IF NOT EXISTS (SELECT FROM credential_secret s WHERE s.credential_id = v.id AND s.slot = 'access_token' AND s.version = p_seen)
     OR NOT EXISTS (SELECT FROM credential_secret s WHERE s.credential_id = v.id AND s.slot = 'refresh_token' AND s.version = p_used)
     OR NOT EXISTS (SELECT FROM credential_lease l WHERE l.credential_id = v.id AND l.owner = p_owner) THEN
    RETURN QUERY SELECT 'changed', NULL::bigint;
    RETURN;
  END IF;
  IF v.secret_version <> p_base THEN
    RETURN QUERY SELECT 'moved', v.secret_version;
    RETURN;
  END IF;
  UPDATE credential SET secret_version = p_base + 2, expires_at = v_now + p_expires_s * interval '1 second' WHERE id = v.id;
  UPDATE credential_secret SET version = p_base + 1, key_id = p_key_id, sealed = p_access, written_at = v_now
   WHERE credential_id = v.id AND slot = 'access_token';
  IF p_refresh IS NOT NULL THEN
    UPDATE credential_secret SET version = p_base + 2, key_id = p_key_id, sealed = p_refresh, written_at = v_now
     WHERE credential_id = v.id AND slot = 'refresh_token';
  END IF;
  DELETE FROM credential_lease l WHERE l.credential_id = v.id AND l.owner = p_owner;
  INSERT INTO credential_use (organization_id, workspace_id, vault_id, credential_id, deed, slots, probe_id)
  VALUES (v.organization_id, v.workspace_id, v.vault_id, v.id, 'store',
          CASE WHEN p_refresh IS NULL THEN '{access_token}' ELSE '{access_token,refresh_token}' END::text[], p_probe);
  RETURN QUERY SELECT 'stored', p_base + 2;
END $$;
REVOKE ALL ON FUNCTION credential_refresh_store FROM PUBLIC;
GRANT EXECUTE ON FUNCTION credential_refresh_store TO roost_vault;

-- It came to nothing.
CREATE OR REPLACE FUNCTION credential_refresh_end(p_owner text) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  DELETE FROM credential_lease WHERE owner = p_owner
$$;
REVOKE ALL ON FUNCTION credential_refresh_end FROM PUBLIC;
GRANT EXECUTE ON FUNCTION credential_refresh_end TO roost_vault;

-- Boxes that another key than the current one opens, from a position on, with what they are bound to.
CREATE OR REPLACE FUNCTION credential_old(p_key_id text, p_credential text, p_slot text, p_limit int)
  RETURNS TABLE (organization_id text, vault_id text, credential_id text, type text, slot text, version bigint, secret_name text,
    mcp_server_url text, token_endpoint text, client_id text, key_id text, sealed bytea)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT c.organization_id, c.vault_id, c.id, c.type, s.slot, s.version, c.secret_name, c.mcp_server_url, c.token_endpoint, c.client_id,
         s.key_id, s.sealed
    FROM credential_secret s JOIN credential c ON c.id = s.credential_id
   WHERE s.key_id <> p_key_id AND (s.credential_id, s.slot) > (p_credential, p_slot)
   ORDER BY s.credential_id, s.slot LIMIT p_limit
$$;
REVOKE ALL ON FUNCTION credential_old FROM PUBLIC;
GRANT EXECUTE ON FUNCTION credential_old TO roost_vault;

-- The same secret in another box. false: it was written anew, archived or deleted meanwhile.
CREATE OR REPLACE FUNCTION credential_reseal(p_credential text, p_slot text, p_version bigint, p_old_key text, p_key_id text, p_sealed bytea)
  RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  v record;
BEGIN
  SELECT c.organization_id, c.workspace_id, c.vault_id, c.id INTO v FROM credential c WHERE c.id = p_credential FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  UPDATE credential_secret s SET key_id = p_key_id, sealed = p_sealed
   WHERE s.credential_id = p_credential AND s.slot = p_slot AND s.version = p_version AND s.key_id = p_old_key;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO credential_use (organization_id, workspace_id, vault_id, credential_id, deed, slots)
  VALUES (v.organization_id, v.workspace_id, v.vault_id, v.id, 'reseal', ARRAY[p_slot]);
  RETURN true;
END $$;
REVOKE ALL ON FUNCTION credential_reseal FROM PUBLIC;
GRANT EXECUTE ON FUNCTION credential_reseal TO roost_vault;
