-- Run as the superuser in the database roost: who may connect, and the ledgers of applied migrations and functions. No role of a process may
-- create anything, temporary tables included: functions of a turn rely on that, they have no search path of their own (sql/README.md).
REVOKE ALL ON DATABASE roost FROM PUBLIC;
GRANT CONNECT ON DATABASE roost TO roost_gw, roost_stream, roost_worker, roost_vault;
ALTER SCHEMA public OWNER TO roost_admin;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

SET client_min_messages = warning;
CREATE TABLE IF NOT EXISTS schema_migration (
  version     int PRIMARY KEY,
  name        text NOT NULL,
  sha256      text NOT NULL,                          -- of the file, which is never edited once it is applied anywhere
  applied_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE schema_migration OWNER TO roost_admin;
-- The files of sql/functions as they were last applied; empty after a migration.
CREATE TABLE IF NOT EXISTS schema_function (
  name        text PRIMARY KEY,
  sha256      text NOT NULL,
  applied_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE schema_function OWNER TO roost_admin;
