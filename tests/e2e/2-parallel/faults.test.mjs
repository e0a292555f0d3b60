// Model providers that fail (contract 3.5, 3.7; operations.md F29, F30), and the catalogue that names them.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync, rmSync } from 'node:fs';
import { before, describe, test } from 'node:test';
import { MODEL, TOOLSET, bench, client, log, makeAgent, unique } from '../lib/client.mjs';
import { ctl } from '../lib/ctl.mjs';
import { LAB, fault, provider, requests } from '../lib/provider.mjs';
import { bash, interrupt, message, script } from '../lib/script.mjs';
import { refused } from '../lib/sdkerror.mjs';
import { assertActive, assertLog, logShape } from '../lib/shape.mjs';
import { TOO_LATE, meanwhile } from '../lib/until.mjs';
import { Watch, ofType, one, textOf } from '../lib/watch.mjs';

const c = client();
let b;
const on = (model) => ({ create: { agent: { type: 'agent_with_overrides', id: b.agent.id, model } } });

async function assertCharged(w, events) {
	const { usage } = await c.beta.sessions.retrieve(w.id);
	assertActive(events, usage.active_seconds);
}

describe('failing providers', { concurrency: true }, () => {
	before(async () => { b = await bench(c, { model: LAB.anthropic }); });

	const passing = [
		[{ fault: 'status', status: 529 }, 'model_overloaded_error'],
		[{ fault: 'status', status: 429 }, 'model_rate_limited_error'],
		[{ fault: 'status', status: 500 }, 'model_request_failed_error'],
		[{ fault: 'error_event', status: 529 }, 'model_overloaded_error'],
		[{ fault: 'truncate' }, null], [{ fault: 'reset' }, null], [{ fault: 'reset', after: 0 }, null], [{ fault: 'bad_json' }, null],
		[{ fault: 'html' }, null],
	];
	for (const [how, type] of passing) {
		for (const model of Object.values(LAB)) {
			test(`${model}: ${JSON.stringify(how)} once: rescheduled, then answered`, async () => {
				const w = await Watch.begin(b, on(model));
				await w.turn(`${unique('try')} hello there you\n${provider(how)}`);
				const listed = await w.assertSameAsLog();
				assertLog(listed);
				assert.match(logShape(listed), /^RrUs(eX(hH|Hh)Rrs){1,3}meiud$/, ofType(listed, 'session.error').map((e) => e.error.message).join(' · '));
				const [{ error }] = ofType(listed, 'session.error');
				assert.deepEqual(error.retry_status, { type: 'retrying' });
				assert.ok(error.message.length > 0);
				if (type) assert.equal(error.type, type);
				assert.match(error.type, /^(model_overloaded_error|model_rate_limited_error|model_request_failed_error|unknown_error)$/);
				const ends = ofType(listed, 'span.model_request_end').map((e) => e.is_error === true);
				assert.deepEqual([ends[0], ends.at(-1)], [true, false]);
				assert.equal(ofType(listed, 'agent.message').length, 1, 'nothing is said twice');
				assert.equal(listed.at(-1).stop_reason.type, 'end_turn');
				await assertCharged(w, listed);
				w.close();
			});
		}
	}

	test('a provider that stays down: retries, then idle with retries_exhausted; the next message starts anew', async () => {
		const w = await Watch.begin(b, on('lab-down'));
		await w.send(message('anybody there?'));
		await w.until('session.status_rescheduled');
		const { status } = await c.beta.sessions.retrieve(w.id);
		// On a busy machine all of it may be over before the question arrives.
		assert.ok(['rescheduling', 'running'].includes(status) || (await log(c, w.id)).at(-1).stop_reason?.type === 'retries_exhausted', status);
		const idle = await w.idle({ ms: 90_000 });
		assert.deepEqual(idle.stop_reason, { type: 'retries_exhausted' });
		const listed = await w.assertSameAsLog();
		assertLog(listed);
		const errors = ofType(listed, 'session.error').map((e) => [e.error.type, e.error.retry_status.type]);
		assert.deepEqual(errors.at(-1), ['model_overloaded_error', 'exhausted']);
		for (const e of errors.slice(0, -1)) assert.deepEqual(e, ['model_overloaded_error', 'retrying']);
		assert.ok(errors.length >= 2);
		await assertCharged(w, listed);
		await w.send(message('and now?'));
		await w.until('session.status_running');
		await w.send(interrupt());
		await w.idle({ ms: 60_000 });
		assertLog(await log(c, w.id));
		w.close();
	});

	test('waiting for a retry can be interrupted', async () => {
		await meanwhile(async () => {
			const w = await Watch.begin(b, on('lab-down'));
			await w.send(message('anybody?'));
			await w.until('session.status_rescheduled');
			await w.send(interrupt());
			const idle = await w.idle({ ms: 60_000 });
			assertLog(await log(c, w.id));
			w.close();
			if (idle.stop_reason.type === 'retries_exhausted') return TOO_LATE;
			assert.deepEqual(idle.stop_reason, { type: 'end_turn' });
			return true;
		});
	});

	test('refused credentials are not retried', async () => {
		const w = await Watch.begin(b, on('lab-denied'));
		const turn = await w.turn('hello');
		assert.equal(logShape(turn), 'RrUseXiud');
		const { error } = one(turn, 'session.error');
		assert.equal(error.type, 'model_request_failed_error');
		assert.equal(error.retry_status.type, 'exhausted');
		assert.ok(!/sk-test/.test(JSON.stringify(turn)), 'no key in the message');
		assert.deepEqual(turn.at(-1).stop_reason, { type: 'retries_exhausted' });
		w.close();
	});

	test('a context that does not fit is the end of the session', async () => {
		const w = await Watch.begin(b);
		await w.send(message(`too much\n${provider({ fault: 'status', status: 400, message: 'prompt is too long: 300000 tokens > 200000 maximum' })}`));
		await w.until('session.status_terminated');
		await w.end();
		const listed = await log(c, w.id);
		assertLog(listed);
		assert.match(logShape(listed), /^RrUseX(Tq|qT|T)$/);
		const { error } = one(listed, 'session.error');
		assert.equal(error.type, 'unknown_error');
		assert.equal(error.retry_status.type, 'terminal');
		assert.match(error.message, /prompt is too long/);
		const s = await c.beta.sessions.retrieve(w.id);
		assert.equal(s.status, 'terminated');
		await refused(c.beta.sessions.events.send(w.id, { events: [message('hello?')] }), 400);
		w.close();
	});

	test('the second route answers when the first is down, and nobody notices', async () => {
		const w = await Watch.begin(b, on('lab-fallback'));
		const turn = await w.turn('hello');
		assert.equal(logShape(turn), 'RrUsmeiud');
		assert.match(textOf(one(turn, 'agent.message')), /fake-2/);
		w.close();
	});

	test('a failure between two steps repeats only the request, never the tool', async () => {
		await meanwhile(async (seconds) => {
			const marker = unique('once');
			const w = await Watch.begin(b);
			await w.send(message(script(bash(`sleep ${seconds}; echo ${marker} >> /workspace/count`), bash('wc -l < /workspace/count'))));
			await w.until('agent.tool_use');
			await fault({ fault: 'status', status: 529, contains: marker });
			if (ofType(await log(c, w.id), 'agent.tool_result').length) return TOO_LATE;
			await w.idle({ ms: 60_000 });
			const listed = await w.assertSameAsLog();
			assertLog(listed);
			assert.match(logShape(listed), /^RrUsbeoseX(hH|Hh)Rrsbeosmeiud$/);
			const results = ofType(listed, 'agent.tool_result').map(textOf);
			assert.equal(results.at(-1).trim(), '1');
			assert.equal((await requests(marker)).length, 4);
			return w.close();
		});
	});

	test('messages sent while waiting for a retry are not lost', async () => {
		const w = await Watch.begin(b);
		await w.send(message(`first\n${provider({ fault: 'status', status: 529 })}`));
		await w.until('session.status_rescheduled');
		const [sent] = await w.send(message('second'));
		await w.until((e) => e.type === 'agent.message' && /second/.test(textOf(e)), { what: 'an answer to the second' });
		await w.idle();
		const listed = await w.assertSameAsLog();
		assertLog(listed);
		assert.equal(listed.filter((e) => e.id === sent.id).length, 1);
		w.close();
	});

	test('a loop of tool calls ends at the cap', { timeout: 180_000 }, async () => {
		const w = await Watch.begin(b, on(MODEL));
		await w.send(message(script(...Array.from({ length: 230 }, () => bash('true')))));
		const idle = await w.idle({ ms: 170_000 });
		assert.deepEqual(idle.stop_reason, { type: 'retries_exhausted' });
		const listed = await log(c, w.id);
		assertLog(listed);
		const { error } = one(listed, 'session.error');
		assert.equal(error.type, 'tool_use_limit_reached_error');
		assert.equal(error.retry_status.type, 'exhausted');
		w.close();
	});
});

