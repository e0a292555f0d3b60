// Who may call, with which headers (contract 1.2-1.5; operations.md D8 1-18).
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { ABSENT, BETA, adminKey, apiKey, bench, client, makeAgent, MODEL } from '../lib/client.mjs';
import { assertError, bad, get, missing, post, request, REQUEST_ID } from '../lib/http.mjs';
import { Sse } from '../lib/sse.mjs';
import { ctl, newTenant } from '../lib/ctl.mjs';
import { refused } from '../lib/sdkerror.mjs';
import { bash, message } from '../lib/script.mjs';
import { until } from '../lib/until.mjs';
import { Watch } from '../lib/watch.mjs';

const c = client();
const AGENTS = '/v1/agents';
let b;
const denied = (res) => assertError(res, 401, 'authentication_error', /^Authentication failed/);

describe('keys', { concurrency: true }, () => {
	test('Bearer and x-api-key, alone or the same twice', async () => {
		for (const headers of [{}, { authorization: null, 'x-api-key': apiKey }, { 'x-api-key': apiKey }, { authorization: `bearer ${apiKey}` }]) {
			const r = await get(AGENTS, { headers });
			assert.equal(r.status, 200, r.text);
		}
	});

	const wrong = [
		['none', { authorization: null }],
		['empty', { authorization: '' }],
		['a scheme only', { authorization: 'Bearer ' }],
		['another scheme', { authorization: `Basic ${Buffer.from(`x:${apiKey}`).toString('base64')}` }],
		['unknown', { authorization: 'Bearer sk-ant-api03-nobody-has-this-one-AAAAAAAAAAAAAAAAAAAAAAAA' }],
		['malformed', { authorization: 'Bearer ☂'.replace('☂', '~~~') }],
		['one character more', { authorization: `Bearer ${apiKey}x` }],
		['one character less', { authorization: `Bearer ${apiKey.slice(0, -1)}` }],
		['last character changed', { authorization: `Bearer ${apiKey.slice(0, -1)}${apiKey.at(-1) === 'a' ? 'b' : 'a'}` }],
		['in upper case', { authorization: `Bearer ${apiKey.toUpperCase()}` }],
		['two keys that differ', { 'x-api-key': 'sk-ant-api03-other' }],
		['x-api-key unknown', { authorization: null, 'x-api-key': 'nope' }],
		['latin-1 bytes', { authorization: `Bearer ${apiKey}\u00e9` }],
	];
	for (const [what, headers] of wrong) {
		test(`401: ${what}`, async () => denied(await get(AGENTS, { headers })));
	}

	test('the message is the same whether the key is missing or wrong', async () => {
		const [none, bad_] = [await get(AGENTS, { headers: { authorization: null } }), await get(AGENTS, { headers: { authorization: 'Bearer x' } })];
		assert.equal(none.json.error.message, bad_.json.error.message);
	});

	test('a key in the query string is not a key', async () => {
		for (const q of [`api_key=${apiKey}`, `x-api-key=${apiKey}`, `key=${apiKey}`]) {
			const r = await get(`${AGENTS}?${q}`, { headers: { authorization: null } });
			denied(r);
			assert.ok(!r.text.includes(apiKey));
		}
	});

	test('an admin key is valid but not for a workspace\'s objects', async () => {
		const r = await get(AGENTS, { headers: { authorization: `Bearer ${adminKey}` } });
		assert.ok(r.status === 403 || r.status === 401, `${r.status}`);
		assertError(r, r.status, r.status === 403 ? 'permission_error' : 'authentication_error');
	});

	test('a workspace key on the organization\'s routes', async () => {
		const r = await get('/v1/organizations/workspaces');
		assert.ok([401, 403, 404].includes(r.status));
		assert.equal(r.json.type, 'error');
	});

	test('the workspace header must name the key\'s workspace', async () => {
		const mine = (await get(AGENTS)).headers['anthropic-workspace-id'];
		assert.match(mine, /^wrkspc_01/);
		assert.equal((await get(AGENTS, { headers: { 'anthropic-workspace-id': mine } })).status, 200);
		assertError(await get(AGENTS, { headers: { 'anthropic-workspace-id': `wrkspc_01${'1'.repeat(22)}` } }), 403, 'permission_error');
		assertError(await get(AGENTS, { headers: { 'anthropic-workspace-id': 'nonsense' } }), 403, 'permission_error');
	});

	test('a revoked key stops within the published time, on requests and streams', async () => {
		const t = await newTenant();
		const tc = client({ apiKey: t.apiKey });
		const tb = await bench(tc);
		const w = await Watch.open(tc, (await tb.session()).id);
		await w.turn('hi');
		await ctl('key', 'revoke', t.keyId);
		await until('the key is refused', async () => {
			const r = await get(AGENTS, { headers: { authorization: `Bearer ${t.apiKey}` } });
			return r.status === 401;
		}, 35_000);
		await w.end(40_000).catch((e) => assert.equal(e.error?.error?.type, 'authentication_error', e.message));
		assert.ok(w.ended);
	});
});

