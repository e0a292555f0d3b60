// Interrupts (contract 3.6; invariant I14). While the model streams: dialects.test.mjs.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { bench, client, log } from '../lib/client.mjs';
import { bash, interrupt, message, script } from '../lib/script.mjs';
import { refused } from '../lib/sdkerror.mjs';
import { assertLog, logShape } from '../lib/shape.mjs';
import { Watch, calls, ofType, one, resultOf, textOf } from '../lib/watch.mjs';

const c = client();
let b;

describe('interrupt', { concurrency: true }, () => {
	before(async () => { b = await bench(c); });

	test('while a tool runs', async () => {
		const w = await Watch.begin(b);
		await w.send(message(script(bash('echo begun; sleep 60'), bash('echo never'))));
		const use = await w.until('agent.tool_use');
		const at = performance.now();
		const [sent] = await w.send(interrupt());
		assert.equal(sent.type, 'user.interrupt');
		assert.equal(sent.processed_at, null);
		const idle = await w.idle();
		assert.ok(performance.now() - at < 10_000, 'soon');
		assert.deepEqual(idle.stop_reason, { type: 'end_turn' });
		const listed = await w.assertSameAsLog();
		assertLog(listed);
		assert.equal(logShape(listed), 'RrUsbeoIiud');
		const result = resultOf(listed, use);
		assert.equal(result.is_error, true);
		assert.ok(textOf(result).length > 0);
		w.close();
	});

	test('the shell survives its interrupted command', async () => {
		const w = await Watch.begin(b);
		await w.turn(bash('echo kept > /workspace/f'));
		await w.send(message(bash('sleep 60')));
		await w.until('agent.tool_use');
		await w.send(interrupt());
		await w.idle();
		const turn = await w.turn(bash('cat /workspace/f; cat /proc/[0-9]*/comm 2>/dev/null | grep -cx sleep || true'));
		assert.equal(calls(turn)[0].text, 'kept\n0\n', 'the file is there, the command is not');
		w.close();
	});

	test('while several tools run: a result for each', async () => {
		const w = await Watch.begin(b);
		await w.send(message(script([bash('sleep 60'), bash('sleep 61'), bash('sleep 62')])));
		for (let i = 0; i < 3; i++) await w.until('agent.tool_use');
		await w.send(interrupt());
		await w.idle();
		const listed = await w.assertSameAsLog();
		assertLog(listed);
		assert.equal(logShape(listed), 'RrUsbbbeoooIiud');
		w.close();
	});

	test('then the conversation goes on', async () => {
		const w = await Watch.begin(b);
		for (let i = 0; i < 3; i++) {
			await w.send(message(bash('sleep 60')));
			await w.until('agent.tool_use');
			await w.send(interrupt());
			assert.equal((await w.idle()).stop_reason.type, 'end_turn');
			const turn = await w.turn(`still with me ${i}?`);
			assert.match(textOf(one(turn, 'agent.message')), new RegExp(`still with me ${i}`));
		}
		assertLog(await w.assertSameAsLog());
		w.close();
	});

	test('it jumps the queue, and what was sent after it starts the next turn', async () => {
		const w = await Watch.begin(b);
		await w.send(message(bash('sleep 60')));
		await w.until('agent.tool_use');
		await w.send(interrupt(), message('next please'));
		await w.until((e) => e.type === 'agent.message' && /next please/.test(textOf(e)), { what: 'the answer' });
		await w.idle();
		const listed = await w.assertSameAsLog();
		assertLog(listed);
		assert.equal(logShape(listed), 'RrUsbeoIiudRrUsmeiud');
		w.close();
	});

	test('delete right after an interrupt is refused until it has settled', async () => {
		const w = await Watch.begin(b);
		await w.send(message(bash('sleep 60')));
		await w.until('agent.tool_use');
		await w.send(interrupt());
		try {
			await c.beta.sessions.delete(w.id);	// only if it has settled already
		} catch (e) {
			assert.equal(e.status, 400, e.message);
			await w.idle();
			await c.beta.sessions.delete(w.id);
		}
		await w.end();
		await refused(c.beta.sessions.retrieve(w.id), 404);
	});

	test('two interrupts at once', async () => {
		const w = await Watch.begin(b);
		await w.send(message(bash('sleep 60')));
		await w.until('agent.tool_use');
		await Promise.all([w.send(interrupt()), w.send(interrupt())]);
		await w.idle();
		const turn = await w.turn('alive?');
		assert.equal(ofType(turn, 'agent.message').length, 1);
		const listed = await log(c, w.id);
		assertLog(listed);
		assert.equal(ofType(listed, 'user.interrupt').length, 2);
		w.close();
	});

	test('raced with the end of a tool: one outcome, every time', async () => {
		await Promise.all(Array.from({ length: 8 }, async (_, i) => {
			const w = await Watch.begin(b);
			await w.send(message(bash(`sleep 0.${i}`)));
			await w.until('agent.tool_use');
			await w.send(interrupt());
			await w.idle();
			const turn = await w.turn('after');
			assert.match(textOf(ofType(turn, 'agent.message').at(-1)), /after/);
			assertLog(await log(c, w.id));
			w.close();
		}));
	});

	test('session_thread_id: the primary\'s own is fine, an unknown one is 404', async () => {
		const w = await Watch.begin(b);
		const running = one(await w.turn('hi'), 'session.thread_status_running');
		await refused(w.send({ type: 'user.interrupt', session_thread_id: 'sthr_01' + '1'.repeat(22) }), 404);
		await w.send(message(bash('sleep 60')));
		await w.until('agent.tool_use');
		await w.send({ type: 'user.interrupt', session_thread_id: running.session_thread_id });
		await w.idle();
		assertLog(await w.assertSameAsLog());
		w.close();
	});
});