describe('the catalogue', { concurrency: false }, () => {
	const file = process.env.ROOST_TEST_CATALOGUE;

	test('its models are listed by the API', async () => {
		const m = await c.beta.models.retrieve('lab-openai');
		assert.equal(m.display_name, 'Lab, Chat Completions');
		assert.equal(m.max_input_tokens, 128000);
		assert.equal(m.max_tokens, 4096);
	});

	test('with a provider configured, a model nobody knows is refused', async () => {
		await refused(makeAgent(c, { model: 'claude-nobody-knows' }), 400, /model/);
		await refused(b.session({ agent: { type: 'agent_with_overrides', id: b.agent.id, model: 'claude-nobody-knows' } }), 400, /model/);
		assert.equal((await makeAgent(c, { model: MODEL, tools: [TOOLSET] })).model.id, MODEL, 'the scripted one stays');
	});

	test('applied again, nothing changes', async () => {
		const before = (await ctl('models', 'list')).map((r) => r.join(' '));
		const rows = await ctl('models', 'apply', file);
		assert.ok(!rows.some((r) => ['created', 'changed'].includes(r.at(-1))), JSON.stringify(rows));
		assert.deepEqual((await ctl('models', 'list')).map((r) => r.join(' ')), before);
	});

	test('a bad file changes nothing and names the line', async () => {
		const before = (await ctl('models', 'list')).map((r) => r.join(' '));
		const good = readFileSync(file, 'utf8');
		for (const broken of [good.replace('"dialect":"openai"', '"dialect":"french"'), good.replace('"context_window":128000', '"context_window":"many"'),
			good.replace('"provider":"lab-o","upstream":"fake-1"', '"provider":"nobody","upstream":"x"'), good.slice(0, -3), good.replace('"input":"3"', '"input":"-3"'),
			good.replace('"id":"lab-down"', '"id":"lab-openai"'), good.replace('"price"', '"prize"')]) {
			const path = `${file}.${unique('bad')}`;
			writeFileSync(path, broken.replace('"Lab, Messages"', '"changed"'));
			const e = await ctl('models', 'apply', path).then(() => assert.fail('accepted'), (x) => x);
			rmSync(path);
			assert.match(e.stderr ?? e.message, /:\d+\b|line \d+/, 'names the line');
			assert.deepEqual((await ctl('models', 'list')).map((r) => r.join(' ')), before);
		}
	});

	test('no key is shown by the operator\'s tool', async () => {
		assert.ok(!JSON.stringify(await ctl('models', 'list')).includes('sk-test'));
	});
});
