-- A turn whose worker died says so in the log, at the very stamp that ends its billed interval: the reaper writes what the worker can
-- no longer write. So status and last status event agree at once, and the running intervals of the log add up to what is billed.

-- A fresh event id (the usual shape, not time-ordered: events are found by seq).
CREATE FUNCTION event_id() RETURNS text LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
  RETURN 'sevt_01' || substr(translate(replace(gen_random_uuid()::text, '-', ''), '0', 'z'), 1, 22);
REVOKE ALL ON FUNCTION event_id() FROM PUBLIC;

-- The end of an open model request and the rescheduled pair (contract 3.4), the first stamped p_base_us. Same texts as
-- workers/harness/batch.c. Returns how many events it wrote.
CREATE FUNCTION session_orphan(s session, p_base_us bigint) RETURNS int
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_span record;
  v_types text[] := '{}';
  v_rests text[] := '{}';
  v_id text;
BEGIN
  SELECT e.id, e.type INTO v_span FROM event e WHERE e.session_id = s.id AND e.type LIKE 'span.model_request%' ORDER BY e.seq DESC LIMIT 1;
  IF v_span.type = 'span.model_request_start' THEN
    v_types := v_types || 'span.model_request_end'::text;
    v_rests := v_rests || (',"model_request_start_id":"' || v_span.id || '","is_error":true,"model_usage":{"input_tokens":0,'
      '"output_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"speed":null}');
  END IF;
  v_types := v_types || ARRAY['session.thread_status_rescheduled', 'session.status_rescheduled'];
  v_rests := v_rests || ARRAY[',"session_thread_id":' || to_json(s.thread_id) || ',"agent_name":' || to_json(coalesce(s.agent::json->>'name', '')), ''];
  FOR k IN 1..array_length(v_types, 1) LOOP
    v_id := event_id();
    INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body)
    VALUES (s.id, s.last_seq + k, v_id, v_types[k], s.thread_id, stamp(p_base_us + k - 1),
            '{"id":"' || v_id || '","type":"' || v_types[k] || '"' || v_rests[k] || ',"processed_at":"' ||
            wire_stamp(stamp(p_base_us + k - 1)) || '"}');
  END LOOP;
  RETURN array_length(v_types, 1);
END $$;
REVOKE ALL ON FUNCTION session_orphan(session, bigint) FROM PUBLIC;

-- As in 0002, and: the interval of a running session ends at the dead worker's last heartbeat (or its last event) with events that
-- say so; and after Postgres' start only those wait a lease that have not beaten since: a worker beats on the connection that holds its
-- lock, so who has beaten since and lost it is dead.
CREATE OR REPLACE FUNCTION worker_reap(p_me text, p_lease_s int) RETURNS TABLE (worker_id text, sessions bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  w worker;
  s session;
  v_base bigint;
  v_end timestamptz;
  v_us bigint;
  n int;
BEGIN
  FOR w IN SELECT * FROM worker WHERE id <> p_me FOR UPDATE SKIP LOCKED LOOP
    CONTINUE WHEN w.beat_at < pg_postmaster_start_time() AND
                  pg_postmaster_start_time() > clock_timestamp() - make_interval(secs => p_lease_s);
    IF w.lease_until >= clock_timestamp() THEN
      CONTINUE WHEN NOT pg_try_advisory_xact_lock(w.lock_key);	-- held: its process lives
    END IF;
    worker_id := w.id;
    sessions := 0;
    FOR s IN SELECT * FROM session x WHERE x.lease_owner = w.id FOR UPDATE SKIP LOCKED LOOP
      n := 0;
      v_us := 0;
      IF s.running_since IS NOT NULL THEN
        v_base := greatest(us(s.last_at) + 1, us(least(w.beat_at, clock_timestamp())));
        n := session_orphan(s, v_base);
        v_end := stamp(v_base + n - 1);
        v_us := us(v_end) - us(s.running_since);
        PERFORM session_meter(s, s.last_seq + n, 0, 'session.runtime', NULL, s.running_since, v_end,
                              (s.active_us + v_us) / 1000 - s.active_us / 1000, 'ms', s.active_us / 1000);
      END IF;
      UPDATE session x SET lease_owner = NULL, lease_epoch = x.lease_epoch + 1, due_at = coalesce(x.due_at, clock_timestamp()),
             running_since = NULL, active_us = x.active_us + v_us, last_seq = x.last_seq + n,
             status = CASE WHEN n > 0 THEN 'rescheduling' ELSE x.status END,
             last_at = CASE WHEN n > 0 THEN v_end ELSE x.last_at END, updated_at = CASE WHEN n > 0 THEN v_end ELSE x.updated_at END
       WHERE x.id = s.id;
      sessions := sessions + 1;
    END LOOP;
    -- a session that somebody has locked is left for the next round, and its worker's row with it: this call must not wait
    DELETE FROM worker WHERE id = w.id AND NOT EXISTS (SELECT 1 FROM session x WHERE x.lease_owner = w.id);
    RETURN NEXT;
  END LOOP;
END $$;
