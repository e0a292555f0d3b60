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
