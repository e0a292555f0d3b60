-- The session's hand-overs: what the gateway puts, what the worker claims, reads and appends. The functions are in
-- sql/functions; stamps are microseconds since 1970.

-- Gateway, first statement of a transaction that sends events: the row lock and what the checks need.
-- stmt: session_lock  for: gw
SELECT s.status, wire_status(s.status, s.inbox_wakes, s.at_work), s.archived_at IS NOT NULL, s.thread_id, s.inbox_events, s.inbox_bytes,
       o.state, s.title, s.metadata, us(s.last_at), s.budget_cents,
       CASE WHEN NOT s.unpriced THEN
         s.token_nano || ' ' || s.active_us + coalesce(greatest(0, us(clock_timestamp()) - us(s.running_since)), 0) END, s.paused
  FROM session s JOIN organization o ON o.id = s.organization_id
 WHERE s.workspace_id = $1 AND s.id = $2 FOR UPDATE OF s

-- Calls that wait for the client, and those that a batch names, which may have been answered: a repeat must be recognised. In call order.
-- What a long session has behind it is not read. in: session, tool use ids
-- stmt: action_list  for: gw
SELECT tool_use_id, kind, state, answer_id, answer_hash FROM (
  SELECT ordinal, tool_use_id, kind, state, answer_id, answer_hash FROM action WHERE session_id = $1 AND state = 'open'
  UNION
  SELECT ordinal, tool_use_id, kind, state, answer_id, answer_hash FROM action WHERE session_id = $1 AND tool_use_id = ANY ($2::text[])) a
 ORDER BY ordinal

-- $2.. parallel arrays: ids, types, stems, roles, fragments, on_receipt, wakes, refers_to, answers, deny messages, answer hashes
-- stmt: inbox_put  for: gw
SELECT lease_owner, inbox_seq FROM session_inbox_put($1, $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[],
       $8::boolean[], $9::text[], $10::text[], $11::text[], $12::text[])

-- The whole of a send of messages, in one statement; unique_violation: it has to go the longer way.
-- in: workspace, session, ids, stems, fragments, bytes of stems, of both, how many events and bytes may wait
-- stmt: message_send  for: gw
SELECT message_send($1, $2, $3::text[], $4::text[], $5::text[], $6::bigint, $7::bigint, $8::int, $9::bigint)

-- Several of them, one event each. in: workspaces, sessions, ids, stems, fragments, how many events and bytes may wait in a session; and NULL,
-- or what is kept for their retries: locks, idents, requests, digests, events, seconds to keep, connections
-- stmt: message_send_many  for: gw
SELECT message_send_many($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int, $7::bigint, $8::bigint[], $9::uuid[], $10::text[],
       $11::uuid[], $12::text[], $13::int[], $14::text[])

-- stmt: session_archive  for: gw
SELECT result, seq, type, body FROM session_archive($1, $2, $3::text[], $4::text[], $5::text[])

-- stmt: session_delete  for: gw
SELECT result, next_seq FROM session_delete($1, $2)

-- stmt: worker_lock  for: worker
SELECT pg_try_advisory_lock($1::bigint)

-- stmt: worker_beat  for: worker
SELECT now_us, known FROM worker_beat($1, $2::bigint, $3::int, $4::boolean, $5, $6::boolean, $7::int, $8::int)

-- stmt: session_slice  for: worker
SELECT session_slice($1, $2::int)

-- stmt: worker_reap  for: worker
SELECT worker_id, sessions, session, seq, type, body FROM worker_reap($1, $2::int, $3, $4::bigint)

-- Sessions that are due, with what waits in their inboxes.
-- in: worker, sessions at most, bytes at most, and of each light one, a heavier one too, a suspect instead, milliseconds that they have been
-- due; or which ones: workspaces and sessions
-- stmt: session_claim  for: worker
SELECT * FROM session_take($1, $2::int, $3::bigint, $4::bigint, $5::boolean, $6::boolean, $7::int, $8::text[], $9::text[])

-- What session_take gives, column by column, of sessions whose leases this worker has kept since their last turns (session_settle): their
-- items only if they are not too large, or it runs, opened by a send (message_send): then it is taken whatever it weighs. One that is not in the answer has another owner, or none. LIMIT keeps each row's search by
-- key, whatever was known of the tables when the plan was made, and the rows of a session together.
-- in: worker, bytes of each, workspaces, sessions, epochs
-- stmt: session_kept  for: worker
SELECT s.id, w.lease_epoch, s.organization_id, s.workspace_id, s.thread_id, s.status, s.last_seq, us(s.last_at), s.wake_gen,
       w.attempts, CASE WHEN lag(s.id) OVER () IS DISTINCT FROM s.id THEN s.agent END,
       s.environment_id, us(s.running_since), s.active_us, s.input_tokens, s.output_tokens, s.cache_read_tokens, s.cache_5m_tokens,
       s.cache_1h_tokens, s.title, us(s.created_at), s.token_nano, s.context_bytes + 2 * s.inbox_bytes AS bytes,
       CASE WHEN s.resources <> '[]' THEN session_mounts(s.id) END AS mounts,
       i.inbox_seq, i.id, i.type, i.stem, i.role, i.fragment, i.on_receipt, i.wakes, i.refers_to, i.answer, i.deny_message,
       us(i.received_at), s.budget_cents, s.unpriced, s.paused, s.outcomes, (SELECT c.generation FROM catalogue c) AS catalogue
  FROM unnest($3::text[], $4::text[], $5::bigint[]) u(workspace, session, epoch)
  CROSS JOIN LATERAL (SELECT * FROM work k WHERE k.workspace_id = u.workspace AND k.session_id = u.session AND k.lease_epoch = u.epoch
                         AND k.lease_owner = $1 LIMIT 1) w
  CROSS JOIN LATERAL (SELECT * FROM session x WHERE x.id = w.session_id LIMIT 1) s
  LEFT JOIN LATERAL (SELECT * FROM inbox n WHERE n.session_id = s.id AND (s.context_bytes + 2 * s.inbox_bytes <= $2::bigint OR s.status = 'running')
                      ORDER BY n.inbox_seq) i ON true

