-- The one way a worker writes: events, the inbox items they consume, status, billed interval, tokens, waiting calls and the lease, in
-- one transaction, fenced by the epoch. Event k (from 0) is stamped p_base_us + k. session_append_many does the same for several sessions
-- at a time, if nothing rare is among it: what changes here changes there.
--   p_open_k, p_close_k   event whose stamp opens / closes the billed interval, or NULL
--   p_tokens              {input, output, cache_read, cache_write_5m, cache_write_1h} of one model request, metered at event p_tokens_k.
--                         p_tokens_k without them, or with none counted: that event ends a request whose usage nobody knows, which
--                         leaves a row in meter_gap
--   p_token_nano          list cost of all tokens of this append, judging included; NULL: some have no price
--   p_rates               nano-dollars per token of p_tokens, class by class; NULL: no price
--   p_judge_*             model, tokens and rates of judging this reply's calls; p_judge_lost: of some of it nobody knows what it cost
--   p_paused              with p_status: the session is idle at its budget's cap
--   p_action_*            calls that now wait for the client; p_closed: calls that no longer do
--   p_release             NULL keep the lease; 'idle' give it up if the inbox has not moved since p_wake_gen; 'keep' end the turn on the
--                         same condition, and keep the lease for a moment (session_settle): only without an item left in the inbox;
--                         'retry' give it up, due at p_due_us, or at once if the inbox has moved since p_wake_gen (an interrupt does
--                         not wait); 'done' give it up for good (terminated)
--   p_again               this append may have been committed before (EK_UNCERTAIN): if its first event is there, say ok
--   p_context_bytes       of the model's view of the log after this append; NULL: as it was
--   p_taken_*             bytes of stems and wakes of the inbox items consumed
--   p_ready               with 'keep': the session's next turn is prepared, and the send of a short message may open it (message_send):
--                         the stems of session.status_running, session.thread_status_running and span.model_request_start, then
--                         p_epoch. NULL: it is not
-- attempts fall back only when this append shows progress: tokens of a reply, results of tools, or a turn that closed (the same rule in
-- plan_progress, workers/harness/plan_commit.c).
-- Lists without an element may be NULL, columns of events too that are NULL throughout.
-- Returns three numbers. The first: where the log ended before; or, and then nothing is written, -1 fenced (another epoch, or no lease),
-- -2 woken (release refused: read the inbox, then go on), -3 stamp (base not above last_at, over 1 s ahead of the database's clock or 15 s
-- behind it, as a large append on a busy disk may come to be: learn the time and stamp anew). The second: the database's time. The third:
-- the transaction that this append has written the session's row in (its xmin has the lower half of it; message_send), or 0.
--
-- Every turn calls it at least twice, and most of its cost is the start of each statement and of each expression, once per call. So
-- what can be computed inside a statement is, rare things stand behind one condition, and the session is updated by one of two
-- statements: without tokens and release, as when a turn begins, only what then changes is evaluated (157 against 115 µs).
-- How a turn opens stands in message_send too.
CREATE OR REPLACE FUNCTION session_append_one(p_session text, p_epoch bigint, p_base_us bigint, p_ids text[], p_types text[], p_bodies text[],
    p_roles text[], p_fragments text[], p_privates text[], p_consumed bigint[], p_status text, p_open_k int, p_close_k int,
    p_tokens bigint[], p_tokens_k int, p_model text, p_action_ids text[], p_action_kinds text[], p_action_names text[],
    p_action_inputs text[], p_closed text[], p_release text, p_wake_gen bigint, p_due_us bigint, p_again boolean, p_context_bytes bigint,
    p_token_nano bigint, p_rates bigint[], p_paused boolean, p_judge_model text, p_judge_tokens bigint[], p_judge_rates bigint[],
    p_judge_lost boolean, p_taken_bytes bigint, p_taken_wakes int, p_ready text[])
  RETURNS bigint[]
  LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  s record;
  v_now bigint := us(clock_timestamp());
  v_seq bigint;
  v_attempts int;
  v_taken int := 0;
  v_in_one boolean;	-- it needs one row of meter_event (session_meter)