describe('tenancy', () => {
	let other, ob, mine;
	before(async () => {
		b = await bench(c);
		other = await newTenant();
		ob = await bench(client({ apiKey: other.apiKey }));
		const w = await Watch.begin(b);
		await w.turn(bash('echo secret'));
		w.close();
		mine = { agent: b.agent.id, environment: b.environment.id, session: w.id };
	});

	test('another workspace\'s rows are absent, with the same answer as ids nobody has', async () => {
		const o = ob.c;
		const pairs = [
			(id) => o.beta.agents.retrieve(id.agent), (id) => o.beta.agents.update(id.agent, { name: 'x' }),
			(id) => o.beta.agents.archive(id.agent), (id) => o.beta.agents.versions.list(id.agent),
			(id) => o.beta.environments.retrieve(id.environment), (id) => o.beta.environments.update(id.environment, { name: 'x' }),
			(id) => o.beta.environments.archive(id.environment), (id) => o.beta.environments.delete(id.environment),
			(id) => o.beta.sessions.retrieve(id.session), (id) => o.beta.sessions.update(id.session, { title: 'x' }),
			(id) => o.beta.sessions.archive(id.session), (id) => o.beta.sessions.delete(id.session),
			(id) => o.beta.sessions.events.list(id.session), (id) => o.beta.sessions.events.stream(id.session),
			(id) => o.beta.sessions.events.send(id.session, { events: [message('x')] }),
			(id) => o.beta.sessions.create({ agent: id.agent, environment_id: ob.environment.id }),
			(id) => o.beta.sessions.create({ agent: ob.agent.id, environment_id: id.environment }),
		];
		for (const call of pairs) {
			const foreign = await refused(call(mine), 404);
			const absent = await refused(call(ABSENT), 404);
			const words = (e) => e.apiMessage.replaceAll(/(agent|env|sesn)_01\w+/g, 'ID');
			assert.equal(words(foreign), words(absent), call.toString());
		}
	});

	test('lists show one\'s own only', async () => {
		const o = ob.c.beta;
		for (const [list, id] of [[o.agents.list({ limit: 100 }), ob.agent.id], [o.environments.list({ limit: 100 }), ob.environment.id]]) {
			assert.deepEqual((await list).data.map((x) => x.id), [id]);
		}
		for (const s of (await o.sessions.list({ include_archived: true })).data) assert.equal(s.agent.id, ob.agent.id);
		assert.deepEqual((await o.sessions.list({ agent_id: mine.agent })).data, []);
	});

	test('a cursor of one workspace shows nothing of it to another', async () => {
		await makeAgent(c);
		const { next_page } = await c.beta.agents.list({ limit: 1 });
		try {
			const page = await ob.c.beta.agents.list({ limit: 100, page: next_page });
			for (const a of page.data) assert.equal(a.id, ob.agent.id);
		} catch (e) {
			assert.equal(e.status, 400);
		}
	});

	test('environment names are one\'s own', async () => {
		const e = await ob.c.beta.environments.create({ name: b.environment.name });
		assert.equal(e.name, b.environment.name);
	});

	test('the other side works, and answers carry its workspace and organization', async () => {
		const w = await Watch.begin(ob);
		await w.turn('hello from the other side');
		w.close();
		const [a, z] = [await get(AGENTS), await get(AGENTS, { headers: { authorization: `Bearer ${other.apiKey}` } })];
		assert.notEqual(a.headers['anthropic-workspace-id'], z.headers['anthropic-workspace-id']);
		assert.equal(a.headers['anthropic-organization-id'], z.headers['anthropic-organization-id'], 'same organization');
	});
});

