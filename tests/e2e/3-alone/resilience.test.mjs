// kill -9 of any one process: it comes back by itself, nothing acknowledged is lost, and a session that was there before goes on
// (design.md section 12; invariants I2, I3, I5, I7, I12, I13; must show 5). Runs alone: while it runs nobody else has a service.
//
// Requests may fail while a service is away; these clients retry as the SDK does by default.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { bench, client, log } from '../lib/client.mjs';
import { bash, message, script } from '../lib/script.mjs';
import { healthy, killService, pidOf, services } from '../lib/service.mjs';
import { assertActive, assertLog } from '../lib/shape.mjs';
import { until } from '../lib/until.mjs';
import { Watch, calls, ofType, textOf } from '../lib/watch.mjs';

const patient = client({ maxRetries: 8 });
let b;

async function settled(id, ms = 60_000) {
	await until('the session is idle', async () => (await patient.beta.sessions.retrieve(id)).status === 'idle', ms);
	return log(patient, id);
}

// One turn, followed by polling: streams may be cut by what was killed.
async function say(id, text) {
	const { data } = await patient.beta.sessions.events.send(id, { events: [message(text)] });
	const events = await settled(id);
	const at = events.findIndex((e) => e.id === data[0].id);
	assert.ok(at >= 0, 'the acknowledged message is in the log');
	return { events, turn: events.slice(at) };
}

// The log is right, holds each acknowledged event once, and what was there before is there unchanged.
function assertGoodOn(before, events) {
	assertLog(events);
	assert.deepEqual(events.slice(0, before.length), before, 'what was readable stays as it was');
}

async function assertCharged(id, events) {
	assertActive(events, (await patient.beta.sessions.retrieve(id)).usage.active_seconds);
}

