-- Messages to several sessions, one each, by one statement per table: what message_send does for each. Parallel arrays, one element per
-- message, each of another session. Returns a line for each, in order: what message_send returns, nothing for nobody, or "-": it has to be looked
-- at (something stands in its way, or its session is locked), and nothing of it is written. It waits for nobody's lock but a claim's, which
-- waits for none, and that of a call (p_locks), behind the sessions': another attempt of it holds that for one statement, or has the same
-- session, whose lock comes first. So it is in no deadlock. An error takes all of it back: each goes alone then.
--   p_locks, ...   NULL, or of each its answer that is kept for a retry, which it is the first attempt of, told by content (kind p); NULL: of this
--                  one nothing is kept. What request_store does then: another attempt of the same call waits for this one's end
CREATE OR REPLACE FUNCTION message_send_many(p_workspaces text[], p_sessions text[], p_ids text[], p_stems text[], p_fragments text[],
    p_events_max int, p_bytes_max bigint, p_locks bigint[], p_idents uuid[], p_requests text[], p_digests uuid[], p_events text[],
    p_keep_s int[], p_connections text[]) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  v_locked text[];
  v_ready text[];	-- those of them whose worker has prepared the turn
  v_at timestamptz := clock_timestamp();
  v_put bigint[];	-- of each: how much its row of work counts
  v_owners text[];	-- of each: its line
