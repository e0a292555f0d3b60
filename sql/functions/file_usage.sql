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

-- One row per organization again, of those that have many. Rows that others are folding are left to them. Uploads fold their own
-- organization's rows (file_insert); this is for gateways of the release before.
CREATE OR REPLACE FUNCTION file_usage_fold(p_many int) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  WITH many AS (SELECT organization_id FROM file_usage GROUP BY 1 HAVING count(*) > p_many LIMIT 10),
       gone AS (DELETE FROM file_usage u WHERE u.ctid = ANY (ARRAY(
           SELECT x.ctid FROM file_usage x JOIN many USING (organization_id) FOR UPDATE OF x SKIP LOCKED)) RETURNING u.*)
  INSERT INTO file_usage SELECT organization_id, sum(bytes), sum(files) FROM gone GROUP BY 1
$$;
REVOKE ALL ON FUNCTION file_usage_fold FROM PUBLIC;
GRANT EXECUTE ON FUNCTION file_usage_fold TO roost_gw;