describe('a killed process comes back', () => {
	before(async () => {
		await healthy();
		b = await bench(patient);
	});

	const kinds = ['gateway', 'stream', 'worker', 'hands', 'redis', 'nginx', 'postgres'];

	test('every kind of service runs', () => {
		const have = services();
		for (const kind of kinds) assert.ok(have.some((s) => s === kind || s.startsWith(`${kind}-`)), `${kind} in ${have}`);
	});

	// First: for one lease after a start of Postgres nobody is declared dead.
	test('a worker\'s death is noticed within seconds, not within a lease', async () => {
		const w = await Watch.begin(b);
		await w.send(message(bash('sleep 1')));
		await w.until('agent.tool_use');
		const at = performance.now();
		for (const name of services().filter((x) => x.startsWith('worker-'))) await killService(name);
		await settled(w.id, 28_000);
		assert.ok(performance.now() - at < 28_000);		// a lease is 30 s
		assertLog(await log(patient, w.id));
		w.close();
	});

	for (const kind of kinds) {
		test(`${kind}, while a session is idle`, async () => {
			const s = await b.session();
			const { events: first } = await say(s.id, script(bash('echo kept > /workspace/f; cd /tmp')));
			for (const name of services().filter((x) => x === kind || x.startsWith(`${kind}-`))) await killService(name);
			await healthy();
			const { events, turn } = await say(s.id, script(bash('cat /workspace/f'), bash('echo on it goes')));
			assertGoodOn(first, events);
			const done = calls(turn);
			assert.equal(done[1].text, 'on it goes\n');
			// The launcher's death may take the sandboxes with it; nobody else's does.
			if (kind !== 'hands') assert.equal(done[0].text, 'kept\n');
			await assertCharged(s.id, events);
			const w = await Watch.open(patient, s.id);
			await w.turn('and streams work');
			w.close();
		});
	}

	for (const kind of kinds) {
		test(`${kind}, while a tool runs`, async () => {
			const w = await Watch.begin(b);
			const [sent] = await w.send(message(script(['working on it', bash('sleep 2; echo slept')], bash('echo second step'))));
			await w.until('agent.tool_use');
			for (const name of services().filter((x) => x === kind || x.startsWith(`${kind}-`))) await killService(name);
			await healthy();
			const first = await settled(w.id, 90_000);
			assertLog(first);
			assert.equal(first.filter((e) => e.id === sent.id).length, 1);
			const uses = ofType(first, 'agent.tool_use');
			assert.ok(uses.length >= 1);
			assert.equal(ofType(first, 'agent.tool_result').length, uses.length, 'each call has one result');
			// Only what ran in or through the killed process may be told as lost.
			if (!['hands', 'worker', 'postgres'].includes(kind)) assert.deepEqual(calls(first).map((k) => k.text), ['slept\n', 'second step\n']);
			assert.equal(first.at(-1).stop_reason.type, 'end_turn');
			await assertCharged(w.id, first);
			w.close();
			const { events } = await say(w.id, script(bash('echo recovered')));
			assertGoodOn(first, events);
			assert.equal(calls(events).at(-1).text, 'recovered\n');
		});
	}

	test('a gateway that hangs keeps a few requests; what comes behind them is answered by the next one', async () => {
		const c = client({ maxRetries: 0, timeout: 60_000 });
		const first = pidOf('gateway-0');
		let answered = 0, all;
		process.kill(first, 'SIGSTOP');
		try {
			all = Promise.all(Array.from({ length: 48 }, () => c.beta.agents.list({ limit: 1 }).then(() => answered++)));
			await until('the third that is above its 32 is answered', () => answered >= 16);
		} finally {
			process.kill(first, 'SIGCONT');
		}
		await all;
	});

	test('messages acknowledged while workers die are all answered, once', async () => {
		const all = await Promise.all(Array.from({ length: 6 }, () => b.session()));
		const sent = new Map(all.map((s) => [s.id, []]));
		for (let round = 0; round < 3; round++) {
			await Promise.all(all.map(async (s) => {
				const { data } = await patient.beta.sessions.events.send(s.id, { events: [message(bash(`echo round ${round}; sleep 0.3`))] });
				sent.get(s.id).push(...data.map((e) => e.id));
			}));
			const workers = services().filter((x) => x.startsWith('worker-'));
			await killService(workers[round % workers.length]);
		}
		for (const s of all) {
			const events = await settled(s.id, 90_000);
			assertLog(events);
			assert.deepEqual(ofType(events, 'user.message').map((e) => e.id), sent.get(s.id), 'each once, in order');
			await assertCharged(s.id, events);
		}
	});

	test('requests during a restart of Postgres fail cleanly or succeed, and an acknowledged event is never lost', async () => {
		const s = await b.session();
		const acknowledged = [];
		let stop = false;
		const c = client({ maxRetries: 0, timeout: 15_000 });
		const sender = (async () => {
			for (let i = 0; !stop; i++) {
				try {
					const { data } = await c.beta.sessions.events.send(s.id, { events: [message(`n${i}`)] });
					acknowledged.push(data[0].id);
				} catch (e) {
					assert.ok(e.status === undefined || e.status >= 500 || e.status === 429, `refused with ${e.status}: ${e.message}`);
				}
			}
		})();
		await until('some are acknowledged', () => acknowledged.length > 5);
		await killService('postgres');
		await healthy();
		const n = acknowledged.length;
		await until('more are acknowledged', () => acknowledged.length > n + 5);
		stop = true;
		await sender;
		const events = await settled(s.id, 90_000);
		assertLog(events);
		const ids = ofType(events, 'user.message').map((e) => e.id);
		for (const id of acknowledged) assert.equal(ids.filter((x) => x === id).length, 1, 'in the log exactly once');
	});

	test('open streams: cut or kept, after a reconnect nothing is missing', async () => {
		for (const name of ['stream-0', 'redis', 'nginx']) {
			const w = await Watch.begin(b);
			await w.turn('before');
			await killService(name);
			await healthy();
			const again = await Watch.open(patient, w.id);
			await again.turn('after');
			const whole = new Map([...await log(patient, w.id), ...again.persisted].map((e) => [e.id, e]));
			const listed = await log(patient, w.id);
			assert.equal(whole.size, listed.length);
			assertLog(listed);
			for (const x of [w, again]) x.close();
		}
	});

	test('Redis emptied: nothing depends on it', async () => {
		const s = await b.session();
		const { events: first } = await say(s.id, 'before');
		await killService('redis');
		const { events } = await say(s.id, bash('echo after'));
		assertGoodOn(first, events);
	});

	test('a confirmation asked before everything died can be given after', async () => {
		const agent = { type: 'agent_with_overrides', id: b.agent.id,
			tools: [{ type: 'agent_toolset_20260401', default_config: { permission_policy: { type: 'always_ask' } } }] };
		const s = await b.session({ agent });
		const { events } = await say(s.id, bash('echo asked'));
		const use = ofType(events, 'agent.tool_use').at(-1);
		assert.equal(events.at(-1).stop_reason.type, 'requires_action');
		for (const name of ['postgres', ...services().filter((x) => /^(worker|gateway|stream)-/.test(x)), 'redis', 'nginx']) await killService(name);
		await healthy();
		await patient.beta.sessions.events.send(s.id, { events: [{ type: 'user.tool_confirmation', tool_use_id: use.id, result: 'allow' }] });
		const done = await settled(s.id);
		assertGoodOn(events, done);
		assert.equal(textOf(ofType(done, 'agent.tool_result')[0]), 'asked\n');
	});

	test('at the end everything is as it was', async () => {
		await healthy();
		for (const name of services()) assert.ok(pidOf(name) > 1);
		const { events } = await say((await b.session()).id, bash('echo fine'));
		assert.equal(calls(events)[0].text, 'fine\n');
	});
});
