// Permission policies and confirmations (contract 3.2, 3.5, 4.2, C-9, C-10, D-2; appendix B 7).
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { TOOLSET, bench, client } from '../lib/client.mjs';
import { allow, answer, bash, call, deny, interrupt, message, script } from '../lib/script.mjs';
import { exactly, refused } from '../lib/sdkerror.mjs';
import { assertLog, logShape } from '../lib/shape.mjs';
import { Watch, calls, ofType, one, resultOf, textOf } from '../lib/watch.mjs';

const c = client();
const ASK = { permission_policy: { type: 'always_ask' } };
const CUSTOM = { type: 'custom', name: 'ticket', description: 'd', input_schema: { type: 'object' } };
let b;

const uses = (events) => ofType(events, 'agent.tool_use');
const waiting = (ids) => exactly('Invalid user.message event at events[0]: waiting on responses to events '
	+ `[${ids.join(' ')}]; only \`user.tool_confirmation\`, \`user.custom_tool_result\`, \`user.tool_result\`, or \`user.interrupt\` may be sent `
	+ '(a `system.message` may trail a tool result)');

describe('confirmations', { concurrency: true }, () => {
	// bash and write ask; read and the rest do not; glob is off.
	before(async () => {
		b = await bench(c, { tools: [{ ...TOOLSET, configs: [
			{ name: 'bash', ...ASK }, { name: 'write', ...ASK }, { name: 'glob', enabled: false }] }, CUSTOM] });
	});

	async function ask(...lines) {
		const w = await Watch.begin(b);
		const turn = await w.turn(script(lines));
		assert.equal(turn.at(-1).stop_reason.type, 'requires_action');
		return { w, turn, asked: uses(turn) };
	}
	const finish = (w) => w.until((e) => e.type === 'session.status_idle' && e.stop_reason.type === 'end_turn', { what: 'the end of the turn' });

	test('allow', async () => {
		const { w, turn, asked: [use] } = await ask(bash('echo allowed'));
		assert.equal(logShape(turn), 'RrUsbeiud');
		assert.equal(use.evaluated_permission, 'ask');
		assert.deepEqual(use.evaluation, { type: 'always_ask' });
		assert.deepEqual(turn.at(-1).stop_reason, { type: 'requires_action', event_ids: [use.id] });
		assert.deepEqual(one(turn, 'session.thread_status_idle').stop_reason, turn.at(-1).stop_reason);
		const [sent] = await w.send(allow(use.id));
		assert.equal(sent.processed_at, null, 'a confirmation is echoed without a stamp');
		assert.ok(!('deny_message' in sent) && !('session_thread_id' in sent));
		await finish(w);
		const listed = await w.assertSameAsLog();
		assertLog(listed);
		assert.equal(logShape(listed), 'RrUsbeiudCRrosmeiud');
		assert.equal(textOf(resultOf(listed, use)), 'allowed\n');
		w.close();
	});

	test('deny, with and without words', async () => {
		for (const [why, want] of [[undefined, 'Permission to use bash has been rejected.'],
			['not on a Friday', 'Permission to use bash has been rejected. Rejection message: not on a Friday']]) {
			const { w, asked: [use] } = await ask(bash('touch /workspace/denied'));
			const [sent] = await w.send(deny(use.id, why));
			assert.equal(sent.deny_message, why);
			await finish(w);
			const listed = await w.assertSameAsLog();
			assertLog(listed);
			assert.equal(logShape(listed), 'RrUsbeiudCRrosmeiud');
			const result = resultOf(listed, use);
			assert.equal(result.is_error, true);
			assert.equal(textOf(result), want);
			w.close();
		}
	});

	test('a denied call is not run', async () => {
		const { w, asked: [use] } = await ask(call('write', { file_path: '/workspace/denied', content: 'x' }));
		await w.send(deny(use.id));
		await finish(w);
		const turn = await w.turn(script(call('read', { file_path: '/workspace/denied' })));
		assert.equal(calls(turn)[0].error, true, 'there is no such file');
		w.close();
	});

	test('two asks, resolved one by one', async () => {
		const { w, turn, asked: [x, y] } = await ask(bash('echo x'), bash('echo y'));
		assert.deepEqual(turn.at(-1).stop_reason.event_ids, [x.id, y.id]);
		await w.send(allow(x.id));
		const partial = await w.idle();
		assert.deepEqual(partial.stop_reason, { type: 'requires_action', event_ids: [y.id] });
		assert.equal(w.events.at(-2).type, 'session.usage');
		await refused(w.send(message('hurry')), 400, waiting([y.id]));
		await w.send(deny(y.id, 'no'));
		await finish(w);
		const listed = await w.assertSameAsLog();
		assertLog(listed);
		assert.equal(textOf(resultOf(listed, x)), 'x\n');
		assert.equal(resultOf(listed, y).is_error, true);
		assert.match(logShape(listed), /^RrUsbbeiud(C?i?ud)C{1,2}Rroosmeiud$/);
		w.close();
	});

	test('answers out of call order end up right', async () => {
		const { w, asked: [x, y, z] } = await ask(bash('echo x'), bash('echo y'), bash('echo z'));
		await w.send(allow(z.id));
		assert.deepEqual((await w.idle()).stop_reason.event_ids, [x.id, y.id]);
		await w.send(deny(y.id), allow(x.id));
		await finish(w);
		const listed = await w.assertSameAsLog();
		assertLog(listed);
		assert.deepEqual(calls(listed).map((k) => [k.text.slice(0, 10), k.error]), [['x\n', false], ['Permission', true], ['z\n', false]]);
		w.close();
	});

	test('both in one request', async () => {
		const { w, asked: [x, y] } = await ask(bash('echo x'), bash('echo y'));
		await w.send(allow(x.id), allow(y.id));
		await finish(w);
		const listed = await w.assertSameAsLog();
		assert.equal(logShape(listed), 'RrUsbbeiudCCRroosmeiud');
		w.close();
	});

	test('answered before the idle event', async () => {
		const w = await Watch.begin(b);
		await w.send(message(script([bash('echo quick'), call('read', { file_path: '/etc/passwd' })])));
		const use = await w.until('agent.tool_use');
		await w.send(allow(use.id));
		await finish(w);
		const listed = await w.assertSameAsLog();
		assertLog(listed);
		assert.equal(textOf(resultOf(listed, use)), 'quick\n');
		w.close();
	});

	test('allowed, asked and custom calls in one step', async () => {
		const { w, turn, asked } = await ask(call('grep', { pattern: 'root', path: '/etc/passwd' }), bash('echo asked'), call('ticket', {}));
		const custom = one(turn, 'agent.custom_tool_use');
		assert.deepEqual(asked.map((u) => u.evaluated_permission), ['allow', 'ask']);
		assert.deepEqual(turn.at(-1).stop_reason.event_ids, [asked[1].id, custom.id]);
		assert.equal(logShape(turn), 'RrUsbbceoiud', 'the allowed call has run');
		await w.send(answer(custom.id, 'T'), allow(asked[1].id));
		await finish(w);
		assertLog(await w.assertSameAsLog());
		w.close();
	});

	test('a confirmation of a call that did not ask, of one already answered, of another session', async () => {
		const { w, turn, asked } = await ask(call('grep', { pattern: 'x', path: '/etc' }), bash('echo 1'));
		const [plain, use] = asked;
		await refused(w.send(allow(plain.id)), 400);
		const other = await ask(bash('echo other'));
		await refused(w.send(allow(other.asked[0].id)), 400);
		await refused(w.send(answer(use.id, 'as a custom tool')), 400);
		await w.send(allow(use.id));
		await refused(w.send(allow(use.id)), 400);
		await refused(w.send(deny(use.id)), 400);
		await finish(w);
		assert.equal(ofType(await w.assertSameAsLog(), 'user.tool_confirmation').length, 1);
		assert.equal(turn.at(-1).stop_reason.event_ids.length, 1);
		for (const v of [w, other.w]) v.close();
	});

	test('twice in one request is refused whole', async () => {
		const { w, asked: [use] } = await ask(bash('echo 1'));
		await refused(w.send(allow(use.id), deny(use.id)), 400);
		await w.send(allow(use.id));
		await finish(w);
		w.close();
	});

	test('one of many racing confirmations wins', async () => {
		const { w, asked: [use] } = await ask(bash('echo once'));
		const all = await Promise.allSettled(Array.from({ length: 8 }, (_, i) => w.send(i % 2 ? allow(use.id) : deny(use.id))));
		assert.equal(all.filter((r) => r.status === 'fulfilled').length, 1);
		for (const r of all) if (r.status === 'rejected') assert.equal(r.reason.status, 400);
		await finish(w);
		const listed = await w.assertSameAsLog();
		assertLog(listed);
		assert.equal(ofType(listed, 'user.tool_confirmation').length, 1);
		w.close();
	});

	test('a message while it waits: refused with the names; with the answers or an interrupt it is taken', async () => {
		const { w, asked: [x, y] } = await ask(bash('echo x'), bash('echo y'));
		await refused(w.send(message('hello?')), 400, waiting([x.id, y.id]));
		await refused(w.send({ type: 'system.message', content: [{ type: 'text', text: 'be quick' }] }), 400);
		await refused(w.send(allow(x.id), message('hello?')), 400);
		assert.equal((await c.beta.sessions.retrieve(w.id)).status, 'idle', 'refused requests changed nothing');
		await w.send(allow(x.id), allow(y.id), message('and hello'));
		await finish(w);
		assert.match(textOf(ofType(w.events, 'agent.message').at(-1)), /and hello/);
		assertLog(await w.assertSameAsLog());
		w.close();
	});

	test('interrupt while it waits, then a message', async () => {
		const { w, asked: [use] } = await ask(bash('echo never'));
		await w.send(interrupt());
		const idle = await w.idle();
		assert.deepEqual(idle.stop_reason, { type: 'end_turn' });
		await refused(w.send(allow(use.id)), 400);
		const turn = await w.turn('go on then');
		assert.match(textOf(one(turn, 'agent.message')), /go on then/);
		const listed = await w.assertSameAsLog();
		assertLog(listed);
		assert.ok(!listed.some((e) => e.type === 'agent.tool_result' && textOf(e) === 'never\n'), 'the call did not run');
		w.close();
	});

	test('interrupt and message in one request', async () => {
		const { w } = await ask(bash('echo never'));
		await w.send(interrupt(), message('instead of that'));
		await w.until((e) => e.type === 'agent.message' && /instead of that/.test(textOf(e)), { what: 'the answer to the message' });
		await w.idle();
		assertLog(await w.assertSameAsLog());
		w.close();
	});

	test('a disabled tool is not offered', async () => {
		const w = await Watch.begin(b);
		const turn = await w.turn(call('glob', { pattern: '*' }));
		assert.equal(uses(turn).length, 0);
		w.close();
	});

	test('a wait survives for long and is not billed', async () => {
		const { w, turn, asked: [use] } = await ask(bash('echo patience'));
		const before = turn.at(-2).usage.active_seconds;
		const s = await c.beta.sessions.retrieve(w.id);
		assert.equal(s.status, 'idle');
		assert.equal(s.usage.active_seconds, before);
		await w.send(allow(use.id));
		await finish(w);
		w.close();
	});
});
