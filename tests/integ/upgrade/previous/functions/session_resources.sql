-- The wire's list of resources, kept beside the session so that showing one costs nothing.
CREATE OR REPLACE FUNCTION session_resources_show(p_sessions text[]) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  UPDATE session s SET resources = coalesce((SELECT '[' || string_agg(resource_wire(r), ',' ORDER BY r.ordinal) || ']'
                                               FROM session_resource r WHERE r.session_id = s.id), '[]')
   WHERE s.id = ANY (p_sessions)
$$;
REVOKE ALL ON FUNCTION session_resources_show FROM PUBLIC;

-- One goes by itself, with its file, or with its session.
CREATE OR REPLACE FUNCTION session_resource_gone() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM session_resources_show(ARRAY(SELECT DISTINCT g.session_id FROM gone g));
  RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION session_resource_gone FROM PUBLIC;

-- Attach files to a session whose row the caller has locked or just made: for each a copy and a resource; parallel arrays.
-- result: ok; missing, overlap (p_at: of which); full. What is not ok must be rolled back. shown: the session's list.
CREATE OR REPLACE FUNCTION session_resource_add(p_workspace text, p_session text, p_ids text[], p_copies text[], p_sources text[],
    p_paths text[], p_most int, OUT result text, OUT at int, OUT shown text)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v_now timestamptz := clock_timestamp();
  v_next int;
BEGIN
  SELECT coalesce(max(r.ordinal), 0) INTO v_next FROM session_resource r WHERE r.session_id = p_session;
  IF (SELECT count(*) FROM session_resource r WHERE r.session_id = p_session) + cardinality(p_ids) > p_most THEN
    result := 'full';
    RETURN;
  END IF;
  FOR i IN 1 .. cardinality(p_ids) LOOP
    at := i - 1;
    IF EXISTS (SELECT FROM session_resource r WHERE r.session_id = p_session AND (r.mount_path = p_paths[i]
                  OR starts_with(r.mount_path, p_paths[i] || '/') OR starts_with(p_paths[i], r.mount_path || '/'))) THEN
      result := 'overlap';
      RETURN;
    END IF;
    IF file_copy(p_copies[i], p_workspace, p_sources[i], p_session, p_paths[i]) <> 'ok' THEN
      result := 'missing';
      RETURN;
    END IF;
    INSERT INTO session_resource (id, session_id, ordinal, type, file_id, mount_path, created_at, updated_at)
    VALUES (p_ids[i], p_session, v_next + i, 'file', p_copies[i], p_paths[i], v_now, v_now);
  END LOOP;
  PERFORM session_resources_show(ARRAY[p_session]);
  SELECT s.resources INTO shown FROM session s WHERE s.id = p_session;
  result := 'ok';
END $$;
REVOKE ALL ON FUNCTION session_resource_add FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_resource_add TO roost_gw;

-- Detach one: its copy goes, and with it the resource.
CREATE OR REPLACE FUNCTION session_resource_delete(p_workspace text, p_session text, p_id text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
BEGIN
  DELETE FROM file f USING session_resource r, session s
   WHERE r.session_id = p_session AND r.id = p_id AND f.id = r.file_id AND s.id = p_session AND s.workspace_id = p_workspace;
  RETURN FOUND;
END $$;
REVOKE ALL ON FUNCTION session_resource_delete FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_resource_delete TO roost_gw;

-- What a sandbox shows of them: [{"blob","path"}], or NULL.
CREATE OR REPLACE FUNCTION session_mounts(p_session text) RETURNS text
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT '[' || string_agg('{"blob":' || to_json(f.blob_id) || ',"path":' || to_json(r.mount_path) || '}', ',' ORDER BY r.ordinal) || ']'
    FROM session_resource r JOIN file f ON f.id = r.file_id
   WHERE r.session_id = p_session AND f.blob_id IS NOT NULL
$$;
REVOKE ALL ON FUNCTION session_mounts FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_mounts TO roost_worker;
