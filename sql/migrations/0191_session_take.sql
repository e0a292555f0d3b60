-- session_take (functions/session_claim.sql) has taken its place before a release had it.
DROP FUNCTION IF EXISTS session_claim(text, int, bigint, bigint, boolean, boolean, int);