BEGIN
  -- ran_us: billed time that this append closes
  SELECT x.workspace_id, x.thread_id, x.last_seq, x.wake_gen, stamp(p_base_us + greatest(cardinality(p_ids) - 1, 0)) AS ends,
         coalesce(p_base_us + p_close_k - us(x.running_since), 0) AS ran_us,
         CASE WHEN p_release IN ('idle', 'keep') AND x.wake_gen <> p_wake_gen THEN -2
              WHEN cardinality(p_ids) > 0 AND (p_base_us <= us(x.last_at) OR p_base_us > v_now + 1000000 OR p_base_us < v_now - 15000000)
              THEN -3 END AS refused
    INTO s FROM session x WHERE x.id = p_session FOR NO KEY UPDATE;
  IF p_again THEN
    SELECT e.seq - 1 INTO v_seq FROM event e WHERE e.session_id = p_session AND e.id = p_ids[1];
    IF FOUND THEN
      RETURN ARRAY[v_seq, v_now, 0];
    END IF;
  END IF;
  -- the fence, read (or taken away) after the session's lock, under which alone it changes
  IF p_release IN ('idle', 'done') AND s.refused IS NULL THEN
    DELETE FROM work w WHERE w.workspace_id = s.workspace_id AND w.session_id = p_session AND w.lease_epoch = p_epoch
       AND w.lease_owner IS NOT NULL RETURNING w.attempts INTO v_attempts;
  ELSE
    SELECT w.attempts INTO v_attempts FROM work w WHERE w.workspace_id = s.workspace_id AND w.session_id = p_session
       AND w.lease_epoch = p_epoch AND w.lease_owner IS NOT NULL;
  END IF;
  IF NOT FOUND OR s.refused IS NOT NULL THEN
    RETURN ARRAY[CASE WHEN FOUND THEN s.refused ELSE -1 END, v_now, 0];
  END IF;

  INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body, role, fragment, private)
  SELECT p_session, s.last_seq + u.o, u.id, u.type, s.thread_id, stamp(p_base_us + u.o - 1), u.body, u.role::"char", u.fragment, u.private
    FROM unnest(p_ids, p_types, p_bodies, p_roles, p_fragments, p_privates) WITH ORDINALITY u(id, type, body, role, fragment, private, o);

  IF cardinality(p_consumed) > 0 THEN
    DELETE FROM inbox i WHERE i.session_id = p_session AND i.inbox_seq = ANY (p_consumed);
    GET DIAGNOSTICS v_taken = ROW_COUNT;
    IF v_taken <> cardinality(p_consumed) THEN
      RAISE EXCEPTION 'an item of the inbox is gone';
    END IF;
  END IF;
  IF s.ran_us > 0 OR p_tokens_k IS NOT NULL THEN
    v_in_one := s.ran_us <= 60000000 AND
                (p_base_us + p_close_k - 1) / 86400000000 = (p_base_us + p_close_k - s.ran_us) / 86400000000;
    INSERT INTO meter_event (session_id, seq, meter, part, organization_id, workspace_id, api_key_id, agent_id, agent_version,
                             environment_id, model, period_start, period_end, quantity, unit, cum_before, list_nano)
    SELECT p_session, s.last_seq + 1 + CASE u.o WHEN 6 THEN p_close_k ELSE p_tokens_k END, u.meter, 0, x.organization_id, x.workspace_id,
           x.api_key_id, x.agent_id, x.agent_version, x.environment_id, CASE WHEN u.o < 6 THEN p_model END,
           CASE u.o WHEN 6 THEN x.running_since ELSE stamp(p_base_us + p_tokens_k) END,
           stamp(p_base_us + CASE u.o WHEN 6 THEN p_close_k ELSE p_tokens_k END), u.quantity, CASE u.o WHEN 6 THEN 'ms' ELSE 'token' END,
           u.before, u.quantity * u.rate
      FROM session x,
           unnest('{tokens.input,tokens.output,tokens.cache_read,tokens.cache_write_5m,tokens.cache_write_1h,session.runtime}'::text[],
                  coalesce(p_tokens, '{0,0,0,0,0}') || ((x.active_us + s.ran_us) / 1000 - x.active_us / 1000),
                  ARRAY[x.input_tokens, x.output_tokens, x.cache_read_tokens, x.cache_5m_tokens, x.cache_1h_tokens, x.active_us / 1000],
                  p_rates) WITH ORDINALITY u(meter, quantity, before, rate, o)
     WHERE x.id = p_session AND CASE u.o WHEN 6 THEN s.ran_us > 0 AND v_in_one ELSE u.quantity > 0 END;
    IF s.ran_us > 0 AND NOT v_in_one THEN
      PERFORM session_meter(x, s.last_seq + 1 + p_close_k, 0, 'session.runtime', NULL, x.running_since, stamp(p_base_us + p_close_k),
                            (x.active_us + s.ran_us) / 1000 - x.active_us / 1000, 'ms', x.active_us / 1000)
         FROM session x WHERE x.id = p_session;
    END IF;
    IF p_tokens_k IS NOT NULL AND (p_tokens IS NULL OR 0 = ALL (p_tokens)) THEN
      PERFORM session_gap(x, CASE WHEN p_tokens IS NOT NULL THEN 'usage_unknown' WHEN 'session.error' = ANY (p_types) THEN 'failed'
                                  WHEN 'user.interrupt' = ANY (p_types) THEN 'interrupted' WHEN p_status = 'rescheduling' THEN 'drained'
                                  ELSE 'worker_lost' END, p_model, stamp(p_base_us + p_tokens_k)) FROM session x WHERE x.id = p_session;
    END IF;
  END IF;
  IF p_judge_model IS NOT NULL OR p_judge_lost THEN
    PERFORM session_judged(x, s.last_seq + 1 + p_tokens_k, stamp(p_base_us + p_tokens_k), p_tokens, p_judge_model, p_judge_tokens,
                           p_judge_rates, p_judge_lost) FROM session x WHERE x.id = p_session;
  END IF;
  IF v_attempts > 0 THEN
    IF p_tokens IS NOT NULL OR p_status IN ('idle', 'terminated') OR p_release IN ('idle', 'done') OR
       p_types && ARRAY['agent.tool_result', 'user.custom_tool_result'] THEN
      DELETE FROM suspect x WHERE x.session_id = p_session;
      UPDATE work w SET attempts = 0 WHERE w.workspace_id = s.workspace_id AND w.session_id = p_session;
    END IF;
  END IF;
  IF cardinality(p_action_ids) > 0 OR cardinality(p_closed) > 0 THEN
    INSERT INTO action (session_id, tool_use_id, ordinal, kind, tool_name, input)
    SELECT p_session, u.id, s.last_seq * 1000 + u.o, u.kind, u.name, u.input
      FROM unnest(p_action_ids, p_action_kinds, p_action_names, p_action_inputs) WITH ORDINALITY u(id, kind, name, input, o);
    UPDATE action a SET state = 'closed' WHERE a.session_id = p_session AND a.tool_use_id = ANY (p_closed);
  END IF;

  IF p_tokens IS NULL AND p_token_nano = 0 AND p_close_k IS NULL AND p_release IS NULL THEN
    UPDATE session x
       SET last_seq = s.last_seq + cardinality(p_ids),
           last_at = CASE WHEN cardinality(p_ids) > 0 THEN s.ends ELSE x.last_at END,
           updated_at = CASE WHEN p_status IS NOT NULL THEN s.ends ELSE x.updated_at END,
           status = coalesce(p_status, x.status),
           terminated_at = CASE WHEN p_status = 'terminated' THEN s.ends ELSE x.terminated_at END,
           inbox_events = x.inbox_events - v_taken, inbox_bytes = x.inbox_bytes - p_taken_bytes,
           inbox_wakes = x.inbox_wakes - p_taken_wakes,
           running_since = CASE WHEN p_open_k IS NOT NULL THEN stamp(p_base_us + p_open_k) ELSE x.running_since END,
           told = CASE WHEN p_status = 'running' AND x.status = 'idle'
                       THEN ARRAY[x.input_tokens, x.output_tokens, x.cache_read_tokens, x.cache_5m_tokens, x.cache_1h_tokens, x.token_nano,
                                  x.active_us]
                       ELSE x.told END,
           paused = CASE WHEN p_status IS NULL THEN x.paused ELSE p_paused END,
           context_bytes = coalesce(p_context_bytes, x.context_bytes),
           at_work = true
     WHERE x.id = p_session;
  ELSE
    UPDATE session x
       SET last_seq = s.last_seq + cardinality(p_ids),
           last_at = CASE WHEN cardinality(p_ids) > 0 THEN s.ends ELSE x.last_at END,
           updated_at = CASE WHEN p_status IS NOT NULL THEN s.ends ELSE x.updated_at END,
           status = coalesce(p_status, x.status),
           terminated_at = CASE WHEN p_status = 'terminated' THEN s.ends ELSE x.terminated_at END,
           inbox_events = x.inbox_events - v_taken, inbox_bytes = x.inbox_bytes - p_taken_bytes,
           inbox_wakes = x.inbox_wakes - p_taken_wakes,
           running_since = CASE WHEN p_open_k IS NOT NULL THEN stamp(p_base_us + p_open_k)
                                WHEN p_close_k IS NULL THEN x.running_since END,
           active_us = x.active_us + s.ran_us,
           input_tokens = x.input_tokens + coalesce(p_tokens[1], 0), output_tokens = x.output_tokens + coalesce(p_tokens[2], 0),
           cache_read_tokens = x.cache_read_tokens + coalesce(p_tokens[3], 0),
           cache_5m_tokens = x.cache_5m_tokens + coalesce(p_tokens[4], 0), cache_1h_tokens = x.cache_1h_tokens + coalesce(p_tokens[5], 0),
           token_nano = x.token_nano + coalesce(p_token_nano, 0), unpriced = x.unpriced OR p_token_nano IS NULL,
           told = CASE WHEN p_status = 'running' AND x.status = 'idle'
                       THEN ARRAY[x.input_tokens, x.output_tokens, x.cache_read_tokens, x.cache_5m_tokens, x.cache_1h_tokens, x.token_nano,
                                  x.active_us]
                       ELSE x.told END,
           paused = CASE WHEN p_status IS NULL THEN x.paused ELSE p_paused END,
           context_bytes = coalesce(p_context_bytes, x.context_bytes),
           at_work = p_release IS NULL OR p_release IN ('retry', 'keep'),
           prior = CASE WHEN p_ready IS NOT NULL THEN pg_current_xact_id()::xid ELSE x.prior END, ready = coalesce(p_ready, x.ready)
     WHERE x.id = p_session;
    IF p_release = 'retry' THEN
      UPDATE work w SET lease_owner = NULL, due_at = CASE WHEN s.wake_gen <> p_wake_gen THEN clock_timestamp() ELSE stamp(p_due_us) END,
             bytes = x.context_bytes + 2 * x.inbox_bytes
        FROM session x WHERE x.id = p_session AND w.workspace_id = s.workspace_id AND w.session_id = p_session;
    END IF;
  END IF;
  RETURN ARRAY[s.last_seq, v_now, pg_current_xact_id()::text::bigint];
