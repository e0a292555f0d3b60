-- A function in SQL that cannot be inlined (0002's was SECURITY DEFINER with a SET) is parsed and planned anew by every caller's
-- expression: 30 of the 48 µs of a meter row, and a turn writes three. In PL/pgSQL the plan is kept for the session. It is called by
-- functions that run as the owner already, so it needs neither of the two.
CREATE OR REPLACE FUNCTION session_meter(s session, p_seq bigint, p_part int, p_meter text, p_model text, p_start timestamptz,
    p_end timestamptz, p_quantity bigint, p_unit text, p_cum bigint) RETURNS void
  LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO meter_event (session_id, seq, meter, part, organization_id, workspace_id, api_key_id, agent_id, agent_version,
                           environment_id, model, period_start, period_end, quantity, unit, cum_before)
  VALUES (s.id, p_seq, p_meter, p_part, s.organization_id, s.workspace_id, s.api_key_id, s.agent_id, s.agent_version,
          s.environment_id, p_model, p_start, p_end, p_quantity, p_unit, p_cum);
END $$;
