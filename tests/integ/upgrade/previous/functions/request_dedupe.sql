-- Find the answer of an earlier attempt of this call. Attempts of one call wait here for each other (p_lock, until the end of the
-- transaction; 3 s at most, then lock_not_available). Which rows are earlier attempts:
--   key    the row of the key
--   trace  count >= 1 or none told: any row of this span, path and body. Count 0: one that a later attempt has made while this one was
--          on its way; otherwise it is a call of its own
--   plain  count >= 1: an equal row that has been seen by lower counts only. Count 0: none
-- and in any case the row that this very request has written (asked for after a commit whose outcome is not known).
CREATE OR REPLACE FUNCTION request_enter(p_lock bigint, p_ident uuid, p_request text, p_kind "char", p_count int)
  RETURNS TABLE (digest uuid, status int, reply text, events text, object text, request text, connection text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '3s' AS $$
DECLARE
  d request_dedupe;
BEGIN
  PERFORM pg_advisory_xact_lock(p_lock);
  SELECT * INTO d FROM request_dedupe x
   WHERE x.ident = p_ident AND x.expires_at > clock_timestamp()
     AND (x.request = p_request
          OR p_kind = 'k'
          OR p_kind = 't' AND (p_count <> 0 OR x.made_by >= 1)
          OR p_kind = 'p' AND p_count > x.seen)
   ORDER BY x.request = p_request DESC, x.request DESC LIMIT 1;
  IF FOUND THEN
    IF d.kind = 'p' AND d.seen < p_count THEN
      UPDATE request_dedupe x SET seen = p_count WHERE x.ident = d.ident AND x.request = d.request;
    END IF;
    RETURN QUERY SELECT d.digest, d.status, d.reply, d.events, d.object, d.request, d.connection;
  END IF;
END $$;
REVOKE ALL ON FUNCTION request_enter FROM PUBLIC;
GRANT EXECUTE ON FUNCTION request_enter TO roost_gw;

-- The last statement before the COMMIT of a request that succeeded. unique_violation: another attempt was there first.
CREATE OR REPLACE FUNCTION request_store(p_lock bigint, p_ident uuid, p_request text, p_kind "char", p_count int, p_digest uuid,
    p_status int, p_reply text, p_events text, p_object text, p_keep_s int, p_connection text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '3s' AS $$
BEGIN
  IF p_kind = 'p' THEN
    PERFORM pg_advisory_xact_lock(p_lock);
    IF p_count >= 1 AND EXISTS (SELECT 1 FROM request_dedupe x
                                 WHERE x.ident = p_ident AND x.expires_at > clock_timestamp() AND x.seen < p_count) THEN
      RAISE unique_violation USING MESSAGE = 'an equal attempt has just been answered';
    END IF;
  END IF;
  INSERT INTO request_dedupe AS x (ident, request, kind, digest, made_by, seen, status, reply, events, object, expires_at, connection)
  VALUES (p_ident, p_request, p_kind, p_digest, p_count, p_count, p_status, p_reply, p_events, p_object,
          clock_timestamp() + make_interval(secs => p_keep_s), p_connection)
  ON CONFLICT (ident, request) DO UPDATE
     SET digest = excluded.digest, made_by = excluded.made_by, seen = excluded.seen, status = excluded.status, reply = excluded.reply,
         events = excluded.events, object = excluded.object, expires_at = excluded.expires_at, connection = excluded.connection
   WHERE x.expires_at <= clock_timestamp();
  IF NOT FOUND THEN
    RAISE unique_violation USING MESSAGE = 'this call has been answered';
  END IF;
END $$;
REVOKE ALL ON FUNCTION request_store FROM PUBLIC;
GRANT EXECUTE ON FUNCTION request_store TO roost_gw;

-- Forget what has expired, at most p_limit rows at a time; several may do it at once.
CREATE OR REPLACE FUNCTION request_sweep(p_limit int) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  n bigint;
BEGIN
  DELETE FROM request_dedupe x WHERE x.ctid = ANY (ARRAY(
    SELECT d.ctid FROM request_dedupe d WHERE d.expires_at <= clock_timestamp() ORDER BY d.expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS n = ROW_COUNT;
  RETURN n;
END $$;
REVOKE ALL ON FUNCTION request_sweep FROM PUBLIC;
GRANT EXECUTE ON FUNCTION request_sweep TO roost_gw;

-- What is deleted is not shown again by a kept reply.
CREATE OR REPLACE FUNCTION request_forget(p_object text) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
  AS $$ DELETE FROM request_dedupe WHERE object = p_object $$;
REVOKE ALL ON FUNCTION request_forget FROM PUBLIC;
GRANT EXECUTE ON FUNCTION request_forget TO roost_gw;

-- An answer that its client has read is not given to another call: of kind 'p', whose connection has carried a later request.
CREATE OR REPLACE FUNCTION request_delivered(p_ident uuid, p_request text) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
  AS $$ DELETE FROM request_dedupe WHERE ident = p_ident AND request = p_request AND kind = 'p' $$;
REVOKE ALL ON FUNCTION request_delivered FROM PUBLIC;
GRANT EXECUTE ON FUNCTION request_delivered TO roost_gw;
