-- What a session has cost at list prices, exactly, and the cap it may be held against (contract 9.1, 9.3).
--   token_nano   nano-dollars of all tokens that had a price (0070); the runtime's cost follows from active_us and is never summed
--   unpriced     some tokens had none: then no sum is shown
--   paused       idle at the budget's cap with a reply owed: a higher cap goes on by itself
--   told         while a turn runs: input, output, cache read, 5m, 1h, token_nano and active_us at its beginning, which is what the API
--                shows until it ends
-- A meter row carries what it cost (list_nano; the runtime's is NULL) and what it was for (purpose: NULL the session's own request, 'judge'
-- the judging of its calls, in part 1 of the same seq).
ALTER TABLE session ADD COLUMN unpriced boolean NOT NULL DEFAULT false, ADD COLUMN paused boolean NOT NULL DEFAULT false,
  ADD COLUMN told bigint[];
ALTER TABLE meter_event ADD COLUMN purpose text, ADD COLUMN list_nano bigint;
-- nobody noted prices before
UPDATE session SET unpriced = true
 WHERE input_tokens > 0 OR output_tokens > 0 OR cache_read_tokens > 0 OR cache_5m_tokens > 0 OR cache_1h_tokens > 0;

CREATE FUNCTION wire_total(status text, told bigint[], k int, live bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN CASE WHEN status IN ('idle', 'terminated') OR told IS NULL THEN live ELSE told[k] END;
-- "nano-dollars microseconds" for lib/store/cost.h; NULL: not known.
CREATE FUNCTION wire_spent(status text, told bigint[], token_nano bigint, active_us bigint, unpriced boolean) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN CASE WHEN NOT unpriced THEN wire_total(status, told, 6, token_nano) || ' ' || wire_total(status, told, 7, active_us) END;
REVOKE ALL ON FUNCTION wire_total(text, bigint[], int, bigint), wire_spent(text, bigint[], bigint, bigint, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION wire_total(text, bigint[], int, bigint), wire_spent(text, bigint[], bigint, bigint, boolean) TO roost_gw;

-- As in 0070, with the cap.
DROP FUNCTION session_claim(text, int, bigint, bigint, boolean, boolean);
CREATE FUNCTION session_claim(p_worker text, p_max int, p_room bigint, p_heavy bigint, p_take_heavy boolean, p_suspect boolean)
  RETURNS TABLE (session_id text, epoch bigint, organization_id text, workspace_id text, thread_id text, status text, last_seq bigint,
    last_us bigint, wake_gen bigint, attempts int, agent text, environment_id text, running_us bigint, active_us bigint,
    input_tokens bigint, output_tokens bigint, cache_read_tokens bigint, cache_5m_tokens bigint, cache_1h_tokens bigint, title text,
    created_us bigint, token_nano bigint, bytes bigint, calls boolean,
    inbox_seq bigint, event_id text, type text, stem text, role "char", fragment text, on_receipt boolean, wakes boolean,
    refers_to text, answer text, deny_message text, received_us bigint,
    budget_cents bigint, unpriced boolean, paused boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  d record;
  v_at tid[] := '{}';
  v_ids text[] := '{}';
BEGIN
  FOR d IN SELECT x.ctid AS at, x.session_id AS id, x.bytes FROM work x
            WHERE x.due_at <= clock_timestamp() AND x.lease_owner IS NULL AND x.attempts < 2 AND x.bytes <= p_heavy AND NOT p_suspect
            ORDER BY x.due_at LIMIT p_max FOR NO KEY UPDATE SKIP LOCKED LOOP
    p_room := p_room - d.bytes;
    EXIT WHEN p_room < 0;
    v_at := v_at || d.at;
    v_ids := v_ids || d.id;
  END LOOP;
  IF p_take_heavy OR p_suspect THEN
    SELECT x.ctid AS at, x.session_id AS id INTO d FROM work x
     WHERE x.due_at <= clock_timestamp() AND x.lease_owner IS NULL
       AND CASE WHEN p_suspect THEN x.attempts >= 2 ELSE x.attempts < 2 AND x.bytes > p_heavy END
     ORDER BY x.due_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF FOUND THEN
      v_at := v_at || d.at;
      v_ids := v_ids || d.id;
    END IF;
  END IF;
  IF array_length(v_ids, 1) IS NULL THEN
    RETURN;
  END IF;
  UPDATE work w SET lease_owner = p_worker, lease_epoch = nextval('lease_epoch') WHERE w.ctid = ANY (v_at);
  RETURN QUERY
  SELECT s.id, w.lease_epoch, s.organization_id, s.workspace_id, s.thread_id, s.status::text, s.last_seq, us(s.last_at), s.wake_gen,
         w.attempts, CASE WHEN lag(s.id) OVER (ORDER BY w.due_at, s.id, i.inbox_seq) IS DISTINCT FROM s.id THEN s.agent END,
         s.environment_id, us(s.running_since), s.active_us, s.input_tokens, s.output_tokens, s.cache_read_tokens, s.cache_5m_tokens,
         s.cache_1h_tokens, s.title, us(s.created_at), s.token_nano, w.bytes,
         EXISTS (SELECT FROM action a WHERE a.session_id = s.id AND a.state <> 'closed'),
         i.inbox_seq, i.id, i.type, i.stem, i.role, i.fragment, i.on_receipt, i.wakes, i.refers_to, i.answer, i.deny_message,
         us(i.received_at), s.budget_cents, s.unpriced, s.paused
    FROM session s JOIN work w ON w.workspace_id = s.workspace_id AND w.session_id = s.id LEFT JOIN inbox i ON i.session_id = s.id
   WHERE s.id = ANY (v_ids) ORDER BY w.due_at, s.id, i.inbox_seq;
END $$;
REVOKE ALL ON FUNCTION session_claim(text, int, bigint, bigint, boolean, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_claim(text, int, bigint, bigint, boolean, boolean) TO roost_worker;

-- As in 0070, and:
--   p_token_nano   list cost of all tokens of this append, judging included; NULL: some have no price
--   p_rates        nano-dollars per token of p_tokens, class by class; NULL: no price
--   p_paused       with p_status: the session is idle at its budget's cap
--   p_judge_*      model, tokens and rates of judging this reply's calls; p_judge_lost: of some of it nobody knows what it cost
DROP FUNCTION session_append(text, bigint, bigint, text[], text[], text[], text[], text[], text[], bigint[], text, int, int, bigint[], int,
  text, text[], text[], text[], text[], text[], text, bigint, bigint, boolean, bigint, bigint);
CREATE FUNCTION session_append(p_session text, p_epoch bigint, p_base_us bigint, p_ids text[], p_types text[], p_bodies text[],
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