-- Their moment is over. Those that are still this worker's have something to be read.
-- stmt: session_settle  for: worker
SELECT session_settle($1::text[], $2::bigint[], $3::bigint[])

-- Does it have calls that wait for the client, or whose answers wait?
-- stmt: calls_wait  for: worker
SELECT EXISTS (SELECT FROM action WHERE session_id = $1 AND state <> 'closed')

-- The model's view of the log after seq $2, or from the latest compaction on, in order: what stands in a column of its own replaces the
-- fragment. One page: at most 4096 rows, and none behind the first 4 MB; a page that reaches neither is the last.
-- stmt: context_load  for: worker
SELECT seq, role, text, compaction FROM (
  SELECT p.*, sum(octet_length(text)) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) - octet_length(text) AS before FROM (
    SELECT seq, role, coalesce(private, fragment) AS text, type = 'agent.thread_context_compacted' AS compaction FROM event
     WHERE session_id = $1::text AND coalesce(private, fragment) IS NOT NULL
       AND seq > greatest($2::bigint, (SELECT max(seq) - 1 FROM event
                                        WHERE session_id = $1::text AND type = 'agent.thread_context_compacted'))
     ORDER BY seq LIMIT 4096) p) q
 WHERE before < 4194304

-- What the latest answered model request measured, and where it stands. One row, or none.
-- stmt: context_usage  for: worker
SELECT seq, body FROM event
 WHERE session_id = $1 AND type = 'span.model_request_end' AND body NOT LIKE '%"is_error":true%' ORDER BY seq DESC LIMIT 1

-- A session's outcomes by their events, in order; last, what was asked of the model or answered by it (it stands near the log's end).
-- stmt: outcome_load  for: worker
SELECT id, type, body FROM (
  (SELECT 0 AS part, seq, id, type, body FROM event
    WHERE session_id = $1 AND type IN ('user.define_outcome', 'span.outcome_evaluation_start', 'span.outcome_evaluation_end'))
  UNION ALL
  (SELECT 1, seq, id, type, body FROM event
    WHERE session_id = $1 AND seq > (SELECT last_seq - 1000 FROM session WHERE id = $1)
      AND type IN ('span.model_request_end', 'user.message', 'user.define_outcome', 'agent.tool_result', 'user.custom_tool_result')
    ORDER BY seq DESC LIMIT 1)) q
 ORDER BY part, seq

-- The last $2 events, newest first, at most about 64 MB, to see where a crashed turn stood.
-- stmt: event_tail  for: worker
SELECT seq, id, type, body, at FROM (
  SELECT p.*, sum(octet_length(body)) OVER (ORDER BY seq DESC) - octet_length(body) AS before FROM (
    SELECT seq, id, type, body, us(processed_at) AS at FROM event WHERE session_id = $1 ORDER BY seq DESC LIMIT $2::int) p) q
 WHERE before < 67108864 ORDER BY seq DESC

-- wake_gen and the waiting items in one snapshot; one row with NULLs when nothing waits. The items' columns are session_take's.
-- stmt: inbox_take  for: worker
SELECT s.wake_gen, i.inbox_seq, i.id, i.type, i.stem, i.role, i.fragment, i.on_receipt, i.wakes, i.refers_to, i.answer, i.deny_message,
       us(i.received_at), s.budget_cents
  FROM session s LEFT JOIN inbox i ON i.session_id = s.id
 WHERE s.id = $1 ORDER BY i.inbox_seq

-- stmt: session_append_one  for: worker  joins
SELECT session_append_one($1, $2::bigint, $3::bigint, $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
       $9::text[], $10::bigint[], $11, $12::int, $13::int, $14::bigint[], $15::int, $16, $17::text[], $18::text[], $19::text[], $20::text[],
       $21::text[], $22, $23::bigint, $24::bigint, $25::boolean, $26::bigint, $27::bigint, $28::bigint[], $29::boolean, $30, $31::bigint[],
       $32::bigint[], $33::boolean, $34::bigint, $35::int, $36::text[])

-- Plain appends of several sessions: lib/store/appendq.c makes the arrays.
-- stmt: session_append_many  for: worker  joins
SELECT session_append_many($1::text[], $2::bigint[], $3::bigint[], $4::int[], $5::text[], $6::boolean[], $7::int[], $8::int[],
       $9::bigint[], $10::boolean[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::int[], $16::bigint[], $17::int[],
       $18::int[], $19::int[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[], $25::text[],
       $26::text[], $27::text[], $28::int[], $29::text[], $30::bigint[], $31::int[], $32::int[], $33::text[],
       $34::text[], $35::int[], $36::text[])

-- stmt: session_release  for: worker
SELECT session_release($1, $2::bigint, $3::bigint)

-- What moved in the inboxes of my sessions.
-- stmt: session_wakes  for: worker
SELECT s.id, s.wake_gen, k.lease_epoch FROM work k JOIN session s ON s.id = k.session_id WHERE k.lease_owner = $1

-- stmt: sandbox_drops  for: worker
SELECT session_id FROM sandbox_drop ORDER BY dropped_at LIMIT 100

-- stmt: sandbox_dropped  for: worker
DELETE FROM sandbox_drop WHERE session_id = $1
