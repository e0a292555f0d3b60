-- Messages, which need no look at the session's calls: as session_lock and session_inbox_put, if nothing stands in their way. What does
-- (archived, ended, suspended, a question to the client, a budget, a full inbox, or no such session) is found out and said by the gateway's
-- longer way: a unique_violation, and nothing is written. Parallel arrays, one element per message; p_stem_bytes: of the stems; p_bytes: of
-- stems and fragments. Returns who must be told, or NULL. A claim under way is waited for: its worker must be told.
-- Who keeps the lease of an idle session need not read it to go on with one message, if it remembers it. So its name is followed by four
-- numbers, with a blank before each: the transaction that had written the session's row (if that was the owner's own last append, nobody
-- has changed the session since), wake_gen and inbox_seq as they are now, the catalogue's generation. Not for several messages, nor where
-- more than row and inbox would have to be read: files, outcomes, a reply that is owed.
-- If that owner has also prepared the session's next turn (session_append_one, p_ready), and nobody has written the row since, one short
-- message opens it here, in this commit: into the log go the running pair as prepared, the message, and the request's start, and the row is
-- what the owner's own append would leave it (the second UPDATE of session_append_one, which changes with this); the inbox stays empty. A fifth
-- number says so: the microseconds at which the turn begins. Its owner then asks the model; what becomes of the turn if it does not hear
-- of it is what becomes of any turn: the owner finds it by its wake_gen, or it is reaped. `prior` is the row's own xmin only as that append
-- leaves it: every other write moves xmin, and a send writes what it has found.
-- message_send_many does the same for several sessions at a time: what changes here changes there.
-- Plain statements, each with a plan of its own that is kept: one statement for all of it costs a sixth more, and one message more by arrays.
--
-- What is read behind the session's lock is read by a later statement than the one that waited for it: it sees what was committed by who
-- held it before, calls that it opened included. A lease that is seen there is left as it is, because nothing can end it unseen:
--   an append that gives the session up takes the lock, and finds that wake_gen has moved; so do reaping, blaming, archiving, deleting, and
--   giving back what was kept (session_settle);
--   session_release, which does not, leaves the row of work, due at once (or in a second, behind an append that failed five times): the
--   next claim reads this message. That is so, too, where it is the later one of the two.
-- To open a turn it has to be the lease that it was prepared under. If that is given back at this moment (session_release), and claimed by
-- who does not see the turn yet, that one writes nothing on an idle session but under the condition that wake_gen has not moved, and claims again.
-- Without a lease a claim may be under way, which takes no lock of the session: the insert waits for its row, and returns its worker.
-- As in session_inbox_put, what comes under a lease is counted by its owner.
CREATE OR REPLACE FUNCTION message_send(p_workspace text, p_session text, p_ids text[], p_stems text[], p_fragments text[],
    p_stem_bytes bigint, p_bytes bigint, p_events_max int, p_bytes_max bigint) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  n int := cardinality(p_ids);
  v_seq bigint;
  v_context bigint;
  v_status text;
  v_owner text;
  v_told text;
  v_at timestamptz;
  s record;