END $$;
REVOKE ALL ON FUNCTION session_append_one(text, bigint, bigint, text[], text[], text[], text[], text[], text[], bigint[], text, int, int, bigint[], int, text, text[], text[], text[], text[], text[], text, bigint, bigint, boolean, bigint, bigint, bigint[], boolean, text, bigint[], bigint[], boolean, bigint, int, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_append_one(text, bigint, bigint, text[], text[], text[], text[], text[], text[], bigint[], text, int, int, bigint[], int, text, text[], text[], text[], text[], text[], text, bigint, bigint, boolean, bigint, bigint, bigint[], boolean, text, bigint[], bigint[], boolean, bigint, int, text[]) TO roost_worker;

-- Kept for the previous release's workers, which prepare no turn.
CREATE OR REPLACE FUNCTION session_append_one(p_session text, p_epoch bigint, p_base_us bigint, p_ids text[], p_types text[], p_bodies text[],
    p_roles text[], p_fragments text[], p_privates text[], p_consumed bigint[], p_status text, p_open_k int, p_close_k int,
    p_tokens bigint[], p_tokens_k int, p_model text, p_action_ids text[], p_action_kinds text[], p_action_names text[],
    p_action_inputs text[], p_closed text[], p_release text, p_wake_gen bigint, p_due_us bigint, p_again boolean, p_context_bytes bigint,
    p_token_nano bigint, p_rates bigint[], p_paused boolean, p_judge_model text, p_judge_tokens bigint[], p_judge_rates bigint[],
    p_judge_lost boolean, p_taken_bytes bigint, p_taken_wakes int)
  RETURNS bigint[]
  LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT session_append_one(p_session, p_epoch, p_base_us, p_ids, p_types, p_bodies, p_roles, p_fragments, p_privates, p_consumed, p_status, p_open_k, p_close_k, p_tokens, p_tokens_k, p_model, p_action_ids, p_action_kinds, p_action_names, p_action_inputs, p_closed, p_release, p_wake_gen, p_due_us, p_again, p_context_bytes, p_token_nano, p_rates, p_paused, p_judge_model, p_judge_tokens, p_judge_rates, p_judge_lost, p_taken_bytes, p_taken_wakes, NULL)
$$;
REVOKE ALL ON FUNCTION session_append_one(text, bigint, bigint, text[], text[], text[], text[], text[], text[], bigint[], text, int, int, bigint[], int, text, text[], text[], text[], text[], text[], text, bigint, bigint, boolean, bigint, bigint, bigint[], boolean, text, bigint[], bigint[], boolean, bigint, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_append_one(text, bigint, bigint, text[], text[], text[], text[], text[], text[], bigint[], text, int, int, bigint[], int, text, text[], text[], text[], text[], text[], text, bigint, bigint, boolean, bigint, bigint, bigint[], boolean, text, bigint[], bigint[], boolean, bigint, int) TO roost_worker;
