-- One meter row of session s. In PL/pgSQL, which keeps the plan; a function in SQL that cannot be inlined is parsed and planned anew by
-- every caller's expression (30 of 48 µs). Called by functions that run as the owner, it needs neither SECURITY DEFINER nor a path.
CREATE OR REPLACE FUNCTION session_meter(s session, p_seq bigint, p_part int, p_meter text, p_model text, p_start timestamptz,
    p_end timestamptz, p_quantity bigint, p_unit text, p_cum bigint) RETURNS void
  LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO meter_event (session_id, seq, meter, part, organization_id, workspace_id, api_key_id, agent_id, agent_version,
                           environment_id, model, period_start, period_end, quantity, unit, cum_before)
  VALUES (s.id, p_seq, p_meter, p_part, s.organization_id, s.workspace_id, s.api_key_id, s.agent_id, s.agent_version,
          s.environment_id, p_model, p_start, p_end, p_quantity, p_unit, p_cum);
END $$;
REVOKE ALL ON FUNCTION session_meter FROM PUBLIC;

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

-- No row of meter_event covers more than a minute of runtime, or two UTC days (operations.md A4): NEW is cut into rows; the last one stays
-- NEW. Whole milliseconds of each come from the interval's beginning, so that they add up.
CREATE OR REPLACE FUNCTION runtime_cut() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  v_from timestamptz := NEW.period_start;
  v_cum bigint := NEW.cum_before;
  v_left bigint := NEW.quantity;
  v_end timestamptz := NEW.period_end;
  v_last boolean := false;
BEGIN
  LOOP
    NEW.period_end := least(NEW.period_start + interval '60 seconds', v_end,
                            ((date_trunc('day', NEW.period_start AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC'));
    v_last := NEW.period_end >= v_end;
    NEW.quantity := CASE WHEN v_last THEN v_left
                         ELSE least(v_left, (us(NEW.period_end) - us(v_from)) / 1000 - (NEW.cum_before - v_cum)) END;
    v_left := v_left - NEW.quantity;
    IF v_last THEN
      RETURN NEW;
    END IF;
    INSERT INTO meter_event SELECT (NEW).*;
    NEW.part := NEW.part + 1;
    NEW.cum_before := NEW.cum_before + NEW.quantity;
    NEW.period_start := NEW.period_end;
  END LOOP;
END $$;
REVOKE ALL ON FUNCTION runtime_cut FROM PUBLIC;
