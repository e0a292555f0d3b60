-- Files attached to sessions (contract 2.3, 4.6), and what sessions put out.

-- What a session has attached, in order. file_id is the session's own copy: without it there is nothing to mount.
CREATE TABLE session_resource (
  id          text PRIMARY KEY,                       -- sesrsc_
  session_id  text NOT NULL REFERENCES session ON DELETE CASCADE,
  ordinal     int  NOT NULL,
  type        text NOT NULL CHECK (type = 'file'),
  file_id     text NOT NULL REFERENCES file ON DELETE CASCADE,
  mount_path  text NOT NULL,                          -- absolute, below /mnt/session/uploads
  created_at  timestamptz NOT NULL,
  updated_at  timestamptz NOT NULL,
  UNIQUE (session_id, ordinal)
);
CREATE INDEX session_resource_file ON session_resource (file_id);

-- The wire's list of them, kept beside the session so that showing one costs nothing.
ALTER TABLE session ADD COLUMN resources text NOT NULL DEFAULT '[]';

CREATE FUNCTION resource_wire(r session_resource) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
  RETURN '{"id":' || to_json(r.id) || ',"type":' || to_json(r.type) || ',"file_id":' || to_json(r.file_id) || ',"mount_path":' ||
         to_json(r.mount_path) || ',"created_at":"' || wire_stamp(r.created_at) || '","updated_at":"' || wire_stamp(r.updated_at) || '"}';

CREATE FUNCTION session_resources_show(p_sessions text[]) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  UPDATE session s SET resources = coalesce((SELECT '[' || string_agg(resource_wire(r), ',' ORDER BY r.ordinal) || ']'
                                               FROM session_resource r WHERE r.session_id = s.id), '[]')
   WHERE s.id = ANY (p_sessions)
$$;

-- One goes by itself, with its file, or with its session.
CREATE FUNCTION session_resource_gone() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM session_resources_show(ARRAY(SELECT DISTINCT g.session_id FROM gone g));
  RETURN NULL;
END $$;
CREATE TRIGGER session_resource_gone AFTER DELETE ON session_resource REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION session_resource_gone();

-- Attach files to a session whose row the caller has locked or just made: for each a copy and a resource; parallel arrays.
-- result: ok; missing, overlap (p_at: of which); full. What is not ok must be rolled back. shown: the session's list.
CREATE FUNCTION session_resource_add(p_workspace text, p_session text, p_ids text[], p_copies text[], p_sources text[], p_paths text[],
    p_most int, OUT result text, OUT at int, OUT shown text)
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

-- Detach one: its copy goes, and with it the resource.
CREATE FUNCTION session_resource_delete(p_workspace text, p_session text, p_id text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
BEGIN
  DELETE FROM file f USING session_resource r, session s
   WHERE r.session_id = p_session AND r.id = p_id AND f.id = r.file_id AND s.id = p_session AND s.workspace_id = p_workspace;
  RETURN FOUND;
END $$;

-- What a sandbox shows of them: [{"blob","path"}], or NULL.
CREATE FUNCTION session_mounts(p_session text) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT '[' || string_agg('{"blob":' || to_json(f.blob_id) || ',"path":' || to_json(r.mount_path) || '}', ',' ORDER BY r.ordinal) || ']'
    FROM session_resource r JOIN file f ON f.id = r.file_id
   WHERE r.session_id = p_session AND f.blob_id IS NOT NULL
$$;

-- An output that lies in the store becomes a file of its session, once: by its blob, and by its content when that is the newest of its
-- path (a sandbox that was made anew wrote it again). result: ok; again (it has a row already: nothing to do); same (nothing was written,
-- the blob is of no use); full (the session has p_most); or what file_insert says.
CREATE FUNCTION session_output_put(p_id text, p_session text, p_path text, p_filename text, p_mime text, p_blob text, p_bytes bigint,
    p_sha256 text, p_quota bigint, p_most int) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  s session;
  v_last text;
BEGIN
  SELECT * INTO s FROM session x WHERE x.id = p_session FOR NO KEY UPDATE;
  IF s.id IS NULL THEN
    RETURN 'gone';
  ELSIF EXISTS (SELECT FROM file f WHERE f.session_id = p_session AND f.blob_id = p_blob) THEN
    RETURN 'again';
  END IF;
  SELECT b.sha256 INTO v_last FROM file f JOIN blob b ON b.id = f.blob_id
   WHERE f.session_id = p_session AND f.origin = 'output' AND f.path = p_path ORDER BY f.id DESC LIMIT 1;
  IF v_last = p_sha256 THEN
    RETURN 'same';
  ELSIF (SELECT count(*) FROM file f WHERE f.session_id = p_session AND f.origin = 'output') >= p_most THEN
    RETURN 'full';
  END IF;
  RETURN file_insert(p_id, s.organization_id, s.workspace_id, p_session, 'output', p_path, p_filename, p_mime, true, p_blob, p_bytes,
                     p_sha256, NULL, p_quota);
END $$;

REVOKE ALL ON FUNCTION resource_wire, session_resources_show, session_resource_gone, session_resource_add, session_resource_delete,
  session_mounts, session_output_put FROM PUBLIC;
GRANT EXECUTE ON FUNCTION resource_wire, session_resource_add, session_resource_delete TO roost_gw;
GRANT EXECUTE ON FUNCTION session_mounts, session_output_put TO roost_worker;
GRANT SELECT ON session_resource TO roost_gw;
