-- session_append_many takes one array more (functions/session_append_many.sql). That of before was in no release: nobody calls it.
DROP FUNCTION IF EXISTS session_append_many(text[], bigint[], bigint[], int[], text[], boolean[], int[], int[], bigint[], bigint[], bigint[],
  bigint[], bigint[], int[], bigint[], int[], int[], int[], text[], text[], text[], text[], text[], text[], text[], text[], int[], text[],
  bigint[], int[], int[], text[], text[], int[]);
