// The canonical order of a turn (contract 3.5, appendix B 20, D-1), on the built-in scripted model. The same on the other two dialects:
// dialects.test.mjs.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { bench, client, log } from '../lib/client.mjs';
import { bash, call, message, script } from '../lib/script.mjs';
import { assertLog, logShape } from '../lib/shape.mjs';
import { TOO_LATE, meanwhile } from '../lib/until.mjs';
import { Watch, calls, ofType, one, textOf } from '../lib/watch.mjs';

const c = client();
let b;

describe('canonical order', { concurrency: 8 }, () => {
	before(async () => { b = await bench(c, { name: 'Orderly' }); });

	async function play(...turns) {
		const w = await Watch.begin(b);
		for (const t of turns) await w.turn(t);
		const listed = await w.assertSameAsLog();
		assertLog(listed);
		w.close();
		return listed;
	}

	test('text', async () => {
		const events = await play('hi');
		assert.equal(logShape(events), 'RrUsmeiud');
		const idle = events.at(-1), usage = events.at(-2), thread = events.at(-3);
		assert.deepEqual(idle.stop_reason, { type: 'end_turn' });
		assert.equal(idle.stop_details, null);
		assert.deepEqual(thread.stop_reason, { type: 'end_turn' });
		assert.equal(thread.stop_details, null);
		assert.equal(thread.agent_name, 'Orderly');
		assert.match(thread.session_thread_id, /^sthr_01/);
		const running = one(events, 'session.thread_status_running');
		assert.equal(running.session_thread_id, thread.session_thread_id);
		assert.equal(running.agent_name, 'Orderly');
		assert.equal(typeof usage.usage.active_seconds, 'number');
		const end = one(events, 'span.model_request_end');
		assert.ok(end.is_error === false || end.is_error === null);
		assert.ok(end.model_usage.input_tokens > 0 && end.model_usage.output_tokens > 0);
	});

	test('two turns', async () => {
		assert.equal(logShape(await play('one', 'two')), 'RrUsmeiudRrUsmeiud');
	});

	test('one tool', async () => {
		const events = await play(bash('echo hi'));
		assert.equal(logShape(events), 'RrUsbeosmeiud');
		const use = one(events, 'agent.tool_use');
		assert.equal(use.name, 'bash');
		assert.deepEqual(use.input, { command: 'echo hi' });
		assert.equal(use.evaluated_permission, 'allow');
		assert.deepEqual(use.evaluation ?? { type: 'always_allow' }, { type: 'always_allow' });
		assert.ok(!('session_thread_id' in use));
		const result = one(events, 'agent.tool_result');
		assert.equal(result.tool_use_id, use.id);
		assert.equal(textOf(result), 'hi\n');
		assert.ok(result.is_error !== true);
		assert.equal(textOf(one(events, 'agent.message')), 'Done.');
	});

	test('words before the calls', async () => {
		assert.equal(logShape(await play(script(['First I look.', bash('true')], ['Then again.', bash('true')]))), 'RrUsmbeosmbeosmeiud');
	});

	test('parallel calls', async () => {
		const events = await play(script([bash('echo a'), call('write', { file_path: '/workspace/p', content: 'x' }), bash('echo c')], bash('echo d')));
		assert.equal(logShape(events), 'RrUsbbbeooosbeosmeiud');
		assert.deepEqual(calls(events).map((k) => k.text).filter((t) => /^[acd]\n$/.test(t)), ['a\n', 'c\n', 'd\n']);
	});

	test('a tool that fails is an error result and the turn goes on', async () => {
		const events = await play(bash('echo oops; exit 3'));
		assert.equal(logShape(events), 'RrUsbeosmeiud');
		assert.equal(one(events, 'agent.tool_result').is_error, true);
		assert.match(textOf(one(events, 'agent.tool_result')), /oops/);
	});

	test('a call with an input that is no JSON, or not what the tool takes', async () => {
		const events = await play(script([call('bash', { comand: 'typo' })], [call('read', {})], [call('bash', { command: 7 })]));
		assert.equal(logShape(events), 'RrUsbeosbeosbeosmeiud');
		for (const k of calls(events)) assert.ok(k.error, `${k.name} ${JSON.stringify(k.input)}`);
	});

	test('a message sent during a tool call lands after its result, in the same turn', async () => {
		await meanwhile(async (seconds) => {
			const w = await Watch.begin(b);
			await w.send(message(bash(`sleep ${seconds}; echo slept`)));
			await w.until('agent.tool_use');
			const [sent] = await w.send(message('and now this'));
			if (ofType(await log(c, w.id), 'agent.tool_result').length) return TOO_LATE;
			await w.idle({ ms: 90_000 });
			const listed = await w.assertSameAsLog();
			assertLog(listed);
			assert.equal(logShape(listed), 'RrUsbeoUsmeiud', 'one running, one idle');
			assert.equal(listed[7].id, sent.id);
			assert.match(textOf(one(listed, 'agent.message')), /and now this/);
			return w.close();
		});
	});

	test('a message sent during the last model request gets one more request in the same turn', async () => {
		const w = await Watch.begin(b, { event_deltas: ['agent.message'] });
		await w.send(message(Array.from({ length: 4000 }, (_, i) => `word${i}`).join(' ')));
		await w.until('span.model_request_start');
		await w.send(message('one more'));
		await w.idleAfter(2);
		const listed = await log(c, w.id);
		assertLog(listed);
		assert.match(logShape(listed), /^RrUsmeUsmeiud$|^RrUsmeiudRrUsmeiud$/);
		w.close();
	});

	test('messages sent together are consumed together', async () => {
		const w = await Watch.begin(b);
		await w.send(message('first'), message('second'), message('third'));
		await w.idle();
		const listed = await w.assertSameAsLog();
		assert.equal(logShape(listed), 'RrUUUsmeiud');
		assert.match(textOf(one(listed, 'agent.message')), /third/);
		w.close();
	});

	test('twenty turns in a row keep the log right', async () => {
		const events = await play(...Array.from({ length: 20 }, (_, i) => (i % 3 ? `turn ${i}` : bash(`echo ${i}`))));
		assert.equal(ofType(events, 'session.status_idle').length, 20);
	});

	test('a long chain of steps', async () => {
		const events = await play(script(...Array.from({ length: 30 }, (_, i) => bash(`echo ${i}`))));
		assert.equal(logShape(events), `RrU${'sbeo'.repeat(30)}smeiud`);
		assert.deepEqual(calls(events).map((k) => k.text), Array.from({ length: 30 }, (_, i) => `${i}\n`));
	});

	test('many sessions at once do not disturb each other', async () => {
		const all = await Promise.all(Array.from({ length: 25 }, (_, i) => play(bash(`echo session ${i}`), `bye ${i}`)));
		all.forEach((events, i) => {
			assert.equal(logShape(events), 'RrUsbeosmeiudRrUsmeiud');
			assert.equal(textOf(one(events, 'agent.tool_result')), `session ${i}\n`);
		});
	});
});
