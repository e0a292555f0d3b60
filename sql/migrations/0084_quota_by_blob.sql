-- What counts towards an organization's quota is its blobs, not its files: a mounted copy is free beside the upload it was made from, but
-- keeps counting when that is deleted, or an upload could be attached and deleted over and over. A blob is charged with its first file and
-- released with its last: by the statement that takes that one away, or, when two took the last two at the same time and each saw the
-- other's, by the sweep.
ALTER TABLE blob ADD COLUMN charged_to text;          -- organization; NULL: released
UPDATE blob b SET charged_to = f.organization_id FROM file f WHERE f.blob_id = b.id;
DELETE FROM file_usage;
INSERT INTO file_usage SELECT charged_to, sum(size_bytes), count(*) FROM blob WHERE charged_to IS NOT NULL GROUP BY 1;

CREATE FUNCTION blob_release(p_id text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  b blob;
BEGIN
  SELECT * INTO b FROM blob x WHERE x.id = p_id AND x.charged_to IS NOT NULL FOR NO KEY UPDATE;
  IF FOUND THEN
    UPDATE blob x SET charged_to = NULL WHERE x.id = p_id;
    INSERT INTO file_usage VALUES (b.charged_to, -b.size_bytes, -1);
  END IF;
END $$;
REVOKE ALL ON FUNCTION blob_release FROM PUBLIC;

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
DROP TRIGGER file_changed ON file;
CREATE TRIGGER file_changed AFTER DELETE OR UPDATE OF blob_id ON file FOR EACH ROW EXECUTE FUNCTION file_changed();

-- Doom blobs whose last claim ended p_grace_s ago (a download that was let in may still be opening it) and name those to remove. A blob
-- that is locked is being copied or looked at by another sweep: later. A copy holds its blob's row until its commit, so the look for
-- files, which comes after the lock, sees it.
CREATE OR REPLACE FUNCTION blob_sweep(p_limit int, p_grace_s int) RETURNS TABLE (id text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_ids text[];
  v_id text;
BEGIN
  WITH gone AS (DELETE FROM blob_drop d WHERE d.ctid = ANY (ARRAY(
      SELECT x.ctid FROM blob_drop x WHERE x.dropped_at <= clock_timestamp() - make_interval(secs => p_grace_s)
       ORDER BY x.dropped_at LIMIT p_limit FOR UPDATE SKIP LOCKED)) RETURNING d.blob_id)
  SELECT array_agg(DISTINCT g.blob_id) INTO v_ids FROM gone g;
  FOREACH v_id IN ARRAY coalesce(v_ids, '{}') LOOP
    PERFORM FROM blob b WHERE b.id = v_id FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
      INSERT INTO blob_drop (blob_id) SELECT b.id FROM blob b WHERE b.id = v_id;
    ELSIF NOT EXISTS (SELECT FROM file f WHERE f.blob_id = v_id) THEN
      PERFORM blob_release(v_id);
      UPDATE blob b SET doomed_at = clock_timestamp() WHERE b.id = v_id;
    END IF;
  END LOOP;
  RETURN QUERY SELECT b.id FROM blob b WHERE b.doomed_at IS NOT NULL ORDER BY b.doomed_at LIMIT p_limit;
END $$;

-- A new file with a blob of its own, which lies in the store already. p_quota: bytes the organization may have in all; its uploads are
-- let in one after the other, so that the limit is exact.
-- result: ok; again (the blob had a file already, perhaps one that is deleted by now); quota; suspended; gone (p_session is not there, or
-- not of this workspace). Only ok writes.
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
