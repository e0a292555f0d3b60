-- Outcomes (contract 6). The log is the only record of them: what was defined, each evaluation's start and end. What the API shows of a
-- session's outcomes and what a worker has to know is read from there, for sessions that ever had one:
--   outcomes   some outcome was defined
ALTER TABLE session ADD COLUMN outcomes boolean NOT NULL DEFAULT false;
CREATE INDEX event_outcome ON event (session_id, seq)
 WHERE type IN ('user.define_outcome', 'span.outcome_evaluation_start', 'span.outcome_evaluation_end');

-- A session's outcomes, oldest first, as the wire's list. They follow one another, so an evaluation belongs to the latest definition.
-- What waits in the inbox is pending. Texts are taken over as JSON, without decoding.
CREATE FUNCTION session_outcomes(p_session text) RETURNS text
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  e record;
  v_all text[] := '{}';
  v_id text;
  v_description text;
  v_iteration int;
  v_result text;
  v_explanation text;
  v_completed text;
BEGIN
  FOR e IN SELECT 0 AS part, x.seq, x.type, x.body::json AS b, wire_stamp(x.processed_at) AS at FROM event x
            WHERE x.session_id = p_session
              AND x.type IN ('user.define_outcome', 'span.outcome_evaluation_start', 'span.outcome_evaluation_end')
           UNION ALL
           SELECT 1, i.inbox_seq, i.type, (i.stem || '}')::json, NULL FROM inbox i
            WHERE i.session_id = p_session AND i.type = 'user.define_outcome'
           UNION ALL
           SELECT 2, 0, NULL, NULL, NULL
            ORDER BY 1, 2 LOOP
    IF v_id IS NOT NULL AND (e.type IS NULL OR e.type = 'user.define_outcome') THEN
      v_all := v_all || format('{"type":"outcome_evaluation","outcome_id":%s,"description":%s,"iteration":%s,"result":"%s","explanation":%s,"completed_at":%s}',
                               v_id, v_description, v_iteration, v_result, coalesce(v_explanation, 'null'), coalesce('"' || v_completed || '"', 'null'));
    END IF;
    IF e.type = 'user.define_outcome' THEN
      v_id := (e.b -> 'outcome_id')::text; v_description := (e.b -> 'description')::text;
      v_iteration := 0; v_explanation := NULL; v_completed := NULL;
      v_result := CASE e.part WHEN 0 THEN 'running' ELSE 'pending' END;
    ELSIF e.type = 'span.outcome_evaluation_start' THEN
      v_iteration := (e.b ->> 'iteration')::int; v_result := 'evaluating';
    ELSIF e.type IS NOT NULL THEN
      v_explanation := (e.b -> 'explanation')::text;
      IF e.b ->> 'result' = 'needs_revision' THEN
        v_iteration := (e.b ->> 'iteration')::int + 1; v_result := 'running';
      ELSE
        v_result := e.b ->> 'result'; v_completed := e.at;
      END IF;
    END IF;
  END LOOP;
  RETURN '[' || array_to_string(v_all, ',') || ']';
END $$;

-- Is an outcome worked toward, or about to be? One in the log ends with its last evaluation, or with an interrupt that waits.
CREATE FUNCTION session_outcome_open(p_session text) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT EXISTS (SELECT FROM inbox i WHERE i.session_id = p_session AND i.type = 'user.define_outcome')
      OR coalesce((SELECT x.type <> 'span.outcome_evaluation_end' OR x.body::json ->> 'result' = 'needs_revision' FROM event x
                    WHERE x.session_id = p_session
                      AND x.type IN ('user.define_outcome', 'span.outcome_evaluation_start', 'span.outcome_evaluation_end')
                    ORDER BY x.seq DESC LIMIT 1), false)
         AND NOT EXISTS (SELECT FROM inbox i WHERE i.session_id = p_session AND i.type = 'user.interrupt');
$$;
REVOKE ALL ON FUNCTION session_outcomes(text), session_outcome_open(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_outcomes(text), session_outcome_open(text) TO roost_gw;

-- As in 0101, and whether there are outcomes to be read.
DROP FUNCTION session_claim(text, int, bigint, bigint, boolean, boolean);
CREATE FUNCTION session_claim(p_worker text, p_max int, p_room bigint, p_heavy bigint, p_take_heavy boolean, p_suspect boolean)
  RETURNS TABLE (session_id text, epoch bigint, organization_id text, workspace_id text, thread_id text, status text, last_seq bigint,
    last_us bigint, wake_gen bigint, attempts int, agent text, environment_id text, running_us bigint, active_us bigint,
    input_tokens bigint, output_tokens bigint, cache_read_tokens bigint, cache_5m_tokens bigint, cache_1h_tokens bigint, title text,
    created_us bigint, token_nano bigint, bytes bigint, calls boolean,
    inbox_seq bigint, event_id text, type text, stem text, role "char", fragment text, on_receipt boolean, wakes boolean,
    refers_to text, answer text, deny_message text, received_us bigint,
    budget_cents bigint, unpriced boolean, paused boolean, outcomes boolean)
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
         us(i.received_at), s.budget_cents, s.unpriced, s.paused, s.outcomes
    FROM session s JOIN work w ON w.workspace_id = s.workspace_id AND w.session_id = s.id LEFT JOIN inbox i ON i.session_id = s.id
   WHERE s.id = ANY (v_ids) ORDER BY w.due_at, s.id, i.inbox_seq;
END $$;
REVOKE ALL ON FUNCTION session_claim(text, int, bigint, bigint, boolean, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_claim(text, int, bigint, bigint, boolean, boolean) TO roost_worker;
