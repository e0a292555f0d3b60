-- Billed runtime in slices (operations.md A4): no row of meter_event covers more than a minute of runtime, or two UTC days. Whoever writes
-- a longer one (an append that closes an interval, the reaper, a session that is given up) has it cut here; of intervals that go on, the
-- worker that holds the session has rows written meanwhile (session_slice), so that daily buckets and budgets follow within a minute and a
-- half. Slices of one event, or behind one, are numbered by `part` in order of time.

-- Cuts NEW into rows; the last one stays NEW. Whole milliseconds of each come from the interval's beginning, so that they add up.
CREATE FUNCTION runtime_cut() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  v_from timestamptz := NEW.period_start;
  v_cum bigint := NEW.cum_before;
  v_left bigint := NEW.quantity;
  v_end timestamptz := NEW.period_end;
  v_last boolean := false;
BEGIN
  LOOP
    NEW.period_end := least(NEW.period_start + interval '60 seconds', v_end,
                            ((date_trunc('day', NEW.period_start AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC'));
    v_last := NEW.period_end >= v_end;
    NEW.quantity := CASE WHEN v_last THEN v_left
                         ELSE least(v_left, (us(NEW.period_end) - us(v_from)) / 1000 - (NEW.cum_before - v_cum)) END;
    v_left := v_left - NEW.quantity;
    IF v_last THEN
      RETURN NEW;
    END IF;
    INSERT INTO meter_event SELECT (NEW).*;
    NEW.part := NEW.part + 1;
    NEW.cum_before := NEW.cum_before + NEW.quantity;
    NEW.period_start := NEW.period_end;
  END LOOP;
END $$;
REVOKE ALL ON FUNCTION runtime_cut() FROM PUBLIC;
CREATE TRIGGER runtime_cut BEFORE INSERT ON meter_event FOR EACH ROW
  WHEN (NEW.meter = 'session.runtime' AND (NEW.period_end > NEW.period_start + interval '60 seconds' OR
        date_trunc('day', NEW.period_start AT TIME ZONE 'UTC') + interval '1 day' < NEW.period_end AT TIME ZONE 'UTC'))
  EXECUTE FUNCTION runtime_cut();

-- Bill the whole minutes of the intervals that are open in sessions of this worker. Up to 16 s before now: an append may carry a stamp that
-- is 15 s old, and no interval may end before its last slice. The rows stand at the newest event; totals do not move: what is closed here
-- is no longer open. Returns how many sessions it did; more than p_limit are left to the next call.
CREATE FUNCTION session_slice(p_worker text, p_limit int) RETURNS int
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
    v_us := (us(v_now) - us(s.running_since)) / 60000000 * 60000000;
    v_cut := stamp(us(s.running_since) + v_us);
    PERFORM session_meter(s, s.last_seq, (SELECT coalesce(max(m.part), 0) + 1 FROM meter_event m
                                           WHERE m.session_id = s.id AND m.seq = s.last_seq AND m.meter = 'session.runtime'),
                          'session.runtime', NULL, s.running_since, v_cut,
                          (s.active_us + v_us) / 1000 - s.active_us / 1000, 'ms', s.active_us / 1000);
    UPDATE session x SET running_since = v_cut, active_us = x.active_us + v_us WHERE x.id = s.id;
    n := n + 1;
  END LOOP;
  RETURN n;
END $$;
REVOKE ALL ON FUNCTION session_slice(text, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_slice(text, int) TO roost_worker;
