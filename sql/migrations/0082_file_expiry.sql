-- Rows of expired files stay for a while to say so. What looks for files to expire, and what lists uploads, must not walk over them.
DROP INDEX file_expiry;
CREATE INDEX file_expiry  ON file (expires_at) WHERE expires_at IS NOT NULL AND blob_id IS NOT NULL;
CREATE INDEX file_expired ON file (expires_at) WHERE expires_at IS NOT NULL AND blob_id IS NULL;
DROP INDEX file_uploads;
CREATE INDEX file_uploads ON file (workspace_id, id DESC) WHERE session_id IS NULL AND blob_id IS NOT NULL;

-- Expired files lose their bytes at once and their row, which says that they have expired, p_keep_s later. Returns how many changed.
CREATE OR REPLACE FUNCTION file_expire(p_limit int, p_keep_s int) RETURNS bigint
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
    SELECT f.id FROM file f WHERE f.expires_at <= clock_timestamp() - make_interval(secs => p_keep_s) AND f.blob_id IS NULL
     ORDER BY f.expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS m = ROW_COUNT;
  RETURN n + m;
END $$;

-- With the transaction's time, which is stable: a volatile one keeps the planner from reading a page in the index's order.
CREATE OR REPLACE VIEW file_shown AS
SELECT id, filename, mime_type, size_bytes, wire_stamp_ms(created_at) AS created, wire_stamp_ms(expires_at) AS expires, session_id,
       origin, path, blob_id, downloadable, coalesce(expires_at <= now(), false) AS expired, workspace_id
  FROM file;
-- No page of files is worth the start of a parallel worker.
ALTER FUNCTION wire_stamp_ms(timestamptz) PARALLEL UNSAFE;