describe('headers', { concurrency: true }, () => {
	let s;
	before(async () => {
		b ??= await bench(c);
		s = await b.session();
	});

	test('every answer names its request, workspace and organization', async () => {
		const all = [await get(AGENTS), await post(AGENTS, {}), await get(`/v1/sessions/${ABSENT.session}`), await post(AGENTS, '{'),
			await get('/v1/models'), await get(`/v1/sessions/${s.id}/events`)];
		for (const r of all) {
			assert.match(r.headers['request-id'], REQUEST_ID);
			assert.match(r.headers['anthropic-workspace-id'] ?? '', /^wrkspc_01/);
			assert.match(r.headers['anthropic-organization-id'] ?? '', /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/);
			assert.match(r.headers['content-type'], /^application\/json/);
		}
		assert.equal(new Set(all.map((r) => r.headers['request-id'])).size, all.length, 'ids differ');
		const sse = await Sse.open(`/v1/sessions/${s.id}/events/stream`);
		assert.match(sse.headers['request-id'], REQUEST_ID);
		sse.close();
	});

	test('the SDK finds the request id', async () => {
		const a = await c.beta.agents.create({ name: 'x', model: MODEL });
		assert.match(a._request_id, REQUEST_ID);
	});

	test('anthropic-version: both known values; none is 400; unknown is 400', async () => {
		for (const v of ['2026-10-21', '2023-06-01']) assert.equal((await get(AGENTS, { headers: { 'anthropic-version': v } })).status, 200);
		bad(await get(AGENTS, { headers: { 'anthropic-version': null } }), /anthropic-version: header is required/);
		bad(await get(AGENTS, { headers: { 'anthropic-version': '1999-01-01' } }), /anthropic-version/);
	});

	test('anthropic-beta: required, in any company, as a list or repeated', async () => {
		for (const v of [BETA, `files-api-2025-04-14,${BETA}`, `${BETA}, skills-2025-10-02`, `something-2030-01-01,${BETA}`]) {
			const r = await get(AGENTS, { headers: { 'anthropic-beta': v } });
			assert.equal(r.status, 200, `${v}: ${r.text}`);
		}
		for (const v of [null, '', 'files-api-2025-04-14', `${BETA}x`]) {
			missing(await get(AGENTS, { headers: { 'anthropic-beta': v } }), /^not found$/);
			missing(await get(`/v1/sessions/${s.id}`, { headers: { 'anthropic-beta': v } }), /^not found$/);
		}
	});

	test('order of checks: route, key, beta, version', async () => {
		const nothing = { authorization: null, 'anthropic-version': null, 'anthropic-beta': null };
		missing(await get('/v1/nowhere', { headers: nothing }), /^Not found$/);
		denied(await get(AGENTS, { headers: nothing }));
		missing(await get(AGENTS, { headers: { 'anthropic-version': null, 'anthropic-beta': null } }), /^not found$/);
		bad(await get(AGENTS, { headers: { 'anthropic-version': null } }), /anthropic-version/);
	});

	test('beta=true in the query is ignored, as are unknown headers', async () => {
		assert.equal((await get(`${AGENTS}?beta=true`)).status, 200);
		assert.equal((await get(`/v1/sessions/${s.id}?beta=true`)).status, 200);
		assert.equal((await get(`/v1/sessions/${s.id}/events?beta=true&limit=5`)).status, 200);
		assert.equal((await get(AGENTS, { headers: { 'x-something': 'else', 'x-stainless-lang': 'js', traceparent: 'garbage' } })).status, 200);
	});

	test('wrong methods on known paths', async () => {
		for (const [method, path] of [['PUT', AGENTS], ['PATCH', `/v1/sessions/${s.id}`], ['DELETE', `/v1/sessions/${s.id}/events`],
			['POST', '/v1/models'], ['OPTIONS', AGENTS], ['PUT', '/healthz']]) {
			const r = await request(method, path);
			assertError(r, 405, 'invalid_request_error');
		}
		const trace = await request('TRACE', AGENTS);
		assert.ok(trace.status === 405 || trace.status === 400, `${trace.status}`);
		assert.ok(!trace.text.includes(apiKey));
	});

	test('unknown paths', async () => {
		for (const path of ['/', '/v1', '/v1/', '/v2/agents', '/v1/agent', '/v1/agents/', `${AGENTS}/${ABSENT.agent}/nope`, '/v1//agents', '/V1/AGENTS',
			'/v1/agents;x', '/v1/sessions/../agents/..', '/favicon.ico', `/v1/agents/${'a'.repeat(4000)}`]) {
			const r = await get(path);
			assert.ok(r.status === 404 || r.status === 400, `${path}: ${r.status}`);
			assertError(r, r.status, r.status === 404 ? 'not_found_error' : 'invalid_request_error');
		}
		missing(await get('/v1/nowhere'), /^Not found$/);
		assert.equal((await get('/v1/nowhere')).headers['x-should-retry'] ?? 'false', 'false');
	});
});
