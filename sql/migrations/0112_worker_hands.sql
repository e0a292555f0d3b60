-- A worker tells with each beat whether it reaches hands, so that readiness (GET /healthz) knows whether tools can run.
ALTER TABLE worker ADD COLUMN hands boolean NOT NULL DEFAULT false;
DROP FUNCTION worker_beat(text, bigint, int);
-- As in 0002.
CREATE FUNCTION worker_beat(p_id text, p_lock bigint, p_lease_s int, p_hands boolean) RETURNS TABLE (now_us bigint, known boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_now timestamptz := clock_timestamp();
BEGIN
  UPDATE worker SET beat_at = v_now, lease_until = v_now + make_interval(secs => p_lease_s), hands = p_hands WHERE id = p_id;
  known := FOUND;
  IF NOT FOUND THEN
    INSERT INTO worker (id, lock_key, beat_at, lease_until, hands) VALUES (p_id, p_lock, v_now, v_now + make_interval(secs => p_lease_s), p_hands);
  END IF;
  now_us := us(clock_timestamp());
  RETURN NEXT;
END $$;
REVOKE ALL ON FUNCTION worker_beat(text, bigint, int, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION worker_beat(text, bigint, int, boolean) TO roost_worker;