BEGIN
  SELECT array_agg(l.id), array_agg(l.id) FILTER (WHERE l.ready) INTO v_locked, v_ready
    FROM (SELECT x.id, x.prior = x.xmin AS ready FROM unnest(p_workspaces, p_sessions) u(workspace, session)
                 JOIN session x ON x.workspace_id = u.workspace AND x.id = u.session FOR NO KEY UPDATE OF x SKIP LOCKED) l;

  IF v_ready IS NOT NULL THEN	-- the turns that their messages open
    WITH s AS (
      UPDATE session x
         SET inbox_seq = x.inbox_seq + 1, wake_gen = x.wake_gen + 1, prior = x.xmin, status = 'running', last_seq = x.last_seq + 4,
             running_since = greatest(v_at, x.last_at + interval '1 microsecond'),
             last_at = greatest(v_at, x.last_at + interval '1 microsecond') + interval '3 microseconds',
             updated_at = greatest(v_at, x.last_at + interval '1 microsecond') + interval '3 microseconds',
             context_bytes = x.context_bytes + coalesce(octet_length(u.fragment), 0),
             told = ARRAY[x.input_tokens, x.output_tokens, x.cache_read_tokens, x.cache_5m_tokens, x.cache_1h_tokens, x.token_nano, x.active_us]
        FROM unnest(p_workspaces, p_sessions, p_stems, p_fragments) WITH ORDINALITY u(workspace, session, stem, fragment, o),
             work w, organization o
       WHERE x.workspace_id = u.workspace AND x.id = u.session AND x.id = ANY (v_ready) AND x.prior = x.xmin AND x.status = 'idle'
         AND x.archived_at IS NULL AND x.inbox_events = 0 AND x.budget_cents IS NULL AND x.resources = '[]' AND NOT x.outcomes AND NOT x.paused
         AND w.workspace_id = u.workspace AND w.session_id = u.session AND w.lease_epoch::text = x.ready[4] AND w.lease_owner IS NOT NULL
         AND o.id = x.organization_id AND o.state = 'active' AND p_events_max > 0 AND octet_length(u.stem) <= p_bytes_max
         AND octet_length(u.stem) + coalesce(octet_length(u.fragment), 0) <= 8192
      RETURNING u.o, x.id, x.last_seq - 4 AS seq, x.thread_id, x.running_since AS at, x.ready, u.stem, u.fragment,
                w.lease_owner || ' ' || x.prior::text || ' ' || x.wake_gen::text || ' ' || x.inbox_seq::text || ' ' ||
                (SELECT c.generation::text FROM catalogue c) || ' ' || us(x.running_since)::text AS line),
    e AS (
      INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body, role, fragment)
      SELECT s.id, s.seq + v.o, split_part(v.stem, '"', 4), v.type, s.thread_id, s.at + (v.o - 1) * interval '1 microsecond',
             v.stem || ',"processed_at":"' || wire_stamp(s.at + (v.o - 1) * interval '1 microsecond') || '"}', v.role, v.fragment
        FROM s, unnest(ARRAY[s.ready[1], s.ready[2], s.stem, s.ready[3]],
                    '{session.status_running,session.thread_status_running,user.message,span.model_request_start}'::text[],
                    ARRAY[NULL, NULL, CASE WHEN s.fragment IS NOT NULL THEN 'u' END]::"char"[], ARRAY[NULL, NULL, s.fragment])
               WITH ORDINALITY v(stem, type, role, fragment, o))
    SELECT array_agg(s.line ORDER BY u.o) INTO v_owners FROM generate_series(1, cardinality(p_sessions)) u(o) LEFT JOIN s ON s.o = u.o;
  END IF;

  IF v_owners IS NULL OR array_position(v_owners, NULL) IS NOT NULL THEN
    -- a statement of its own: it sees calls and leases as they are under the sessions' locks (message_send says why a lease is left alone)
    WITH s AS (
      UPDATE session x
         SET inbox_seq = x.inbox_seq + 1, inbox_events = x.inbox_events + 1, inbox_wakes = x.inbox_wakes + 1,
             inbox_bytes = x.inbox_bytes + octet_length(u.stem), wake_gen = x.wake_gen + 1, at_work = true,
             prior = x.xmin
        FROM unnest(p_workspaces, p_sessions, p_ids, p_stems, p_fragments) WITH ORDINALITY u(workspace, session, id, stem, fragment, o),
             organization o
       WHERE x.workspace_id = u.workspace AND x.id = u.session AND x.id = ANY (v_locked) AND x.archived_at IS NULL
         AND x.status <> 'terminated' AND x.budget_cents IS NULL AND x.inbox_events + 1 <= p_events_max
         AND x.inbox_bytes + octet_length(u.stem) <= p_bytes_max AND o.id = x.organization_id AND o.state = 'active'
         AND (x.status <> 'idle' OR NOT EXISTS (SELECT FROM action a WHERE a.session_id = x.id AND a.state = 'open'))
         AND v_owners[u.o] IS NULL
      RETURNING u.o, u.workspace, u.session, x.inbox_seq, x.context_bytes, u.id, u.stem, u.fragment,
                CASE WHEN x.status = 'idle' AND x.resources = '[]' AND NOT x.outcomes AND NOT x.paused
                     THEN ' ' || x.prior::text || ' ' || x.wake_gen::text || ' ' || x.inbox_seq::text || ' ' ||
                          (SELECT c.generation::text FROM catalogue c) END AS told),
    i AS (
      INSERT INTO inbox (session_id, inbox_seq, id, type, stem, role, fragment, received_at, on_receipt, wakes)
      SELECT s.session, s.inbox_seq, s.id, 'user.message', s.stem, CASE WHEN s.fragment IS NOT NULL THEN 'u'::"char" END, s.fragment,
             clock_timestamp(), false, true FROM s)
    SELECT array_agg(s.context_bytes ORDER BY u.o),
           array_agg(CASE WHEN v_owners[u.o] IS NOT NULL THEN v_owners[u.o] WHEN s.o IS NULL THEN '-'
                          ELSE w.lease_owner || coalesce(s.told, '') END ORDER BY u.o)
      INTO v_put, v_owners
      FROM generate_series(1, cardinality(p_sessions)) u(o)
           LEFT JOIN s ON s.o = u.o
           LEFT JOIN work w ON w.workspace_id = s.workspace AND w.session_id = s.session;
  END IF;

  IF array_position(v_owners, NULL) IS NOT NULL THEN
    WITH k AS (
      INSERT INTO work AS w (workspace_id, session_id, due_at, bytes)
      SELECT u.workspace, u.session, clock_timestamp(), v_put[u.o] + octet_length(u.stem) + coalesce(octet_length(u.fragment), 0)
        FROM unnest(p_workspaces, p_sessions, p_stems, p_fragments) WITH ORDINALITY u(workspace, session, stem, fragment, o)
       WHERE v_owners[u.o] IS NULL
      ON CONFLICT (workspace_id, session_id) DO UPDATE
         SET due_at = least(w.due_at, excluded.due_at),
             bytes = w.bytes + CASE WHEN w.lease_owner IS NULL THEN excluded.bytes - (SELECT x.context_bytes FROM session x WHERE x.id = w.session_id)
                                    ELSE 0 END
      RETURNING w.session_id, w.lease_owner)
    SELECT array_agg(coalesce(v_owners[u.o], k.lease_owner) ORDER BY u.o) INTO v_owners
      FROM unnest(p_sessions) WITH ORDINALITY u(session, o) LEFT JOIN k ON k.session_id = u.session;
  END IF;
  IF p_requests IS NOT NULL THEN
    PERFORM pg_advisory_xact_lock(u.lock) FROM unnest(p_locks, v_owners) u(lock, owner) WHERE u.lock IS NOT NULL AND u.owner IS DISTINCT FROM '-';
    INSERT INTO request_dedupe (ident, request, kind, digest, made_by, seen, status, events, expires_at, connection)
    SELECT u.ident, u.request, 'p', u.digest, 0, 0, 200, u.events, clock_timestamp() + make_interval(secs => u.keep_s), u.connection
      FROM unnest(p_idents, p_requests, p_digests, p_events, p_keep_s, p_connections, v_owners)
             u(ident, request, digest, events, keep_s, connection, owner)
     WHERE u.request IS NOT NULL AND u.owner IS DISTINCT FROM '-';
  END IF;
  RETURN array_to_string(v_owners, E'\n', '');
END $$;
REVOKE ALL ON FUNCTION message_send_many FROM PUBLIC;
GRANT EXECUTE ON FUNCTION message_send_many TO roost_gw;

-- Kept for the previous release's gateways, which read nothing behind the owner: he is rung, and reads what has become of it.
CREATE OR REPLACE FUNCTION session_message_many(p_workspaces text[], p_sessions text[], p_ids text[], p_stems text[], p_fragments text[],
    p_events_max int, p_bytes_max bigint, p_locks bigint[], p_idents uuid[], p_requests text[], p_digests uuid[], p_events text[],
    p_keep_s int[], p_connections text[]) RETURNS text
  LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT regexp_replace(message_send_many(p_workspaces, p_sessions, p_ids, p_stems, p_fragments, p_events_max, p_bytes_max, p_locks, p_idents,
         p_requests, p_digests, p_events, p_keep_s, p_connections), ' [^\n]*', '', 'g')
$$;
REVOKE ALL ON FUNCTION session_message_many FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_message_many TO roost_gw;
