-- A session's outcomes, oldest first, as the wire's list. They follow one another, so an evaluation belongs to the latest definition.
-- What waits in the inbox is pending. Texts are taken over as JSON, without decoding.
CREATE OR REPLACE FUNCTION session_outcomes(p_session text) RETURNS text
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
REVOKE ALL ON FUNCTION session_outcomes FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_outcomes TO roost_gw;

-- Is an outcome worked toward, or about to be? One in the log ends with its last evaluation, or with an interrupt that waits.
CREATE OR REPLACE FUNCTION session_outcome_open(p_session text) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT EXISTS (SELECT FROM inbox i WHERE i.session_id = p_session AND i.type = 'user.define_outcome')
      OR coalesce((SELECT x.type <> 'span.outcome_evaluation_end' OR x.body::json ->> 'result' = 'needs_revision' FROM event x
                    WHERE x.session_id = p_session
                      AND x.type IN ('user.define_outcome', 'span.outcome_evaluation_start', 'span.outcome_evaluation_end')
                    ORDER BY x.seq DESC LIMIT 1), false)
         AND NOT EXISTS (SELECT FROM inbox i WHERE i.session_id = p_session AND i.type = 'user.interrupt');
$$;
REVOKE ALL ON FUNCTION session_outcome_open FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_outcome_open TO roost_gw;
