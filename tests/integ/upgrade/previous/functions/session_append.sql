-- session_append_one for workers of the previous release, which do not say what they take from the inbox. To be dropped with the next one.
CREATE OR REPLACE FUNCTION session_append(p_session text, p_epoch bigint, p_base_us bigint, p_ids text[], p_types text[], p_bodies text[],
    p_roles text[], p_fragments text[], p_privates text[], p_consumed bigint[], p_status text, p_open_k int, p_close_k int,
    p_tokens bigint[], p_tokens_k int, p_model text, p_action_ids text[], p_action_kinds text[], p_action_names text[],
    p_action_inputs text[], p_closed text[], p_release text, p_wake_gen bigint, p_due_us bigint, p_again boolean, p_context_bytes bigint,
    p_token_nano bigint, p_rates bigint[] DEFAULT NULL, p_paused boolean DEFAULT false, p_judge_model text DEFAULT NULL,
    p_judge_tokens bigint[] DEFAULT NULL, p_judge_rates bigint[] DEFAULT NULL, p_judge_lost boolean DEFAULT false)
  RETURNS TABLE (result text, last_seq bigint, last_us bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  v bigint[];
BEGIN
  SELECT session_append_one(p_session, p_epoch, p_base_us, p_ids, p_types, p_bodies, p_roles, p_fragments, p_privates, p_consumed,
         p_status, p_open_k, p_close_k, p_tokens, p_tokens_k, p_model, p_action_ids, p_action_kinds, p_action_names, p_action_inputs,
         p_closed, p_release, p_wake_gen, p_due_us, p_again, p_context_bytes, p_token_nano, p_rates, p_paused, p_judge_model,
         p_judge_tokens, p_judge_rates, p_judge_lost,
         coalesce(sum(octet_length(i.stem)), 0)::bigint, (count(*) FILTER (WHERE i.wakes))::int)
    INTO v FROM inbox i WHERE i.session_id = p_session AND i.inbox_seq = ANY (p_consumed);
  result := CASE WHEN v[1] >= 0 THEN 'ok' ELSE ('{fenced,woken,stamp}'::text[])[-v[1]] END;
  last_seq := v[1] + cardinality(p_ids);
  last_us := v[2];
  RETURN NEXT;
END $$;
REVOKE ALL ON FUNCTION session_append FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_append TO roost_worker;
