// What a session is charged for (contract 9.1; invariant I10; must show 7).
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { TOOLSET, bench, client, log } from '../lib/client.mjs';
import { allow, bash, interrupt, message, script } from '../lib/script.mjs';
import { assertActive, micros } from '../lib/shape.mjs';
import { TOO_LATE, meanwhile, until } from '../lib/until.mjs';
import { Watch, ofType, one } from '../lib/watch.mjs';

const c = client();
let b;

const tokens = (u) => [u.input_tokens, u.output_tokens, u.cache_read_input_tokens];
const spans = (events) => ofType(events, 'span.model_request_end').map((e) => e.model_usage)
	.reduce((a, u) => [a[0] + u.input_tokens, a[1] + u.output_tokens, a[2] + u.cache_read_input_tokens], [0, 0, 0]);

async function check(id) {
	const [s, events] = [await c.beta.sessions.retrieve(id), await log(c, id)];
	assert.equal(s.status, 'idle');
	assertActive(events, s.usage.active_seconds, 'usage.active_seconds');
	assertActive(events, s.stats.active_seconds, 'stats.active_seconds');
	assert.deepEqual(tokens(s.usage), spans(events), 'tokens are the sum of the spans');
	events.forEach((e, i) => {
		if (e.type !== 'session.usage') return;
		assertActive(events.slice(0, i + 2), e.usage.active_seconds, `session.usage at ${i}`);
		assert.deepEqual(tokens(e.usage), spans(events.slice(0, i)));
		for (const [k, v] of Object.entries(e.usage)) assert.notEqual(v, null, `${k} of session.usage is never null`);
	});
	const last = ofType(events, 'session.usage').at(-1).usage;
	assert.equal(last.active_seconds, s.usage.active_seconds, 'GET and the last session.usage agree');
	return { s, events };
}

describe('usage', { concurrency: true }, () => {
	before(async () => { b = await bench(c); });

	test('a new session: zeros', async () => {
		const { usage, stats } = await b.session();
		assert.deepEqual(tokens(usage), [0, 0, 0]);
		assert.equal(usage.active_seconds, 0);
		assert.equal(usage.cache_creation ?? null, null);
		assert.equal(stats.active_seconds ?? 0, 0);
		assert.ok(stats.duration_seconds >= 0 && stats.duration_seconds < 10);
	});

	test('one turn: the words of the scripted model, the time between running and idle', async () => {
		const w = await Watch.begin(b);
		await w.turn(script(['three words here', bash('sleep 0.7')]));
		const { s, events } = await check(w.id);
		assert.ok(s.usage.active_seconds >= 0.7);
		assert.ok(s.usage.input_tokens > 0 && s.usage.output_tokens > 0);
		assert.ok(ofType(events, 'span.model_request_end')[0].model_usage.output_tokens >= 3);
		w.close();
	});

	test('idle time is not in it', async () => {
		const w = await Watch.begin(b);
		await w.turn('one');
		const first = (await check(w.id)).s;
		await until('a second of the session\'s life goes by idle', async () =>
			(await c.beta.sessions.retrieve(w.id)).stats.duration_seconds > first.stats.duration_seconds + 1);
		assert.equal((await c.beta.sessions.retrieve(w.id)).usage.active_seconds, first.usage.active_seconds);
		await w.turn('two');
		const { s, events } = await check(w.id);
		const wall = Number(micros(events.at(-1).processed_at) - micros(events[0].processed_at)) / 1e6;
		assert.ok(s.usage.active_seconds < wall - 0.9, `${s.usage.active_seconds} of ${wall}`);
		w.close();
	});

	test('many turns add up', async () => {
		const w = await Watch.begin(b);
		for (let i = 0; i < 15; i++) await w.turn(i % 4 ? `turn ${i}` : bash('true'));
		const { events } = await check(w.id);
		assert.equal(ofType(events, 'session.usage').length, 15);
		const seen = ofType(events, 'session.usage').map((e) => e.usage.active_seconds);
		assert.deepEqual(seen, [...seen].sort((x, y) => x - y), 'it only grows');
		w.close();
	});

	test('active_seconds moves while it runs, tokens at the end', async () => {
		await meanwhile(async (seconds) => {
			const w = await Watch.begin(b);
			await w.send(message(bash(`sleep ${seconds + 1}`)));
			await w.until('agent.tool_use');
			const get = () => c.beta.sessions.retrieve(w.id);
			const first = await get();
			if (first.status !== 'running') return TOO_LATE;
			await until('it grows', async () => (await get()).usage.active_seconds > first.usage.active_seconds);
			await w.idle({ ms: 90_000 });
			await check(w.id);
			return w.close();
		});
	});

	test('waiting for a confirmation is free', async () => {
		const w = await Watch.begin(b, { create: { agent: { type: 'agent_with_overrides', id: b.agent.id,
			tools: [{ ...TOOLSET, default_config: { permission_policy: { type: 'always_ask' } } }] } } });
		const use = one(await w.turn(bash('true')), 'agent.tool_use');
		const before = (await check(w.id)).s;
		await until('a second goes by', async () =>
			(await c.beta.sessions.retrieve(w.id)).stats.duration_seconds > before.stats.duration_seconds + 1);
		await w.send(allow(use.id));
		await w.idle();
		const { s } = await check(w.id);
		const wall = s.stats.duration_seconds;
		assert.ok(s.usage.active_seconds < wall - 1, `${s.usage.active_seconds} of ${wall}`);
		w.close();
	});

	test('an interrupted turn is charged until its idle', async () => {
		const w = await Watch.begin(b);
		await w.send(message(bash('sleep 60')));
		await w.until('agent.tool_use');
		await w.send(interrupt());
		await w.idle();
		const { s } = await check(w.id);
		assert.ok(s.usage.active_seconds < 60, 'not for the time that its command asked for');
		w.close();
	});

	test('the list carries the same object; archive freezes the duration', async () => {
		const w = await Watch.begin(b);
		await w.turn('hello');
		const { s } = await check(w.id);
		const listed = (await c.beta.sessions.list({ agent_id: b.agent.id, limit: 100 })).data.find((x) => x.id === w.id);
		assert.deepEqual(listed.usage, s.usage);
		const gone = await c.beta.sessions.archive(w.id);
		await until('time goes by', async () => Date.now() > Date.parse(gone.archived_at) + 300);
		const after = await c.beta.sessions.retrieve(w.id);
		assert.equal(after.stats.duration_seconds, gone.stats.duration_seconds);
		assert.equal(after.usage.active_seconds, s.usage.active_seconds);
		w.close();
	});
});
