-- Events that need no look at the session's calls, in one statement: as session_lock and session_inbox_put, if nothing stands in their
-- way. What does (archived, ended, suspended, a question to the client, a budget, a full inbox, or no such session) is found out and
-- said by the gateway's longer way: a unique_violation, and nothing is written.
CREATE OR REPLACE FUNCTION session_send(p_workspace text, p_session text, p_ids text[], p_types text[], p_stems text[], p_roles text[],
    p_fragments text[], p_on_receipt boolean[], p_wakes boolean[], p_refers text[], p_answers text[], p_denials text[], p_hashes text[],
    p_events_max int, p_bytes_max bigint) RETURNS TABLE (lease_owner text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_bytes bigint;
BEGIN
  SELECT x.inbox_bytes INTO v_bytes FROM session x JOIN organization o ON o.id = x.organization_id
   WHERE x.workspace_id = p_workspace AND x.id = p_session AND x.archived_at IS NULL AND x.status <> 'terminated' AND o.state = 'active'
     AND x.budget_cents IS NULL AND x.inbox_events + cardinality(p_ids) <= p_events_max
     AND (x.status <> 'idle' OR NOT EXISTS (SELECT FROM action a WHERE a.session_id = p_session AND a.state = 'open'))
     FOR NO KEY UPDATE OF x;
  IF FOUND THEN
    FOR k IN 1..cardinality(p_stems) LOOP
      v_bytes := v_bytes + octet_length(p_stems[k]);
    END LOOP;
  END IF;
  IF NOT FOUND OR v_bytes > p_bytes_max THEN
    RAISE unique_violation USING MESSAGE = 'the session has to be looked at';
  END IF;
  SELECT p.lease_owner INTO lease_owner FROM session_inbox_put(p_session, p_ids, p_types, p_stems, p_roles, p_fragments, p_on_receipt,
    p_wakes, p_refers, p_answers, p_denials, p_hashes) p;
  RETURN NEXT;
END $$;
REVOKE ALL ON FUNCTION session_send FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_send TO roost_gw;
