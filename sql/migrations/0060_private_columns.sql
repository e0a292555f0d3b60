-- What only the harness may see (thinking with signatures, summaries, the model's form of an event) is out of reach for the processes
-- that talk to clients: they read the columns they serve and no others.
REVOKE SELECT ON event FROM roost_gw, roost_stream;
GRANT SELECT (session_id, seq, id, type, thread_id, processed_at, body) ON event TO roost_gw, roost_stream;
