-- The gateway ends an idle session. Waiting inbox items that start no work are moved into the log first, then come the given events
-- (parallel arrays; stems as in the inbox). Its row in work goes, so a worker that was about to append is fenced.
-- result: 'ok', 'missing', 'running' (refused), 'already' (archived before; nothing written). One row per event written, for
-- publication; a single row without event when nothing was.
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
REVOKE ALL ON FUNCTION session_archive FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_archive TO roost_gw;
