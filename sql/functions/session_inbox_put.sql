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
  -- a claim under way is waited for: its worker must be told. What comes under a lease is counted by its owner (as in message_send)
  INSERT INTO work AS w (workspace_id, session_id, due_at, bytes) VALUES (v_workspace, p_session, v_now, v_context + v_bytes)
  ON CONFLICT (workspace_id, session_id) DO UPDATE
     SET due_at = least(w.due_at, excluded.due_at), bytes = w.bytes + CASE WHEN w.lease_owner IS NULL THEN v_bytes ELSE 0 END
  RETURNING w.lease_owner INTO lease_owner;
  RETURN NEXT;
END $$;
REVOKE ALL ON FUNCTION session_inbox_put FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_inbox_put TO roost_gw;
