-- The catalogue's generation moves with every change, so that a worker's copy is checked with one cheap statement. key_hash is a keyed
-- hash of a provider's key: sealing is randomised, and applying the same file twice must change nothing.

CREATE TABLE catalogue (
  one         boolean PRIMARY KEY DEFAULT true CHECK (one),
  generation  bigint NOT NULL DEFAULT 1,
  changed_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO catalogue DEFAULT VALUES;

ALTER TABLE provider ADD COLUMN key_hash text;

-- The gateway answers GET /v1/models and checks ids; only the worker reads the sealed keys.
GRANT SELECT ON catalogue, model, model_route TO roost_gw, roost_worker;
GRANT SELECT (name, dialect, base_url) ON provider TO roost_gw;
GRANT SELECT ON provider TO roost_worker;
