-- Sessions that kill their worker, and model requests whose cost nobody knows.
--
-- attempts counts crashes, not claims: a worker notes in a mapped file which session it is handling, and whoever starts next on that file
-- blames it (worker_blame). Neighbours that the same crash took down, and reaping itself, add nothing. An append that shows progress sets
-- it back to 0. From 2 on a session is a suspect and runs alone in its worker; at conf's poison_attempts it ends with a dead letter.

-- The latest claim that a suspect's crash was counted for: a blame that comes twice counts once.
CREATE TABLE suspect (
  session_id  text PRIMARY KEY REFERENCES session ON DELETE CASCADE,
  epoch       bigint NOT NULL,
  worker      text NOT NULL,
  at          timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Sessions that were given up. Their inbox stays as it was (roostctl dead list, dead retry).
CREATE TABLE dead_letter (
  session_id  text PRIMARY KEY REFERENCES session ON DELETE CASCADE,
  attempts    int NOT NULL,
  worker      text NOT NULL,                          -- the last one that it stopped, or that could not read it
  reason      text NOT NULL CHECK (reason IN ('crash', 'unreadable')),
  at          timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Model requests that were made and whose usage is not known: the provider may charge what no meter row shows. One row per request, in
-- the transaction that writes its end; like meter rows they outlive their session. seq: of span.model_request_start.
CREATE TABLE meter_gap (
  session_id           text NOT NULL,
  seq                  bigint NOT NULL,
  organization_id      text NOT NULL,
  workspace_id         text NOT NULL,
  model                text,
  cause                text NOT NULL,                 -- worker_lost, failed, interrupted, drained, usage_unknown
  at                   timestamptz NOT NULL,
  est_tokens           bigint,
  provider_request_id  text,
  PRIMARY KEY (session_id, seq)
);

COMMENT ON COLUMN session.attempts IS 'crashes that this session was blamed for since it last made progress';

-- An agent that is no JSON must not stop the reaper.
CREATE FUNCTION agent_field(p_agent text, VARIADIC p_path text[]) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN p_agent::json #>> p_path;
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION agent_field(text, text[]) FROM PUBLIC;

CREATE FUNCTION session_gap(s session, p_cause text, p_model text, p_at timestamptz) RETURNS void
  LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO meter_gap (session_id, seq, organization_id, workspace_id, model, cause, at)
  SELECT s.id, e.seq, s.organization_id, s.workspace_id, p_model, p_cause, p_at
    FROM event e WHERE e.session_id = s.id AND e.type = 'span.model_request_start' AND e.seq <= s.last_seq ORDER BY e.seq DESC LIMIT 1
  ON CONFLICT DO NOTHING;
END $$;
REVOKE ALL ON FUNCTION session_gap(session, text, text, timestamptz) FROM PUBLIC;

-- Events that no worker writes, after s.last_seq, the first stamped p_base_us: the end of an open model request (and its gap), then the
-- given ones; p_rests are their fields behind the type. Returns how many it wrote.
CREATE FUNCTION session_say(s session, p_base_us bigint, p_types text[], p_rests text[]) RETURNS int
  LANGUAGE plpgsql AS $$
DECLARE
  v_span record;
  v_types text[] := p_types;
  v_rests text[] := p_rests;
  v_id text;
BEGIN
  SELECT e.id, e.type INTO v_span FROM event e WHERE e.session_id = s.id AND e.type LIKE 'span.model_request%' ORDER BY e.seq DESC LIMIT 1;
  IF v_span.type = 'span.model_request_start' THEN
    v_types := 'span.model_request_end'::text || v_types;
    v_rests := (',"model_request_start_id":"' || v_span.id || '","is_error":true,"model_usage":{"input_tokens":0,'
      '"output_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"speed":null}') || v_rests;
    PERFORM session_gap(s, 'worker_lost', agent_field(s.agent, 'model', 'id'), stamp(p_base_us));
  END IF;
  FOR k IN 1..array_length(v_types, 1) LOOP
    v_id := event_id();
    INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body)
    VALUES (s.id, s.last_seq + k, v_id, v_types[k], s.thread_id, stamp(p_base_us + k - 1),
            '{"id":"' || v_id || '","type":"' || v_types[k] || '"' || v_rests[k] || ',"processed_at":"' ||
            wire_stamp(stamp(p_base_us + k - 1)) || '"}');
  END LOOP;
  RETURN array_length(v_types, 1);
END $$;
REVOKE ALL ON FUNCTION session_say(session, bigint, text[], text[]) FROM PUBLIC;

CREATE FUNCTION thread_fields(s session) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN ',"session_thread_id":' || to_json(s.thread_id) || ',"agent_name":' || to_json(coalesce(agent_field(s.agent, 'name'), ''));
END $$;
REVOKE ALL ON FUNCTION thread_fields(session) FROM PUBLIC;

-- As in 0012; what a lost request may have cost is a gap.
CREATE OR REPLACE FUNCTION session_orphan(s session, p_base_us bigint) RETURNS int
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  RETURN session_say(s, p_base_us, ARRAY['session.thread_status_rescheduled', 'session.status_rescheduled'], ARRAY[thread_fields(s), '']);
END $$;

-- The end of a session that is given up: error, terminated pair, the billed interval closed at p_base_us and what follows, a dead letter.
-- Same texts as workers/harness/batch.c. The inbox stays; nothing is due. s is locked by the caller.
CREATE FUNCTION session_bury(s session, p_base_us bigint, p_worker text, p_reason text) RETURNS void
  LANGUAGE plpgsql AS $$
DECLARE
  n int;
  v_end timestamptz;
  v_us bigint := 0;
BEGIN
  n := session_say(s, p_base_us, ARRAY['session.error', 'session.thread_status_terminated', 'session.status_terminated'],
    ARRAY[',"error":{"type":"unknown_error","message":' || to_json(CASE p_reason
            WHEN 'crash' THEN 'The session stopped the process that ran it several times and has been given up.'
            ELSE 'The session cannot be read and has been given up.' END) || ',"retry_status":{"type":"terminal"}}', thread_fields(s), '']);
  v_end := stamp(p_base_us + n - 1);
  IF s.running_since IS NOT NULL THEN
    v_us := us(v_end) - us(s.running_since);
    PERFORM session_meter(s, s.last_seq + n, 0, 'session.runtime', NULL, s.running_since, v_end,
                          (s.active_us + v_us) / 1000 - s.active_us / 1000, 'ms', s.active_us / 1000);
  END IF;
  UPDATE session x SET lease_owner = NULL, lease_epoch = x.lease_epoch + 1, due_at = NULL, status = 'terminated', terminated_at = v_end,
         running_since = NULL, active_us = x.active_us + v_us, last_seq = x.last_seq + n, last_at = v_end, updated_at = v_end
   WHERE x.id = s.id;
  DELETE FROM suspect x WHERE x.session_id = s.id;
  INSERT INTO dead_letter (session_id, attempts, worker, reason) VALUES (s.id, s.attempts, p_worker, p_reason)
  ON CONFLICT (session_id) DO UPDATE SET attempts = excluded.attempts, worker = excluded.worker, reason = excluded.reason, at = excluded.at;
END $$;
REVOKE ALL ON FUNCTION session_bury(session, bigint, text, text) FROM PUBLIC;

-- p_worker died while it handled this claim (p_epoch) of the session, or, with p_reason 'unreadable' or p_count false, has just claimed a
-- session that is to end. Nothing for a claim that was counted before, or a session that has ended or has nothing to do. It ends when it
-- has p_max attempts and no living worker has it: the reader of that worker's own crash will end it.
-- Returns attempts, and the epoch up to which its sandbox may be destroyed when it ended; no row: nothing changed.
CREATE FUNCTION worker_blame(p_worker text, p_session text, p_epoch bigint, p_max int, p_count boolean, p_reason text)
  RETURNS TABLE (attempts int, ended_epoch bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  s session;
  v_beat timestamptz;
BEGIN
  SELECT * INTO s FROM session x WHERE x.id = p_session FOR UPDATE;
  IF s.id IS NULL OR s.status = 'terminated' OR s.lease_epoch < p_epoch OR (s.due_at IS NULL AND s.lease_owner IS NULL) THEN
    RETURN;
  END IF;
  IF p_count THEN
    INSERT INTO suspect AS x (session_id, epoch, worker) VALUES (p_session, p_epoch, p_worker)
    ON CONFLICT (session_id) DO UPDATE SET epoch = excluded.epoch, worker = excluded.worker, at = excluded.at WHERE x.epoch < excluded.epoch;
    IF NOT FOUND THEN
      RETURN;
    END IF;
    s.attempts := s.attempts + 1;
    UPDATE session x SET attempts = s.attempts WHERE x.id = p_session;
  ELSIF s.lease_owner IS DISTINCT FROM p_worker OR s.lease_epoch <> p_epoch THEN
    RETURN;
  END IF;
  attempts := s.attempts;
  IF (s.attempts >= p_max OR p_reason = 'unreadable') AND (s.lease_owner IS NULL OR s.lease_owner = p_worker) THEN
    SELECT w.beat_at INTO v_beat FROM worker w WHERE w.id = p_worker AND s.running_since IS NOT NULL;
    PERFORM session_bury(s, greatest(us(s.last_at) + 1, us(least(coalesce(v_beat, clock_timestamp()), clock_timestamp()))),
      CASE WHEN p_count THEN p_worker ELSE coalesce((SELECT x.worker FROM suspect x WHERE x.session_id = p_session), p_worker) END, p_reason);
    ended_epoch := s.lease_epoch + 1;
  END IF;
  RETURN NEXT;
END $$;
REVOKE ALL ON FUNCTION worker_blame(text, text, bigint, int, boolean, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION worker_blame(text, text, bigint, int, boolean, text) TO roost_worker;
GRANT SELECT ON suspect TO roost_worker;

-- An operator tries a dead session again: rescheduled, as after any crash, and due at once; its next owner goes on where the log and the
-- inbox stand. Returns the session's id, or no row: there is no such dead letter, or the session has been archived.
CREATE FUNCTION dead_retry(p_session text) RETURNS SETOF text
  LANGUAGE plpgsql AS $$
DECLARE
  s session;
  n int;
  v_base bigint;
BEGIN
  SELECT x.* INTO s FROM session x JOIN dead_letter d ON d.session_id = x.id
   WHERE x.id = p_session AND x.status = 'terminated' AND x.archived_at IS NULL FOR UPDATE OF x;
  IF s.id IS NULL THEN
    RETURN;
  END IF;
  v_base := greatest(us(clock_timestamp()), us(s.last_at) + 1);
  n := session_orphan(s, v_base);
  UPDATE session x SET status = 'rescheduling', terminated_at = NULL, attempts = 0, last_seq = x.last_seq + n,
         last_at = stamp(v_base + n - 1), updated_at = stamp(v_base + n - 1), due_at = clock_timestamp(), wake_gen = x.wake_gen + 1
   WHERE x.id = p_session;
  DELETE FROM dead_letter d WHERE d.session_id = p_session;
  RETURN NEXT p_session;
END $$;
REVOKE ALL ON FUNCTION dead_retry(text) FROM PUBLIC;

-- As in 0002, and: attempts fall back only when this append shows progress: tokens of a reply, results of tools, or a turn that closed (the
-- same rule in workers/harness/plan.c). p_tokens_k without p_tokens, or with none counted: that event ends a request whose usage nobody
-- knows, which leaves a row in meter_gap.
CREATE OR REPLACE FUNCTION session_append(p_session text, p_epoch bigint, p_base_us bigint, p_ids text[], p_types text[], p_bodies text[],
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
  v_progress boolean := p_tokens IS NOT NULL OR p_status IN ('idle', 'terminated') OR p_release IN ('idle', 'done') OR
                        p_types && ARRAY['agent.tool_result', 'user.custom_tool_result'];
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

  IF p_tokens_k IS NOT NULL AND (p_tokens IS NULL OR 0 = ALL (p_tokens)) THEN
    PERFORM session_gap(s, CASE WHEN p_tokens IS NOT NULL THEN 'usage_unknown' WHEN 'session.error' = ANY (p_types) THEN 'failed'
                                WHEN 'user.interrupt' = ANY (p_types) THEN 'interrupted' WHEN p_status = 'rescheduling' THEN 'drained'
                                ELSE 'worker_lost' END, p_model, stamp(p_base_us + p_tokens_k));
  END IF;
  IF v_progress AND s.attempts > 0 THEN
    DELETE FROM suspect x WHERE x.session_id = p_session;
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
         attempts = CASE WHEN v_progress THEN 0 ELSE x.attempts END,
         lease_owner = CASE WHEN p_release IS NULL THEN x.lease_owner END,
         due_at = CASE p_release WHEN 'idle' THEN NULL WHEN 'done' THEN NULL
                                 WHEN 'retry' THEN CASE WHEN s.wake_gen <> p_wake_gen THEN clock_timestamp() ELSE stamp(p_due_us) END
                                 ELSE x.due_at END
   WHERE x.id = p_session;
  result := 'ok'; last_seq := s.last_seq + n; last_us := us(v_end);
  RETURN NEXT;
END $$;
