-- Files (contract 2.6). The functions are in sql/functions, the view in sql/migrations/0082_file_expiry.sql.

-- in: id, organization, workspace, session or NULL, origin, path, filename, mime type, downloadable, blob, bytes, sha256, seconds, quota
-- stmt: file_insert  for: gw worker
SELECT file_insert($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::boolean, $10::text, $11::bigint,
                   $12::text, $13::int, $14::bigint);

-- stmt: file_get  for: gw
SELECT * FROM file_shown WHERE workspace_id = $1::text AND id = $2::text;

-- stmt: file_delete  for: gw
DELETE FROM file WHERE workspace_id = $1::text AND id = $2::text;

-- Those of some ids that can be seen, newest first. in: workspace, ids, session or NULL
-- stmt: file_some  for: gw
SELECT * FROM file_shown WHERE workspace_id = $1::text AND id = ANY ($2::text[]) AND ($3::text IS NULL OR session_id = $3::text) AND NOT expired
 ORDER BY id DESC;

-- Those of some ids that a session's workspace still has: what a model may be shown. in: session, ids
-- stmt: files_present  for: worker
SELECT string_agg(x.id, ',') FROM unnest($2::text[]) x(id)
 WHERE EXISTS (SELECT FROM session s JOIN file_shown f ON f.workspace_id = s.workspace_id WHERE s.id = $1::text AND f.id = x.id AND NOT f.expired);

-- Pages: one row more than asked for tells that there is more. What has expired has no blob any more, or will have none in a moment.
-- after: older than a position, newest first. before: newer, oldest first.
-- in: workspace, position or NULL, limit
-- stmt: file_uploads_after  for: gw  replan
SELECT * FROM file_shown WHERE workspace_id = $1::text AND session_id IS NULL AND blob_id IS NOT NULL AND NOT expired
   AND id < coalesce($2::text, 'file_~')
 ORDER BY id DESC LIMIT $3::int + 1;

-- stmt: file_uploads_before  for: gw  replan
SELECT * FROM file_shown WHERE workspace_id = $1::text AND session_id IS NULL AND blob_id IS NOT NULL AND NOT expired
   AND id > coalesce($2::text, '')
 ORDER BY id LIMIT $3::int + 1;

-- The same of one session. in: workspace, position or NULL, limit, session
-- stmt: file_session_after  for: gw
SELECT * FROM file_shown WHERE workspace_id = $1::text AND session_id = $4::text AND NOT expired AND id < coalesce($2::text, 'file_~')
 ORDER BY id DESC LIMIT $3::int + 1;

-- stmt: file_session_before  for: gw
SELECT * FROM file_shown WHERE workspace_id = $1::text AND session_id = $4::text AND NOT expired AND id > coalesce($2::text, '')
 ORDER BY id LIMIT $3::int + 1;

-- What an organization stores, in bytes.
-- stmt: file_used  for: gw
SELECT file_bytes_used($1::text);

-- Housekeeping: files that have expired (in: most rows, seconds to keep their row), blobs to remove (in: most, seconds of grace), which of
-- some names in the store no row knows.
-- stmt: file_expire  for: gw
SELECT file_expire($1::int, $2::int);

-- stmt: blob_sweep  for: gw
SELECT id FROM blob_sweep($1::int, $2::int);

-- stmt: blob_removed  for: gw
SELECT blob_removed($1::text[]);

-- stmt: blob_strays  for: gw
SELECT u.id FROM unnest($1::text[]) u(id) WHERE NOT EXISTS (SELECT FROM blob b WHERE b.id = u.id);
