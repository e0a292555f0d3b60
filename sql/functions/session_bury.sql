-- The end of a session that is given up: error, terminated pair, the billed interval closed at p_base_us and what follows, a dead letter.
-- Same texts as workers/harness/batch_status.c. The inbox stays; nothing is due. s is locked by the caller.
CREATE OR REPLACE FUNCTION session_bury(s session, p_attempts int, p_base_us bigint, p_worker text, p_reason text) RETURNS void
  LANGUAGE plpgsql AS $$
DECLARE
  n int;
  v_end timestamptz;
  v_us bigint;
BEGIN
  n := session_say(s, p_base_us, ARRAY['session.error', 'session.thread_status_terminated', 'session.status_terminated'],
    ARRAY[',"error":{"type":"unknown_error","message":' || to_json(CASE p_reason
            WHEN 'crash' THEN 'The session stopped the process that ran it several times and has been given up.'
            ELSE 'The session cannot be read and has been given up.' END) || ',"retry_status":{"type":"terminal"}}', thread_fields(s), '']);
  v_end := stamp(p_base_us + n - 1);
  v_us := session_ran(s, s.last_seq + n, 0, v_end);
  DELETE FROM work k WHERE k.workspace_id = s.workspace_id AND k.session_id = s.id;
  UPDATE session x SET at_work = false, status = 'terminated', terminated_at = v_end,
         running_since = NULL, active_us = x.active_us + v_us, last_seq = x.last_seq + n, last_at = v_end, updated_at = v_end
   WHERE x.id = s.id;
  DELETE FROM suspect x WHERE x.session_id = s.id;
  INSERT INTO dead_letter (session_id, attempts, worker, reason) VALUES (s.id, p_attempts, p_worker, p_reason)
  ON CONFLICT (session_id) DO UPDATE SET attempts = excluded.attempts, worker = excluded.worker, reason = excluded.reason, at = excluded.at;
END $$;
REVOKE ALL ON FUNCTION session_bury FROM PUBLIC;

-- p_worker died while it handled this claim (p_epoch) of the session, or, with p_reason 'unreadable' or p_count false, has just claimed a
-- session that is to end. Nothing for a claim that was counted before, or a session that has ended or has nothing to do (it may be held:
-- session_settle). It ends when it
-- has p_max attempts and no living worker has it: the reader of that worker's own crash will end it.
-- Returns attempts, and the epoch up to which its sandbox may be destroyed when it ended: one row, or with the events of a session that
-- ended one per event; no row: nothing changed.
CREATE OR REPLACE FUNCTION worker_blame(p_worker text, p_session text, p_epoch bigint, p_max int, p_count boolean, p_reason text)
  RETURNS TABLE (attempts int, ended_epoch bigint, seq bigint, type text, body text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  s session;
  k work;
  v_beat timestamptz;
BEGIN
  SELECT * INTO s FROM session x WHERE x.id = p_session FOR UPDATE;
  SELECT * INTO k FROM work x WHERE x.workspace_id = s.workspace_id AND x.session_id = s.id FOR UPDATE;
  IF k.session_id IS NULL OR s.status = 'terminated' OR k.lease_epoch < p_epoch OR
     p_count AND s.status = 'idle' AND s.inbox_events = 0 THEN
    RETURN;
  END IF;
  IF p_count THEN
    INSERT INTO suspect AS x (session_id, epoch, worker) VALUES (p_session, p_epoch, p_worker)
    ON CONFLICT (session_id) DO UPDATE SET epoch = excluded.epoch, worker = excluded.worker, at = excluded.at WHERE x.epoch < excluded.epoch;
    IF NOT FOUND THEN
      RETURN;
    END IF;
    k.attempts := k.attempts + 1;
    UPDATE work x SET attempts = k.attempts WHERE x.workspace_id = s.workspace_id AND x.session_id = p_session;
  ELSIF k.lease_owner IS DISTINCT FROM p_worker OR k.lease_epoch <> p_epoch THEN
    RETURN;
  END IF;
  attempts := k.attempts;
  IF (k.attempts >= p_max OR p_reason = 'unreadable') AND (k.lease_owner IS NULL OR k.lease_owner = p_worker) THEN
    SELECT w.beat_at INTO v_beat FROM worker w WHERE w.id = p_worker AND s.running_since IS NOT NULL;
    PERFORM session_bury(s, k.attempts, greatest(us(s.last_at) + 1, us(s.running_since), us(least(coalesce(v_beat, clock_timestamp()), clock_timestamp()))),
      CASE WHEN p_count THEN p_worker ELSE coalesce((SELECT x.worker FROM suspect x WHERE x.session_id = p_session), p_worker) END, p_reason);
    ended_epoch := nextval('lease_epoch');
    RETURN QUERY SELECT k.attempts, worker_blame.ended_epoch, e.seq, e.type, e.body FROM event e
                  WHERE e.session_id = p_session AND e.seq > s.last_seq ORDER BY e.seq;
    RETURN;
  END IF;
  RETURN NEXT;
END $$;
REVOKE ALL ON FUNCTION worker_blame FROM PUBLIC;
GRANT EXECUTE ON FUNCTION worker_blame TO roost_worker;

-- An operator tries a dead session again: rescheduled, as after any crash, and due at once; its next owner goes on where the log and the
-- inbox stand. Returns the session's id, or no row: there is no such dead letter, or the session has been archived.
CREATE OR REPLACE FUNCTION dead_retry(p_session text) RETURNS SETOF text
  LANGUAGE plpgsql AS $$
DECLARE
  s session;
  n int;
  v_base bigint;
BEGIN
  SELECT x.* INTO s FROM session x JOIN dead_letter d ON d.session_id = x.id
   WHERE x.id = p_session AND x.status = 'terminated' AND x.archived_at IS NULL FOR UPDATE OF x;
  IF s.id IS NULL THEN
    RETURN;
  END IF;
  v_base := greatest(us(clock_timestamp()), us(s.last_at) + 1);
  n := session_orphan(s, v_base);
  UPDATE session x SET status = 'rescheduling', terminated_at = NULL, last_seq = x.last_seq + n,
         last_at = stamp(v_base + n - 1), updated_at = stamp(v_base + n - 1), at_work = true, wake_gen = x.wake_gen + 1
   WHERE x.id = p_session;
  INSERT INTO work (workspace_id, session_id, due_at, bytes) VALUES (s.workspace_id, s.id, clock_timestamp(), s.context_bytes + 2 * s.inbox_bytes);
  DELETE FROM dead_letter d WHERE d.session_id = p_session;
  RETURN NEXT p_session;
END $$;
REVOKE ALL ON FUNCTION dead_retry FROM PUBLIC;
