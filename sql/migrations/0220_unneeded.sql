-- What was kept for releases that are gone: gateways send by session_message and session_inbox_put, copies are made by
-- session_resource_add alone, uploads fold what their organization stores, and session_append cuts rows of runtime by itself.
DROP FUNCTION session_send;
DROP FUNCTION file_usage_fold;
REVOKE EXECUTE ON FUNCTION file_copy FROM roost_gw;
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_trigger WHERE tgname = 'runtime_cut') THEN		-- without it no lock is needed
    DROP TRIGGER runtime_cut ON meter_event;
  END IF;
END $$;
DROP FUNCTION IF EXISTS runtime_cut();
