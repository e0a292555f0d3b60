-- A worker takes sessions that are due.
--   p_sessions, p_workspaces   these, which were named to it, of at most p_each bytes; NULL: any, oldest first (fair order between
--                organizations comes later): up to p_max light ones (of at most p_each bytes) whose bytes fit into p_room, and one heavier
--                one if p_take_heavy. A worker's memory is bounded by what it may claim: for named ones p_each is their share of its room
--   p_age_ms     only those that have been due for so long, which others have left
--   p_suspect    instead of these, one that has killed its worker twice, whatever its size; no other claim takes it
-- One row for each waiting item of each session, in order, the rows of a session together; one with NULLs (inbox_seq) without any. The
-- agent stands in its first row only. The items are read after the lease is taken: a put that does not see the lease has its items seen here.
-- mounts: the files that its sandbox shows (JSON for hands), or NULL.
-- The commit is not waited for: nothing is done with a lease before its first append, whose commit takes this one along. A crash of
-- Postgres that loses a claim has given the session back, and no later claim has the same epoch (worker_beat).
CREATE OR REPLACE FUNCTION session_take(p_worker text, p_max int, p_room bigint, p_each bigint, p_take_heavy boolean, p_suspect boolean,
    p_age_ms int, p_workspaces text[], p_sessions text[])
  RETURNS TABLE (session_id text, epoch bigint, organization_id text, workspace_id text, thread_id text, status text, last_seq bigint,
    last_us bigint, wake_gen bigint, attempts int, agent text, environment_id text, running_us bigint, active_us bigint,
    input_tokens bigint, output_tokens bigint, cache_read_tokens bigint, cache_5m_tokens bigint, cache_1h_tokens bigint, title text,
    created_us bigint, token_nano bigint, bytes bigint, mounts text,
    inbox_seq bigint, event_id text, type text, stem text, role "char", fragment text, on_receipt boolean, wakes boolean,
    refers_to text, answer text, deny_message text, received_us bigint,
    budget_cents bigint, unpriced boolean, paused boolean, outcomes boolean, catalogue bigint)
  LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  v_due timestamptz := clock_timestamp();
  v_at tid[];
  v_off text;
BEGIN
  IF cardinality(p_sessions) = 1 THEN	-- as below; a turn that nobody else shares the machine with waits for this
    SELECT ARRAY[k.ctid] INTO v_at FROM work k
     WHERE k.workspace_id = p_workspaces[1] AND k.session_id = p_sessions[1] AND k.due_at <= v_due AND k.lease_owner IS NULL
       AND k.attempts < 2 AND k.bytes <= p_each
       FOR NO KEY UPDATE SKIP LOCKED;
  ELSIF p_sessions IS NOT NULL THEN
    SELECT array_agg(l.at) INTO v_at
      FROM (SELECT x.at FROM unnest(p_workspaces, p_sessions) u(workspace, session),
                   LATERAL (SELECT k.ctid AS at FROM work k
                             WHERE k.workspace_id = u.workspace AND k.session_id = u.session AND k.due_at <= v_due
                               AND k.lease_owner IS NULL AND k.attempts < 2 AND k.bytes <= p_each
                               FOR NO KEY UPDATE SKIP LOCKED) x) l;
  ELSE
    v_due := v_due - p_age_ms * interval '1 millisecond';
    WITH light AS (
      SELECT x.ctid AS at, x.bytes, x.due_at FROM work x
       WHERE x.due_at <= v_due AND x.lease_owner IS NULL AND x.attempts < 2 AND x.bytes <= p_each AND NOT p_suspect
       ORDER BY x.due_at LIMIT p_max FOR NO KEY UPDATE SKIP LOCKED),
    heavy AS (
      SELECT x.ctid AS at FROM work x
       WHERE (p_take_heavy OR p_suspect) AND x.due_at <= v_due AND x.lease_owner IS NULL
         AND CASE WHEN p_suspect THEN x.attempts >= 2 ELSE x.attempts < 2 AND x.bytes > p_each END
       ORDER BY x.due_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
    SELECT array_agg(f.at) INTO v_at
      FROM (SELECT l.at FROM (SELECT light.at, sum(light.bytes) OVER (ORDER BY light.due_at, light.at) AS upto FROM light) l WHERE l.upto <= p_room
            UNION ALL
            SELECT heavy.at FROM heavy) f;
  END IF;
  IF v_at IS NULL THEN
    RETURN;
  END IF;
  v_off := set_config('synchronous_commit', 'off', true);
  -- a statement of its own: it sees every put that was committed before the rows were locked, and later ones see the lease. The lateral
  -- join keeps the rows of a session together and in order, without a sort.
  RETURN QUERY
  WITH w AS (UPDATE work x SET lease_owner = p_worker, lease_epoch = nextval('lease_epoch') WHERE x.ctid = ANY (v_at)
             RETURNING x.session_id, x.lease_epoch, x.attempts, x.bytes)
  SELECT s.id, w.lease_epoch, s.organization_id, s.workspace_id, s.thread_id, s.status::text, s.last_seq, us(s.last_at), s.wake_gen,
         w.attempts, CASE WHEN lag(s.id) OVER () IS DISTINCT FROM s.id THEN s.agent END,
         s.environment_id, us(s.running_since), s.active_us, s.input_tokens, s.output_tokens, s.cache_read_tokens, s.cache_5m_tokens,
         s.cache_1h_tokens, s.title, us(s.created_at), s.token_nano, w.bytes,
         CASE WHEN s.resources <> '[]' THEN session_mounts(s.id) END,
         i.inbox_seq, i.id, i.type, i.stem, i.role, i.fragment, i.on_receipt, i.wakes, i.refers_to, i.answer, i.deny_message,
         us(i.received_at), s.budget_cents, s.unpriced, s.paused, s.outcomes, (SELECT c.generation FROM catalogue c)
    FROM w JOIN session s ON s.id = w.session_id
    LEFT JOIN LATERAL (SELECT * FROM inbox n WHERE n.session_id = s.id ORDER BY n.inbox_seq) i ON true;
END $$;
REVOKE ALL ON FUNCTION session_take FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_take TO roost_worker;
