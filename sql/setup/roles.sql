-- Run as the superuser before the first migration, and again harmlessly on each `make up`: roles and the database. Roles have no
-- password: Postgres asks the kernel who is at the other end of the socket (ops/conf/pg_ident.conf).
SELECT format('CREATE ROLE %I LOGIN', r)
  FROM unnest(ARRAY['roost_admin', 'roost_gw', 'roost_stream', 'roost_worker', 'roost_vault']) r
 WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = r)
\gexec

SELECT 'CREATE DATABASE roost OWNER roost_admin'
 WHERE NOT EXISTS (SELECT 1 FROM pg_database WHERE datname = 'roost')
\gexec
