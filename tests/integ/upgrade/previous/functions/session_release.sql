-- A worker gives a lease back without having written (drain, or nothing to do). The epoch stays: the next claim has a higher one. What
-- came under the lease is counted now.
CREATE OR REPLACE FUNCTION session_release(p_session text, p_epoch bigint, p_due_us bigint) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE work w SET lease_owner = NULL, due_at = coalesce(stamp(p_due_us), w.due_at), bytes = s.context_bytes + 2 * s.inbox_bytes
    FROM session s WHERE s.id = p_session AND w.workspace_id = s.workspace_id AND w.session_id = s.id AND w.lease_epoch = p_epoch
     AND w.lease_owner IS NOT NULL;
  RETURN FOUND;
END $$;
REVOKE ALL ON FUNCTION session_release FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_release TO roost_worker;
