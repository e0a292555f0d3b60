-- Stamps travel as microseconds since 1970: exact in both directions (an interval's microseconds are an integer). By way of UTC, where
-- every operator is immutable: over operators that are only stable (they could depend on the session's time zone) Postgres calls these
-- as functions instead of inlining them, a tenth of its time in a turn.
CREATE OR REPLACE FUNCTION us(t timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN (extract(epoch FROM t AT TIME ZONE 'UTC') * 1000000)::bigint;
REVOKE ALL ON FUNCTION us FROM PUBLIC;
GRANT EXECUTE ON FUNCTION us TO roost_gw, roost_stream, roost_worker;

CREATE OR REPLACE FUNCTION stamp(v bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN ('epoch'::timestamp + v * interval '1 microsecond') AT TIME ZONE 'UTC';
REVOKE ALL ON FUNCTION stamp FROM PUBLIC;
GRANT EXECUTE ON FUNCTION stamp TO roost_gw, roost_stream, roost_worker;

-- As the wire shows a time (contract 1.8).
CREATE OR REPLACE FUNCTION wire_stamp(t timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
  RETURN to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
REVOKE ALL ON FUNCTION wire_stamp FROM PUBLIC;
GRANT EXECUTE ON FUNCTION wire_stamp TO roost_gw, roost_stream, roost_worker;

-- As the wire shows a file's times (contract 1.8). Not for parallel plans: no page of files is worth the start of a parallel worker.
CREATE OR REPLACE FUNCTION wire_stamp_ms(t timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL UNSAFE
  RETURN to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
REVOKE ALL ON FUNCTION wire_stamp_ms FROM PUBLIC;
GRANT EXECUTE ON FUNCTION wire_stamp_ms TO roost_gw, roost_worker;
