-- Work that waits in the inbox reads as running. at_work is false when the worker has seen the inbox and left it, as it does with a
-- message behind an unanswered question.
CREATE OR REPLACE FUNCTION wire_status(status text, inbox_wakes int, at_work boolean) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN CASE WHEN status = 'idle' AND inbox_wakes > 0 AND at_work THEN 'running' ELSE status END;
REVOKE ALL ON FUNCTION wire_status FROM PUBLIC;
GRANT EXECUTE ON FUNCTION wire_status TO roost_gw, roost_stream, roost_worker;

-- A total as the API shows it: while a turn runs, what it was at the turn's beginning.
CREATE OR REPLACE FUNCTION wire_total(status text, told bigint[], k int, live bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN CASE WHEN status IN ('idle', 'terminated') OR told IS NULL THEN live ELSE told[k] END;
REVOKE ALL ON FUNCTION wire_total FROM PUBLIC;
GRANT EXECUTE ON FUNCTION wire_total TO roost_gw;

-- "nano-dollars microseconds" for lib/store/cost.h; NULL: not known. Cast before they are joined: `bigint || text` is only STABLE, and what
-- is declared as more than its body is called as a function instead of becoming part of the statement (40 us).
CREATE OR REPLACE FUNCTION wire_spent(status text, told bigint[], token_nano bigint, active_us bigint, unpriced boolean) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN CASE WHEN NOT unpriced THEN wire_total(status, told, 6, token_nano)::text || ' ' || wire_total(status, told, 7, active_us)::text END;
REVOKE ALL ON FUNCTION wire_spent FROM PUBLIC;
GRANT EXECUTE ON FUNCTION wire_spent TO roost_gw;

-- A session's resource as the wire's object (contract 2.3).
CREATE OR REPLACE FUNCTION resource_wire(r session_resource) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
  RETURN '{"id":' || to_json(r.id) || ',"type":' || to_json(r.type) || ',"file_id":' || to_json(r.file_id) || ',"mount_path":' ||
         to_json(r.mount_path) || ',"created_at":"' || wire_stamp(r.created_at) || '","updated_at":"' || wire_stamp(r.updated_at) || '"}';
REVOKE ALL ON FUNCTION resource_wire FROM PUBLIC;
GRANT EXECUTE ON FUNCTION resource_wire TO roost_gw;
