-- Plain appends of several sessions, by one statement per table: what session_append_one does for each whose session has crashed no worker
-- (attempts 0) and that opens and closes no call, judged nothing, knows its usage, does not end the session, was not sent before, and keeps
-- its lease or gives it up, or keeps it, as idle. One element per append:
--   p_events            how many of p_e_* are its
--   p_taken_*           how many bytes of stems and how many wakes its items of the inbox (p_c_*) have
--   p_wake_gens         NULL keep the lease, else give it up if the inbox has not moved since; but with
--   p_keeps             end the turn on that condition and keep it
--   p_tokens            five classes each, all 0 without a request; p_rates likewise, -1 where there is no price
--   p_readies           p_ready of each, as text
--   others              as in session_append_one
-- and in flat lists, each with the append it belongs to (from 1):
--   p_e_*               events; p_e_k counts those of one append from 0
--   p_c_*               consumed items of the inbox
--   p_m_*               rows of meter_event: at which event of the append, and the class of tokens from 1 to 5, or 6 for its billed time
-- Returns a number for each append: where the log ended before it; or -1 fenced, -2 woken, -3 stamp, as session_append_one; or -4: only
-- session_append_one can tell (the row is locked or gone, attempts, a long interval). What is below 0 has written nothing. Behind
-- them the database's time, and the transaction (as session_append_one). It waits for nobody's lock, so it is in no deadlock. An error
-- takes all of it back: each append goes alone then.
CREATE OR REPLACE FUNCTION session_append_many(p_sessions text[], p_epochs bigint[], p_bases bigint[], p_events int[], p_status text[],
    p_paused boolean[], p_open_k int[], p_close_k int[], p_wake_gens bigint[], p_keeps boolean[], p_context_bytes bigint[], p_token_nano bigint[],
    p_tokens bigint[], p_rates bigint[], p_taken_events int[], p_taken_bytes bigint[], p_taken_wakes int[],
    p_e_appends int[], p_e_k int[], p_e_sessions text[], p_e_threads text[], p_e_ids text[], p_e_types text[], p_e_bodies text[],
    p_e_roles text[], p_e_fragments text[], p_e_privates text[],
    p_c_appends int[], p_c_sessions text[], p_c_seqs bigint[],
    p_m_appends int[], p_m_k int[], p_m_sessions text[], p_m_models text[], p_m_classes int[], p_readies text[])
  RETURNS bigint[]
  LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  v_now bigint := us(clock_timestamp());
  v_locked text[];
  v_seq bigint[];	-- the answers
  v_left tid[];		-- the rows of work that are given up
  v_gone int;
