-- A fresh event id (the usual shape, not time-ordered: events are found by seq).
CREATE OR REPLACE FUNCTION event_id() RETURNS text LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
  RETURN 'sevt_01' || substr(translate(replace(gen_random_uuid()::text, '-', ''), '0', 'z'), 1, 22);
REVOKE ALL ON FUNCTION event_id FROM PUBLIC;

-- An agent that is no JSON must not stop the reaper.
CREATE OR REPLACE FUNCTION agent_field(p_agent text, VARIADIC p_path text[]) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN p_agent::json #>> p_path;
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION agent_field FROM PUBLIC;

-- The fields of a thread's status event.
CREATE OR REPLACE FUNCTION thread_fields(s session) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN ',"session_thread_id":' || to_json(s.thread_id) || ',"agent_name":' || to_json(coalesce(agent_field(s.agent, 'name'), ''));
END $$;
REVOKE ALL ON FUNCTION thread_fields FROM PUBLIC;

-- Events that no worker writes, after s.last_seq, the first stamped p_base_us: the end of an open model request (and its gap), then the
-- given ones; p_rests are their fields behind the type. Returns how many it wrote.
CREATE OR REPLACE FUNCTION session_say(s session, p_base_us bigint, p_types text[], p_rests text[]) RETURNS int
  LANGUAGE plpgsql AS $$
DECLARE
  v_span record;
  v_types text[] := p_types;
  v_rests text[] := p_rests;
  v_id text;
BEGIN
  SELECT e.id, e.type INTO v_span FROM event e WHERE e.session_id = s.id AND e.type LIKE 'span.model_request%' ORDER BY e.seq DESC LIMIT 1;
  IF v_span.type = 'span.model_request_start' THEN
    v_types := 'span.model_request_end'::text || v_types;
    v_rests := (',"model_request_start_id":"' || v_span.id || '","is_error":true,"model_usage":{"input_tokens":0,'
      '"output_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"speed":null}') || v_rests;
    PERFORM session_gap(s, 'worker_lost', agent_field(s.agent, 'model', 'id'), stamp(p_base_us));
  END IF;
  FOR k IN 1..array_length(v_types, 1) LOOP
    v_id := event_id();
    INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body)
    VALUES (s.id, s.last_seq + k, v_id, v_types[k], s.thread_id, stamp(p_base_us + k - 1),
            '{"id":"' || v_id || '","type":"' || v_types[k] || '"' || v_rests[k] || ',"processed_at":"' ||
            wire_stamp(stamp(p_base_us + k - 1)) || '"}');
  END LOOP;
  RETURN array_length(v_types, 1);
END $$;
REVOKE ALL ON FUNCTION session_say FROM PUBLIC;

-- The end of an open model request (what it may have cost is a gap) and the rescheduled pair (contract 3.4), the first stamped p_base_us.
-- Same texts as workers/harness/batch_status.c. Returns how many events it wrote.
CREATE OR REPLACE FUNCTION session_orphan(s session, p_base_us bigint) RETURNS int
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  RETURN session_say(s, p_base_us, ARRAY['session.thread_status_rescheduled', 'session.status_rescheduled'], ARRAY[thread_fields(s), '']);
END $$;
REVOKE ALL ON FUNCTION session_orphan FROM PUBLIC;
