// The list of bad input and abuse, operations.md D8, cases 1 to 47, each by its number. A case is refused as the contract says and leaves every
// row of its workspace as it was, unless it is marked as one that may make something; after each, the same connection pool answers.
// Cases 48 and up are other tests' (money, network).
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { ABSENT, Anthropic, BETA, MODEL, VERSION, adminKey, apiKey, bench, client, makeAgent, unique } from '../lib/client.mjs';
import { ctl, newTenant } from '../lib/ctl.mjs';
import { doc, resolve, sample } from '../lib/described.mjs';
import { Wire, assertError, get as rawGet, rawRequest, request as rawRequested } from '../lib/http.mjs';
import { digest, sql } from '../lib/rows.mjs';
import { allow, answer, call, message, text } from '../lib/script.mjs';
import { until } from '../lib/until.mjs';
import { Watch } from '../lib/watch.mjs';

const A = '/v1/agents', E = '/v1/environments', S = '/v1/sessions';
const TICKET = { type: 'custom', name: 'ticket', description: 'Open a ticket.', input_schema: { type: 'object' } };
const ASK = { type: 'agent_toolset_20260401', default_config: { permission_policy: { type: 'always_ask' } } };
let me, other, b, idle, archived, waiting, asking, strangers;

const mine = (o = {}) => ({ ...o, headers: { authorization: `Bearer ${me.apiKey}`, ...o.headers } });
const request = (method, path, o) => rawRequested(method, path, mine(o));
const get = (path, o) => request('GET', path, o);
const post = (path, body, o) => request('POST', path, { ...o, body });
const del = (path, o) => request('DELETE', path, o);
const TYPES = { 400: 'invalid_request_error', 401: 'authentication_error', 403: 'permission_error', 404: 'not_found_error', 405: 'invalid_request_error',
	408: 'invalid_request_error', 409: 'invalid_request_error', 413: 'request_too_large', 414: 'invalid_request_error', 415: 'invalid_request_error',
	431: 'invalid_request_error', 429: 'rate_limit_error' };
const is = async (status, res, pattern) => assertError(await res, status, TYPES[status], pattern);
const ok = async (res) => {
	const r = await res;
	assert.equal(r.status, 200, r.text.slice(0, 300));
	return r;
};
const agent = (more = {}) => ({ name: unique('d8'), model: MODEL, ...more });
const send = (id, ...events) => post(`${S}/${id}/events`, { events });
const user = (...content) => ({ type: 'user.message', content });

async function wire(bytes, options) {
	const w = await Wire.open();
	w.socket.on('error', () => {});
	w.write(bytes);
	const res = await w.answer(options).catch(() => undefined);
	w.close();
	return res;
}
const raw = (method, path, o = {}) => rawRequest(method, path, { auth: false, ...o, extra: [`authorization: Bearer ${me.apiKey}`, `anthropic-version: ${VERSION}`,
	`anthropic-beta: ${BETA}`, ...(o.extra ?? [])] });
const sized = (body) => ['content-type: application/json', `content-length: ${Buffer.byteLength(body)}`];
// Refused in one of these ways, or the connection ended without an answer where closed is true.
function refusedAs(statuses, res, closed) {
	if (!res && closed) return;
	assert.ok(res, 'closed without an answer');
	assert.ok(statuses.includes(res.status), `${res.status} ${res.text.slice(0, 200)}`);
	assertError(res, res.status, TYPES[res.status]);
}

const multipart = (parts, boundary = 'b') => `${parts.map((p) => `--${boundary}\r\n${p}\r\n`).join('')}--${boundary}--\r\n`;
const filePart = (name, data = 'x') => `content-disposition: form-data; name="file"; filename="${name}"\r\n\r\n${data}`;
const upload = (body, type = 'multipart/form-data; boundary=b') => post('/v1/files', body, { headers: { 'content-type': type } });

