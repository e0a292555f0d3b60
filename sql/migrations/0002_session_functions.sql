-- How a session's rows change. One function per hand-over, each one transaction: put (gateway), claim, append (worker), archive and
-- delete (gateway, idle sessions only), beat and reap (workers). Everything that must be true at once is checked under the row lock.

-- Stamps travel as microseconds since 1970: exact in both directions (an interval's microseconds are an integer).
CREATE FUNCTION us(t timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN (extract(epoch FROM t) * 1000000)::bigint;
CREATE FUNCTION stamp(v bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN 'epoch'::timestamptz + v * interval '1 microsecond';
-- As the wire shows a time (contract 1.8).
CREATE FUNCTION wire_stamp(t timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
  RETURN to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
-- Work that waits in the inbox reads as running. due_at is NULL when the worker has seen the inbox and left it, as it does with a
-- message behind an unanswered question.
CREATE FUNCTION wire_status(status text, inbox_wakes int, due_at timestamptz) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN CASE WHEN status = 'idle' AND inbox_wakes > 0 AND due_at IS NOT NULL THEN 'running' ELSE status END;

ALTER TABLE action DROP CONSTRAINT action_state_check;
-- interrupted: an interrupt waits in the inbox that will end this call; the client no longer has to answer it.
ALTER TABLE action ADD CONSTRAINT action_state_check CHECK (state IN ('open', 'interrupted', 'answered', 'closed'));

-- The gateway, inside its transaction, after session_lock: put a batch of client events into the inbox, in order. Parallel arrays,
-- one element per event. `wakes` of an answer is decided here: it starts work only when it answers the last open call.
-- Returns who must be told. A crash before the commit leaves nothing; after it, a worker's poll finds the session.
CREATE FUNCTION session_inbox_put(p_session text, p_ids text[], p_types text[], p_stems text[], p_roles text[], p_fragments text[],
    p_on_receipt boolean[], p_wakes boolean[], p_refers text[], p_answers text[], p_denials text[], p_hashes text[])
  RETURNS TABLE (lease_owner text, inbox_seq bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  s session;
  n int := array_length(p_ids, 1);
  v_open int;
  v_wakes boolean[] := p_wakes;
  v_woken int := 0;
BEGIN
  SELECT * INTO STRICT s FROM session WHERE id = p_session FOR UPDATE;
  FOR k IN 1..n LOOP
    IF p_types[k] = 'user.interrupt' THEN
      UPDATE action SET state = 'interrupted' WHERE session_id = p_session AND state = 'open';
    ELSIF p_refers[k] IS NOT NULL THEN
      UPDATE action SET state = 'answered', answer_id = p_ids[k], answer_hash = p_hashes[k]
       WHERE session_id = p_session AND tool_use_id = p_refers[k] AND state = 'open';
      SELECT count(*) INTO v_open FROM action WHERE session_id = p_session AND state = 'open';
      v_wakes[k] := v_open = 0;
    END IF;
    v_woken := v_woken + v_wakes[k]::int;
    INSERT INTO inbox (session_id, inbox_seq, id, type, stem, role, fragment, received_at, on_receipt, wakes, refers_to, answer, deny_message)
    VALUES (p_session, s.inbox_seq + k, p_ids[k], p_types[k], p_stems[k], p_roles[k]::"char", p_fragments[k], clock_timestamp(),
            p_on_receipt[k], v_wakes[k], p_refers[k], p_answers[k], p_denials[k]);
  END LOOP;
  UPDATE session x
     SET inbox_seq = s.inbox_seq + n, inbox_events = x.inbox_events + n, inbox_wakes = x.inbox_wakes + v_woken,
         inbox_bytes = x.inbox_bytes + (SELECT sum(octet_length(t)) FROM unnest(p_stems) t),
         wake_gen = x.wake_gen + 1, due_at = least(x.due_at, clock_timestamp())
   WHERE x.id = p_session;
  RETURN QUERY SELECT s.lease_owner, s.inbox_seq + n;
END $$;

-- A worker's heartbeat, on the connection that holds its advisory lock. known = false: the row was gone, so this worker had been
-- declared dead: every lease it believes in is lost.
CREATE FUNCTION worker_beat(p_id text, p_lock bigint, p_lease_s int) RETURNS TABLE (now_us bigint, known boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_now timestamptz := clock_timestamp();
BEGIN
  UPDATE worker SET beat_at = v_now, lease_until = v_now + make_interval(secs => p_lease_s) WHERE id = p_id;
  known := FOUND;
  IF NOT FOUND THEN
    INSERT INTO worker (id, lock_key, beat_at, lease_until) VALUES (p_id, p_lock, v_now, v_now + make_interval(secs => p_lease_s));
  END IF;
  now_us := us(clock_timestamp());
  RETURN NEXT;
END $$;

-- Give away the sessions of workers that are dead: lease run out, or the advisory lock free. Not within one lease of Postgres' own
-- start, when every lock is free and nobody could beat. An open billed interval ends at the dead worker's last heartbeat, never later.
CREATE FUNCTION worker_reap(p_me text, p_lease_s int) RETURNS TABLE (worker_id text, sessions bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  w worker;
  s session;
  v_end timestamptz;
  v_us bigint;
BEGIN
  IF pg_postmaster_start_time() > clock_timestamp() - make_interval(secs => p_lease_s) THEN
    RETURN;
  END IF;
  FOR w IN SELECT * FROM worker WHERE id <> p_me FOR UPDATE SKIP LOCKED LOOP
    IF w.lease_until >= clock_timestamp() THEN
      CONTINUE WHEN NOT pg_try_advisory_xact_lock(w.lock_key);	-- held: its process lives
    END IF;
    worker_id := w.id;
    sessions := 0;
    FOR s IN SELECT * FROM session x WHERE x.lease_owner = w.id FOR UPDATE LOOP
      v_us := 0;
      IF s.running_since IS NOT NULL THEN
        v_end := greatest(s.running_since, s.last_at, least(w.beat_at, clock_timestamp()));
        v_us := us(v_end) - us(s.running_since);
        PERFORM session_meter(s, s.last_seq, s.lease_epoch::int, 'session.runtime', NULL, s.running_since, v_end,
                              (s.active_us + v_us) / 1000 - s.active_us / 1000, 'ms', s.active_us / 1000);
      END IF;
      UPDATE session x SET lease_owner = NULL, lease_epoch = x.lease_epoch + 1, due_at = coalesce(x.due_at, clock_timestamp()),
             running_since = NULL, active_us = x.active_us + v_us
       WHERE x.id = s.id;
      sessions := sessions + 1;
    END LOOP;
    DELETE FROM worker WHERE id = w.id;
    RETURN NEXT;
  END LOOP;
END $$;

-- One meter row of session s.
CREATE FUNCTION session_meter(s session, p_seq bigint, p_part int, p_meter text, p_model text, p_start timestamptz, p_end timestamptz,
    p_quantity bigint, p_unit text, p_cum bigint) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  INSERT INTO meter_event (session_id, seq, meter, part, organization_id, workspace_id, api_key_id, agent_id, agent_version,
                           environment_id, model, period_start, period_end, quantity, unit, cum_before)
  VALUES (s.id, p_seq, p_meter, p_part, s.organization_id, s.workspace_id, s.api_key_id, s.agent_id, s.agent_version,
          s.environment_id, p_model, p_start, p_end, p_quantity, p_unit, p_cum);
$$;

-- The one way a worker writes: events, the inbox items they consume, status, billed interval, tokens, waiting calls and the lease, in
-- one transaction, fenced by the epoch. Event k (from 0) is stamped p_base_us + k.
--   p_open_k, p_close_k   event whose stamp opens / closes the billed interval, or NULL
--   p_tokens              {input, output, cache_read, cache_write_5m, cache_write_1h} of one model request, metered at event p_tokens_k
--   p_action_*            calls that now wait for the client; p_closed: calls that no longer do
--   p_release             NULL keep the lease; 'idle' give it up if the inbox has not moved since p_wake_gen; 'retry' give it up, due
--                         at p_due_us, or at once if the inbox has moved since p_wake_gen (an interrupt does not wait); 'done' give it
--                         up for good (terminated)
--   p_again               this append may have been committed before (EK_UNCERTAIN): if its first event is there, say ok
-- Returns: 'ok'; 'fenced' (another epoch, or no lease: nothing written); 'woken' (release refused: read the inbox, then go on; nothing
-- written); 'stamp' (base not above last_at, over 1 s ahead of the database's clock or 15 s behind it, as a large
-- append on a busy disk may come to be: learn the time from last_us and stamp anew; nothing written).
CREATE FUNCTION session_append(p_session text, p_epoch bigint, p_base_us bigint, p_ids text[], p_types text[], p_bodies text[],
    p_roles text[], p_fragments text[], p_privates text[], p_consumed bigint[], p_status text, p_open_k int, p_close_k int,
    p_tokens bigint[], p_tokens_k int, p_model text, p_action_ids text[], p_action_kinds text[], p_action_names text[],
    p_action_inputs text[], p_closed text[], p_release text, p_wake_gen bigint, p_due_us bigint, p_again boolean)
  RETURNS TABLE (result text, last_seq bigint, last_us bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  s session;
  n int := coalesce(array_length(p_ids, 1), 0);
  v_end timestamptz := stamp(p_base_us + greatest(n - 1, 0));
  v_ahead bigint;
  v_running timestamptz;
  v_us bigint := 0;
  v_gone_events int := 0;
  v_gone_bytes bigint := 0;
  v_gone_wakes int := 0;
  v_total bigint[];
  v_meters text[] := ARRAY['tokens.input', 'tokens.output', 'tokens.cache_read', 'tokens.cache_write_5m', 'tokens.cache_write_1h'];
BEGIN
  SELECT * INTO s FROM session WHERE id = p_session FOR UPDATE;
  IF p_again AND n > 0 THEN
    SELECT e.seq + n - 1 INTO last_seq FROM event e WHERE e.session_id = p_session AND e.id = p_ids[1];
    IF FOUND THEN
      result := 'ok'; last_us := us(v_end);
      RETURN NEXT; RETURN;
    END IF;
  END IF;
  last_seq := s.last_seq; last_us := us(s.last_at);
  IF s.id IS NULL OR s.lease_owner IS NULL OR s.lease_epoch <> p_epoch THEN
    result := 'fenced';
    RETURN NEXT; RETURN;
  END IF;
  IF p_release = 'idle' AND s.wake_gen <> p_wake_gen THEN
    result := 'woken';
    RETURN NEXT; RETURN;
  END IF;
  v_ahead := p_base_us - us(clock_timestamp());
  IF n > 0 AND (p_base_us <= us(s.last_at) OR v_ahead > 1000000 OR v_ahead < -15000000) THEN
    result := 'stamp'; last_us := us(clock_timestamp());
    RETURN NEXT; RETURN;
  END IF;

  INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body, role, fragment, private)
  SELECT p_session, s.last_seq + u.o, u.id, u.type, s.thread_id, stamp(p_base_us + u.o - 1), u.body, u.role::"char", u.fragment, u.private
    FROM unnest(p_ids, p_types, p_bodies, p_roles, p_fragments, p_privates) WITH ORDINALITY u(id, type, body, role, fragment, private, o);

  IF array_length(p_consumed, 1) > 0 THEN
    WITH gone AS (DELETE FROM inbox i WHERE i.session_id = p_session AND i.inbox_seq = ANY (p_consumed)
                  RETURNING octet_length(i.stem) AS bytes, i.wakes)
    SELECT count(*), coalesce(sum(bytes), 0), count(*) FILTER (WHERE wakes) INTO v_gone_events, v_gone_bytes, v_gone_wakes FROM gone;
  END IF;

  v_running := s.running_since;
  IF p_close_k IS NOT NULL AND v_running IS NOT NULL THEN
    v_us := p_base_us + p_close_k - us(v_running);
    PERFORM session_meter(s, s.last_seq + p_close_k + 1, 0, 'session.runtime', NULL, v_running, stamp(p_base_us + p_close_k),
                          (s.active_us + v_us) / 1000 - s.active_us / 1000, 'ms', s.active_us / 1000);
    v_running := NULL;
  END IF;
  IF p_open_k IS NOT NULL THEN
    v_running := stamp(p_base_us + p_open_k);
  END IF;

  IF p_tokens IS NOT NULL THEN
    v_total := ARRAY[s.input_tokens, s.output_tokens, s.cache_read_tokens, s.cache_5m_tokens, s.cache_1h_tokens];
    FOR k IN 1..5 LOOP
      IF p_tokens[k] > 0 THEN
        PERFORM session_meter(s, s.last_seq + p_tokens_k + 1, 0, v_meters[k], p_model, stamp(p_base_us + p_tokens_k),
                              stamp(p_base_us + p_tokens_k), p_tokens[k], 'token', v_total[k]);
      END IF;
    END LOOP;
  END IF;

  IF array_length(p_action_ids, 1) > 0 THEN
    INSERT INTO action (session_id, tool_use_id, ordinal, kind, tool_name, input)
    SELECT p_session, u.id, s.last_seq * 1000 + u.o, u.kind, u.name, u.input
      FROM unnest(p_action_ids, p_action_kinds, p_action_names, p_action_inputs) WITH ORDINALITY u(id, kind, name, input, o);
  END IF;
  IF array_length(p_closed, 1) > 0 THEN
    UPDATE action a SET state = 'closed' WHERE a.session_id = p_session AND a.tool_use_id = ANY (p_closed);
  END IF;

  UPDATE session x
     SET last_seq = s.last_seq + n,
         last_at = CASE WHEN n > 0 THEN v_end ELSE x.last_at END,
         updated_at = CASE WHEN p_status IS NOT NULL THEN v_end ELSE x.updated_at END,
         status = coalesce(p_status, x.status),
         terminated_at = CASE WHEN p_status = 'terminated' THEN v_end ELSE x.terminated_at END,
         inbox_events = x.inbox_events - v_gone_events, inbox_bytes = x.inbox_bytes - v_gone_bytes,
         inbox_wakes = x.inbox_wakes - v_gone_wakes,
         running_since = v_running, active_us = x.active_us + v_us,
         input_tokens = x.input_tokens + coalesce(p_tokens[1], 0), output_tokens = x.output_tokens + coalesce(p_tokens[2], 0),
         cache_read_tokens = x.cache_read_tokens + coalesce(p_tokens[3], 0),
         cache_5m_tokens = x.cache_5m_tokens + coalesce(p_tokens[4], 0), cache_1h_tokens = x.cache_1h_tokens + coalesce(p_tokens[5], 0),
         attempts = 0,
         lease_owner = CASE WHEN p_release IS NULL THEN x.lease_owner END,
         due_at = CASE p_release WHEN 'idle' THEN NULL WHEN 'done' THEN NULL
                                 WHEN 'retry' THEN CASE WHEN s.wake_gen <> p_wake_gen THEN clock_timestamp() ELSE stamp(p_due_us) END
                                 ELSE x.due_at END
   WHERE x.id = p_session;
  result := 'ok'; last_seq := s.last_seq + n; last_us := us(v_end);
  RETURN NEXT;
END $$;

-- A worker gives a lease back without having written (drain, or nothing to do). The epoch stays: the next claim raises it.
CREATE FUNCTION session_release(p_session text, p_epoch bigint, p_due_us bigint) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE session SET lease_owner = NULL, due_at = coalesce(stamp(p_due_us), due_at)
   WHERE id = p_session AND lease_epoch = p_epoch AND lease_owner IS NOT NULL;
  RETURN FOUND;
END $$;

-- The gateway ends an idle session. Waiting inbox items that start no work are moved into the log first, then come the given events
-- (parallel arrays; stems as in the inbox). The epoch moves, so a worker that was about to append is fenced.
-- result: 'ok', 'missing', 'running' (refused), 'already' (archived before; nothing written). One row per event written, for
-- publication; a single row without event when nothing was.
CREATE FUNCTION session_archive(p_workspace text, p_session text, p_ids text[], p_types text[], p_stems text[])
  RETURNS TABLE (result text, seq bigint, type text, body text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  s session;
  v_base bigint;
  v_ids text[] := '{}';
  v_types text[] := '{}';
  v_stems text[] := '{}';
BEGIN
  SELECT * INTO s FROM session WHERE workspace_id = p_workspace AND id = p_session FOR UPDATE;
  IF s.id IS NULL THEN
    result := 'missing';
  ELSIF s.archived_at IS NOT NULL THEN
    result := 'already';
  ELSIF s.status = 'rescheduling' OR wire_status(s.status, s.inbox_wakes, s.due_at) = 'running' THEN
    result := 'running';
  END IF;
  IF result IS NOT NULL THEN
    RETURN NEXT; RETURN;
  END IF;
  result := 'ok';
  IF s.status <> 'terminated' THEN
    SELECT coalesce(array_agg(i.id ORDER BY i.inbox_seq), '{}'), coalesce(array_agg(i.type ORDER BY i.inbox_seq), '{}'),
           coalesce(array_agg(i.stem ORDER BY i.inbox_seq), '{}')
      INTO v_ids, v_types, v_stems FROM inbox i WHERE i.session_id = p_session;
    v_ids := v_ids || p_ids; v_types := v_types || p_types; v_stems := v_stems || p_stems;
  END IF;
  v_base := greatest(us(clock_timestamp()), us(s.last_at) + 1);
  FOR k IN 1..coalesce(array_length(v_ids, 1), 0) LOOP
    seq := s.last_seq + k; type := v_types[k];
    body := v_stems[k] || ',"processed_at":"' || wire_stamp(stamp(v_base + k - 1)) || '"}';
    INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body)
    VALUES (p_session, s.last_seq + k, v_ids[k], v_types[k], s.thread_id, stamp(v_base + k - 1), body);
    RETURN NEXT;
  END LOOP;
  DELETE FROM inbox i WHERE i.session_id = p_session;
  UPDATE action a SET state = 'closed' WHERE a.session_id = p_session AND a.state <> 'closed';
  UPDATE session x SET status = 'terminated', archived_at = stamp(v_base), updated_at = stamp(v_base),
         terminated_at = coalesce(x.terminated_at, stamp(v_base)), last_seq = s.last_seq + coalesce(array_length(v_ids, 1), 0),
         last_at = stamp(v_base + coalesce(array_length(v_ids, 1), 0)),
         inbox_events = 0, inbox_bytes = 0, inbox_wakes = 0, wake_gen = x.wake_gen + 1, due_at = NULL,
         lease_owner = NULL, lease_epoch = x.lease_epoch + 1
   WHERE x.id = p_session;
  INSERT INTO sandbox_drop (session_id) VALUES (p_session) ON CONFLICT DO NOTHING;
  IF coalesce(array_length(v_ids, 1), 0) = 0 THEN
    seq := NULL; type := NULL; body := NULL;
    RETURN NEXT;
  END IF;
END $$;

-- The gateway deletes an idle or terminated session: its content goes, its meter rows stay. next_seq numbers the session.deleted that
-- is published (there is no log left to hold it).
CREATE FUNCTION session_delete(p_workspace text, p_session text) RETURNS TABLE (result text, next_seq bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  s session;
BEGIN
  SELECT * INTO s FROM session WHERE workspace_id = p_workspace AND id = p_session FOR UPDATE;
  IF s.id IS NULL THEN
    result := 'missing';
  ELSIF s.status = 'rescheduling' OR wire_status(s.status, s.inbox_wakes, s.due_at) = 'running' THEN
    result := 'running';
  ELSE
    DELETE FROM event e WHERE e.session_id = p_session;
    DELETE FROM inbox i WHERE i.session_id = p_session;
    DELETE FROM action a WHERE a.session_id = p_session;
    DELETE FROM session x WHERE x.id = p_session;
    INSERT INTO sandbox_drop (session_id) VALUES (p_session) ON CONFLICT DO NOTHING;
    result := 'ok'; next_seq := s.last_seq + 1;
  END IF;
  RETURN NEXT;
END $$;

-- Who may do what. Rights beyond these come only through the functions above, which belong to the database's owner.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
GRANT EXECUTE ON FUNCTION us(timestamptz), stamp(bigint), wire_stamp(timestamptz), wire_status(text, int, timestamptz)
  TO roost_gw, roost_stream, roost_worker;
GRANT EXECUTE ON FUNCTION session_inbox_put, session_archive, session_delete TO roost_gw;
GRANT EXECUTE ON FUNCTION worker_beat, worker_reap, session_append, session_release TO roost_worker;

GRANT SELECT ON organization, workspace, api_key, worker, event, inbox, action, provider, model, model_route TO roost_gw;
GRANT SELECT, INSERT, UPDATE ON agent, session TO roost_gw;
GRANT SELECT, INSERT ON agent_version TO roost_gw;
GRANT SELECT, INSERT, UPDATE, DELETE ON environment TO roost_gw;

GRANT SELECT ON organization, workspace, api_key, session, event TO roost_stream;

GRANT SELECT ON session, event, inbox, action, worker, sandbox_drop, provider, model, model_route, environment TO roost_worker;
GRANT UPDATE (lease_owner, lease_epoch, attempts) ON session TO roost_worker;
GRANT DELETE ON sandbox_drop TO roost_worker;
