-- Retried requests. The functions are in sql/functions/request_dedupe.sql.

-- rows: 0..1, the answer of an earlier attempt, which attempt that was, and on which connection it was answered
-- in: lock, ident, request, kind, count
-- stmt: request_enter  for: gw
SELECT digest, status, reply, events, object, request, connection FROM request_enter($1::bigint, $2::uuid, $3::text, $4::"char", $5::int);

-- in: lock, ident, request, kind, count, digest, status, reply, events, object, seconds to keep, connection
-- stmt: request_store  for: gw
SELECT request_store($1::bigint, $2::uuid, $3::text, $4::"char", $5::int, $6::uuid, $7::int, $8::text, $9::text, $10::text, $11::int, $12::text);

-- in: ident, request
-- stmt: request_delivered  for: gw
SELECT request_delivered($1::uuid, $2::text);

-- in: most rows
-- stmt: request_sweep  for: gw
SELECT request_sweep($1::int);

-- in: session or environment
-- stmt: request_forget  for: gw
SELECT request_forget($1::text);
