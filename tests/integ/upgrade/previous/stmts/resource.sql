-- Resources of sessions (contract 2.3) and their outputs. The functions are in sql/functions.

-- Within a transaction that holds the session. in: workspace, session; parallel arrays: new ids, ids of copies, files, paths; the most
-- stmt: resource_add  for: gw
SELECT result, at, shown FROM session_resource_add($1::text, $2::text, $3::text[], $4::text[], $5::text[], $6::text[], $7::int);

-- Those behind a position, in order; one more than the limit tells that there is more. in: workspace, session, position, limit
-- stmt: resource_list  for: gw
SELECT resource_wire(r), r.ordinal FROM session_resource r JOIN session s ON s.id = r.session_id
 WHERE s.workspace_id = $1::text AND r.session_id = $2::text AND r.ordinal > $3::int ORDER BY r.ordinal LIMIT $4::int + 1;

-- in: workspace, session, id
-- stmt: resource_get  for: gw
SELECT resource_wire(r), r.type FROM session_resource r JOIN session s ON s.id = r.session_id
 WHERE s.workspace_id = $1::text AND r.session_id = $2::text AND r.id = $3::text;

-- stmt: resource_delete  for: gw
SELECT session_resource_delete($1::text, $2::text, $3::text);

-- in: new id, session, path, filename, mime type, blob, bytes, sha256, quota, the most
-- stmt: output_put  for: worker
SELECT session_output_put($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::bigint, $8::text, $9::bigint, $10::int);
