-- A session's own copy of a file: another row on the same blob. The source stays locked against deletion and expiry until the commit,
-- so the blob has a file at every moment. result: ok; missing (no such file in the workspace, or expired). For session_resource_add only.
CREATE OR REPLACE FUNCTION file_copy(p_id text, p_workspace text, p_source text, p_session text, p_path text) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  f file;
BEGIN
  SELECT * INTO f FROM file x WHERE x.workspace_id = p_workspace AND x.id = p_source FOR SHARE;
  IF f.blob_id IS NULL OR f.expires_at <= clock_timestamp() THEN
    RETURN 'missing';
  END IF;
  INSERT INTO file (id, organization_id, workspace_id, session_id, origin, path, filename, mime_type, size_bytes, blob_id, downloadable,
                    created_at)
  VALUES (p_id, f.organization_id, p_workspace, p_session, 'mount', p_path, f.filename, f.mime_type, f.size_bytes, f.blob_id, false,
          clock_timestamp());
  RETURN 'ok';
END $$;
REVOKE ALL ON FUNCTION file_copy FROM PUBLIC;
