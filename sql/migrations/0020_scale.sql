-- What a million sessions and a log of 100,000 events need: no statement of a hot path reads more rows than it returns, whatever the
-- tables hold. tests/integ/scale checks the plans. No index here mentions a column that a turn changes, but due_at and lease_owner,
-- which session_due and session_owner index already: updates that were HOT stay so.

-- Sessions at work, for statuses[]=running and rescheduling: they have a lease or are due.
CREATE INDEX session_busy ON session (workspace_id, id) WHERE due_at IS NOT NULL OR lease_owner IS NOT NULL;
-- Ended ones, and the default list of a workspace whose sessions are mostly archived.
CREATE INDEX session_ended ON session (workspace_id, id) WHERE terminated_at IS NOT NULL;
CREATE INDEX session_alive ON session (workspace_id, id DESC) WHERE archived_at IS NULL;
-- Only environment_busy used it, and read every session the environment ever had.
DROP INDEX session_env;
CREATE INDEX action_open ON action (session_id) WHERE state = 'open';

-- Where a compacted context begins.
CREATE INDEX event_compacted ON event (session_id, seq) WHERE type = 'agent.thread_context_compacted';

-- How many events of a session are stamped at or before this time: stamps rise with seq and seq has no gap, so seq is searched by
-- halving, without an index on the stamp. NULL for NULL.
CREATE FUNCTION event_seq_at(p_session text, p_us bigint) RETURNS bigint
  LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = public, pg_temp AS $$
DECLARE
  v_at timestamptz := stamp(p_us);
  lo bigint := 0;
  hi bigint := coalesce((SELECT max(e.seq) FROM event e WHERE e.session_id = p_session), 0);
  mid bigint;
BEGIN
  WHILE lo < hi LOOP
    mid := (lo + hi + 1) / 2;
    IF (SELECT e.processed_at FROM event e WHERE e.session_id = p_session AND e.seq = mid) <= v_at THEN
      lo := mid;
    ELSE
      hi := mid - 1;
    END IF;
  END LOOP;
  RETURN lo;
END $$;

-- The lowest id (contract 1.7, lib/base/id.c) that an object made at this time may have. Ids carry the time of the process that made
-- them, rows the database's: bounds made with this function must leave slack for clocks that differ.
CREATE FUNCTION id_floor(p_prefix text, p_us bigint) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = public, pg_temp AS $$
DECLARE
  v numeric := (greatest(p_us, 0) / 1000)::numeric * 1208925819614629174706176;	-- 2^80
  tail text := '';
BEGIN
  FOR k IN 1..22 LOOP
    tail := substr('123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz', (v % 58)::int + 1, 1) || tail;
    v := div(v, 58);
  END LOOP;
  RETURN p_prefix || '01' || tail;
END $$;

REVOKE ALL ON FUNCTION event_seq_at(text, bigint), id_floor(text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_seq_at(text, bigint), id_floor(text, bigint) TO roost_gw;