BEGIN
  IF n = 1 AND p_bytes <= 8192 THEN	-- as OPENING_MESSAGE, workers/harness/opening.h
    v_at := clock_timestamp();
    UPDATE session x
       SET inbox_seq = x.inbox_seq + 1, wake_gen = x.wake_gen + 1, prior = x.xmin, status = 'running', last_seq = x.last_seq + 4,
           running_since = greatest(v_at, x.last_at + interval '1 microsecond'),
           last_at = greatest(v_at, x.last_at + interval '1 microsecond') + interval '3 microseconds',
           updated_at = greatest(v_at, x.last_at + interval '1 microsecond') + interval '3 microseconds',
           context_bytes = x.context_bytes + coalesce(octet_length(p_fragments[1]), 0),
           told = ARRAY[x.input_tokens, x.output_tokens, x.cache_read_tokens, x.cache_5m_tokens, x.cache_1h_tokens, x.token_nano, x.active_us]
      FROM work w, organization o
     WHERE x.workspace_id = p_workspace AND x.id = p_session AND x.prior = x.xmin AND x.status = 'idle' AND x.archived_at IS NULL
       AND x.inbox_events = 0 AND x.budget_cents IS NULL AND x.resources = '[]' AND NOT x.outcomes AND NOT x.paused
       AND w.workspace_id = p_workspace AND w.session_id = p_session AND w.lease_epoch::text = x.ready[4] AND w.lease_owner IS NOT NULL
       AND o.id = x.organization_id AND o.state = 'active' AND p_events_max > 0 AND p_stem_bytes <= p_bytes_max
    RETURNING x.last_seq - 4 AS seq, x.thread_id, x.running_since AS at, x.ready,
              w.lease_owner || ' ' || x.prior::text || ' ' || x.wake_gen::text || ' ' || x.inbox_seq::text || ' ' ||
              (SELECT c.generation::text FROM catalogue c) || ' ' || us(x.running_since)::text AS line
         INTO s;
    IF FOUND THEN
      INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body, role, fragment)
      SELECT p_session, s.seq + u.o, split_part(u.stem, '"', 4), u.type, s.thread_id, s.at + (u.o - 1) * interval '1 microsecond',
             u.stem || ',"processed_at":"' || wire_stamp(s.at + (u.o - 1) * interval '1 microsecond') || '"}', u.role, u.fragment
        FROM unnest(ARRAY[s.ready[1], s.ready[2], p_stems[1], s.ready[3]],
                    '{session.status_running,session.thread_status_running,user.message,span.model_request_start}'::text[],
                    ARRAY[NULL, NULL, CASE WHEN p_fragments[1] IS NOT NULL THEN 'u' END]::"char"[], ARRAY[NULL, NULL, p_fragments[1]])
               WITH ORDINALITY u(stem, type, role, fragment, o);
      RETURN s.line;
    END IF;
  END IF;
  UPDATE session x
     SET inbox_seq = x.inbox_seq + n, inbox_events = x.inbox_events + n, inbox_wakes = x.inbox_wakes + n,
         inbox_bytes = x.inbox_bytes + p_stem_bytes, wake_gen = x.wake_gen + 1, at_work = true,
         prior = x.xmin
    FROM organization o
   WHERE x.workspace_id = p_workspace AND x.id = p_session AND x.archived_at IS NULL AND x.status <> 'terminated'
     AND x.budget_cents IS NULL AND x.inbox_events + n <= p_events_max AND x.inbox_bytes + p_stem_bytes <= p_bytes_max
     AND o.id = x.organization_id AND o.state = 'active'
  RETURNING x.inbox_seq - n, x.context_bytes, x.status,
            CASE WHEN n = 1 AND x.status = 'idle' AND x.resources = '[]' AND NOT x.outcomes AND NOT x.paused
                 THEN ' ' || x.prior::text || ' ' || x.wake_gen::text || ' ' || x.inbox_seq::text || ' ' ||
                      (SELECT c.generation::text FROM catalogue c) END
       INTO v_seq, v_context, v_status, v_told;
  IF n = 1 THEN
    INSERT INTO inbox (session_id, inbox_seq, id, type, stem, role, fragment, received_at, on_receipt, wakes)
    SELECT p_session, v_seq + 1, p_ids[1], 'user.message', p_stems[1], CASE WHEN p_fragments[1] IS NOT NULL THEN 'u'::"char" END,
           p_fragments[1], clock_timestamp(), false, true
     WHERE v_status <> 'idle' OR v_status = 'idle' AND NOT EXISTS (SELECT FROM action a WHERE a.session_id = p_session AND a.state = 'open')
    RETURNING (SELECT w.lease_owner FROM work w WHERE w.workspace_id = p_workspace AND w.session_id = p_session) INTO v_owner;
  ELSE
    INSERT INTO inbox (session_id, inbox_seq, id, type, stem, role, fragment, received_at, on_receipt, wakes)
    SELECT p_session, v_seq + u.o, u.id, 'user.message', u.stem, CASE WHEN u.fragment IS NOT NULL THEN 'u'::"char" END, u.fragment,
           clock_timestamp(), false, true
      FROM unnest(p_ids, p_stems, p_fragments) WITH ORDINALITY u(id, stem, fragment, o)
     WHERE v_status <> 'idle' OR v_status = 'idle' AND NOT EXISTS (SELECT FROM action a WHERE a.session_id = p_session AND a.state = 'open');
  END IF;
  IF NOT FOUND THEN
    RAISE unique_violation USING MESSAGE = 'the session has to be looked at';
  END IF;
  IF v_owner IS NULL THEN
    INSERT INTO work AS w (workspace_id, session_id, due_at, bytes)
    VALUES (p_workspace, p_session, clock_timestamp(), v_context + p_bytes)
    ON CONFLICT (workspace_id, session_id) DO UPDATE
       SET due_at = least(w.due_at, excluded.due_at), bytes = w.bytes + CASE WHEN w.lease_owner IS NULL THEN p_bytes ELSE 0 END
    RETURNING w.lease_owner INTO v_owner;
  END IF;
  RETURN v_owner || coalesce(v_told, '');
END $$;
REVOKE ALL ON FUNCTION message_send FROM PUBLIC;
GRANT EXECUTE ON FUNCTION message_send TO roost_gw;

-- Kept for the previous release's gateways, which read nothing behind the owner: he is rung, and reads what has become of it.
CREATE OR REPLACE FUNCTION session_message(p_workspace text, p_session text, p_ids text[], p_stems text[], p_fragments text[],
    p_stem_bytes bigint, p_bytes bigint, p_events_max int, p_bytes_max bigint) RETURNS text
  LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT split_part(message_send(p_workspace, p_session, p_ids, p_stems, p_fragments, p_stem_bytes, p_bytes, p_events_max, p_bytes_max), ' ', 1)
$$;
REVOKE ALL ON FUNCTION session_message FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_message TO roost_gw;
