-- The data of issue "the main job": tenants, configuration objects, the session with its log, inbox and meters, the model catalogue.
-- Roles roost_gw, roost_stream, roost_worker, roost_admin exist before (ops creates them: they are cluster-wide, this file is not).

CREATE TABLE organization (
  id          text PRIMARY KEY,                       -- a bare UUID (contract 1.7)
  name        text NOT NULL,
  state       text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
  created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE workspace (
  id               text PRIMARY KEY,                  -- wrkspc_
  organization_id  text NOT NULL REFERENCES organization,
  name             text NOT NULL,
  created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  archived_at      timestamptz
);
CREATE INDEX workspace_org ON workspace (organization_id);

-- A key is found by its public part; the secret is kept as a keyed hash only (operations.md B2).
CREATE TABLE api_key (
  id               text PRIMARY KEY,                  -- apikey_
  organization_id  text NOT NULL REFERENCES organization,
  workspace_id     text REFERENCES workspace,         -- NULL: an admin key of the organization
  name             text NOT NULL,
  public_id        text NOT NULL UNIQUE,
  secret_hash      text NOT NULL,                     -- hex of HMAC-SHA256(pepper, whole key)
  hint             text NOT NULL,                     -- first characters and last four, for people
  created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at       timestamptz,
  revoked_at       timestamptz
);

CREATE TABLE agent (
  id               text PRIMARY KEY,                  -- agent_
  organization_id  text NOT NULL,
  workspace_id     text NOT NULL REFERENCES workspace,
  name             text NOT NULL,
  version          int  NOT NULL,                     -- the newest
  created_at       timestamptz NOT NULL,
  updated_at       timestamptz NOT NULL,
  archived_at      timestamptz
);
CREATE INDEX agent_list ON agent (workspace_id, id DESC);

-- One row per version, immutable. body: the resolved configuration as a JSON object: name, description, model, system, tools,
-- mcp_servers, skills, multiagent, execution_identity, metadata (everything of the wire's Agent but ids, version and times).
CREATE TABLE agent_version (
  agent_id      text NOT NULL REFERENCES agent,
  version       int  NOT NULL,
  workspace_id  text NOT NULL,
  body          text NOT NULL,
  created_at    timestamptz NOT NULL,
  PRIMARY KEY (agent_id, version)
);

-- body: name, description, config, metadata, scope.
CREATE TABLE environment (
  id               text PRIMARY KEY,                  -- env_
  organization_id  text NOT NULL,
  workspace_id     text NOT NULL REFERENCES workspace,
  name             text NOT NULL,
  body             text NOT NULL,
  created_at       timestamptz NOT NULL,
  updated_at       timestamptz NOT NULL,
  archived_at      timestamptz
);
CREATE INDEX environment_list ON environment (workspace_id, id DESC);
CREATE UNIQUE INDEX environment_name ON environment (workspace_id, name) WHERE archived_at IS NULL;

-- Which workers live. A session is leased while its lease_owner has a row here. lock_key is held as a session-level advisory lock
-- on the worker's heartbeat connection: when it is free the process is dead, whatever lease_until says.
CREATE TABLE worker (
  id           text PRIMARY KEY,
  lock_key     bigint NOT NULL,
  started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  beat_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  lease_until  timestamptz NOT NULL
);

-- Small and hot. The wire's status is idle/running/...; a session whose inbox holds something that starts or continues work reads
-- `running` already (inbox_wakes > 0), so that nobody stops polling early.
CREATE TABLE session (
  id                 text PRIMARY KEY,                -- sesn_
  organization_id    text NOT NULL,
  workspace_id       text NOT NULL REFERENCES workspace,
  agent_id           text NOT NULL,
  agent_version      int  NOT NULL,
  environment_id     text NOT NULL,
  api_key_id         text,
  thread_id          text NOT NULL,                   -- sthr_ of the primary thread
  title              text,
  metadata           text NOT NULL DEFAULT '{}',
  agent              text NOT NULL,                   -- the wire's SessionAgent, after overrides
  status             text NOT NULL DEFAULT 'idle' CHECK (status IN ('idle', 'running', 'rescheduling', 'terminated')),
  last_seq           bigint NOT NULL DEFAULT 0,
  last_at            timestamptz NOT NULL,            -- stamp of the newest event in the log, or of creation
  inbox_seq          bigint NOT NULL DEFAULT 0,
  inbox_events       int    NOT NULL DEFAULT 0,       -- waiting
  inbox_bytes        bigint NOT NULL DEFAULT 0,
  inbox_wakes        int    NOT NULL DEFAULT 0,       -- waiting items that start or continue a turn
  wake_gen           bigint NOT NULL DEFAULT 0,       -- moves with every put: a turn closes only if it has not moved
  due_at             timestamptz,                     -- when a worker should look at it; NULL: nothing to do
  lease_owner        text,
  lease_epoch        bigint NOT NULL DEFAULT 0,
  attempts           int    NOT NULL DEFAULT 0,       -- claims since the last completed append
  running_since      timestamptz,                     -- opening stamp of the billed interval that is open
  active_us          bigint NOT NULL DEFAULT 0,       -- closed billed intervals
  input_tokens       bigint NOT NULL DEFAULT 0,
  output_tokens      bigint NOT NULL DEFAULT 0,
  cache_read_tokens  bigint NOT NULL DEFAULT 0,
  cache_5m_tokens    bigint NOT NULL DEFAULT 0,
  cache_1h_tokens    bigint NOT NULL DEFAULT 0,
  created_at         timestamptz NOT NULL,
  updated_at         timestamptz NOT NULL,
  terminated_at      timestamptz,
  archived_at        timestamptz
) WITH (fillfactor = 60);
CREATE INDEX session_list  ON session (workspace_id, id DESC);
CREATE INDEX session_agent ON session (workspace_id, agent_id, id DESC);
CREATE INDEX session_env   ON session (environment_id);
CREATE INDEX session_due   ON session (due_at) WHERE due_at IS NOT NULL AND lease_owner IS NULL;
CREATE INDEX session_owner ON session (lease_owner) WHERE lease_owner IS NOT NULL;

-- The log. Append-only, seq gapless from 1. body: the exact bytes that are sent. fragment: the same event as content blocks in the
-- model dialect (internal, Messages API form), NULL when the model does not see it. private: provider-only data that replaces the
-- fragment in the context (thinking blocks with signatures); never returned by the API.
CREATE TABLE event (
  session_id    text NOT NULL,
  seq           bigint NOT NULL,
  id            text NOT NULL,                        -- sevt_
  type          text NOT NULL,
  thread_id     text NOT NULL,
  processed_at  timestamptz NOT NULL,
  body          text NOT NULL,
  role          "char",                               -- 'u' or 'a': whose message the fragment belongs to
  fragment      text,
  private       text,
  PRIMARY KEY (session_id, seq),
  UNIQUE (session_id, id)
) PARTITION BY RANGE (session_id);
CREATE TABLE event_default PARTITION OF event DEFAULT;

-- What clients caused and no turn has processed. stem: the event's JSON text without its closing brace and without processed_at, so
-- that stamping is an append.
CREATE TABLE inbox (
  session_id   text NOT NULL,
  inbox_seq    bigint NOT NULL,
  id           text NOT NULL,
  type         text NOT NULL,
  stem         text NOT NULL,
  role         "char",
  fragment     text,
  received_at  timestamptz NOT NULL,
  on_receipt   boolean NOT NULL DEFAULT false,        -- the contract processes this type on receipt (3.1)
  wakes        boolean NOT NULL,                      -- starts or continues a turn
  refers_to    text,                                  -- tool use id that an answer answers
  answer       text,                                  -- a confirmation's result: allow or deny
  deny_message text,
  PRIMARY KEY (session_id, inbox_seq)
);

-- Tool calls that wait, or waited, for the client: custom tools and asks. Kept after the answer, so that a repeat is recognised.
CREATE TABLE action (
  session_id   text NOT NULL,
  tool_use_id  text NOT NULL,                         -- sevt_ of the tool use
  ordinal      bigint NOT NULL,                       -- call order
  kind         text NOT NULL CHECK (kind IN ('custom', 'confirm')),
  tool_name    text NOT NULL,
  input        text NOT NULL,
  state        text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'answered', 'closed')),
  answer_id    text,                                  -- sevt_ of the answer
  answer_hash  text,                                  -- of the answer's meaning: an identical repeat returns the first event
  PRIMARY KEY (session_id, tool_use_id)
);

