-- A sealed key is for the process that opens it: the gateway reads the other columns of provider only.

REVOKE SELECT ON provider FROM roost_gw;
GRANT SELECT (name, dialect, base_url) ON provider TO roost_gw;