// From the service's own description: top-level fields of every JSON body, with their schemas.
function* bodies() {
	for (const [template, ops] of Object.entries(doc.paths)) {
		const schema = resolve(ops.post?.requestBody?.content['application/json']?.schema);
		if (!schema) continue;
		const path = template.replace('{agent_id}', b.agent.id).replace('{environment_id}', b.environment.id).replace('{session_id}', idle)
			.replace(/\{(\w+)_id\}/g, (_, kind) => `${{ thread: 'sthr', resource: 'sesrsc', file: 'file', vault: 'vlt', credential: 'vcrd' }[kind] ?? kind}_01${'1'.repeat(22)}`);
		yield { path, schema };
	}
}
const types = (given) => {
	const s = resolve(given);
	return [s.anyOf, s.oneOf].flat().filter(Boolean).flatMap(types).concat(s.type ?? []).flat();
};

// number: [what, run, makes something?]
const cases = {
	1: ['no key', () => is(401, get(A, { headers: { authorization: null } }))],
	2: ['malformed, revoked, expired keys, and those of archived workspaces', async () => {
		for (const key of ['x', 'sk-ant-api03-x', `${me.apiKey}x`, me.apiKey.slice(1)]) await is(401, get(A, { headers: { authorization: `Bearer ${key}` } }));
		const [[revoked, id]] = await ctl('key', 'create', me.workspace, 'revoked');
		await ctl('key', 'revoke', id);
		await is(401, get(A, { headers: { authorization: `Bearer ${revoked}` } }));
		const [[expired, expiredId]] = await ctl('key', 'create', '--days', '1', me.workspace, 'expired');
		await sql(`UPDATE api_key SET expires_at = now() - interval '1 s' WHERE id = '${expiredId}'`);
		await is(401, get(A, { headers: { authorization: `Bearer ${expired}` } }));
		const gone = await newTenant();
		await ctl('workspace', 'archive', gone.workspace);
		await is(401, get(A, { headers: { authorization: `Bearer ${gone.apiKey}` } }));
	}],
	3: ['a key with other bytes around it', async () => {
		for (const key of [`${me.apiKey}\u00a0`, ` ${me.apiKey}x`, `${me.apiKey}\u00e9`]) await is(401, get(A, { headers: { authorization: `Bearer ${key}` } }));
		refusedAs([400, 401], await wire(rawRequest('GET', A, { auth: false, extra: [`x-api-key: ${me.apiKey}\0`, `anthropic-version: ${VERSION}`, `anthropic-beta: ${BETA}`] })));
	}],
	4: ['two credentials that differ', () => is(401, get(A, { headers: { 'x-api-key': other.apiKey } }))],
	5: ['a workspace key on an admin route', () => is(404, get('/v1/organizations/workspaces'), /^Not found$/)],
	6: ['an admin key on a session route', () => is(403, rawGet(S, { headers: { authorization: `Bearer ${adminKey}` } }))],
	7: ['another workspace\'s objects: the same 404 as for none', async () => {
		for (const [path, theirs, none] of [[A, strangers.agent, ABSENT.agent], [E, strangers.environment, ABSENT.environment], [S, strangers.session, ABSENT.session],
			['/v1/files', strangers.file, 'file_01' + '1'.repeat(22)], ['/v1/vaults', strangers.vault, 'vlt_01' + '1'.repeat(22)]]) {
			const [x, y] = [await get(`${path}/${theirs}`), await get(`${path}/${none}`)];
			await is(404, x);
			assert.equal(x.json.error.message.replace(theirs, ''), y.json.error.message.replace(none, ''));
		}
		await is(404, send(strangers.session, message('x')));
		await is(404, post(S, { agent: strangers.agent, environment_id: b.environment.id }));
		await is(404, post(S, { agent: b.agent.id, environment_id: strangers.environment }));
	}],
	8: ['the workspace header of another', () => is(403, get(A, { headers: { 'anthropic-workspace-id': other.workspace } }))],
	9: ['an id of the wrong kind', async () => {
		await is(400, get(`${S}/${b.agent.id}`), /^Invalid session ID/);
		await is(400, get(`${A}/${idle}`), /^Invalid agent ID/);
		await is(400, post(S, { agent: b.environment.id, environment_id: b.environment.id }));
		await is(400, post(S, { agent: b.agent.id, environment_id: b.agent.id }));
	}],
	10: ['a 10 MB key', async () => refusedAs([400, 431], await wire(`GET ${A} HTTP/1.1\r\nhost: x\r\nx-api-key: ${'k'.repeat(10_000_000)}\r\n\r\n`), true)],
	11: ['a key in the query', async () => {
		await is(400, get(`${A}?api_key=${me.apiKey}`), /query/);
		await is(401, get(`${A}?api_key=${me.apiKey}`, { headers: { authorization: null } }));
	}],
	14: ['invented keys, a thousand of them', async () => {
		const keys = Array.from({ length: 1000 }, (_, i) => `rst_${String(i).padStart(12, '0')}_${'0'.repeat(49)}`);
		for (let i = 0; i < keys.length; i += 8) {
			await Promise.all(keys.slice(i, i + 8).map((k) => is(401, get(A, { headers: { authorization: `Bearer ${k}` } }))));
		}
	}],
	15: ['paths that are none', async () => {
		for (const path of ['/v1//sessions', '/v1/sessions/../agents', '/v1/%2e%2e/agents', '/v1/agents;x', '/v1/agents%00', '/v1/agents/', '/V1/agents', '/v1/agents/%2fx']) {
			refusedAs([400, 404], await wire(raw('GET', path)));
		}
		await is(414, get(`/v1/${'a'.repeat(9000)}`));
	}],
	16: ['beta=true means nothing', () => ok(get(`${A}?beta=true&limit=1`)), true],
	17: ['versions and betas', async () => {
		await is(400, get(A, { headers: { 'anthropic-version': null } }), /^anthropic-version: header is required/);
		await is(400, get(A, { headers: { 'anthropic-version': '2020-01-01' } }));
		await is(404, get(A, { headers: { 'anthropic-beta': null } }), /^not found$/);
		await is(404, get(A, { headers: { 'anthropic-beta': 'nonsense' } }), /^not found$/);
		await is(400, get(E, { headers: { 'anthropic-beta': 'nonsense' } }), /Unexpected value/);
	}],
	18: ['wrong methods', async () => {
		for (const method of ['PUT', 'PATCH', 'OPTIONS', 'DELETE', 'PROPFIND']) refusedAs([405], await wire(raw(method, A, { extra: ['content-length: 0'] })));
		const head = await wire(raw('HEAD', A), { head: true });
		assert.equal(head.status, 405);
		assert.equal(head.headers.allow, 'POST, GET');
		refusedAs([405], await wire(raw('TRACE', A)));
	}],
	19: ['lengths, encodings and lines that contradict', async () => {
		const body = JSON.stringify(agent());
		for (const extra of [[`content-length: ${body.length}`, 'transfer-encoding: chunked'], [`content-length: ${body.length}`, `content-length: ${body.length + 1}`],
			['content-length: -1'], ['content-length: x'], ['transfer-encoding: gzip']]) {
			const res = await wire(raw('POST', A, { extra: ['content-type: application/json', ...extra], body }));
			assert.ok(res.status >= 400 && res.status <= 501, `${extra}: ${res.status}`);
			assert.equal(res.json.type, 'error');
		}
		refusedAs([400], await wire(raw('GET', A, { extra: ['x-a: b\r\n folded'] })) ?? undefined, true);
		await wire(raw('POST', A, { extra: ['content-type: application/json', `content-length: ${body.length + 9}`], body }), { ms: 300 });
	}],
	20: ['compressed bodies', async () => {
		const packed = (bytes, encoding) => post(A, bytes, { headers: { 'content-encoding': encoding } });
		for (const [bytes, encoding, status, code] of [['x', 'gzip', 400, 'request_body_encoding_invalid'], ['{}', 'br', 400, 'request_body_encoding_unsupported'],
			['{}', 'zstd, gzip', 400, 'request_body_encoding_unsupported'], [gzipSync(Buffer.alloc(48 << 20)), 'gzip', 413, 'request_body_too_large_after_decoding']]) {
			const res = await packed(bytes, encoding);
			await is(status, res);
			assert.equal(res.json.error.details.error_code, code);
		}
	}],
	21: ['multipart that is none', async () => {
		await is(400, upload(multipart([filePart('x')]), 'multipart/form-data'), /boundary/i);
		await is(415, upload('{}', 'application/json'));
		await is(400, upload(''));
		await is(400, upload(multipart([])), /file/);
		await is(400, upload(multipart([`content-disposition: form-data; name="x"\r\ncontent-type: multipart/mixed; boundary=c\r\n\r\n--c\r\n${filePart('x')}\r\n--c--`])), /file/);
		await is(400, upload(multipart(Array.from({ length: 10_000 }, (_, i) => `content-disposition: form-data; name="p${i}"\r\n\r\nx`))));
		await is(400, upload(multipart([filePart('a\0b')])));
		await is(400, upload(multipart([filePart('n'.repeat(256))])));
		for (const name of ['a<b', 'a|b', '..', 'a\tb', 'a?b']) await is(400, upload(multipart([filePart(name)])), /filename/);
		await is(400, upload(multipart([filePart('x')]).slice(0, -8)));
		await is(400, upload(multipart([filePart('x'), 'content-disposition: form-data; name="expires_in_seconds"\r\n\r\n3599'])), /expires_in_seconds/);
	}],
	23: ['pipelined requests', async () => {
		const w = await Wire.open();
		w.write(raw('GET', A) + raw('GET', '/v1/x') + raw('GET', A));
		assert.deepEqual([(await w.answer()).status, (await w.answer()).status, (await w.answer()).status], [200, 404, 200]);
		w.close();
	}],
	24: ['Expect: 100-continue of what is refused', async () => {
		const w = await Wire.open();
		w.write(raw('POST', A, { extra: [...sized('{"x":1}'), 'expect: 100-continue'] }));
		let res = await w.answer();
		if (res.status === 100) res = await w.write('{"x":1}').answer();
		await is(400, res);
		w.close();
	}],
	25: ['a 1 MB URL, a thousand parameters, the same type a thousand times', async () => {
		refusedAs([414], await wire(raw('GET', `${A}?x=${'y'.repeat(1 << 20)}`)), true);
		await is(400, get(`${A}?${Array.from({ length: 1001 }, () => 'a').join('&')}`), /query parameters/);
		await ok(get(`${S}/${idle}/events?${Array.from({ length: 150 }, () => 'types[]=user.message').join('&')}`));
	}],
	26: ['JSON that is none', async () => {
		const name = (v) => `{"name":${v},"model":"${MODEL}"}`;
		for (const body of [Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), name('"\\ud800"'), `\ufeff${name('"x"')}`, name('"a\\u0000"'), name('1e400'), name('9007199254740993'),
			name('-0'), `{"name":"x","name":"y","model":"${MODEL}"}`, `{"metadata":${'['.repeat(10_000)}${']'.repeat(10_000)}}`,
			`{${Array.from({ length: 1_000_000 }, (_, i) => `"${i}":0`).join()}}`, `${name('"x"')}x`, '[]', '7', name('NaN')]) await is(400, post(A, body));
	}],
	27: ['fields that nobody may set', async () => {
		for (const key of ['id', 'status', 'usage', 'organization_id', 'workspace_id', 'org_id', 'created_at', 'archived_at', 'type', 'x']) {
			await is(400, post(A, { ...agent(), [key]: 'x' }), /unknown field/);
			await is(400, post(`${S}/${idle}`, { [key]: 'x' }), /unknown field/);
			if (key !== 'type') await is(400, send(idle, { ...message('x'), [key]: 'x' }), /unknown field/);
		}
	}],
	28: ['every field of every body with a value of another type', async () => {
		let n = 0;
		for (const { path, schema } of bodies()) {
			for (const [key, s] of Object.entries(schema.properties)) {
				const admits = types(s);
				for (const [type, value] of [['string', 'x'], ['integer', 7], ['boolean', true], ['object', {}], ['array', []], ['null', null]]) {
					if (admits.includes(type)) continue;
					await is(400, post(path, { [key]: value }), new RegExp(`^Failed to parse request: ${key}: expected`));
					n++;
				}
			}
		}
		assert.ok(n > 100, `${n}`);
	}],
	29: ['every limit of a top-level field, plus one', async () => {
		let n = 0;
		for (const { path, schema } of bodies()) {
			for (const [key, s] of Object.entries(schema.properties)) {
				for (const part of [s, ...(s.anyOf ?? [])].map(resolve)) {
					const over = part.maxLength !== undefined && part.maxLength < 1e6 ? 'a'.repeat(part.maxLength + 1)
						: part.type === 'integer' && part.maximum !== undefined ? part.maximum + 1 : undefined;
					if (over === undefined) continue;
					await is(400, post(path, { ...sample(schema), [key]: over }), new RegExp(`^${key}: `));
					n++;
				}
			}
		}
		assert.ok(n >= 8, `${n}`);
	}],
	30: ['batches: none, 51 first ones, a bad one among good ones', async () => {
		await is(400, post(`${S}/${idle}/events`, { events: [] }), /^events: /);
		await is(400, post(S, { agent: b.agent.id, environment_id: b.environment.id, initial_events: Array.from({ length: 51 }, () => message('x')) }), /initial_events/);
		await is(400, send(idle, message('good'), { type: 'user.message', content: [{ type: 'text', text: '' }] }), /^events\.1\.user_message\.content\.0\.text/);
	}],
	31: ['metadata', async () => {
		const many = Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, 'v']));
		for (const metadata of [many, { ['k'.repeat(65)]: 'v' }, { k: 'v'.repeat(513) }, { '': 'v' }]) {
			for (const res of [post(A, { ...agent(), metadata }), post(E, { name: unique('e'), metadata }), post(`${A}/${b.agent.id}`, { metadata })]) await is(400, res, /metadata/);
		}
	}],
	32: ['names in any script', async () => {
		for (const name of ['.*+?^${}()|[]\\', '\u{1f986}\u{1f413}', '\u202egnirts', 'a\u200bb', '\'; DROP TABLE agent; --', '<script>']) {
			assert.equal((await ok(post(A, agent({ name })))).json.name, name);
		}
	}, true],
	33: ['cursors: forged, another tenant\'s, another list\'s, another order\'s', async () => {
		const page = (await ok(get(`${A}?limit=1`))).json.next_page, theirs = (await ok(rawGet(`${A}?limit=1`, { headers: { authorization: `Bearer ${other.apiKey}` } }))).json.next_page;
		assert.ok(page && theirs);
		for (const p of ['x', 'page_', 'page_AAAA', `${page}x`, page.slice(0, -1), theirs]) await is(400, get(`${A}?page=${p}`), /^invalid page cursor/);
		await is(400, get(`${S}?page=${page}`), /^invalid page cursor/);
		const session = (await ok(get(`${S}?limit=1&order=asc&include_archived=true&statuses[]=idle&statuses[]=terminated`))).json.next_page;
		await is(400, get(`${S}?page=${session}&order=desc`), /order/);
	}],
	34: ['limit', async () => {
		for (const limit of [0, -1, 1_000_000_000, 101, 'x', '', '1.5']) await is(400, get(`${A}?limit=${limit}`), /^limit: /);
	}],
	35: ['times in filters', async () => {
		for (const t of ['x', '2026-11-20', '20261120T000000Z', '2026-13-01T00:00:00Z', '10000-01-01T00:00:00Z']) await is(400, get(`${A}?created_at[gte]=${t}`), /^created_at\[gte\]: /);
		assert.deepEqual((await ok(get(`${A}?created_at[gte]=2027-01-01T00:00:00Z&created_at[lte]=2026-01-01T00:00:00Z`))).json.data, []);
		assert.deepEqual((await ok(get(`${A}?created_at[gte]=9999-12-31T23:59:59Z`))).json.data, []);
	}],
	36: ['a message to an archived session', () => is(400, send(archived, message('x')))],
	37: ['confirmations of unknown, other and another session\'s calls', async () => {
		await is(400, send(asking.id, allow(ABSENT.event)));
		await is(400, send(idle, allow(asking.use)));
		await is(400, send(asking.id, allow(waiting.use)));
		await is(400, send(asking.id, { ...allow(asking.use), deny_message: 'x' }), /deny_message/);
		await is(400, send(waiting.id, answer(ABSENT.event, 'x')));
	}],
	38: ['a worker\'s result with an API key', () => is(403, send(asking.id, { type: 'user.tool_result', tool_use_id: asking.use, content: [text('x')] }))],
	39: ['a system message while calls wait', () => is(400, send(waiting.id, { type: 'system.message', content: [text('x')] }))],
	40: ['an update of a version that is not the latest', async () => {
		const res = await post(`${A}/${b.agent.id}`, { version: 99, description: 'never' });
		await is(409, res, /^Concurrent modification/);
		assert.equal(res.headers['x-should-retry'], 'false');
	}],
	41: ['budgets', async () => {
		const limit = (amount, currency = 'USD') => ({ type: 'limit', max_list_cost: { amount, currency } });
		for (const amount of ['0', '-1', '1.5', '01', '99999999999999999999', '', 'x', ' 1', '1e3', '+1']) {
			await is(400, post(S, { agent: b.agent.id, environment_id: b.environment.id, budget: limit(amount) }), /budget/);
		}
		await is(400, post(S, { agent: b.agent.id, environment_id: b.environment.id, budget: limit('100', 'EUR') }), /currency/);
		await is(400, post(`${S}/${idle}`, { budget: limit('100') }));
		await is(400, post(S, { agent: b.agent.id, environment_id: b.environment.id, budget: { type: 'limit', max_list_cost: { amount: 100, currency: 'USD' } } }), /expected a string/);
	}],
	42: ['an environment in use', async () => {
		const res = await del(`${E}/${b.environment.id}`);
		await is(409, res, /active sessions/);
		assert.equal(res.headers['x-should-retry'], 'false');
	}],
	43: ['archiving twice', async () => {
		const twice = await ok(post(`${S}/${archived}/archive`));
		assert.equal(twice.json.status, 'terminated');
	}],
	44: ['memory stores, which this version does not have', () => is(404, post('/v1/memory_stores', {}), /^Not found$/)],
	45: ['deployments, which this version does not have', () => is(404, post('/v1/deployments', {}), /^Not found$/)],
	46: ['rosters', async () => {
		await is(400, post(A, { ...agent(), multiagent: { type: 'coordinator', agents: Array.from({ length: 21 }, () => ({ type: 'self' })) } }), /multiagent/);
		await is(400, post(A, { ...agent(), multiagent: { type: 'coordinator', agents: [] } }), /multiagent/);
		await is(400, post(A, { ...agent(), multiagent: { type: 'coordinator', agents: [{ type: 'self', depth: 2 }] } }), /unknown field/);
	}],
	47: ['an idempotency key with another body', async () => {
		const headers = { 'idempotency-key': unique('key') }, first = agent();
		await ok(post(A, first, { headers }));
		const now = await digest(me.workspace);
		const res = await post(A, agent({ description: 'never' }), { headers });
		await is(409, res, /idempotency-key/);
		assert.equal(res.headers['x-should-retry'], 'false');
		await is(400, post(A, first, { headers: { 'idempotency-key': 'k'.repeat(256) } }));
		assert.equal(await digest(me.workspace), now);
	}, true],
};

