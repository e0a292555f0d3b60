-- A blob whose last file is gone no longer counts towards its organization's quota. Once: the charge is taken off the row.
CREATE OR REPLACE FUNCTION blob_release(p_id text) RETURNS void
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
REVOKE ALL ON FUNCTION blob_sweep FROM PUBLIC;
GRANT EXECUTE ON FUNCTION blob_sweep TO roost_gw;

-- Their bytes are gone.
CREATE OR REPLACE FUNCTION blob_removed(p_ids text[]) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
  AS $$ DELETE FROM blob WHERE id = ANY (p_ids) AND doomed_at IS NOT NULL $$;
REVOKE ALL ON FUNCTION blob_removed FROM PUBLIC;
GRANT EXECUTE ON FUNCTION blob_removed TO roost_gw;
