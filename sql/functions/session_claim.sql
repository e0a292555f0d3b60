-- A worker takes sessions that are due, oldest first (fair order between organizations comes later): up to p_max light ones whose bytes
-- fit into p_room, and one heavy one (more than p_heavy bytes) if p_take_heavy; a worker's memory is bounded by what it may claim.
-- p_age_ms: only those that have been due for so long, which others have left. p_suspect: instead of these, one that has killed its worker twice, whatever its size. One row for each waiting item of each session,
-- one with NULLs (inbox_seq) without any; what belongs to the session stands in its first row (epoch is NULL in the others). The items
-- are read after the lease is taken: a put that does not see the lease has its items seen here.
-- The commit is not waited for: nothing is done with a lease before its first append, whose commit takes this one along. A crash of
-- Postgres that loses a claim has given the session back, and no later claim has the same epoch (worker_beat).
CREATE OR REPLACE FUNCTION session_claim(p_worker text, p_max int, p_room bigint, p_heavy bigint, p_take_heavy boolean, p_suspect boolean,
    p_age_ms int)
  RETURNS TABLE (session_id text, epoch bigint, organization_id text, workspace_id text, thread_id text, status text, last_seq bigint,
    last_us bigint, wake_gen bigint, attempts int, agent text, environment_id text, running_us bigint, active_us bigint,
    input_tokens bigint, output_tokens bigint, cache_read_tokens bigint, cache_5m_tokens bigint, cache_1h_tokens bigint, title text,
    created_us bigint, token_nano bigint, bytes bigint, calls boolean,
    inbox_seq bigint, event_id text, type text, stem text, role "char", fragment text, on_receipt boolean, wakes boolean,
    refers_to text, answer text, deny_message text, received_us bigint,
    budget_cents bigint, unpriced boolean, paused boolean, outcomes boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_due timestamptz := clock_timestamp() - make_interval(secs => p_age_ms / 1000.0);
  v_at tid[];
BEGIN
  WITH light AS (
    SELECT x.ctid AS at, x.bytes, x.due_at FROM work x
     WHERE x.due_at <= v_due AND x.lease_owner IS NULL AND x.attempts < 2 AND x.bytes <= p_heavy AND NOT p_suspect
     ORDER BY x.due_at LIMIT p_max FOR NO KEY UPDATE SKIP LOCKED),
  heavy AS (
    SELECT x.ctid AS at FROM work x
     WHERE (p_take_heavy OR p_suspect) AND x.due_at <= v_due AND x.lease_owner IS NULL
       AND CASE WHEN p_suspect THEN x.attempts >= 2 ELSE x.attempts < 2 AND x.bytes > p_heavy END
     ORDER BY x.due_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
  SELECT array_agg(f.at) INTO v_at
    FROM (SELECT l.at FROM (SELECT light.at, sum(light.bytes) OVER (ORDER BY light.due_at, light.at) AS upto FROM light) l WHERE l.upto <= p_room
          UNION ALL
          SELECT heavy.at FROM heavy) f;
  IF v_at IS NULL THEN
    RETURN;
  END IF;
  PERFORM set_config('synchronous_commit', 'off', true);
  -- a statement of its own: it sees every put that was committed before the rows were locked, and later ones see the lease
  RETURN QUERY
  WITH w AS (UPDATE work x SET lease_owner = p_worker, lease_epoch = nextval('lease_epoch') WHERE x.ctid = ANY (v_at)
             RETURNING x.workspace_id, x.session_id, x.lease_epoch, x.attempts, x.bytes, x.due_at)
  SELECT s.id, w.lease_epoch, s.organization_id, s.workspace_id, s.thread_id, s.status::text, s.last_seq, us(s.last_at), s.wake_gen,
         w.attempts, CASE WHEN lag(s.id) OVER (ORDER BY w.due_at, s.id, i.inbox_seq) IS DISTINCT FROM s.id THEN s.agent END,
         s.environment_id, us(s.running_since), s.active_us, s.input_tokens, s.output_tokens, s.cache_read_tokens, s.cache_5m_tokens,
         s.cache_1h_tokens, s.title, us(s.created_at), s.token_nano, w.bytes,
         EXISTS (SELECT FROM action a WHERE a.session_id = s.id AND a.state <> 'closed'),
         i.inbox_seq, i.id, i.type, i.stem, i.role, i.fragment, i.on_receipt, i.wakes, i.refers_to, i.answer, i.deny_message,
         us(i.received_at), s.budget_cents, s.unpriced, s.paused, s.outcomes
    FROM w JOIN session s ON s.id = w.session_id LEFT JOIN inbox i ON i.session_id = s.id
   ORDER BY w.due_at, s.id, i.inbox_seq;
END $$;
REVOKE ALL ON FUNCTION session_claim(text, int, bigint, bigint, boolean, boolean, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_claim(text, int, bigint, bigint, boolean, boolean, int) TO roost_worker;

-- Kept for the previous release's workers.
CREATE OR REPLACE FUNCTION session_claim(p_worker text, p_max int, p_room bigint, p_heavy bigint, p_take_heavy boolean, p_suspect boolean)
  RETURNS TABLE (session_id text, epoch bigint, organization_id text, workspace_id text, thread_id text, status text, last_seq bigint,
    last_us bigint, wake_gen bigint, attempts int, agent text, environment_id text, running_us bigint, active_us bigint,
    input_tokens bigint, output_tokens bigint, cache_read_tokens bigint, cache_5m_tokens bigint, cache_1h_tokens bigint, title text,
    created_us bigint, token_nano bigint, bytes bigint, calls boolean,
    inbox_seq bigint, event_id text, type text, stem text, role "char", fragment text, on_receipt boolean, wakes boolean,
    refers_to text, answer text, deny_message text, received_us bigint,
    budget_cents bigint, unpriced boolean, paused boolean, outcomes boolean)
  LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT * FROM session_claim(p_worker, p_max, p_room, p_heavy, p_take_heavy, p_suspect, 0)
$$;
REVOKE ALL ON FUNCTION session_claim(text, int, bigint, bigint, boolean, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_claim(text, int, bigint, bigint, boolean, boolean) TO roost_worker;
