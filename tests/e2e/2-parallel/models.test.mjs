// GET /v1/models, /openapi.json and /healthz (contract 2.10; the stable interfaces).
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MODEL, client, collect } from '../lib/client.mjs';
import { assertError, get } from '../lib/http.mjs';
import { refused } from '../lib/sdkerror.mjs';

const c = client();
const KEYS = ['allowed_fallback_models', 'capabilities', 'created_at', 'deprecated_at', 'display_name', 'id', 'lifecycle', 'line', 'max_input_tokens',
	'max_tokens', 'retires_at', 'type'];

describe('models', { concurrency: true }, () => {
	test('the scripted model is listed and found', async () => {
		const page = await c.beta.models.list();
		assert.equal(typeof page.has_more, 'boolean');
		assert.equal(page.first_id, page.data[0].id);
		assert.equal(page.last_id, page.data.at(-1).id);
		const m = (await collect(c.beta.models.list())).find((x) => x.id === MODEL);
		assert.ok(m);
		for (const k of KEYS) assert.ok(k in m, k);
		assert.equal(m.type, 'model');
		assert.equal(m.lifecycle, 'active');
		assert.ok(m.max_input_tokens > 0 && m.max_tokens > 0);
		assert.deepEqual(await c.beta.models.retrieve(MODEL), m);
		assert.deepEqual(await c.models.retrieve(MODEL), m, 'the general path is the same');
	});

	test('no beta header is needed', async () => {
		assert.equal((await get('/v1/models', { headers: { 'anthropic-beta': null } })).status, 200);
	});

	test('paging by ids', async () => {
		const all = (await collect(c.beta.models.list({ limit: 1 }))).map((m) => m.id);
		assert.equal(new Set(all).size, all.length);
		assert.ok(all.includes(MODEL));
		const first = await c.beta.models.list({ limit: 1 });
		assert.equal(first.data.length, 1);
		await refused(c.beta.models.list({ limit: 0 }), 400, /limit/);
		await refused(c.beta.models.list({ limit: 1001 }), 400, /limit/);
		await refused(c.beta.models.list({ after_id: MODEL, before_id: MODEL }), 400);
	});

	test('unknown models', async () => {
		await refused(c.beta.models.retrieve('no-such-model'), 404);
	});

	test('a key is needed', async () => {
		assertError(await get('/v1/models', { headers: { authorization: null } }), 401, 'authentication_error');
	});
});

describe('openapi.json', { concurrency: true }, () => {
	const routes = {
		'/v1/agents': ['get', 'post'], '/v1/agents/{agent_id}': ['get', 'post'], '/v1/agents/{agent_id}/archive': ['post'],
		'/v1/agents/{agent_id}/versions': ['get'],
		'/v1/environments': ['get', 'post'], '/v1/environments/{environment_id}': ['get', 'post', 'delete'], '/v1/environments/{environment_id}/archive': ['post'],
		'/v1/sessions': ['get', 'post'], '/v1/sessions/{session_id}': ['get', 'post', 'delete'], '/v1/sessions/{session_id}/archive': ['post'],
		'/v1/sessions/{session_id}/events': ['get', 'post'],
		'/v1/models': ['get'], '/v1/models/{model_id}': ['get'],
	};

	test('describes every route of this API', async () => {
		const r = await get('/openapi.json', { headers: { authorization: null, 'anthropic-version': null, 'anthropic-beta': null } });
		assert.equal(r.status, 200, r.text.slice(0, 200));
		assert.match(r.headers['content-type'], /^application\/json/);
		const doc = r.json;
		assert.match(doc.openapi, /^3\./);
		assert.ok(doc.info.title && doc.info.version);
		const norm = (p) => p.replaceAll(/\{[^}]+\}/g, '{}');
		const have = new Map(Object.entries(doc.paths).map(([p, ops]) => [norm(p), Object.keys(ops)]));
		for (const [path, methods] of Object.entries(routes)) {
			for (const m of methods) assert.ok(have.get(norm(path))?.includes(m), `${m} ${path}`);
		}
	});

	test('its references resolve and its bodies name the fields', async () => {
		const { json: doc, text } = await get('/openapi.json');
		for (const [, ref] of text.matchAll(/"\$ref":\s*"#\/([^"]+)"/g)) {
			assert.ok(ref.split('/').reduce((o, k) => o?.[k.replaceAll('~1', '/')], doc) !== undefined, ref);
		}
		const body = doc.paths['/v1/agents'].post.requestBody.content['application/json'].schema;
		const schema = body.$ref ? body.$ref.slice(2).split('/').reduce((o, k) => o[k], doc) : body;
		assert.ok(schema.properties.name && schema.properties.model && schema.properties.tools);
		assert.deepEqual([...schema.required].sort(), ['model', 'name']);
	});
});

describe('healthz', () => {
	test('says that all is well, without a key', async () => {
		const r = await get('/healthz', { headers: { authorization: null, 'anthropic-version': null, 'anthropic-beta': null } });
		assert.equal(r.status, 200, r.text);
		assert.equal(typeof r.json, 'object');
		assert.match(r.text, /postgres/i);
		assert.match(r.text, /redis/i);
	});
});
