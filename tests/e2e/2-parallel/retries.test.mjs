// Requests and replies get lost between the SDK and the instance, and the SDK tries again (contract 1.11): how many effects, and whose.
// ROOST_RETRIES: calls of each kind (default 100; the full measurement is 1000). ROOST_SEED: what is lost.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { before, describe, test } from 'node:test';
import { toFile } from '@anthropic-ai/sdk';
import { MODEL, TOOLSET, bench, client, collect, unique } from '../lib/client.mjs';
import { dropping, sometimes } from '../lib/dropping.mjs';
import { get, post } from '../lib/http.mjs';
import { allow, bash, message, script } from '../lib/script.mjs';
import { refused } from '../lib/sdkerror.mjs';
import { tracing } from '../lib/tracing.mjs';
import { Watch, ofType } from '../lib/watch.mjs';

const CALLS = Number(process.env.ROOST_RETRIES ?? 100);
const SEED = Number(process.env.ROOST_SEED ?? 7);
const LOSS = 0.15;
const AT_ONCE = 25;
const c = client();
let b;

// The SDK's default retries; with a key of our own the application may also call again until it works.
const kinds = {
	'Idempotency-Key': { options: {}, key: true },
	traceparent: { options: { openTelemetry: tracing } },
	'plain SDK': { options: {} },
	'plain SDK, HTTP proxy': { options: {}, shared: true },
};

async function lossy(kind, seed) {
	const proxy = await dropping(sometimes(seed, LOSS), { shared: kinds[kind].shared });
	return { proxy, sdk: client({ baseURL: proxy.url, maxRetries: 2, openTelemetry: false, ...kinds[kind].options }) };
}

// n calls, AT_ONCE at a time. call(i, options) resolves to the id of what it made; undefined for a call that failed for good.
async function many(n, kind, call) {
	const ids = new Array(n);
	let next = 0;
	await Promise.all(Array.from({ length: AT_ONCE }, async () => {
		for (let i = next++; i < n; i = next++) {
			const options = kinds[kind].key ? { headers: { 'idempotency-key': randomUUID() } } : {};
			for (let tries = 0; ids[i] === undefined && tries < (kinds[kind].key ? 20 : 1); tries++) {
				try {
					ids[i] = await call(i, options);
				} catch (e) {
					assert.ok(e instanceof Error && /connection|Connection/.test(e.message), `call ${i}: ${e.message}`);
				}
			}
		}
	}));
	return ids;
}

// made: [what a call asked for, the id it became], of everything that exists.
function figures(t, kind, ids, made, lost) {
	assert.ok(lost.request > 0 && lost.reply > 0, 'both kinds of loss happened');
	const answered = ids.filter((id) => id !== undefined);
	const effects = new Map();
	for (const [i, id] of made) effects.set(i, [...(effects.get(i) ?? []), id]);
	const swallowed = answered.length - new Set(answered).size + ids.filter((id, i) => id !== undefined && !effects.get(i)?.includes(id)).length;
	let duplicates = 0;
	for (const of of effects.values()) duplicates += of.length - 1;
	t.diagnostic(`${kind}: ${ids.length} calls, ${answered.length} answered, lost ${lost.request} requests and ${lost.reply} replies: `
		+ `${duplicates} duplicates, ${swallowed} swallowed (seed ${SEED})`);
	return { duplicates, swallowed };
}

