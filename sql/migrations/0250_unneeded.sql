-- What was kept for releases that are gone: workers of the previous one append by session_append_one and session_append_many with what they
-- keep, beat with their load, and claim by session_take.
DROP FUNCTION session_append(text, bigint, bigint, text[], text[], text[], text[], text[], text[], bigint[], text, int, int, bigint[], int,
  text, text[], text[], text[], text[], text[], text, bigint, bigint, boolean, bigint, bigint, bigint[], boolean, text, bigint[], bigint[],
  boolean);
DROP FUNCTION IF EXISTS session_append_many(text[], bigint[], bigint[], int[], text[], boolean[], int[], int[], bigint[], bigint[], bigint[],
  bigint[], bigint[], int[], bigint[], int[], int[], int[], text[], text[], text[], text[], text[], text[], text[], text[], int[], text[],
  bigint[], int[], int[], text[], text[], int[]);
DROP FUNCTION worker_beat(text, bigint, int, boolean);
DROP FUNCTION session_claim(text, int, bigint, bigint, boolean, boolean);
