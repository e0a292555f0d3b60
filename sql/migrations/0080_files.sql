-- Files: uploads, the copies that sessions mount, what sessions put out; and the blobs that hold their bytes.
--
-- A blob is an immutable file of the blob store (lib/base/blob.h), written, synced and in its place before its row is committed. Many
-- file rows may share one. Deleting or expiring a file drops its claim on the blob; who sweeps dooms a blob that no file names any more,
-- removes its bytes, then its row: a crash in between leaves a doomed row, which is found again. Bytes without any row (a crash before
-- the commit) are found by comparing the folders with this table.

CREATE TABLE blob (
  id          text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{32}$'),
  size_bytes  bigint NOT NULL CHECK (size_bytes >= 0),
  sha256      text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
  created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  doomed_at   timestamptz                             -- no file names it: its bytes go next
);
CREATE INDEX blob_doomed ON blob (doomed_at) WHERE doomed_at IS NOT NULL;

CREATE TABLE file (
  id               text PRIMARY KEY,                  -- file_
  organization_id  text NOT NULL,
  workspace_id     text NOT NULL REFERENCES workspace,
  session_id       text REFERENCES session ON DELETE CASCADE,	-- its scope; NULL: an upload
  origin           text NOT NULL CHECK (origin IN ('upload', 'mount', 'output')),
  path             text,                              -- of a mount: where; of an output: below the outputs folder
  filename         text NOT NULL,
  mime_type        text NOT NULL,
  size_bytes       bigint NOT NULL,
  blob_id          text REFERENCES blob,              -- NULL: expired, the bytes are gone
  downloadable     boolean NOT NULL,
  created_at       timestamptz NOT NULL,
  expires_at       timestamptz,
  CHECK ((origin = 'upload') = (session_id IS NULL))
);
CREATE INDEX file_uploads ON file (workspace_id, id DESC) WHERE session_id IS NULL;
CREATE INDEX file_session ON file (session_id, id DESC) WHERE session_id IS NOT NULL;
CREATE INDEX file_blob    ON file (blob_id) WHERE blob_id IS NOT NULL;
CREATE INDEX file_expiry  ON file (expires_at) WHERE expires_at IS NOT NULL;

