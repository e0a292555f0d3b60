-- What leaves the vault, for whom, and who refreshes what at the moment. None of these tables has a secret in it. No foreign keys: what
-- was done with a credential is still known when it is gone.

-- A validation that a gateway let in. roost-vault releases a credential only for such a row, and only while it is young.
CREATE TABLE credential_probe (
  id               text PRIMARY KEY,                  -- the request's, req_
  organization_id  text NOT NULL,
  workspace_id     text NOT NULL,
  vault_id         text NOT NULL,
  credential_id    text NOT NULL,
  asked_by         text NOT NULL,                     -- API key
  created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at         timestamptz,
  status           text                               -- valid, invalid, unknown; NULL: it came to nothing
);
CREATE INDEX credential_probe_recent ON credential_probe (organization_id, created_at);

-- The audit of roost-vault: one row per opening, written in the transaction that gives the boxes out.
CREATE TABLE credential_use (
  id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at               timestamptz NOT NULL DEFAULT clock_timestamp(),
  organization_id  text NOT NULL,
  workspace_id     text NOT NULL,
  vault_id         text NOT NULL,
  credential_id    text NOT NULL,
  deed             text NOT NULL CHECK (deed IN ('release', 'refresh', 'store', 'reseal')),
  slots            text[] NOT NULL,
  probe_id         text
);
CREATE INDEX credential_use_of ON credential_use (organization_id, id);

-- One refresh at a time: a refresh token that rotates is good for one use, so two at once would lose the credential.
CREATE TABLE credential_lease (
  credential_id  text PRIMARY KEY,
  owner          text NOT NULL,
  until          timestamptz NOT NULL
);
