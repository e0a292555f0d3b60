-- Does this database take writes? A commit that has to reach the disk (and a synchronous standby, where there is one), and room: a
-- megabyte that does not fit into the memory it is given goes to a temporary file for a moment. A write of one row alone would still succeed
-- on a full disk, where its page has room and its piece of the log is there, while messages are refused. Raises what such a write raises:
-- 53100 disk full, 25006 read only, 55P03 when somebody keeps the row. Then what readiness knows besides (statement health_workers).
CREATE OR REPLACE FUNCTION readiness()
  RETURNS TABLE (workers bigint, hands boolean, timeline bigint, archive_fails boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET work_mem = '64kB' SET lock_timeout = '1s' AS $$
BEGIN
  PERFORM count(*) FROM unnest(array_fill(repeat('x', 8000), ARRAY[136]));
  UPDATE readiness r SET at = clock_timestamp() WHERE r.one;
  RETURN QUERY
  SELECT count(*), coalesce(bool_or(w.hands), false), (SELECT coalesce(max(x.timeline), 0)::bigint FROM restore x),
         (SELECT coalesce(a.last_failed_time > coalesce(a.last_archived_time, '-infinity'), false) FROM pg_stat_archiver a)
    FROM worker w WHERE w.lease_until > clock_timestamp();
END $$;
REVOKE ALL ON FUNCTION readiness FROM PUBLIC;
GRANT EXECUTE ON FUNCTION readiness TO roost_gw;