-- Claims that ended. Not unique: two transactions that drop the same blob must not wait for each other.
CREATE TABLE blob_drop (
  blob_id     text NOT NULL,
  dropped_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX blob_drop_order ON blob_drop (dropped_at);

-- What an organization stores: the sum of its rows. Each change is a row of its own, so that nobody waits; folded now and then.
-- Mounted copies do not count (contract 4.6).
CREATE TABLE file_usage (
  organization_id  text NOT NULL,
  bytes            bigint NOT NULL,
  files            bigint NOT NULL
);
CREATE INDEX file_usage_sum ON file_usage (organization_id);

CREATE FUNCTION file_changed() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.origin <> 'mount' THEN
      INSERT INTO file_usage VALUES (NEW.organization_id, NEW.size_bytes, 1);
    END IF;
  ELSIF OLD.blob_id IS NOT NULL AND (TG_OP = 'DELETE' OR NEW.blob_id IS NULL) THEN
    INSERT INTO blob_drop (blob_id) VALUES (OLD.blob_id);
    IF OLD.origin <> 'mount' THEN
      INSERT INTO file_usage VALUES (OLD.organization_id, -OLD.size_bytes, -1);
    END IF;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER file_changed AFTER INSERT OR DELETE OR UPDATE OF blob_id ON file FOR EACH ROW EXECUTE FUNCTION file_changed();

CREATE FUNCTION file_bytes_used(p_organization text) RETURNS bigint
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
  AS $$ SELECT coalesce(sum(bytes), 0)::bigint FROM file_usage WHERE organization_id = p_organization $$;

-- A new file with a blob of its own, which lies in the store already. p_quota: bytes the organization may have in all; its uploads are
-- let in one after the other, so that the limit is exact.
-- result: ok; quota; suspended; gone (p_session is not there, or not of this workspace). Only ok writes.
CREATE FUNCTION file_insert(p_id text, p_organization text, p_workspace text, p_session text, p_origin text, p_path text,
    p_filename text, p_mime text, p_downloadable boolean, p_blob text, p_bytes bigint, p_sha256 text, p_expires_s int, p_quota bigint)
  RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  v_now timestamptz := clock_timestamp();
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
  PERFORM pg_advisory_xact_lock(hashtextextended('file_usage ' || p_organization, 0));
  IF file_bytes_used(p_organization) + p_bytes > p_quota THEN
    RETURN 'quota';
  END IF;
  INSERT INTO blob (id, size_bytes, sha256) VALUES (p_blob, p_bytes, p_sha256);
  INSERT INTO file (id, organization_id, workspace_id, session_id, origin, path, filename, mime_type, size_bytes, blob_id, downloadable,
                    created_at, expires_at)
  VALUES (p_id, p_organization, p_workspace, p_session, p_origin, p_path, p_filename, p_mime, p_bytes, p_blob, p_downloadable,
          v_now, v_now + make_interval(secs => p_expires_s));
  RETURN 'ok';
END $$;

-- A session's own copy of a file: another row on the same blob. The source stays locked against deletion and expiry until the commit,
-- so the blob has a file at every moment. result: ok; missing (no such file in the workspace, or expired).
CREATE FUNCTION file_copy(p_id text, p_workspace text, p_source text, p_session text, p_path text) RETURNS text
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

-- Expired files lose their bytes at once and their row, which says that they have expired, p_keep_s later. Returns how many changed.
CREATE FUNCTION file_expire(p_limit int, p_keep_s int) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  n bigint;
  m bigint;
BEGIN
  UPDATE file x SET blob_id = NULL WHERE x.id = ANY (ARRAY(
    SELECT f.id FROM file f WHERE f.expires_at <= clock_timestamp() AND f.blob_id IS NOT NULL
     ORDER BY f.expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS n = ROW_COUNT;
  DELETE FROM file x WHERE x.id = ANY (ARRAY(
    SELECT f.id FROM file f WHERE f.expires_at <= clock_timestamp() - make_interval(secs => p_keep_s)
     ORDER BY f.expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS m = ROW_COUNT;
  RETURN n + m;
END $$;

-- Doom blobs whose last claim ended p_grace_s ago (a download that was let in may still be opening it) and name those to remove. A blob
-- that is locked is being copied or looked at by another sweep: later. A copy holds its blob's row until its commit, so the look for
-- files, which comes after the lock, sees it.
CREATE FUNCTION blob_sweep(p_limit int, p_grace_s int) RETURNS TABLE (id text)
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
      UPDATE blob b SET doomed_at = clock_timestamp() WHERE b.id = v_id;
    END IF;
  END LOOP;
  RETURN QUERY SELECT b.id FROM blob b WHERE b.doomed_at IS NOT NULL ORDER BY b.doomed_at LIMIT p_limit;
END $$;

-- Their bytes are gone.
CREATE FUNCTION blob_removed(p_ids text[]) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
  AS $$ DELETE FROM blob WHERE id = ANY (p_ids) AND doomed_at IS NOT NULL $$;

-- One row per organization again, of those that have many. Rows that others are folding are left to them.
CREATE FUNCTION file_usage_fold(p_many int) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  WITH many AS (SELECT organization_id FROM file_usage GROUP BY 1 HAVING count(*) > p_many LIMIT 10),
       gone AS (DELETE FROM file_usage u WHERE u.ctid = ANY (ARRAY(
           SELECT x.ctid FROM file_usage x JOIN many USING (organization_id) FOR UPDATE OF x SKIP LOCKED)) RETURNING u.*)
  INSERT INTO file_usage SELECT organization_id, sum(bytes), sum(files) FROM gone GROUP BY 1
$$;

-- As the wire shows a file's times (contract 1.8).
CREATE FUNCTION wire_stamp_ms(t timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
  RETURN to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');

-- What readers of files see; the order of the first twelve columns is that of struct file_row (lib/store/file.h).
CREATE VIEW file_shown AS
SELECT id, filename, mime_type, size_bytes, wire_stamp_ms(created_at) AS created, wire_stamp_ms(expires_at) AS expires, session_id,
       origin, path, blob_id, downloadable, coalesce(expires_at <= clock_timestamp(), false) AS expired, workspace_id
  FROM file;

REVOKE ALL ON FUNCTION file_changed, file_bytes_used, file_insert, file_copy, file_expire, blob_sweep, blob_removed, file_usage_fold,
  wire_stamp_ms FROM PUBLIC;
GRANT EXECUTE ON FUNCTION wire_stamp_ms TO roost_gw, roost_worker;
GRANT EXECUTE ON FUNCTION file_bytes_used, file_insert, file_copy, file_expire, blob_sweep, blob_removed, file_usage_fold TO roost_gw;
GRANT EXECUTE ON FUNCTION file_insert TO roost_worker;
GRANT SELECT ON file, blob, file_shown TO roost_gw, roost_worker;
GRANT DELETE ON file TO roost_gw;
