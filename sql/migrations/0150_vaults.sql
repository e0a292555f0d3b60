-- Vaults and their credentials (contract 2.4, 7). What a client may read of a credential is in columns; what it may not, its secrets, are
-- boxes that the gateway seals and only roost-vault opens (lib/base/credseal.h). The gateway's role cannot read a box back: it has no
-- right on credential_secret at all and writes through functions, none of which returns one.

CREATE TABLE vault (
  id               text PRIMARY KEY,                  -- vlt_
  organization_id  text NOT NULL,
  workspace_id     text NOT NULL REFERENCES workspace,
  body             text NOT NULL,                     -- display_name, metadata
  created_at       timestamptz NOT NULL,
  updated_at       timestamptz NOT NULL,
  archived_at      timestamptz
);
CREATE INDEX vault_list ON vault (workspace_id, id DESC);

-- match_key: what active credentials of a vault are unique by: the name of the variable, or the server's URL with scheme and host in small
-- letters, without a default port and without slashes at the end of its path. The server's URL itself is kept as it was sent.
CREATE TABLE credential (
  id                text PRIMARY KEY,                 -- vcrd_
  vault_id          text NOT NULL REFERENCES vault ON DELETE CASCADE,
  organization_id   text NOT NULL,
  workspace_id      text NOT NULL,
  type              text NOT NULL CHECK (type IN ('mcp_oauth', 'static_bearer', 'environment_variable')),
  match_key         text NOT NULL,
  secret_version    bigint NOT NULL DEFAULT 0,        -- of the secret that was written last; grows with each write
  body              text NOT NULL,                    -- display_name, metadata
  mcp_server_url    text,
  expires_at        timestamptz,                      -- of the access token; NULL: not known
  token_endpoint    text,                             -- NULL: it cannot be refreshed
  client_id         text,
  endpoint_auth     text CHECK (endpoint_auth IN ('none', 'client_secret_basic', 'client_secret_post')),
  refresh_scope     text,
  refresh_resource  text,
  secret_name       text,
  allowed_hosts     text[],                           -- NULL: any host that the environment allows
  inject_header     boolean,
  inject_body       boolean,
  created_at        timestamptz NOT NULL,
  updated_at        timestamptz NOT NULL,
  archived_at       timestamptz,
  CHECK ((type = 'environment_variable') = (secret_name IS NOT NULL AND inject_header IS NOT NULL AND inject_body IS NOT NULL)),
  CHECK ((type <> 'environment_variable') = (mcp_server_url IS NOT NULL)),
  CHECK (type = 'mcp_oauth' OR (expires_at IS NULL AND token_endpoint IS NULL)),
  CHECK (type = 'environment_variable' OR allowed_hosts IS NULL),
  CHECK ((token_endpoint IS NULL) = (client_id IS NULL) AND (token_endpoint IS NULL) = (endpoint_auth IS NULL)),
  CHECK (allowed_hosts IS NULL OR cardinality(allowed_hosts) BETWEEN 1 AND 16),
  CHECK (inject_header OR inject_body)
);
CREATE UNIQUE INDEX credential_match ON credential (vault_id, match_key) WHERE archived_at IS NULL;
CREATE INDEX credential_list ON credential (vault_id, id DESC);

-- One row per secret, because an update may bring one alone and nobody who writes can read the others. Archiving removes the rows.
CREATE TABLE credential_secret (
  credential_id  text NOT NULL REFERENCES credential ON DELETE CASCADE,
  slot           text NOT NULL CHECK (slot IN ('access_token', 'refresh_token', 'client_secret', 'token', 'secret_value')),
  version        bigint NOT NULL,                     -- bound into the box
  key_id         text NOT NULL,                       -- which key opens it
  sealed         bytea NOT NULL,
  written_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (credential_id, slot)
) WITH (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0);	-- what was replaced or purged leaves the disk soon

GRANT SELECT, INSERT, UPDATE, DELETE ON vault TO roost_gw;
GRANT SELECT, DELETE ON credential TO roost_gw;
