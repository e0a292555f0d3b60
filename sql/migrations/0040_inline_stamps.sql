-- us() and stamp() were declared immutable over operators that are only stable (they could depend on the session's time zone), so
-- Postgres called them as functions instead of inlining them: a tenth of its time in a turn. The same values by way of UTC, where
-- every operator is immutable.
CREATE OR REPLACE FUNCTION us(t timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN (extract(epoch FROM t AT TIME ZONE 'UTC') * 1000000)::bigint;
CREATE OR REPLACE FUNCTION stamp(v bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN ('epoch'::timestamp + v * interval '1 microsecond') AT TIME ZONE 'UTC';
