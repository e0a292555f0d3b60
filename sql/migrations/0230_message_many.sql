-- What a release candidate had: session_message_many without the answers that are kept for retries.
DROP FUNCTION IF EXISTS session_message_many(text[], text[], text[], text[], text[], int, bigint);
