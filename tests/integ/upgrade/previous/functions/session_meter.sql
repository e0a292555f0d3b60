-- Rows of one meter of session s: one, but for runtime, of which no row covers more than a minute or two UTC days (operations.md A4):
-- p_part counts them up; whole milliseconds of each come from the interval's beginning, so that they add up. session_append_one writes the
-- rows of a short interval itself and comes here with long ones.
CREATE OR REPLACE FUNCTION session_meter(s session, p_seq bigint, p_part int, p_meter text, p_model text, p_start timestamptz,
    p_end timestamptz, p_quantity bigint, p_unit text, p_cum bigint) RETURNS void
  LANGUAGE plpgsql AS $$
DECLARE
  v_from timestamptz := p_start;
  v_to timestamptz := p_end;
  v_done bigint := 0;
  v_quantity bigint := p_quantity;
  v_part int := p_part;
BEGIN
  LOOP
    IF p_meter = 'session.runtime' THEN
      v_to := least(v_from + interval '60 seconds', p_end,
                    (date_trunc('day', v_from AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC');
      v_quantity := CASE WHEN v_to >= p_end THEN p_quantity - v_done
                         ELSE least(p_quantity - v_done, (us(v_to) - us(p_start)) / 1000 - v_done) END;
    END IF;
    INSERT INTO meter_event (session_id, seq, meter, part, organization_id, workspace_id, api_key_id, agent_id, agent_version,
                             environment_id, model, period_start, period_end, quantity, unit, cum_before)
    VALUES (s.id, p_seq, p_meter, v_part, s.organization_id, s.workspace_id, s.api_key_id, s.agent_id, s.agent_version,
            s.environment_id, p_model, v_from, v_to, v_quantity, p_unit, p_cum + v_done);
    EXIT WHEN v_to >= p_end;
    v_done := v_done + v_quantity;
    v_part := v_part + 1;
    v_from := v_to;
  END LOOP;
END $$;
REVOKE ALL ON FUNCTION session_meter FROM PUBLIC;

-- The open billed interval of session s as it is up to p_end, metered at event p_seq in parts from p_part on. Returns its microseconds: the
-- caller adds them to active_us where it moves running_since. 0: none is open.
CREATE OR REPLACE FUNCTION session_ran(s session, p_seq bigint, p_part int, p_end timestamptz) RETURNS bigint
  LANGUAGE plpgsql AS $$
DECLARE
  v_us bigint := coalesce(us(p_end) - us(s.running_since), 0);
BEGIN
  IF v_us > 0 THEN
    PERFORM session_meter(s, p_seq, p_part, 'session.runtime', NULL, s.running_since, p_end,
                          (s.active_us + v_us) / 1000 - s.active_us / 1000, 'ms', s.active_us / 1000);
  END IF;
  RETURN v_us;
END $$;
REVOKE ALL ON FUNCTION session_ran FROM PUBLIC;

-- What judging the calls of a reply took, metered in part 1 at the event that ends its request, and added to the totals. s: the session
-- before p_tokens, the request's own, are added. p_lost: of some of it nobody knows what it cost.
CREATE OR REPLACE FUNCTION session_judged(s session, p_seq bigint, p_at timestamptz, p_tokens bigint[], p_model text, p_judged bigint[],
    p_rates bigint[], p_lost boolean) RETURNS void
  LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO meter_event (session_id, seq, meter, part, organization_id, workspace_id, api_key_id, agent_id, agent_version,
                           environment_id, model, period_start, period_end, quantity, unit, cum_before, purpose, list_nano)
  SELECT s.id, p_seq, u.meter, 1, s.organization_id, s.workspace_id, s.api_key_id, s.agent_id, s.agent_version, s.environment_id, p_model,
         p_at, p_at, u.quantity, 'token', u.before + u.own, 'judge', u.quantity * u.rate
    FROM unnest('{tokens.input,tokens.output,tokens.cache_read,tokens.cache_write_5m,tokens.cache_write_1h}'::text[], p_judged, p_tokens,
                ARRAY[s.input_tokens, s.output_tokens, s.cache_read_tokens, s.cache_5m_tokens, s.cache_1h_tokens], p_rates)
         u(meter, quantity, own, before, rate)
   WHERE u.quantity > 0;
  UPDATE session x
     SET input_tokens = x.input_tokens + p_judged[1], output_tokens = x.output_tokens + p_judged[2],
         cache_read_tokens = x.cache_read_tokens + p_judged[3], cache_5m_tokens = x.cache_5m_tokens + p_judged[4],
         cache_1h_tokens = x.cache_1h_tokens + p_judged[5]
   WHERE x.id = s.id AND p_judged IS NOT NULL;
  IF p_lost THEN
    PERFORM session_gap(s, 'judge_lost', p_model, p_at);
  END IF;
END $$;
REVOKE ALL ON FUNCTION session_judged FROM PUBLIC;

-- The latest model request of s was made and nobody knows its usage: the provider may charge what no meter row shows.
CREATE OR REPLACE FUNCTION session_gap(s session, p_cause text, p_model text, p_at timestamptz) RETURNS void
  LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO meter_gap (session_id, seq, organization_id, workspace_id, model, cause, at)
  SELECT s.id, e.seq, s.organization_id, s.workspace_id, p_model, p_cause, p_at
    FROM event e WHERE e.session_id = s.id AND e.type = 'span.model_request_start' AND e.seq <= s.last_seq ORDER BY e.seq DESC LIMIT 1
  ON CONFLICT DO NOTHING;
END $$;
REVOKE ALL ON FUNCTION session_gap FROM PUBLIC;