BEGIN
  SELECT array_agg(l.id) INTO v_locked
    FROM (SELECT x.id FROM session x WHERE x.id = ANY (p_sessions) FOR NO KEY UPDATE SKIP LOCKED) l;

  -- a statement of its own: it sees the fence as it is under the sessions' locks
  SELECT array_agg(v.seq ORDER BY v.o), array_agg(v.at) FILTER (WHERE v.seq >= 0 AND v.leaves) INTO v_seq, v_left
    FROM (SELECT u.o, u.wake_gen IS NOT NULL AND NOT u.keeps AS leaves, w.ctid AS at,
                 CASE WHEN x.id IS NULL OR w.attempts > 0 THEN -4
                      WHEN w.attempts IS NULL THEN -1
                      WHEN x.wake_gen <> u.wake_gen THEN -2
                      WHEN u.events > 0 AND (u.base <= us(x.last_at) OR u.base > v_now + 1000000 OR u.base < v_now - 15000000) THEN -3
                      WHEN u.base + u.close_k - us(x.running_since) > 60000000 OR
                           (u.base + u.close_k - 1) / 86400000000 <> us(x.running_since) / 86400000000 THEN -4
                      ELSE x.last_seq END AS seq
            FROM unnest(p_sessions, p_epochs, p_bases, p_events, p_close_k, p_wake_gens, p_keeps) WITH ORDINALITY
                   u(session, epoch, base, events, close_k, wake_gen, keeps, o)
                 LEFT JOIN session x ON x.id = u.session AND x.id = ANY (v_locked)
                 LEFT JOIN work w ON w.workspace_id = x.workspace_id AND w.session_id = x.id AND w.lease_epoch = u.epoch
                                  AND w.lease_owner IS NOT NULL) v;

  INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body, role, fragment, private)
  SELECT e.session, v_seq[e.a] + 1 + e.k, e.id, e.type, e.thread, stamp(p_bases[e.a] + e.k), e.body, e.role::"char", e.fragment, e.private
    FROM unnest(p_e_appends, p_e_k, p_e_sessions, p_e_threads, p_e_ids, p_e_types, p_e_bodies, p_e_roles, p_e_fragments, p_e_privates)
           e(a, k, session, thread, id, type, body, role, fragment, private)
   WHERE v_seq[e.a] >= 0;

  IF cardinality(p_c_appends) > 0 THEN
    DELETE FROM inbox i USING unnest(p_c_appends, p_c_sessions, p_c_seqs) c(a, session, seq)
     WHERE i.session_id = c.session AND i.inbox_seq = c.seq AND v_seq[c.a] >= 0;
    GET DIAGNOSTICS v_gone = ROW_COUNT;
    IF v_gone <> cardinality(p_c_appends) AND v_gone <> (SELECT count(*) FROM unnest(p_c_appends) c(a) WHERE v_seq[c.a] >= 0) THEN
      RAISE EXCEPTION 'an item of an inbox is gone';
    END IF;
  END IF;

  IF cardinality(p_m_appends) > 0 THEN
    INSERT INTO meter_event (session_id, seq, meter, part, organization_id, workspace_id, api_key_id, agent_id, agent_version,
                             environment_id, model, period_start, period_end, quantity, unit, cum_before, list_nano)
    SELECT m.session, v_seq[m.a] + 1 + m.k,
           ('{tokens.input,tokens.output,tokens.cache_read,tokens.cache_write_5m,tokens.cache_write_1h,session.runtime}'::text[])[m.class],
           0, x.organization_id, x.workspace_id, x.api_key_id, x.agent_id, x.agent_version, x.environment_id, m.model,
           CASE m.class WHEN 6 THEN x.running_since ELSE stamp(p_bases[m.a] + m.k) END, stamp(p_bases[m.a] + m.k),
           CASE m.class WHEN 6 THEN (x.active_us + p_bases[m.a] + m.k - us(x.running_since)) / 1000 - x.active_us / 1000
                        ELSE p_tokens[m.a * 5 - 5 + m.class] END,
           CASE m.class WHEN 6 THEN 'ms' ELSE 'token' END,
           CASE m.class WHEN 1 THEN x.input_tokens WHEN 2 THEN x.output_tokens WHEN 3 THEN x.cache_read_tokens
                        WHEN 4 THEN x.cache_5m_tokens WHEN 5 THEN x.cache_1h_tokens ELSE x.active_us / 1000 END,
           CASE WHEN m.class < 6 AND p_rates[m.a * 5 - 5 + m.class] >= 0
                THEN p_tokens[m.a * 5 - 5 + m.class] * p_rates[m.a * 5 - 5 + m.class] END
      FROM unnest(p_m_appends, p_m_k, p_m_sessions, p_m_models, p_m_classes) m(a, k, session, model, class)
           JOIN session x ON x.id = m.session
     WHERE v_seq[m.a] >= 0 AND (m.class < 6 OR p_bases[m.a] + m.k > us(x.running_since));
  END IF;

  UPDATE session x
     SET last_seq = x.last_seq + u.events,
         last_at = CASE WHEN u.events > 0 THEN stamp(u.base + u.events - 1) ELSE x.last_at END,
         updated_at = CASE WHEN u.status IS NOT NULL THEN stamp(u.base + greatest(u.events - 1, 0)) ELSE x.updated_at END,
         status = coalesce(u.status, x.status),
         inbox_events = x.inbox_events - u.taken_events, inbox_bytes = x.inbox_bytes - u.taken_bytes,
         inbox_wakes = x.inbox_wakes - u.taken_wakes,
         running_since = CASE WHEN u.open_k IS NOT NULL THEN stamp(u.base + u.open_k) WHEN u.close_k IS NULL THEN x.running_since END,
         active_us = CASE WHEN u.close_k IS NULL THEN x.active_us
                          ELSE x.active_us + coalesce(u.base + u.close_k - us(x.running_since), 0) END,
         input_tokens = x.input_tokens + p_tokens[u.o * 5 - 4], output_tokens = x.output_tokens + p_tokens[u.o * 5 - 3],
         cache_read_tokens = x.cache_read_tokens + p_tokens[u.o * 5 - 2], cache_5m_tokens = x.cache_5m_tokens + p_tokens[u.o * 5 - 1],
         cache_1h_tokens = x.cache_1h_tokens + p_tokens[u.o * 5],
         token_nano = x.token_nano + coalesce(u.token_nano, 0), unpriced = x.unpriced OR u.token_nano IS NULL,
         told = CASE WHEN u.status = 'running' AND x.status = 'idle'
                     THEN ARRAY[x.input_tokens, x.output_tokens, x.cache_read_tokens, x.cache_5m_tokens, x.cache_1h_tokens, x.token_nano,
                                x.active_us]
                     ELSE x.told END,
         paused = CASE WHEN u.status IS NULL THEN x.paused ELSE u.paused END,
         context_bytes = u.context_bytes,
         at_work = u.wake_gen IS NULL OR u.keeps,
         prior = CASE WHEN u.ready IS NOT NULL THEN pg_current_xact_id()::xid ELSE x.prior END, ready = coalesce(u.ready::text[], x.ready)
    FROM unnest(p_sessions, p_bases, p_events, p_status, p_paused, p_open_k, p_close_k, p_wake_gens, p_keeps, p_context_bytes, p_token_nano,
                p_taken_events, p_taken_bytes, p_taken_wakes, p_readies) WITH ORDINALITY
           u(session, base, events, status, paused, open_k, close_k, wake_gen, keeps, context_bytes, token_nano, taken_events, taken_bytes,
             taken_wakes, ready, o)
   WHERE x.id = u.session AND v_seq[u.o] >= 0;
  IF v_left IS NOT NULL THEN
    DELETE FROM work w WHERE w.ctid = ANY (v_left);
  END IF;
  RETURN v_seq || ARRAY[v_now, pg_current_xact_id()::text::bigint];
