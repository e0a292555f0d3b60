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
REVOKE ALL ON FUNCTION file_expire FROM PUBLIC;
GRANT EXECUTE ON FUNCTION file_expire TO roost_gw;
