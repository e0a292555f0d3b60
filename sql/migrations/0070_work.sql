-- What changes at every put, claim and release leaves the session's row: due_at and lease_owner stood in the predicates of three indexes,
-- so that no update of a session could be HOT (1.3 of the 1.8 ms that a turn cost were Postgres). Now a session that a worker should look
-- at, or that one holds, has a row in `work`; all others have none. session.at_work says the same on the row itself, for its readers.

-- The order of locks is session, then work. Rows are inserted and deleted under the session's lock only; a claim takes free rows
-- without it, skipping locked ones. Epochs are numbers of one sequence: a later claim has a higher one, whatever the session.
CREATE SEQUENCE lease_epoch CACHE 1;
CREATE TABLE work (
  workspace_id  text NOT NULL,
  session_id    text NOT NULL,
  due_at        timestamptz NOT NULL,                 -- when a worker should look at it
  lease_owner   text,                                 -- who has it; NULL: nobody
  lease_epoch   bigint NOT NULL DEFAULT 0,            -- of the latest claim
  attempts      int NOT NULL DEFAULT 0,               -- crashes that this session was blamed for since it last made progress
  bytes         bigint NOT NULL DEFAULT 0,            -- about what its next owner will read: context and inbox
  PRIMARY KEY (workspace_id, session_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX work_due   ON work (due_at) WHERE lease_owner IS NULL;
CREATE INDEX work_owner ON work (lease_owner) WHERE lease_owner IS NOT NULL;

INSERT INTO work (session_id, workspace_id, due_at, lease_owner, lease_epoch, attempts, bytes)
SELECT id, workspace_id, coalesce(due_at, clock_timestamp()), lease_owner, lease_epoch, attempts, 2 * inbox_bytes FROM session
 WHERE due_at IS NOT NULL OR lease_owner IS NOT NULL;
SELECT setval('lease_epoch', coalesce((SELECT max(s.lease_epoch) FROM session s), 0) + 1, false);

-- A CHECK is read from its text by every statement that writes the table; a domain's is kept. 5 % of Postgres' time in a turn.
CREATE DOMAIN session_status AS text CHECK (VALUE IN ('idle', 'running', 'rescheduling', 'terminated'));
CREATE DOMAIN quantity AS bigint CHECK (VALUE >= 0);
ALTER TABLE meter_event DROP CONSTRAINT meter_event_quantity_check, ALTER COLUMN quantity TYPE quantity;
DROP INDEX session_due, session_owner, session_busy;
ALTER TABLE session DROP CONSTRAINT session_status_check, ALTER COLUMN status TYPE session_status,
  ADD COLUMN at_work boolean NOT NULL DEFAULT false,
  ADD COLUMN context_bytes bigint NOT NULL DEFAULT 0,   -- of the model's view of the log
  ADD COLUMN token_nano bigint NOT NULL DEFAULT 0;      -- list cost of the tokens, in nano-dollars
UPDATE session SET at_work = true WHERE due_at IS NOT NULL OR lease_owner IS NOT NULL;

-- Everything below uses the columns that go; what they were is replaced in the same transaction.
DROP FUNCTION wire_status(text, int, timestamptz);
ALTER TABLE session DROP COLUMN due_at, DROP COLUMN lease_owner, DROP COLUMN lease_epoch, DROP COLUMN attempts;

-- Work that waits in the inbox reads as running. at_work is false when the worker has seen the inbox and left it, as it does with a
-- message behind an unanswered question.
CREATE FUNCTION wire_status(status text, inbox_wakes int, at_work boolean) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN CASE WHEN status = 'idle' AND inbox_wakes > 0 AND at_work THEN 'running' ELSE status END;

-- The gateway, inside its transaction and after session_lock, which holds the row: put a batch of client events into the inbox, in order.
-- Parallel arrays, one element per event. `wakes` of an answer is decided here: it starts work only when it answers the last open call.
-- Returns who must be told. A crash before the commit leaves nothing; after it, a worker's poll finds the session.
CREATE OR REPLACE FUNCTION session_inbox_put(p_session text, p_ids text[], p_types text[], p_stems text[], p_roles text[],
    p_fragments text[], p_on_receipt boolean[], p_wakes boolean[], p_refers text[], p_answers text[], p_denials text[], p_hashes text[])
  RETURNS TABLE (lease_owner text, inbox_seq bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  n int := array_length(p_ids, 1);
  v_now timestamptz := clock_timestamp();
  v_workspace text;
  v_context bigint;
  v_due timestamptz;
  v_open int;
  v_wakes boolean[] := p_wakes;
  v_woken int := 0;
  v_stems bigint := 0;
  v_bytes bigint := 0;
BEGIN
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
    v_stems := v_stems + octet_length(p_stems[k]);
    v_bytes := v_bytes + octet_length(p_stems[k]) + coalesce(octet_length(p_fragments[k]), 0);
  END LOOP;
  UPDATE session x
     SET inbox_seq = x.inbox_seq + n, inbox_events = x.inbox_events + n, inbox_wakes = x.inbox_wakes + v_woken,
         inbox_bytes = x.inbox_bytes + v_stems, wake_gen = x.wake_gen + 1, at_work = true
   WHERE x.id = p_session
  RETURNING x.inbox_seq, x.workspace_id, x.context_bytes INTO STRICT inbox_seq, v_workspace, v_context;
  FOR k IN 1..n LOOP
    INSERT INTO inbox (session_id, inbox_seq, id, type, stem, role, fragment, received_at, on_receipt, wakes, refers_to, answer, deny_message)
    VALUES (p_session, session_inbox_put.inbox_seq - n + k, p_ids[k], p_types[k], p_stems[k], p_roles[k]::"char", p_fragments[k], v_now,
            p_on_receipt[k], v_wakes[k], p_refers[k], p_answers[k], p_denials[k]);
  END LOOP;
  -- a claim under way is waited for: its worker must be told
  SELECT w.lease_owner, w.due_at INTO lease_owner, v_due FROM work w
   WHERE w.workspace_id = v_workspace AND w.session_id = p_session FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    INSERT INTO work (workspace_id, session_id, due_at, bytes) VALUES (v_workspace, p_session, v_now, v_context + v_bytes);
  ELSIF v_due > v_now OR lease_owner IS NULL THEN
    UPDATE work w SET due_at = least(w.due_at, v_now), bytes = w.bytes + v_bytes
     WHERE w.workspace_id = v_workspace AND w.session_id = p_session;
  END IF;
  RETURN NEXT;
END $$;

-- A worker takes sessions that are due, oldest first (fair order between organizations comes later): up to p_max light ones whose bytes
-- fit into p_room, and one heavy one (more than p_heavy bytes) if p_take_heavy; a worker's memory is bounded by what it may claim.
-- p_suspect: instead of these, one that has killed its worker twice, whatever its size. One row for each waiting item of each session,
-- one with NULLs (inbox_seq) without any; what belongs to the session stands in its first row (epoch is NULL in the others). The items
-- are read after the lease is taken: a put that does not see the lease has its items seen here.
CREATE FUNCTION session_claim(p_worker text, p_max int, p_room bigint, p_heavy bigint, p_take_heavy boolean, p_suspect boolean)
  RETURNS TABLE (session_id text, epoch bigint, organization_id text, workspace_id text, thread_id text, status text, last_seq bigint,
    last_us bigint, wake_gen bigint, attempts int, agent text, environment_id text, running_us bigint, active_us bigint,
    input_tokens bigint, output_tokens bigint, cache_read_tokens bigint, cache_5m_tokens bigint, cache_1h_tokens bigint, title text,
    created_us bigint, token_nano bigint, bytes bigint, calls boolean,
    inbox_seq bigint, event_id text, type text, stem text, role "char", fragment text, on_receipt boolean, wakes boolean,
    refers_to text, answer text, deny_message text, received_us bigint)
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
         i.inbox_seq, i.id, i.type, i.stem, i.role, i.fragment, i.on_receipt, i.wakes, i.refers_to, i.answer, i.deny_message, us(i.received_at)
    FROM session s JOIN work w ON w.workspace_id = s.workspace_id AND w.session_id = s.id LEFT JOIN inbox i ON i.session_id = s.id
   WHERE s.id = ANY (v_ids) ORDER BY w.due_at, s.id, i.inbox_seq;
END $$;

-- The one way a worker writes: events, the inbox items they consume, status, billed interval, tokens, waiting calls and the lease, in
-- one transaction, fenced by the epoch. Event k (from 0) is stamped p_base_us + k.
--   p_open_k, p_close_k   event whose stamp opens / closes the billed interval, or NULL
--   p_tokens              {input, output, cache_read, cache_write_5m, cache_write_1h} of one model request, metered at event p_tokens_k;
--                         p_tokens_k without p_tokens, or with none counted: that event ends a request whose usage nobody knows, which
--                         leaves a row in meter_gap
--   p_action_*            calls that now wait for the client; p_closed: calls that no longer do
--   p_release             NULL keep the lease; 'idle' give it up if the inbox has not moved since p_wake_gen; 'retry' give it up, due
--                         at p_due_us, or at once if the inbox has moved since p_wake_gen (an interrupt does not wait); 'done' give it
--                         up for good (terminated)
--   p_again               this append may have been committed before (EK_UNCERTAIN): if its first event is there, say ok
--   p_context_bytes       of the model's view of the log after this append; NULL: as before
--   p_token_nano          list cost of p_tokens in nano-dollars
-- attempts fall back only when this append shows progress: tokens of a reply, results of tools, or a turn that closed (the same rule in
-- workers/harness/plan.c).
-- Returns: 'ok'; 'fenced' (another epoch, or no lease: nothing written); 'woken' (release refused: read the inbox, then go on; nothing
-- written); 'stamp' (base not above last_at, over 1 s ahead of the database's clock or 15 s behind it, as a large
-- append on a busy disk may come to be: learn the time from last_us and stamp anew; nothing written).
DROP FUNCTION session_append(text, bigint, bigint, text[], text[], text[], text[], text[], text[], bigint[], text, int, int, bigint[], int,
  text, text[], text[], text[], text[], text[], text, bigint, bigint, boolean);
CREATE FUNCTION session_append(p_session text, p_epoch bigint, p_base_us bigint, p_ids text[], p_types text[], p_bodies text[],
    p_roles text[], p_fragments text[], p_privates text[], p_consumed bigint[], p_status text, p_open_k int, p_close_k int,
    p_tokens bigint[], p_tokens_k int, p_model text, p_action_ids text[], p_action_kinds text[], p_action_names text[],
    p_action_inputs text[], p_closed text[], p_release text, p_wake_gen bigint, p_due_us bigint, p_again boolean, p_context_bytes bigint,
    p_token_nano bigint)
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
    INSERT INTO meter_event (session_id, seq, meter, organization_id, workspace_id, api_key_id, agent_id, agent_version, environment_id,
                             model, period_start, period_end, quantity, unit, cum_before)
    SELECT p_session, s.last_seq + 1 + v.k, v.meter, s.organization_id, s.workspace_id, s.api_key_id, s.agent_id, s.agent_version,
           s.environment_id, v.model, coalesce(v.since, stamp(p_base_us + v.k)), stamp(p_base_us + v.k), v.quantity, v.unit, v.before
      FROM (VALUES ('tokens.input', p_tokens_k, p_model, NULL::timestamptz, p_tokens[1], 'token', s.input_tokens),
                   ('tokens.output', p_tokens_k, p_model, NULL, p_tokens[2], 'token', s.output_tokens),
                   ('tokens.cache_read', p_tokens_k, p_model, NULL, p_tokens[3], 'token', s.cache_read_tokens),
                   ('tokens.cache_write_5m', p_tokens_k, p_model, NULL, p_tokens[4], 'token', s.cache_5m_tokens),
                   ('tokens.cache_write_1h', p_tokens_k, p_model, NULL, p_tokens[5], 'token', s.cache_1h_tokens),
                   ('session.runtime', p_close_k, NULL, v_running, CASE WHEN v_us > 0 THEN (s.active_us + v_us) / 1000 - s.active_us / 1000 END,
                    'ms', s.active_us / 1000)) v(meter, k, model, since, quantity, unit, before)
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
         input_tokens = x.input_tokens + coalesce(p_tokens[1], 0), output_tokens = x.output_tokens + coalesce(p_tokens[2], 0),
         cache_read_tokens = x.cache_read_tokens + coalesce(p_tokens[3], 0),
         cache_5m_tokens = x.cache_5m_tokens + coalesce(p_tokens[4], 0), cache_1h_tokens = x.cache_1h_tokens + coalesce(p_tokens[5], 0),
         token_nano = x.token_nano + coalesce(p_token_nano, 0), context_bytes = coalesce(p_context_bytes, x.context_bytes),
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

-- A worker gives a lease back without having written (drain, or nothing to do). The epoch stays: the next claim has a higher one.
CREATE OR REPLACE FUNCTION session_release(p_session text, p_epoch bigint, p_due_us bigint) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE work w SET lease_owner = NULL, due_at = coalesce(stamp(p_due_us), w.due_at)
    FROM session s WHERE s.id = p_session AND w.workspace_id = s.workspace_id AND w.session_id = s.id AND w.lease_epoch = p_epoch
     AND w.lease_owner IS NOT NULL;
  RETURN FOUND;
END $$;

-- As in 0012.
CREATE OR REPLACE FUNCTION worker_reap(p_me text, p_lease_s int) RETURNS TABLE (worker_id text, sessions bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  w worker;
  s session;
  v_base bigint;
  v_end timestamptz;
  v_us bigint;
  n int;
BEGIN
  FOR w IN SELECT * FROM worker WHERE id <> p_me FOR UPDATE SKIP LOCKED LOOP
    CONTINUE WHEN w.beat_at < pg_postmaster_start_time() AND
                  pg_postmaster_start_time() > clock_timestamp() - make_interval(secs => p_lease_s);
    IF w.lease_until >= clock_timestamp() THEN
      CONTINUE WHEN NOT pg_try_advisory_xact_lock(w.lock_key);	-- held: its process lives
    END IF;
    worker_id := w.id;
    sessions := 0;
    FOR s IN SELECT x.* FROM work k JOIN session x ON x.id = k.session_id WHERE k.lease_owner = w.id FOR NO KEY UPDATE OF x SKIP LOCKED LOOP
      UPDATE work k SET lease_owner = NULL, due_at = least(k.due_at, clock_timestamp())
       WHERE k.workspace_id = s.workspace_id AND k.session_id = s.id AND k.lease_owner = w.id;
      CONTINUE WHEN NOT FOUND;	-- it has been released since the list was read
      n := 0;
      v_us := 0;
      IF s.running_since IS NOT NULL THEN
        v_base := greatest(us(s.last_at) + 1, us(least(w.beat_at, clock_timestamp())));
        n := session_orphan(s, v_base);
        v_end := stamp(v_base + n - 1);
        v_us := us(v_end) - us(s.running_since);
        PERFORM session_meter(s, s.last_seq + n, 0, 'session.runtime', NULL, s.running_since, v_end,
                              (s.active_us + v_us) / 1000 - s.active_us / 1000, 'ms', s.active_us / 1000);
        UPDATE session x SET running_since = NULL, active_us = x.active_us + v_us, last_seq = x.last_seq + n, status = 'rescheduling',
               last_at = v_end, updated_at = v_end
         WHERE x.id = s.id;
      END IF;
      sessions := sessions + 1;
    END LOOP;
    -- a session that somebody has locked is left for the next round, and its worker's row with it: this call must not wait
    DELETE FROM worker WHERE id = w.id AND NOT EXISTS (SELECT 1 FROM work k WHERE k.lease_owner = w.id);
    RETURN NEXT;
  END LOOP;
END $$;

-- As in 0050. k is the session's row in work.
DROP FUNCTION session_bury(session, bigint, text, text);
CREATE FUNCTION session_bury(s session, p_attempts int, p_base_us bigint, p_worker text, p_reason text) RETURNS void
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
  DELETE FROM work k WHERE k.workspace_id = s.workspace_id AND k.session_id = s.id;
  UPDATE session x SET at_work = false, status = 'terminated', terminated_at = v_end,
         running_since = NULL, active_us = x.active_us + v_us, last_seq = x.last_seq + n, last_at = v_end, updated_at = v_end
   WHERE x.id = s.id;
  DELETE FROM suspect x WHERE x.session_id = s.id;
  INSERT INTO dead_letter (session_id, attempts, worker, reason) VALUES (s.id, p_attempts, p_worker, p_reason)
  ON CONFLICT (session_id) DO UPDATE SET attempts = excluded.attempts, worker = excluded.worker, reason = excluded.reason, at = excluded.at;
END $$;
REVOKE ALL ON FUNCTION session_bury(session, int, bigint, text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION worker_blame(p_worker text, p_session text, p_epoch bigint, p_max int, p_count boolean, p_reason text)
  RETURNS TABLE (attempts int, ended_epoch bigint)
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
    PERFORM session_bury(s, k.attempts, greatest(us(s.last_at) + 1, us(least(coalesce(v_beat, clock_timestamp()), clock_timestamp()))),
      CASE WHEN p_count THEN p_worker ELSE coalesce((SELECT x.worker FROM suspect x WHERE x.session_id = p_session), p_worker) END, p_reason);
    ended_epoch := nextval('lease_epoch');
  END IF;
  RETURN NEXT;
END $$;

CREATE OR REPLACE FUNCTION dead_retry(p_session text) RETURNS SETOF text
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
  UPDATE session x SET status = 'rescheduling', terminated_at = NULL, last_seq = x.last_seq + n,
         last_at = stamp(v_base + n - 1), updated_at = stamp(v_base + n - 1), at_work = true, wake_gen = x.wake_gen + 1
   WHERE x.id = p_session;
  INSERT INTO work (workspace_id, session_id, due_at, bytes) VALUES (s.workspace_id, s.id, clock_timestamp(), s.context_bytes + 2 * s.inbox_bytes);
  DELETE FROM dead_letter d WHERE d.session_id = p_session;
  RETURN NEXT p_session;
END $$;

-- As in 0002: without its row in work a session's owner is fenced.
CREATE OR REPLACE FUNCTION session_archive(p_workspace text, p_session text, p_ids text[], p_types text[], p_stems text[])
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
  ELSIF s.status = 'rescheduling' OR wire_status(s.status, s.inbox_wakes, s.at_work) = 'running' THEN
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
         inbox_events = 0, inbox_bytes = 0, inbox_wakes = 0, wake_gen = x.wake_gen + 1, at_work = false
   WHERE x.id = p_session;
  DELETE FROM work k WHERE k.workspace_id = p_workspace AND k.session_id = p_session;
  INSERT INTO sandbox_drop (session_id) VALUES (p_session) ON CONFLICT DO NOTHING;
  IF coalesce(array_length(v_ids, 1), 0) = 0 THEN
    seq := NULL; type := NULL; body := NULL;
    RETURN NEXT;
  END IF;
END $$;

CREATE OR REPLACE FUNCTION session_delete(p_workspace text, p_session text) RETURNS TABLE (result text, next_seq bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  s session;
BEGIN
  SELECT * INTO s FROM session WHERE workspace_id = p_workspace AND id = p_session FOR UPDATE;
  IF s.id IS NULL THEN
    result := 'missing';
  ELSIF s.status = 'rescheduling' OR wire_status(s.status, s.inbox_wakes, s.at_work) = 'running' THEN
    result := 'running';
  ELSE
    DELETE FROM event e WHERE e.session_id = p_session;
    DELETE FROM inbox i WHERE i.session_id = p_session;
    DELETE FROM action a WHERE a.session_id = p_session;
    DELETE FROM work k WHERE k.workspace_id = p_workspace AND k.session_id = p_session;
    DELETE FROM session x WHERE x.id = p_session;
    INSERT INTO sandbox_drop (session_id) VALUES (p_session) ON CONFLICT DO NOTHING;
    result := 'ok'; next_seq := s.last_seq + 1;
  END IF;
  RETURN NEXT;
END $$;

REVOKE ALL ON FUNCTION wire_status(text, int, boolean), session_claim(text, int, bigint, bigint, boolean, boolean),
  session_append(text, bigint, bigint, text[], text[], text[], text[], text[], text[], bigint[], text, int, int, bigint[], int, text, text[],
    text[], text[], text[], text[], text, bigint, bigint, boolean, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION wire_status(text, int, boolean) TO roost_gw, roost_stream, roost_worker;
GRANT EXECUTE ON FUNCTION session_claim(text, int, bigint, bigint, boolean, boolean),
  session_append(text, bigint, bigint, text[], text[], text[], text[], text[], text[], bigint[], text, int, int, bigint[], int, text, text[],
    text[], text[], text[], text[], text, bigint, bigint, boolean, bigint, bigint) TO roost_worker;
GRANT SELECT ON work TO roost_gw, roost_worker;
