-- A file's claim on its blob ends with the row or with its expiry. The statement that takes the last claim away releases the blob; when two
-- took the last two at the same time and each saw the other's, the sweep does.
CREATE OR REPLACE FUNCTION file_changed() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  IF OLD.blob_id IS NOT NULL AND (TG_OP = 'DELETE' OR NEW.blob_id IS NULL) THEN
    INSERT INTO blob_drop (blob_id) VALUES (OLD.blob_id);
    IF NOT EXISTS (SELECT FROM file f WHERE f.blob_id = OLD.blob_id) THEN
      PERFORM blob_release(OLD.blob_id);
    END IF;
  END IF;
  RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION file_changed FROM PUBLIC;

-- What an organization stores.
CREATE OR REPLACE FUNCTION file_bytes_used(p_organization text) RETURNS bigint
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
  AS $$ SELECT coalesce(sum(bytes), 0)::bigint FROM file_usage WHERE organization_id = p_organization $$;
REVOKE ALL ON FUNCTION file_bytes_used FROM PUBLIC;
GRANT EXECUTE ON FUNCTION file_bytes_used TO roost_gw;
