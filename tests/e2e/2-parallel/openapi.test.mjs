// GET /openapi.json is valid OpenAPI 3.1, complete, and true: every operation is driven by a request that is built from nothing but its
// description. (That replies are as described is checked of every answer of every test: tests/conformance/described.mjs.)
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, describe, test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Anthropic, MODEL, bench, client, unique } from '../lib/client.mjs';
import { differences } from '../../conformance/params.mjs';
import { doc, resolve, sample } from '../lib/described.mjs';
import { get, request } from '../lib/http.mjs';
import { Sse } from '../lib/sse.mjs';

const operations = Object.entries(doc.paths).flatMap(([path, ops]) => Object.entries(ops).map(([method, op]) => ({ path, method: method.toUpperCase(), op })));

// Names for what a description cannot know: a model that exists, objects of this workspace.
let ids;
const known = (path, key) => ({ model: MODEL, agent: ids.agent_id, environment_id: ids.environment_id, file_id: ids.another_file }[key]);

// What such a request cannot do: download an upload, give a token to what is no repository, archive the thread that a session is.
const REFUSED = new Map([['GET /v1/files/{file_id}/content', /not downloadable/], ['POST /v1/sessions/{session_id}/resources/{resource_id}', /./],
	['POST /v1/vaults/{vault_id}/credentials/{credential_id}/mcp_oauth_validate', /Only mcp_oauth/],
	['POST /v1/sessions/{session_id}/threads/{thread_id}/archive', /primary thread/]]);

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
		const upload = async (name) => (await c.beta.files.upload({ file: await Anthropic.toFile(Buffer.from(name), name) })).id;
		const [first, another, mounted] = [await upload('one.txt'), await upload('two.txt'), await upload('three.txt')];
		const thread = (await get(`/v1/sessions/${session.id}/threads`)).json.data[0];
		const resource = await c.beta.sessions.resources.add(session.id, { type: 'file', file_id: mounted });
		const vault = await c.beta.vaults.create({ display_name: 'described' });
		const credential = await c.beta.vaults.credentials.create(vault.id,
			{ auth: { type: 'static_bearer', mcp_server_url: 'https://mcp.example.com', token: 'described' } });
		ids = {
			agent_id: b.agent.id, environment_id: b.environment.id, session_id: session.id, model_id: MODEL, thread_id: thread.id,
			resource_id: resource.id, file_id: first, another_file: another, vault_id: vault.id,
			credential_id: credential.id,
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

	test('describes whatever the SDK\'s types let a user send', () => {
		const { methods, found } = differences();
		assert.ok(methods >= 38, `only ${methods} methods were compared`);
		assert.deepEqual(found, [
			// the wire has such blocks in replies only (contract 2.3)
			'POST /v1/sessions initial_events[].content[]: {type: "redacted"}',
			'POST /v1/sessions/{session}/events events[].content[]: {type: "redacted"}',
		]);
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
	const ends = ({ path, method }) => (/resource_id/.test(path) ? method === 'DELETE' : method === 'DELETE' ? 3 : /\/archive$/.test(path) ? 2 : 0);
	const order = (o) => ends(o) - o.path.split('/').length / 100;
	test('every operation answers a request that is made from its description', async (t) => {
		const seen = [];
		for (const { path, method, op } of [...operations].sort((a, b) => order(a) - order(b))) {
			if (op.responses[200].content['text/event-stream']) {
				const stream = await Sse.open(url(op, path));
				assert.equal(stream.status, 200, path);
				stream.close();
				seen.push(`200 ${method} ${path}`);
				continue;
			}
			const target = url(op, path), res = await request(method, target, body(op, path)), pattern = REFUSED.get(`${method} ${path}`);
			seen.push(`${res.status} ${method} ${path}`);
			assert.equal(res.status, pattern ? 400 : 200, `${method} ${target}: ${res.status} ${res.text}`);
			if (pattern) assert.match(res.json.error.message, pattern);
		}
		assert.equal(seen.length, operations.length);
		t.diagnostic(`${seen.length} operations, ${seen.filter((s) => s.startsWith('200')).length} of them answered 200`);
	});
});
