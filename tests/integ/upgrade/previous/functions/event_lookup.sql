-- How many events of a session are stamped at or before this time: stamps rise with seq and seq has no gap, so seq is searched by
-- halving, without an index on the stamp. NULL for NULL.
CREATE OR REPLACE FUNCTION event_seq_at(p_session text, p_us bigint) RETURNS bigint
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
REVOKE ALL ON FUNCTION event_seq_at FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_seq_at TO roost_gw;

-- The lowest id (contract 1.7, lib/base/id.c) that an object made at this time may have. Ids carry the time of the process that made
-- them, rows the database's: bounds made with this function must leave slack for clocks that differ.
CREATE OR REPLACE FUNCTION id_floor(p_prefix text, p_us bigint) RETURNS text
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
REVOKE ALL ON FUNCTION id_floor FROM PUBLIC;
GRANT EXECUTE ON FUNCTION id_floor TO roost_gw;
