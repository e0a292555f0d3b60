-- Bill the whole minutes of the intervals that are open in sessions of this worker. Up to 16 s before now: an append may carry a stamp that
-- is 15 s old, and no interval may end before its last slice. The rows stand at the newest event; totals do not move: what is closed here
-- is no longer open. Returns how many sessions it did; more than p_limit are left to the next call.
CREATE OR REPLACE FUNCTION session_slice(p_worker text, p_limit int) RETURNS int
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  s session;
  v_now timestamptz := clock_timestamp() - interval '16 seconds';
  v_cut timestamptz;
  v_us bigint;
  n int := 0;
BEGIN
  FOR s IN SELECT x.* FROM work k JOIN session x ON x.id = k.session_id
            WHERE k.lease_owner = p_worker AND x.running_since <= v_now - interval '60 seconds'
            LIMIT p_limit FOR NO KEY UPDATE OF x SKIP LOCKED LOOP
    v_cut := stamp(us(s.running_since) + (us(v_now) - us(s.running_since)) / 60000000 * 60000000);
    v_us := session_ran(s, s.last_seq, (SELECT coalesce(max(m.part), 0) + 1 FROM meter_event m
                                         WHERE m.session_id = s.id AND m.seq = s.last_seq AND m.meter = 'session.runtime'), v_cut);
    UPDATE session x SET running_since = v_cut, active_us = x.active_us + v_us WHERE x.id = s.id;
    n := n + 1;
  END LOOP;
  RETURN n;
END $$;
REVOKE ALL ON FUNCTION session_slice FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_slice TO roost_worker;