-- Billable quantities, in the transaction of the event that causes them (operations.md A4). No foreign key to event: rows outlive
-- a deleted session.
CREATE TABLE meter_event (
  session_id       text NOT NULL,
  seq              bigint NOT NULL,
  meter            text NOT NULL,                     -- session.runtime, tokens.input, tokens.output, tokens.cache_read, ...
  part             int  NOT NULL DEFAULT 0,
  organization_id  text NOT NULL,
  workspace_id     text NOT NULL,
  api_key_id       text,
  agent_id         text NOT NULL,
  agent_version    int  NOT NULL,
  environment_id   text NOT NULL,
  model            text,
  period_start     timestamptz NOT NULL,
  period_end       timestamptz NOT NULL,
  quantity         bigint NOT NULL CHECK (quantity >= 0),
  unit             text NOT NULL,
  cum_before       bigint NOT NULL,
  recorded_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (session_id, seq, meter, part)
);
CREATE INDEX meter_period ON meter_event (organization_id, period_start);

-- Sandboxes to destroy because their session was archived or deleted: a worker takes the row and tells hands.
CREATE TABLE sandbox_drop (
  session_id  text PRIMARY KEY,
  dropped_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The model catalogue (roostctl models apply). key_sealed: libsodium sealed box, hex; only the instance key opens it.
CREATE TABLE provider (
  name        text PRIMARY KEY,
  dialect     text NOT NULL CHECK (dialect IN ('anthropic', 'openai', 'scripted')),
  base_url    text NOT NULL,
  key_sealed  text
);

CREATE TABLE model (
  id                 text PRIMARY KEY,
  display_name       text NOT NULL,
  context_window     int NOT NULL,
  max_output_tokens  int NOT NULL,
  price              text,                            -- the catalogue's price object, verbatim
  created_at         timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE model_route (
  model_id  text NOT NULL REFERENCES model ON DELETE CASCADE,
  position  int  NOT NULL,
  provider  text NOT NULL REFERENCES provider,
  upstream  text NOT NULL,
  PRIMARY KEY (model_id, position)
);

INSERT INTO provider (name, dialect, base_url) VALUES ('scripted', 'scripted', '');
INSERT INTO model (id, display_name, context_window, max_output_tokens) VALUES ('roost-scripted', 'Roost scripted', 200000, 8192);
INSERT INTO model_route VALUES ('roost-scripted', 0, 'scripted', 'roost-scripted');
