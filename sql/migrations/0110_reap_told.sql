-- What the reaper and the blame write into a log is published at once, like everything else: they return the events. And who may be
-- declared dead:
--
--   p_ended      the worker whose successor asks (workers/harness/note.h): its process has ended, whatever its row and its lock say
--   p_since_us   since when the asker itself is connected. Whoever has been away, or comes while Postgres starts, cannot tell the dead
--                from those that have not come back yet: within a lease of its own connection, or of Postgres' start, it judges only
--                those that have beaten since. So nobody is taken over because Postgres was away, or out of reach for all

DROP FUNCTION worker_reap(text, int);
-- One row per event written, then one per worker that was reaped (session NULL).
CREATE FUNCTION worker_reap(p_me text, p_lease_s int, p_ended text, p_since_us bigint)
  RETURNS TABLE (worker_id text, sessions bigint, session text, seq bigint, type text, body text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  w worker;
  s session;
  v_since timestamptz := greatest(pg_postmaster_start_time(), stamp(p_since_us));
  v_base bigint;
  v_end timestamptz;
  v_us bigint;
  n int;
BEGIN
  FOR w IN SELECT * FROM worker WHERE id <> p_me FOR UPDATE SKIP LOCKED LOOP
    IF w.id IS DISTINCT FROM p_ended THEN
      CONTINUE WHEN w.beat_at < v_since AND v_since > clock_timestamp() - make_interval(secs => p_lease_s);
      IF w.lease_until >= clock_timestamp() THEN
        CONTINUE WHEN NOT pg_try_advisory_xact_lock(w.lock_key);	-- held: its process lives
      END IF;
    END IF;
    sessions := 0;
    FOR s IN SELECT x.* FROM work k JOIN session x ON x.id = k.session_id WHERE k.lease_owner = w.id FOR NO KEY UPDATE OF x SKIP LOCKED LOOP
      UPDATE work k SET lease_owner = NULL, due_at = least(k.due_at, clock_timestamp())
       WHERE k.workspace_id = s.workspace_id AND k.session_id = s.id AND k.lease_owner = w.id;
      CONTINUE WHEN NOT FOUND;	-- it has been released since the list was read
      sessions := sessions + 1;
      CONTINUE WHEN s.running_since IS NULL;
      v_base := greatest(us(s.last_at) + 1, us(s.running_since), us(least(w.beat_at, clock_timestamp())));
      n := session_orphan(s, v_base);
      v_end := stamp(v_base + n - 1);
      v_us := us(v_end) - us(s.running_since);
      PERFORM session_meter(s, s.last_seq + n, 0, 'session.runtime', NULL, s.running_since, v_end,
                            (s.active_us + v_us) / 1000 - s.active_us / 1000, 'ms', s.active_us / 1000);
      UPDATE session x SET running_since = NULL, active_us = x.active_us + v_us, last_seq = x.last_seq + n, status = 'rescheduling',
             last_at = v_end, updated_at = v_end
       WHERE x.id = s.id;
      RETURN QUERY SELECT w.id, NULL::bigint, e.session_id, e.seq, e.type, e.body FROM event e
                    WHERE e.session_id = s.id AND e.seq > s.last_seq ORDER BY e.seq;
    END LOOP;
    -- a session that somebody has locked is left for the next round, and its worker's row with it: this call must not wait
    DELETE FROM worker WHERE id = w.id AND NOT EXISTS (SELECT 1 FROM work k WHERE k.lease_owner = w.id);
    worker_id := w.id; session := NULL; seq := NULL; type := NULL; body := NULL;
    RETURN NEXT;
  END LOOP;
END $$;
REVOKE ALL ON FUNCTION worker_reap(text, int, text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION worker_reap(text, int, text, bigint) TO roost_worker;

-- As in 0070. One row; with the events of a session that ended, one per event.
DROP FUNCTION worker_blame(text, text, bigint, int, boolean, text);
CREATE FUNCTION worker_blame(p_worker text, p_session text, p_epoch bigint, p_max int, p_count boolean, p_reason text)
  RETURNS TABLE (attempts int, ended_epoch bigint, seq bigint, type text, body text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  s session;
  k work;
  v_beat timestamptz;
BEGIN
  SELECT * INTO s FROM session x WHERE x.id = p_session FOR UPDATE;
  SELECT * INTO k FROM work x WHERE x.workspace_id = s.workspace_id AND x.session_id = s.id FOR UPDATE;
  IF k.session_id IS NULL OR s.status = 'terminated' OR k.lease_epoch < p_epoch THEN
    RETURN;
  END IF;
  IF p_count THEN
    INSERT INTO suspect AS x (session_id, epoch, worker) VALUES (p_session, p_epoch, p_worker)
    ON CONFLICT (session_id) DO UPDATE SET epoch = excluded.epoch, worker = excluded.worker, at = excluded.at WHERE x.epoch < excluded.epoch;
    IF NOT FOUND THEN
      RETURN;
    END IF;
    k.attempts := k.attempts + 1;
    UPDATE work x SET attempts = k.attempts WHERE x.workspace_id = s.workspace_id AND x.session_id = p_session;
  ELSIF k.lease_owner IS DISTINCT FROM p_worker OR k.lease_epoch <> p_epoch THEN
    RETURN;
  END IF;
  attempts := k.attempts;
  IF (k.attempts >= p_max OR p_reason = 'unreadable') AND (k.lease_owner IS NULL OR k.lease_owner = p_worker) THEN
    SELECT w.beat_at INTO v_beat FROM worker w WHERE w.id = p_worker AND s.running_since IS NOT NULL;
    PERFORM session_bury(s, k.attempts, greatest(us(s.last_at) + 1, us(s.running_since), us(least(coalesce(v_beat, clock_timestamp()), clock_timestamp()))),
      CASE WHEN p_count THEN p_worker ELSE coalesce((SELECT x.worker FROM suspect x WHERE x.session_id = p_session), p_worker) END, p_reason);
    ended_epoch := nextval('lease_epoch');
    RETURN QUERY SELECT k.attempts, worker_blame.ended_epoch, e.seq, e.type, e.body FROM event e
                  WHERE e.session_id = p_session AND e.seq > s.last_seq ORDER BY e.seq;
    RETURN;
  END IF;
  RETURN NEXT;
END $$;
REVOKE ALL ON FUNCTION worker_blame(text, text, bigint, int, boolean, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION worker_blame(text, text, bigint, int, boolean, text) TO roost_worker;
