// GET /openapi.json is valid OpenAPI 3.1, complete, and true: every operation is driven by a request that is built from nothing but its
// description. (That replies are as described is checked of every answer of every test: tests/conformance/described.mjs.)
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, describe, test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { MODEL, bench, client, unique } from '../lib/client.mjs';
import { doc, resolve, sample } from '../lib/described.mjs';
import { get, request } from '../lib/http.mjs';

const operations = Object.entries(doc.paths).flatMap(([path, ops]) => Object.entries(ops).map(([method, op]) => ({ path, method: method.toUpperCase(), op })));

// Names for what a description cannot know: a model that exists, objects of this workspace.
let ids;
const known = (path, key) => ({ model: MODEL, agent: ids.agent_id, environment_id: ids.environment_id }[key]);

function multipart(schema) {
	const parts = schema.required.map((k) => {
		const file = schema.properties[k].format === 'binary';
		return `--b\r\ncontent-disposition: form-data; name="${k}"${file ? '; filename="described.txt"\r\ncontent-type: text/plain' : ''}\r\n\r\n${file ? 'hello' : sample(schema.properties[k])}\r\n`;
	});
	return { body: `${parts.join('')}--b--\r\n`, headers: { 'content-type': 'multipart/form-data; boundary=b' } };
}

function body(op, path) {
	const content = op.requestBody?.content;
	if (!content) return {};
	if (content['multipart/form-data']) return multipart(resolve(content['multipart/form-data'].schema));
	const value = sample(content['application/json'].schema);
	for (const key of Object.keys(value)) value[key] = known(path, key) ?? value[key];
	if ('name' in value) value.name = unique('described');
	return { body: value };
}

function url(op, path) {
	const query = (op.parameters ?? []).map(resolve).filter((p) => p.in === 'query' && p.required);
	return path.replaceAll(/\{(\w+)\}/g, (_, name) => ids[name] ?? assert.fail(`no ${name} to put into ${path}`)) +
		(query.length ? `?${query.map((p) => `${encodeURIComponent(p.name)}=${encodeURIComponent(sample(p.schema))}`).join('&')}` : '');
}

describe('openapi.json', { concurrency: false }, () => {
	before(async () => {
		const c = client();
		const b = await bench(c);
		const session = await b.session();
		const threads = await get(`/v1/sessions/${session.id}/threads`);
		const resource = await c.beta.sessions.resources.list(session.id).catch(() => undefined);
		ids = {
			agent_id: b.agent.id, environment_id: b.environment.id, session_id: session.id, model_id: MODEL,
			thread_id: threads.json?.data?.[0]?.id ?? 'sthr_01' + '1'.repeat(22),
			resource_id: resource?.data?.[0]?.id ?? 'sesrsc_01' + '1'.repeat(22),
			file_id: 'file_01' + '1'.repeat(22),
		};
	});

	test('is valid OpenAPI 3.1', async () => {
		const validator = new Validator();
		const { valid, errors } = await validator.validate(structuredClone(doc));
		assert.ok(valid, JSON.stringify(errors)?.slice(0, 2000));
		assert.equal(validator.version, '3.1');
	});

	test('describes every row of the route table, with parameters, body, reply and refusals', () => {
		const rows = [...readFileSync(new URL('../../../gateway/routes.def', import.meta.url), 'utf8')
			.matchAll(/^ROUTE\((\w+),\s*"([^"]+)",\s*(\w+),\s*(\w+),\s*\w+,\s*(\w+),\s*(\w+),\s*"([^"]*)"\)/gm)];
		assert.ok(rows.length > 20);
		for (const [, method, path, handler, access, shape, , reply] of rows) {
			const op = doc.paths[path]?.[method.toLowerCase()];
			if (handler === 'route_nowhere') {
				assert.equal(op, undefined);
				continue;
			}
			assert.ok(op?.operationId && op.summary && op.tags.length, `${method} ${path}`);
			const names = (op.parameters ?? []).map((p) => resolve(p).name);
			for (const [, name] of path.matchAll(/\{(\w+)\}/g)) assert.ok(names.includes(name), `${path}: ${name}`);
			assert.equal(Boolean(op.requestBody), shape !== 'none', `${method} ${path}`);
			const schema = Object.values(op.responses[200].content)[0].schema;
			assert.ok(reply === 'OpenAPI' || schema.$ref || schema.properties || schema.type === 'string', `${method} ${path}: ${JSON.stringify(schema)}`);
			if (access !== 'OPEN') for (const status of [400, 401, 403, 404, 429, 503]) assert.ok(op.responses[status], `${method} ${path}: ${status}`);
		}
		assert.equal(new Set(operations.map((o) => o.op.operationId)).size, operations.length);
	});

	test('the page for people is served, and nothing of it comes from elsewhere', async () => {
		for (const [path, type] of [['/docs/', 'text/html'], ['/docs/docs.js', 'text/javascript'], ['/docs/docs.css', 'text/css']]) {
			const res = await get(path, { headers: { authorization: null } });
			assert.equal(res.status, 200);
			assert.match(res.headers['content-type'], new RegExp(`^${type}`));
			assert.match(res.headers['content-security-policy'], /default-src 'none'/);
			assert.doesNotMatch(res.text, /https?:\/\/|<script>|innerHTML/);
		}
		assert.equal((await get('/docs')).headers.location.endsWith('/docs/'), true);
		for (const path of ['/docs/nope', '/docs/../v1/agents', '/docs../conf']) assert.equal((await get(path)).status, 404, path);
	});

	// What ends an object comes last.
	const order = ({ path, method }) => (method === 'DELETE' ? 3 : /\/archive$/.test(path) ? 2 : 1) - path.split('/').length / 100;
	test('every operation answers a request that is made from its description', async (t) => {
		const seen = [];
		for (const { path, method, op } of [...operations].sort((a, b) => order(a) - order(b))) {
			const where = url(op, path), stream = Boolean(op.responses[200].content['text/event-stream']);
			// A stream has no end: asked for a session that is not there, it must be found all the same.
			const target = stream ? where.replace(ids.session_id, 'sesn_01' + '1'.repeat(22)) : where;
			const res = await request(method, target, body(op, path));
			seen.push(`${res.status} ${method} ${path}`);
			assert.ok(res.status < 500, `${method} ${target}: ${res.status} ${res.text}`);
			assert.ok(![405, 414, 415, 431].includes(res.status), `${method} ${target}: ${res.status}`);
			if (res.status === 404) assert.doesNotMatch(res.json.error.message, /^[Nn]ot found$/, `${method} ${target}: the route is missing`);
			if (op.responses[200].content['application/json'] && res.status !== 200) {
				assert.match(res.json.error.message, /not found|archived|running|authorization_token|file_id|waiting|requires/i, `${method} ${target}: ${res.text}`);
			}
		}
		assert.equal(seen.length, operations.length);
		t.diagnostic(`${seen.length} operations, ${seen.filter((s) => s.startsWith('200')).length} of them answered 200`);
		t.diagnostic(seen.filter((s) => !s.startsWith('200')).join(' · '));
	});
});