describe('D8', { concurrency: true }, () => {
	before(async () => {
		[me, other] = await Promise.all([newTenant(), newTenant()]);
		const mineC = client({ apiKey: me.apiKey }), theirC = client({ apiKey: other.apiKey });
		b = await bench(mineC, { tools: [TICKET] });
		const asker = await makeAgent(mineC, { tools: [ASK] });
		const [s1, s2] = [await b.session(), await b.session()];
		idle = s1.id;
		archived = s2.id;
		await mineC.beta.sessions.archive(archived);
		const w = await Watch.begin(b);
		await w.send(message(call('ticket', {})));
		waiting = { id: w.id, use: (await w.until('agent.custom_tool_use')).id };
		await w.until('session.status_idle');
		const a = await Watch.open(mineC, (await mineC.beta.sessions.create({ agent: asker.id, environment_id: b.environment.id })).id);
		await a.send(message(call('bash', { command: 'true' })));
		asking = { id: a.id, use: (await a.until('agent.tool_use')).id };
		await a.until('session.status_idle');
		const theirs = await bench(theirC);
		const spare = await makeAgent(theirC);
		const file = await theirC.beta.files.upload({ file: await Anthropic.toFile(Buffer.from('x'), 'x.txt') });
		const vault = await theirC.beta.vaults.create({ display_name: 'theirs' });
		strangers = { agent: theirs.agent.id, environment: theirs.environment.id, session: (await theirs.session()).id, file: file.id, vault: vault.id, spare };
		for (const x of [w, a]) await x.close?.();
	});

	// These take the service's time, so they run beside the others, on rows of their own.
	test('12 a revoked key stops within the time its lookup may be kept', async () => {
		const [[key, id]] = await ctl('key', 'create', other.workspace, 'soon revoked');
		const ask = () => rawGet(A, { headers: { authorization: `Bearer ${key}` } });
		await ok(ask());
		await ctl('key', 'revoke', id);
		await until('the key to stop working', async () => (await ask()).status === 401, 45_000);
	});

	test('13 a suspended organization reads and does not write', async () => {
		const organization = (await ctl('-q', 'org', 'create', unique('suspended')))[0][0];
		const workspace = (await ctl('-q', 'workspace', 'create', organization, 'w'))[0][0];
		const [[key]] = await ctl('key', 'create', workspace, 'k');
		const headers = { authorization: `Bearer ${key}` };
		const made = await ok(rawRequested('POST', A, { headers, body: agent() }));
		await ctl('org', 'suspend', organization);
		await until('writes to be refused', async () => (await rawRequested('POST', A, { headers, body: agent() })).status === 403, 45_000);
		const before = await digest(workspace);
		await is(403, rawRequested('POST', `${A}/${made.json.id}`, { headers, body: { description: 'never' } }), /suspended/);
		await ok(rawGet(`${A}/${made.json.id}`, { headers }));
		assert.equal(await digest(workspace), before);
	});

	test('22 headers and bodies that never end are given up', { timeout: 90_000 }, async () => {
		const slow = async (bytes, drip) => {
			const w = await Wire.open();
			w.socket.on('error', () => {});
			w.write(bytes);
			const timer = setInterval(() => w.socket.write(drip), 2000);
			const res = await w.answer({ ms: 70_000 }).catch((e) => (/ended/.test(e.message) ? undefined : assert.fail(e.message)));
			clearInterval(timer);
			if (res) refusedAs([408], res);
			w.close();
		};
		await Promise.all([slow(`GET ${A} HTTP/1.1\r\nhost: x\r\n`, 'x-a: b\r\n'),
			slow(raw('POST', A, { extra: ['content-type: application/json', 'content-length: 1000'] }), '')]);
	});

	test('the others, one after the other', async (t) => {
		let was;		// what the case before has left
		for (const [number, [what, run, makes]] of Object.entries(cases)) {
			await t.test(`${number} ${what}`, async () => {
				was ??= await digest(me.workspace);
				await run();
				if (makes) was = undefined;
				else assert.equal(await digest(me.workspace), was, 'nothing has changed');
				await ok(get(`${A}?limit=1`));
			});
		}
		const named = [...Object.keys(cases).map(Number), 12, 13, 22].sort((x, y) => x - y);
		assert.deepEqual(named, Array.from({ length: 47 }, (_, i) => i + 1));
	});

	after(async () => {
		assert.equal((await rawGet(A, { headers: { authorization: `Bearer ${apiKey}` } })).status, 200);
	});
});