describe('retried requests', { concurrency: 4 }, () => {
	before(async () => { b = await bench(c); });

	for (const [k, kind] of Object.keys(kinds).entries()) {
		test(`creates: ${kind}`, async (t) => {
			const { proxy, sdk } = await lossy(kind, SEED * 100 + k);
			const stem = unique('retry');
			const ids = await many(CALLS, kind, async (i, o) => {
				if (i % 2) return (await sdk.beta.agents.create({ name: `${stem}-${i}`, model: MODEL }, o)).id;
				return (await sdk.beta.sessions.create({ agent: b.agent.id, environment_id: b.environment.id, title: `${stem}-${i}` }, o)).id;
			});
			const [agents, sessions] = await Promise.all([collect(c.beta.agents.list({ limit: 100 })),
				collect(c.beta.sessions.list({ agent_id: b.agent.id, limit: 100 }))]);
			const made = [...agents.map((a) => [a.name, a.id]), ...sessions.map((s) => [s.title ?? '', s.id])]
				.filter(([name]) => name.startsWith(`${stem}-`)).map(([name, id]) => [Number(name.slice(stem.length + 1)), id]);
			const f = figures(t, kind, ids, made, proxy.lost);
			if (!/^plain/.test(kind)) assert.deepEqual(f, { duplicates: 0, swallowed: 0 });
			proxy.close();
		});

		test(`sends: ${kind}`, async (t) => {
			const { proxy, sdk } = await lossy(kind, SEED * 100 + 10 + k);
			const sessions = await Promise.all(Array.from({ length: Math.ceil(CALLS / 50) }, () => b.session()));
			const of = (i) => sessions[i % sessions.length].id;
			const ids = await many(CALLS, kind, async (i, o) =>
				(await sdk.beta.sessions.events.send(of(i), { events: [message(`number ${i}`)] }, o)).data[0].id);
			const made = (await Promise.all(sessions.map((s) => collect(c.beta.sessions.events.list(s.id, { types: ['user.message'], limit: 1000 })))))
				.flat().map((e) => [Number(e.content[0].text.slice(7)), e.id]);
			const f = figures(t, kind, ids, made, proxy.lost);
			if (!/^plain/.test(kind)) assert.deepEqual(f, { duplicates: 0, swallowed: 0 });
			proxy.close();
		});
	}

	// The same words again and again: what content alone cannot tell apart. With the better evidence nothing is confused.
	for (const [k, kind] of Object.keys(kinds).entries()) {
		test(`the same words again: ${kind}`, async (t) => {
			const { proxy, sdk } = await lossy(kind, SEED * 100 + 20 + k);
			const n = Math.ceil(CALLS / 2);
			const sessions = await Promise.all(Array.from({ length: Math.ceil(CALLS / 50) }, () => b.session()));
			const ids = await many(n, kind, async (i, o) =>
				(await sdk.beta.sessions.events.send(sessions[i % sessions.length].id, { events: [message('go on')] }, o)).data[0].id);
			const made = (await Promise.all(sessions.map((s) => collect(c.beta.sessions.events.list(s.id, { types: ['user.message'], limit: 1000 })))))
				.flat().map((e) => e.id);
			const answered = ids.filter((id) => id !== undefined);
			const swallowed = answered.length - new Set(answered).size;
			const unclaimed = made.length - new Set(answered).size;
			t.diagnostic(`${kind}, the same words: ${n} calls, ${answered.length} answered, lost ${proxy.lost.request} requests and `
				+ `${proxy.lost.reply} replies: ${swallowed} swallowed, ${unclaimed} effects nobody was told of (${n - answered.length} calls failed)`);
			assert.ok(answered.every((id) => made.includes(id)), 'what was answered is there');
			if (!/^plain/.test(kind)) {
				assert.equal(swallowed, 0);
				assert.ok(unclaimed <= n - answered.length, 'no duplicates');
			}
			proxy.close();
		});
	}

	// Whatever makes something: the first reply is lost, the second attempt gets its bytes, and there is one of it.
	for (const [kind, { options, key }] of Object.entries(kinds).slice(0, 3)) {
		test(`one of each: ${kind}`, async () => {
			const own = await bench(c);
			const session = await c.beta.sessions.create({ agent: own.agent.id, environment_id: own.environment.id });
			const vault = await c.beta.vaults.create({ display_name: unique('once') });
			const { id: file_id } = await c.beta.files.upload({ file: await toFile(Buffer.from('once'), 'once.txt') });
			const made = { agent: own.agent.id, environment_id: own.environment.id };
			const sessions = () => collect(c.beta.sessions.list({ agent_id: own.agent.id, limit: 100 }));
			const calls = {
				agent: [(k, name, o) => k.agents.create({ name, model: MODEL }, o), () => collect(c.beta.agents.list({ limit: 100 })), (a) => a.name],
				environment: [(k, name, o) => k.environments.create({ name }, o), () => collect(c.beta.environments.list({ limit: 100 })), (e) => e.name],
				session: [(k, title, o) => k.sessions.create({ ...made, title }, o), sessions, (x) => x.title],
				'session with an event': [(k, title, o) => k.sessions.create({ ...made, title, initial_events: [message(title)] }, o), sessions, (x) => x.title],
				'session with a file': [(k, title, o) => k.sessions.create({ ...made, title, resources: [{ type: 'file', file_id, mount_path: 'a' }] }, o),
					sessions, (x) => x.title],
				resource: [(k, name, o) => k.sessions.resources.add(session.id, { type: 'file', file_id, mount_path: name }, o),
					() => collect(c.beta.sessions.resources.list(session.id)), (x) => x.mount_path.split('/').at(-1)],
				file: [async (k, name, o) => k.files.upload({ file: await toFile(Buffer.from(name), name) }, o), () => collect(c.beta.files.list({ limit: 100 })),
					(f) => f.filename],
				vault: [(k, name, o) => k.vaults.create({ display_name: name }, o), () => collect(c.beta.vaults.list({ limit: 100 })), (v) => v.display_name],
				credential: [(k, name, o) => k.vaults.credentials.create(vault.id, { display_name: name, auth: { type: 'environment_variable',
					secret_name: `S_${name.replace(/\W/g, '_')}`, secret_value: 's', networking: { type: 'limited', allowed_hosts: ['example.com'] } } }, o),
				() => collect(c.beta.vaults.credentials.list(vault.id)), (v) => v.display_name],
			};
			for (const [what, [call, list, nameOf]] of Object.entries(calls)) {
				const proxy = await dropping((n) => (n === 0 ? 'reply' : undefined));
				const sdk = client({ baseURL: proxy.url, maxRetries: 2, openTelemetry: false, ...options });
				const name = unique('once');
				const got = await call(sdk.beta, name, key ? { headers: { 'idempotency-key': name } } : {});
				assert.deepEqual({ ...proxy.lost }, { request: 0, reply: 1, seen: 2 }, what);
				assert.deepEqual((await list()).filter((x) => nameOf(x) === name).map((x) => x.id), [got.id], what);
				proxy.close();
			}
		});
	}

	// Two processes with one key that make equal sessions: the second's request is lost, and its retry must not get the first one's session.
	// fetch sends a call that directly follows another on a second connection: that the first has gone on is seen by what it asks for.
	test('an equal create of another process, whose client has gone on', async () => {
		const params = { agent: b.agent.id, environment_id: b.environment.id, title: unique('equal') };
		const first = client(), lossy = await dropping((n) => (n === 0 ? 'request' : undefined));
		const one = await first.beta.sessions.create(params);
		assert.equal((await get(`/v1/sessions/${one.id}`)).status, 200);		// on another connection for certain
		const two = await client({ baseURL: lossy.url, maxRetries: 2 }).beta.sessions.create(params);
		assert.equal(lossy.lost.request, 1);
		assert.notEqual(two.id, one.id);
		lossy.close();
	});

	test('fifty at once with one key', async () => {
		const name = unique('storm');
		const all = await Promise.all(Array.from({ length: 50 }, () =>
			post('/v1/agents', { name, model: MODEL }, { headers: { 'idempotency-key': name } })));
		const answered = all.filter((r) => r.status === 200);
		for (const r of all) assert.ok(r.status === 200 || (r.status === 409 && r.headers['x-should-retry'] === 'true'), r.text);
		assert.ok(answered.length > 0);
		assert.equal(new Set(answered.map((r) => r.text)).size, 1, 'one answer');
		assert.equal(answered.filter((r) => r.headers['idempotent-replayed'] !== 'true').length, 1, 'one effect');
		assert.equal((await collect(c.beta.agents.list({ limit: 100 }))).filter((a) => a.name === name).length, 1);
	});

	test('a confirmation whose reply was lost', async () => {
		const asks = await bench(c, { tools: [{ ...TOOLSET, configs: [{ name: 'bash', permission_policy: { type: 'always_ask' } }] }] });
		const w = await Watch.begin(asks);
		const turn = await w.turn(script([bash('echo once')]));
		const [use] = ofType(turn, 'agent.tool_use');
		const proxy = await dropping((n) => (n === 0 ? 'reply' : undefined));
		const sdk = client({ baseURL: proxy.url, maxRetries: 2 });
		const { data } = await sdk.beta.sessions.events.send(w.id, { events: [allow(use.id)] });
		assert.equal(data[0].tool_use_id, use.id);
		assert.deepEqual({ ...proxy.lost }, { request: 0, reply: 1, seen: 2 });
		const done = await w.until((e) => e.type === 'session.status_idle' && e.stop_reason.type === 'end_turn', { what: 'the end of the turn' });
		assert.ok(done);
		const confirmations = ofType(await collect(c.beta.sessions.events.list(w.id)), 'user.tool_confirmation');
		assert.deepEqual(confirmations.map((e) => e.id), [data[0].id], 'one confirmation, the one that was answered');
		await refused(c.beta.sessions.events.send(w.id, { events: [allow(use.id)] }), 400, /already|waits/);
		proxy.close();
	});
});
