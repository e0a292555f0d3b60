-- An output that lies in the store becomes a file of its session, once: by its blob, and by its content when that is the newest of its
-- path (a sandbox that was made anew wrote it again). result: ok; again (it has a row already: nothing to do); same (nothing was written,
-- the blob is of no use); full (the session has p_most); or what file_insert says.
CREATE OR REPLACE FUNCTION session_output_put(p_id text, p_session text, p_path text, p_filename text, p_mime text, p_blob text,
    p_bytes bigint, p_sha256 text, p_quota bigint, p_most int) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  s session;
  v_last text;
BEGIN
  SELECT * INTO s FROM session x WHERE x.id = p_session FOR NO KEY UPDATE;
  IF s.id IS NULL THEN
    RETURN 'gone';
  ELSIF EXISTS (SELECT FROM file f WHERE f.session_id = p_session AND f.blob_id = p_blob) THEN
    RETURN 'again';
  END IF;
  SELECT b.sha256 INTO v_last FROM file f JOIN blob b ON b.id = f.blob_id
   WHERE f.session_id = p_session AND f.origin = 'output' AND f.path = p_path ORDER BY f.id DESC LIMIT 1;
  IF v_last = p_sha256 THEN
    RETURN 'same';
  ELSIF (SELECT count(*) FROM file f WHERE f.session_id = p_session AND f.origin = 'output') >= p_most THEN
    RETURN 'full';
  END IF;
  RETURN file_insert(p_id, s.organization_id, s.workspace_id, p_session, 'output', p_path, p_filename, p_mime, true, p_blob, p_bytes,
                     p_sha256, NULL, p_quota);
END $$;
REVOKE ALL ON FUNCTION session_output_put FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_output_put TO roost_worker;
