-- A worker keeps the lease of a session for a moment after a turn, when its client has come back soon before (session_append_one, 'keep'):
-- the session is idle, with nothing in its inbox, has its row in work, and a message finds an owner to tell. This gives such leases back
-- when their moment is over, but for those whose inbox has moved since p_wake_gens: these are returned, their owner reads them. So is one
-- whose row is locked: somebody may be about to move it.
-- It waits for nobody, and nobody waits for its commit: a crash of Postgres that loses it has left the lease, whose owner, or the reaper,
-- sees it.
CREATE OR REPLACE FUNCTION session_settle(p_sessions text[], p_epochs bigint[], p_wake_gens bigint[]) RETURNS SETOF text
  LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  v_off text := set_config('synchronous_commit', 'off', true);
  v_locked text[];
BEGIN
  SELECT array_agg(l.id) INTO v_locked
    FROM (SELECT x.id FROM session x WHERE x.id = ANY (p_sessions) FOR NO KEY UPDATE SKIP LOCKED) l;
  -- statements of their own: they see what was committed before the sessions were locked
  WITH gone AS (
    DELETE FROM work w USING unnest(p_sessions, p_epochs, p_wake_gens) u(session, epoch, wake_gen), session x
     WHERE x.id = u.session AND x.id = ANY (v_locked) AND x.wake_gen = u.wake_gen
       AND w.workspace_id = x.workspace_id AND w.session_id = x.id AND w.lease_epoch = u.epoch AND w.lease_owner IS NOT NULL
    RETURNING w.session_id)
  UPDATE session x SET at_work = false FROM gone g WHERE x.id = g.session_id;
  RETURN QUERY
  SELECT u.session FROM unnest(p_sessions, p_epochs) u(session, epoch)
                   JOIN session x ON x.id = u.session
                   JOIN work w ON w.workspace_id = x.workspace_id AND w.session_id = x.id
   WHERE w.lease_epoch = u.epoch AND w.lease_owner IS NOT NULL;
END $$;
REVOKE ALL ON FUNCTION session_settle FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_settle TO roost_worker;
