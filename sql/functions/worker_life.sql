-- A worker's heartbeat, on the connection that holds its advisory lock: whether it reaches hands, where it runs, whether it takes
-- sessions, how busy it is, how many should be at work on its machine (workers/harness/peers.h). known = false: the row was gone, so this
-- worker had been declared dead: every lease it believes in is lost. The first beat after a start of Postgres leaves a gap in the epochs:
-- of claims that were not on disk when it ended (session_take), the epochs would come again. A worker claims after it has beaten. That
-- beat is waited for, the others are not: a crash of Postgres that loses one loses part of a second, and after it nobody is judged by it.
-- After a gap of half a lease it is not steady (worker_reap); a clock that was put back does not make that last.
CREATE OR REPLACE FUNCTION worker_beat(p_id text, p_lock bigint, p_lease_s int, p_hands boolean, p_host text, p_open boolean, p_load int,
    p_spread int)
  RETURNS TABLE (now_us bigint, known boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_now timestamptz := clock_timestamp();
  v_before timestamptz;
BEGIN
  SELECT w.beat_at INTO v_before FROM worker w WHERE w.id = p_id;
  IF v_before IS NULL OR v_before < pg_postmaster_start_time() THEN
    PERFORM setval('lease_epoch', nextval('lease_epoch') + 1000000);
  ELSE
    PERFORM set_config('synchronous_commit', 'off', true);
  END IF;
  UPDATE worker
     SET beat_at = v_now, lease_until = v_now + make_interval(secs => p_lease_s), hands = p_hands, host = p_host, open = p_open,
         load = p_load, spread = p_spread,
         steady_at = CASE WHEN v_before < v_now - make_interval(secs => p_lease_s / 2.0) THEN v_now ELSE least(steady_at, v_now) END
   WHERE id = p_id;
  known := FOUND;
  IF NOT FOUND THEN
    INSERT INTO worker (id, lock_key, beat_at, lease_until, hands, host, open, load, spread)
    VALUES (p_id, p_lock, v_now, v_now + make_interval(secs => p_lease_s), p_hands, p_host, p_open, p_load, p_spread);
  END IF;
  now_us := us(clock_timestamp());
  RETURN NEXT;
END $$;
REVOKE ALL ON FUNCTION worker_beat FROM PUBLIC;
GRANT EXECUTE ON FUNCTION worker_beat TO roost_worker;

-- A worker that holds nothing any more, and claims nothing, leaves: from now on nobody waits for it. A lease that it does not know of (of a
-- claim whose answer was lost with a connection) is taken from it at the next look, like a dead one's.
CREATE OR REPLACE FUNCTION worker_leave(p_id text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE worker SET lease_until = '-infinity', open = false WHERE id = p_id;
  DELETE FROM worker WHERE id = p_id AND NOT EXISTS (SELECT FROM work k WHERE k.lease_owner = p_id);
END $$;
REVOKE ALL ON FUNCTION worker_leave FROM PUBLIC;
GRANT EXECUTE ON FUNCTION worker_leave TO roost_worker;

-- Give away the sessions of workers that are dead: lease run out, or the advisory lock free.
--   p_ended      the worker whose successor asks (workers/harness/note.h): its process has ended, whatever its row and its lock say
--   p_since_us   since when the asker itself is connected. Whoever has been away, or comes while Postgres starts, cannot tell the dead
--                from those that have not come back yet: within a lease of its own connection, or of Postgres' start, it judges only
--                those that have beaten since. So nobody is taken over because Postgres was away, or out of reach for all. Nor because
--                it stood still: then the asker's own beats have a gap, or its lease has run out, as the others' have
-- The interval of a running session ends at the dead worker's last heartbeat (or its last event) with events that say so, in the log: so
-- status and last status event agree at once, and the running intervals of the log add up to what is billed.
-- Leases that it had kept after a turn (session_settle) and that nothing has come for are over, without a word.
-- Returns one row per event written, to be published like everything else, then one per worker that was reaped (session NULL).
CREATE OR REPLACE FUNCTION worker_reap(p_me text, p_lease_s int, p_ended text, p_since_us bigint)
  RETURNS TABLE (worker_id text, sessions bigint, session text, seq bigint, type text, body text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  w worker;
  s session;
  v_idle text[];
  v_since timestamptz := greatest(pg_postmaster_start_time(), stamp(p_since_us));
  v_base bigint;
  v_end timestamptz;
  v_us bigint;
  v_free boolean;
  n int;
BEGIN
  v_since := greatest(v_since, (SELECT CASE WHEN x.lease_until < clock_timestamp() THEN clock_timestamp() ELSE x.steady_at END
                                  FROM worker x WHERE x.id = p_me));
  -- A claim that was under way while its worker was reaped has left a lease of nobody's: its owner gets a dead one's row, and goes below.
  INSERT INTO worker (id, lock_key, beat_at, lease_until)
  SELECT DISTINCT k.lease_owner, 0, 'epoch'::timestamptz, 'epoch'::timestamptz FROM work k
   WHERE k.lease_owner <> p_me AND NOT EXISTS (SELECT FROM worker x WHERE x.id = k.lease_owner)
  ON CONFLICT DO NOTHING;
  -- Whom this asker cannot judge it does not lock: that one's own successor may be at it. Nor who lives: the seconds in which nobody has
  -- died, which are nearly all, write nothing, and no commit has to reach the disk before the next turn's statements.
  FOR w IN SELECT * FROM worker
            WHERE id <> p_me AND (id IS NOT DISTINCT FROM p_ended OR beat_at >= v_since OR
                                  v_since <= clock_timestamp() - make_interval(secs => p_lease_s)) LOOP
    v_free := false;
    IF w.id IS DISTINCT FROM p_ended AND w.lease_until >= clock_timestamp() THEN
      v_free := pg_try_advisory_xact_lock(w.lock_key);
      CONTINUE WHEN NOT v_free;	-- held: its process lives
    END IF;
    SELECT * INTO w FROM worker x WHERE x.id = w.id FOR UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND;	-- somebody else is at it, or has done it
    CONTINUE WHEN NOT v_free AND w.id IS DISTINCT FROM p_ended AND w.lease_until >= clock_timestamp();	-- it has just beaten
    SELECT array_agg(l.id) INTO v_idle
      FROM (SELECT x.id FROM work k JOIN session x ON x.id = k.session_id
             WHERE k.lease_owner = w.id AND k.attempts = 0 AND x.status = 'idle' AND x.inbox_events = 0 FOR NO KEY UPDATE OF x SKIP LOCKED) l;
    IF v_idle IS NOT NULL THEN
      WITH gone AS (DELETE FROM work k WHERE k.lease_owner = w.id AND k.session_id = ANY (v_idle) RETURNING k.session_id)
      UPDATE session x SET at_work = false FROM gone g WHERE x.id = g.session_id;
    END IF;
    sessions := 0;
    FOR s IN SELECT x.* FROM work k JOIN session x ON x.id = k.session_id WHERE k.lease_owner = w.id FOR NO KEY UPDATE OF x SKIP LOCKED LOOP
      UPDATE work k SET lease_owner = NULL, due_at = least(k.due_at, clock_timestamp()), bytes = s.context_bytes + 2 * s.inbox_bytes
       WHERE k.workspace_id = s.workspace_id AND k.session_id = s.id AND k.lease_owner = w.id;
      CONTINUE WHEN NOT FOUND;	-- it has been released since the list was read
      sessions := sessions + 1;
      CONTINUE WHEN s.running_since IS NULL;
      v_base := greatest(us(s.last_at) + 1, us(s.running_since), us(least(w.beat_at, clock_timestamp())));
      n := session_orphan(s, v_base);
      v_end := stamp(v_base + n - 1);
      v_us := session_ran(s, s.last_seq + n, 0, v_end);
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
REVOKE ALL ON FUNCTION worker_reap FROM PUBLIC;
GRANT EXECUTE ON FUNCTION worker_reap TO roost_worker;
