-- The one way a worker writes: events, the inbox items they consume, status, billed interval, tokens, waiting calls and the lease, in
-- one transaction, fenced by the epoch. Event k (from 0) is stamped p_base_us + k.
--   p_open_k, p_close_k   event whose stamp opens / closes the billed interval, or NULL
--   p_tokens              {input, output, cache_read, cache_write_5m, cache_write_1h} of one model request, metered at event p_tokens_k.
--                         p_tokens_k without them, or with none counted: that event ends a request whose usage nobody knows, which
--                         leaves a row in meter_gap
--   p_token_nano          list cost of all tokens of this append, judging included; NULL: some have no price
--   p_rates               nano-dollars per token of p_tokens, class by class; NULL: no price
--   p_judge_*             model, tokens and rates of judging this reply's calls; p_judge_lost: of some of it nobody knows what it cost
--   p_paused              with p_status: the session is idle at its budget's cap
--   p_action_*            calls that now wait for the client; p_closed: calls that no longer do
--   p_release             NULL keep the lease; 'idle' give it up if the inbox has not moved since p_wake_gen; 'retry' give it up, due
--                         at p_due_us, or at once if the inbox has moved since p_wake_gen (an interrupt does not wait); 'done' give it
--                         up for good (terminated)
--   p_again               this append may have been committed before (EK_UNCERTAIN): if its first event is there, say ok
--   p_context_bytes       of the model's view of the log after this append; NULL: as it was
-- attempts fall back only when this append shows progress: tokens of a reply, results of tools, or a turn that closed (the same rule in
-- workers/harness/plan.c).
-- Returns: 'ok'; 'fenced' (another epoch, or no lease: nothing written); 'woken' (release refused: read the inbox, then go on; nothing
-- written); 'stamp' (base not above last_at, over 1 s ahead of the database's clock or 15 s behind it, as a large
-- append on a busy disk may come to be: learn the time from last_us and stamp anew; nothing written).
CREATE OR REPLACE FUNCTION session_append(p_session text, p_epoch bigint, p_base_us bigint, p_ids text[], p_types text[], p_bodies text[],
    p_roles text[], p_fragments text[], p_privates text[], p_consumed bigint[], p_status text, p_open_k int, p_close_k int,
    p_tokens bigint[], p_tokens_k int, p_model text, p_action_ids text[], p_action_kinds text[], p_action_names text[],
    p_action_inputs text[], p_closed text[], p_release text, p_wake_gen bigint, p_due_us bigint, p_again boolean, p_context_bytes bigint,
    p_token_nano bigint, p_rates bigint[] DEFAULT NULL, p_paused boolean DEFAULT false, p_judge_model text DEFAULT NULL,
    p_judge_tokens bigint[] DEFAULT NULL, p_judge_rates bigint[] DEFAULT NULL, p_judge_lost boolean DEFAULT false)
  RETURNS TABLE (result text, last_seq bigint, last_us bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  s session;
  n int := cardinality(p_ids);
  v_now bigint := us(clock_timestamp());
  v_end timestamptz := stamp(p_base_us + greatest(n - 1, 0));
  v_refused text;
  v_attempts int;
  v_running timestamptz;
  v_us bigint := 0;
  v_gone_events int := 0;
  v_gone_bytes bigint := 0;
  v_gone_wakes int := 0;
  v_judged bigint[] := coalesce(p_judge_tokens, '{0,0,0,0,0}');
  v_progress boolean := p_tokens IS NOT NULL OR p_status IN ('idle', 'terminated') OR p_release IN ('idle', 'done') OR
                        p_types && ARRAY['agent.tool_result', 'user.custom_tool_result'];
BEGIN
  SELECT * INTO s FROM session WHERE id = p_session FOR NO KEY UPDATE;
  IF p_again AND n > 0 THEN
    SELECT e.seq + n - 1 INTO last_seq FROM event e WHERE e.session_id = p_session AND e.id = p_ids[1];
    IF FOUND THEN
      result := 'ok'; last_us := us(v_end);
      RETURN NEXT; RETURN;
    END IF;
  END IF;
  last_seq := s.last_seq; last_us := us(s.last_at);
  IF p_release = 'idle' AND s.wake_gen <> p_wake_gen THEN
    v_refused := 'woken';
  ELSIF n > 0 AND (p_base_us <= last_us OR p_base_us > v_now + 1000000 OR p_base_us < v_now - 15000000) THEN
    v_refused := 'stamp'; last_us := v_now;
  END IF;
  -- the fence, read (or taken away) after the session's lock, under which alone it changes
  IF v_refused IS NULL AND p_release IN ('idle', 'done') THEN
    DELETE FROM work w WHERE w.workspace_id = s.workspace_id AND w.session_id = p_session AND w.lease_epoch = p_epoch
       AND w.lease_owner IS NOT NULL RETURNING w.attempts INTO v_attempts;
  ELSE
    SELECT w.attempts INTO v_attempts FROM work w WHERE w.workspace_id = s.workspace_id AND w.session_id = p_session
       AND w.lease_epoch = p_epoch AND w.lease_owner IS NOT NULL;
  END IF;
  IF NOT FOUND OR v_refused IS NOT NULL THEN
    result := CASE WHEN FOUND THEN v_refused ELSE 'fenced' END;
    RETURN NEXT; RETURN;
  END IF;

  INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body, role, fragment, private)
  SELECT p_session, s.last_seq + u.o, u.id, u.type, s.thread_id, stamp(p_base_us + u.o - 1), u.body, u.role::"char", u.fragment, u.private
    FROM unnest(p_ids, p_types, p_bodies, p_roles, p_fragments, p_privates) WITH ORDINALITY u(id, type, body, role, fragment, private, o);

  IF cardinality(p_consumed) > 0 THEN
    WITH gone AS (DELETE FROM inbox i WHERE i.session_id = p_session AND i.inbox_seq = ANY (p_consumed)
                  RETURNING octet_length(i.stem) AS bytes, i.wakes)
    SELECT count(*), coalesce(sum(bytes), 0), count(*) FILTER (WHERE wakes) INTO v_gone_events, v_gone_bytes, v_gone_wakes FROM gone;
  END IF;

  v_running := s.running_since;
  IF p_close_k IS NOT NULL AND v_running IS NOT NULL THEN
    v_us := p_base_us + p_close_k - us(v_running);
  END IF;
  IF v_us > 0 OR p_tokens IS NOT NULL THEN
    INSERT INTO meter_event (session_id, seq, meter, part, organization_id, workspace_id, api_key_id, agent_id, agent_version,
                             environment_id, model, period_start, period_end, quantity, unit, cum_before, purpose, list_nano)
    SELECT p_session, s.last_seq + 1 + v.k, v.meter, v.part, s.organization_id, s.workspace_id, s.api_key_id, s.agent_id, s.agent_version,
           s.environment_id, v.model, coalesce(v.since, stamp(p_base_us + v.k)), stamp(p_base_us + v.k), v.quantity, v.unit, v.before,
           CASE v.part WHEN 1 THEN 'judge' END, v.quantity * v.rate
      FROM (VALUES ('tokens.input', 0, p_tokens_k, p_model, NULL::timestamptz, p_tokens[1], 'token', s.input_tokens, p_rates[1]),
                   ('tokens.output', 0, p_tokens_k, p_model, NULL, p_tokens[2], 'token', s.output_tokens, p_rates[2]),
                   ('tokens.cache_read', 0, p_tokens_k, p_model, NULL, p_tokens[3], 'token', s.cache_read_tokens, p_rates[3]),
                   ('tokens.cache_write_5m', 0, p_tokens_k, p_model, NULL, p_tokens[4], 'token', s.cache_5m_tokens, p_rates[4]),
                   ('tokens.cache_write_1h', 0, p_tokens_k, p_model, NULL, p_tokens[5], 'token', s.cache_1h_tokens, p_rates[5]),
                   ('tokens.input', 1, p_tokens_k, p_judge_model, NULL, v_judged[1], 'token', s.input_tokens + p_tokens[1],
                    p_judge_rates[1]),
                   ('tokens.output', 1, p_tokens_k, p_judge_model, NULL, v_judged[2], 'token', s.output_tokens + p_tokens[2],
                    p_judge_rates[2]),
                   ('tokens.cache_read', 1, p_tokens_k, p_judge_model, NULL, v_judged[3], 'token', s.cache_read_tokens + p_tokens[3],
                    p_judge_rates[3]),
                   ('tokens.cache_write_5m', 1, p_tokens_k, p_judge_model, NULL, v_judged[4], 'token', s.cache_5m_tokens + p_tokens[4],
                    p_judge_rates[4]),
                   ('tokens.cache_write_1h', 1, p_tokens_k, p_judge_model, NULL, v_judged[5], 'token', s.cache_1h_tokens + p_tokens[5],
                    p_judge_rates[5]),
                   ('session.runtime', 0, p_close_k, NULL, v_running,
                    CASE WHEN v_us > 0 THEN (s.active_us + v_us) / 1000 - s.active_us / 1000 END, 'ms', s.active_us / 1000, NULL))
           v(meter, part, k, model, since, quantity, unit, before, rate)
     WHERE v.quantity > 0 OR v.unit = 'ms' AND v.quantity = 0;
  END IF;
  IF p_close_k IS NOT NULL THEN
    v_running := NULL;
  END IF;
  IF p_open_k IS NOT NULL THEN
    v_running := stamp(p_base_us + p_open_k);
  END IF;

  IF p_tokens_k IS NOT NULL AND (p_tokens IS NULL OR 0 = ALL (p_tokens)) THEN
    PERFORM session_gap(s, CASE WHEN p_tokens IS NOT NULL THEN 'usage_unknown' WHEN 'session.error' = ANY (p_types) THEN 'failed'
                                WHEN 'user.interrupt' = ANY (p_types) THEN 'interrupted' WHEN p_status = 'rescheduling' THEN 'drained'
                                ELSE 'worker_lost' END, p_model, stamp(p_base_us + p_tokens_k));
  END IF;
  IF p_judge_lost THEN
    PERFORM session_gap(s, 'judge_lost', p_judge_model, stamp(p_base_us + p_tokens_k));
  END IF;
  IF v_progress AND v_attempts > 0 THEN
    DELETE FROM suspect x WHERE x.session_id = p_session;
    UPDATE work w SET attempts = 0 WHERE w.workspace_id = s.workspace_id AND w.session_id = p_session;
  END IF;

  IF cardinality(p_action_ids) > 0 THEN
    INSERT INTO action (session_id, tool_use_id, ordinal, kind, tool_name, input)
    SELECT p_session, u.id, s.last_seq * 1000 + u.o, u.kind, u.name, u.input
      FROM unnest(p_action_ids, p_action_kinds, p_action_names, p_action_inputs) WITH ORDINALITY u(id, kind, name, input, o);
  END IF;
  IF cardinality(p_closed) > 0 THEN
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
         input_tokens = x.input_tokens + coalesce(p_tokens[1], 0) + v_judged[1],
         output_tokens = x.output_tokens + coalesce(p_tokens[2], 0) + v_judged[2],
         cache_read_tokens = x.cache_read_tokens + coalesce(p_tokens[3], 0) + v_judged[3],
         cache_5m_tokens = x.cache_5m_tokens + coalesce(p_tokens[4], 0) + v_judged[4],
         cache_1h_tokens = x.cache_1h_tokens + coalesce(p_tokens[5], 0) + v_judged[5],
         token_nano = x.token_nano + coalesce(p_token_nano, 0), unpriced = x.unpriced OR p_token_nano IS NULL,
         told = CASE WHEN p_status = 'running' AND s.status = 'idle'
                     THEN ARRAY[s.input_tokens, s.output_tokens, s.cache_read_tokens, s.cache_5m_tokens, s.cache_1h_tokens, s.token_nano,
                                s.active_us]
                     ELSE x.told END,
         paused = CASE WHEN p_status IS NULL THEN x.paused ELSE p_paused END,
         context_bytes = coalesce(p_context_bytes, x.context_bytes),
         at_work = p_release IS NULL OR p_release = 'retry'
   WHERE x.id = p_session;
  IF p_release = 'retry' THEN
    UPDATE work w SET lease_owner = NULL, due_at = CASE WHEN s.wake_gen <> p_wake_gen THEN clock_timestamp() ELSE stamp(p_due_us) END,
           bytes = coalesce(p_context_bytes, s.context_bytes) + 2 * (s.inbox_bytes - v_gone_bytes)
     WHERE w.workspace_id = s.workspace_id AND w.session_id = p_session;
  END IF;
  result := 'ok'; last_seq := s.last_seq + n; last_us := us(v_end);
  RETURN NEXT;
END $$;
REVOKE ALL ON FUNCTION session_append FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_append TO roost_worker;