END $$;
REVOKE ALL ON FUNCTION session_append_many(text[], bigint[], bigint[], int[], text[], boolean[], int[], int[], bigint[],
    boolean[], bigint[], bigint[], bigint[], bigint[],
    int[], bigint[], int[], int[], int[], text[], text[], text[], text[], text[], text[], text[], text[], int[], text[], bigint[],
    int[], int[], text[], text[], int[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_append_many(text[], bigint[], bigint[], int[], text[], boolean[], int[], int[], bigint[],
    boolean[], bigint[], bigint[], bigint[], bigint[],
    int[], bigint[], int[], int[], int[], text[], text[], text[], text[], text[], text[], text[], text[], int[], text[], bigint[],
    int[], int[], text[], text[], int[], text[]) TO roost_worker;

-- Kept for the previous release's workers, which prepare no turn.
CREATE OR REPLACE FUNCTION session_append_many(p_sessions text[], p_epochs bigint[], p_bases bigint[], p_events int[], p_status text[],
    p_paused boolean[], p_open_k int[], p_close_k int[], p_wake_gens bigint[], p_keeps boolean[], p_context_bytes bigint[], p_token_nano bigint[],
    p_tokens bigint[], p_rates bigint[], p_taken_events int[], p_taken_bytes bigint[], p_taken_wakes int[],
    p_e_appends int[], p_e_k int[], p_e_sessions text[], p_e_threads text[], p_e_ids text[], p_e_types text[], p_e_bodies text[],
    p_e_roles text[], p_e_fragments text[], p_e_privates text[],
    p_c_appends int[], p_c_sessions text[], p_c_seqs bigint[],
    p_m_appends int[], p_m_k int[], p_m_sessions text[], p_m_models text[], p_m_classes int[])
  RETURNS bigint[]
  LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT session_append_many(p_sessions, p_epochs, p_bases, p_events, p_status, p_paused, p_open_k, p_close_k, p_wake_gens, p_keeps, p_context_bytes, p_token_nano, p_tokens, p_rates, p_taken_events, p_taken_bytes, p_taken_wakes, p_e_appends, p_e_k, p_e_sessions, p_e_threads, p_e_ids, p_e_types, p_e_bodies, p_e_roles, p_e_fragments, p_e_privates, p_c_appends, p_c_sessions, p_c_seqs, p_m_appends, p_m_k, p_m_sessions, p_m_models, p_m_classes, NULL)
$$;
REVOKE ALL ON FUNCTION session_append_many(text[], bigint[], bigint[], int[], text[], boolean[], int[], int[], bigint[],
    boolean[], bigint[], bigint[], bigint[], bigint[],
    int[], bigint[], int[], int[], int[], text[], text[], text[], text[], text[], text[], text[], text[], int[], text[], bigint[],
    int[], int[], text[], text[], int[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_append_many(text[], bigint[], bigint[], int[], text[], boolean[], int[], int[], bigint[],
    boolean[], bigint[], bigint[], bigint[], bigint[],
    int[], bigint[], int[], int[], int[], text[], text[], text[], text[], text[], text[], text[], text[], int[], text[], bigint[],
    int[], int[], text[], text[], int[]) TO roost_worker;
