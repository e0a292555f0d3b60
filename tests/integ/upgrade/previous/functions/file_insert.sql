-- A new file with a blob of its own, which lies in the store already. p_quota: bytes the organization may have in all; its uploads are
-- let in one after the other, so that the limit is exact, and the one that finds many usage rows folds them.
-- result: ok; again (the blob had a file already, perhaps one that is deleted by now: an output that is offered twice must not come back);
-- quota; suspended; gone (p_session is not there, or not of this workspace). Only ok writes.
CREATE OR REPLACE FUNCTION file_insert(p_id text, p_organization text, p_workspace text, p_session text, p_origin text, p_path text,
    p_filename text, p_mime text, p_downloadable boolean, p_blob text, p_bytes bigint, p_sha256 text, p_expires_s int, p_quota bigint)
  RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  v_now timestamptz := clock_timestamp();
  v_used bigint;
  v_rows bigint;
BEGIN
  IF NOT EXISTS (SELECT FROM organization o WHERE o.id = p_organization AND o.state = 'active') THEN
    RETURN 'suspended';
  END IF;
  IF p_session IS NOT NULL THEN
    PERFORM FROM session s WHERE s.id = p_session AND s.workspace_id = p_workspace FOR KEY SHARE;
    IF NOT FOUND THEN
      RETURN 'gone';
    END IF;
  END IF;
  IF EXISTS (SELECT FROM blob b WHERE b.id = p_blob) THEN
    RETURN 'again';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('file_usage ' || p_organization, 0));
  SELECT coalesce(sum(u.bytes), 0), count(*) INTO v_used, v_rows FROM file_usage u WHERE u.organization_id = p_organization;
  IF v_used + p_bytes > p_quota THEN
    RETURN 'quota';
  END IF;
  IF v_rows > 50 THEN
    WITH gone AS (DELETE FROM file_usage u WHERE u.organization_id = p_organization RETURNING u.bytes, u.files)
    INSERT INTO file_usage SELECT p_organization, sum(g.bytes), sum(g.files) FROM gone g HAVING count(*) > 0;
  END IF;
  INSERT INTO blob (id, size_bytes, sha256, charged_to) VALUES (p_blob, p_bytes, p_sha256, p_organization);
  INSERT INTO file_usage VALUES (p_organization, p_bytes, 1);
  INSERT INTO file (id, organization_id, workspace_id, session_id, origin, path, filename, mime_type, size_bytes, blob_id, downloadable,
                    created_at, expires_at)
  VALUES (p_id, p_organization, p_workspace, p_session, p_origin, p_path, p_filename, p_mime, p_bytes, p_blob, p_downloadable,
          v_now, v_now + make_interval(secs => p_expires_s));
  RETURN 'ok';
END $$;
REVOKE ALL ON FUNCTION file_insert FROM PUBLIC;
GRANT EXECUTE ON FUNCTION file_insert TO roost_gw, roost_worker;
