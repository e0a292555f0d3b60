-- The gateway deletes an idle or terminated session: its content goes, its meter rows stay. next_seq numbers the session.deleted that
-- is published (there is no log left to hold it).
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
REVOKE ALL ON FUNCTION session_delete FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_delete TO roost_gw;
