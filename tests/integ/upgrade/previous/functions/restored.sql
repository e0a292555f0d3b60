-- Right after a restore, before anybody else may connect: a new timeline begins. Nobody is at work any more: who was, is dead, and its
-- sessions are taken from it as worker_reap does, running time ending at its last beat. Whoever comes back from the time that is lost finds
-- its row and its leases gone, and epochs start far above all that were given out then, for sandboxes too.
CREATE OR REPLACE FUNCTION restored() RETURNS TABLE (timeline int, sessions bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  w worker;
  v_timeline int;
BEGIN
  SELECT coalesce(max(r.timeline), 0) + 1 INTO v_timeline FROM restore r;
  INSERT INTO restore (timeline, at) VALUES (v_timeline, clock_timestamp());
  INSERT INTO restore_point (session_id, timeline, seq)
  SELECT s.id, v_timeline, s.last_seq FROM work k JOIN session s ON s.workspace_id = k.workspace_id AND s.id = k.session_id
   WHERE k.lease_owner IS NOT NULL;
  GET DIAGNOSTICS sessions = ROW_COUNT;
  PERFORM setval('lease_epoch', (SELECT last_value FROM lease_epoch) + 1000000000);
  FOR w IN SELECT * FROM worker LOOP
    PERFORM worker_reap('', 0, w.id, us(clock_timestamp()));
  END LOOP;
  DELETE FROM worker;
  UPDATE work SET lease_owner = NULL WHERE lease_owner IS NOT NULL;
  timeline := v_timeline;
  RETURN NEXT;
END $$;
REVOKE ALL ON FUNCTION restored FROM PUBLIC;
