-- The model catalogue: the gateway asks whether an id is known, workers keep a copy of all routes, roostctl applies files.

-- stmt: catalogue_known  for: gw
-- in: model id     rows: 1; is it known, its capabilities
SELECT EXISTS (SELECT 1 FROM model WHERE id = $1::text)
    OR NOT EXISTS (SELECT 1 FROM provider WHERE dialect <> 'scripted'),
       (SELECT capabilities FROM model WHERE id = $1::text);

-- stmt: catalogue_routes  for: worker
-- in: generation of the caller's copy (0: none)     rows: none when it is current, else every route by model and position
SELECT c.generation,
       NOT EXISTS (SELECT 1 FROM provider WHERE dialect <> 'scripted') AS open,
       m.id, m.context_window, m.max_output_tokens,
       p.name, p.dialect, p.base_url, r.upstream, p.key_sealed, m.price
  FROM catalogue c, model m
  JOIN model_route r ON r.model_id = m.id
  JOIN provider p ON p.name = r.provider
 WHERE c.generation <> $1::bigint
 ORDER BY m.id, r.position;

-- stmt: catalogue_lock  for: admin
-- One apply at a time.     rows: 1
SELECT generation FROM catalogue FOR UPDATE;

-- stmt: catalogue_touch  for: admin
UPDATE catalogue SET generation = generation + 1, changed_at = clock_timestamp();

-- stmt: catalogue_provider_get  for: admin
-- in: name     rows: 0..1
SELECT dialect, base_url, key_hash, key_sealed FROM provider WHERE name = $1::text;

-- stmt: catalogue_provider_put  for: admin
-- in: name, dialect, base_url, key_sealed, key_hash
INSERT INTO provider (name, dialect, base_url, key_sealed, key_hash) VALUES ($1::text, $2::text, $3::text, $4::text, $5::text)
    ON CONFLICT (name) DO UPDATE
   SET dialect = excluded.dialect, base_url = excluded.base_url, key_sealed = excluded.key_sealed, key_hash = excluded.key_hash;

-- stmt: catalogue_model_get  for: admin
-- in: id     rows: 0..1; routes as lines "provider<TAB>upstream"
SELECT display_name, context_window, max_output_tokens, price,
       (SELECT string_agg(r.provider || E'\t' || r.upstream, E'\n' ORDER BY r.position) FROM model_route r WHERE r.model_id = m.id) AS routes,
       mid_system, capabilities
  FROM model m WHERE id = $1::text;

-- stmt: catalogue_model_put  for: admin
-- in: id, display_name, context_window, max_output_tokens, price, mid_system, capabilities
INSERT INTO model (id, display_name, context_window, max_output_tokens, price, mid_system, capabilities)
VALUES ($1::text, $2::text, $3::int, $4::int, $5::text, $6::boolean, $7::text)
    ON CONFLICT (id) DO UPDATE
   SET display_name = excluded.display_name, context_window = excluded.context_window,
       max_output_tokens = excluded.max_output_tokens, price = excluded.price, mid_system = excluded.mid_system,
       capabilities = excluded.capabilities;

-- stmt: catalogue_routes_drop  for: admin
-- in: model id
DELETE FROM model_route WHERE model_id = $1::text;

-- stmt: catalogue_route_put  for: admin
-- in: model id, position, provider, upstream
INSERT INTO model_route (model_id, position, provider, upstream) VALUES ($1::text, $2::int, $3::text, $4::text);

-- What the gateway asks about the models that a session may use.
-- stmt: catalogue_model  for: gw
-- in: model id     rows: 0..1
SELECT price, mid_system FROM model WHERE id = $1::text;

-- Everything but the keys, as catalogue files have it (roostctl models export).
-- stmt: catalogue_providers  for: admin
SELECT name, dialect, base_url FROM provider WHERE name <> 'scripted' ORDER BY name;

-- stmt: catalogue_models  for: admin
-- routes: lines "provider<TAB>upstream"
SELECT m.id, m.display_name, m.context_window, m.max_output_tokens, m.price, m.mid_system,
       (SELECT string_agg(r.provider || E'\t' || r.upstream, E'\n' ORDER BY r.position) FROM model_route r WHERE r.model_id = m.id),
       m.capabilities
  FROM model m WHERE m.id <> 'roost-scripted' ORDER BY m.created_at, m.id;

-- stmt: catalogue_list  for: admin
-- One row per model for `roostctl models list`; never a key.
SELECT m.id, m.display_name,
       (SELECT string_agg(r.provider || '/' || r.upstream, ' > ' ORDER BY r.position) FROM model_route r WHERE r.model_id = m.id) AS routes,
       m.context_window, m.max_output_tokens,
       coalesce((m.price::json ->> 'currency') || ' ' || (m.price::json #>> '{per_million_tokens,input}') || ' / ' ||
                (m.price::json #>> '{per_million_tokens,output}'), 'no price')
  FROM model m ORDER BY m.created_at, m.id;
