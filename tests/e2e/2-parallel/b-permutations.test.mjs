// Must hold in every order: a step with two calls that ask, a custom call and an allowed one, all in parallel, answered in each of the 24
// ways in which three answers can be put into requests (one by one, two and one, one and two, all at once; each order), each with the
// four combinations of allow and deny: 96 turns, the calls in changing order (contract 3.2, 3.5, C-9, C-10; appendix B 7 and 8).
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { TOOLSET, bench, client, log } from '../lib/client.mjs';
import { allow, answer, bash, call, deny, message, script } from '../lib/script.mjs';
import { exactly, refused } from '../lib/sdkerror.mjs';
import { assertLog, logShape } from '../lib/shape.mjs';
import { Watch, ofType, one, resultOf, textOf } from '../lib/watch.mjs';

const c = client();
const CUSTOM = { type: 'custom', name: 'ticket', description: 'd', input_schema: { type: 'object' } };
let b;

function permutations(all) {
	if (all.length <= 1) return [all];
	return all.flatMap((x, i) => permutations([...all.slice(0, i), ...all.slice(i + 1)]).map((rest) => [x, ...rest]));
}

// How many answers each request carries.
const SPLITS = [[1, 1, 1], [2, 1], [1, 2], [3]];
const VERDICTS = [[true, true], [true, false], [false, true], [false, false]];
const CALLS = { x: bash('echo x'), y: bash('echo y'), custom: call('ticket', { title: 't' }), free: call('grep', { pattern: '^root:', path: '/etc/passwd' }) };
const ORDERS = [['x', 'y', 'custom', 'free'], ['free', 'custom', 'y', 'x'], ['custom', 'x', 'free', 'y'], ['y', 'free', 'x', 'custom']];

const cases = permutations(['x', 'y', 'custom']).flatMap((order) => SPLITS.map((split) => ({ order, split })));

const title = ({ order, split }) => {
	const left = [...order];
	return split.map((n) => left.splice(0, n).join(' + ')).join(', then ');
};

const waiting = (ids) => exactly('Invalid user.message event at events[0]: waiting on responses to events '
	+ `[${ids.join(' ')}]; only \`user.tool_confirmation\`, \`user.custom_tool_result\`, \`user.tool_result\`, or \`user.interrupt\` may be sent `
	+ '(a `system.message` may trail a tool result)');

// The calls of the step by their names in CALLS.
function named(events, calls) {
	const uses = ofType(events, 'agent.tool_use', 'agent.custom_tool_use');
	assert.equal(uses.length, 4);
	return Object.fromEntries(uses.map((u, i) => [calls[i], u]));
}

// What holds at the end, however it got there: one result for each call, the right one, and one outcome.
function assertOutcome(listed, use, verdict, calls) {
	assertLog(listed);
	const results = { x: verdict[0] ? 'x\n' : undefined, y: verdict[1] ? 'y\n' : undefined };
	for (const [n, said] of Object.entries(results)) {
		const result = resultOf(listed, use[n]);
		assert.equal(result.is_error === true, said === undefined, n);
		assert.equal(textOf(result), said ?? `Permission to use bash has been rejected. Rejection message: not ${n}`);
	}
	assert.match(textOf(resultOf(listed, use.free)), /passwd/);
	const custom = ofType(listed, 'user.custom_tool_result');
	assert.deepEqual(custom.map((e) => [e.custom_tool_use_id, textOf(e)]), [[use.custom.id, 'made']]);
	assert.equal(ofType(listed, 'user.tool_confirmation').length, 2);

	// The allowed call ran before the wait; what was confirmed ran after it, in the order of the calls.
	const at = (id) => listed.findIndex((e) => e.tool_use_id === id && e.type === 'agent.tool_result');
	const waits = listed.findIndex((e) => e.type === 'session.status_idle');
	const wakes = listed.findLastIndex((e) => e.type === 'session.status_running');
	assert.ok(at(use.free.id) < waits, 'the allowed call does not wait');
	const late = calls.filter((n) => n === 'x' || n === 'y').map((n) => at(use[n].id));
	assert.ok(late.every((i) => i > wakes) && late[0] < late[1], 'results in the order of the calls, after the wake');
	// Answers are consumed in call order.
	const answers = ofType(listed, 'user.tool_confirmation', 'user.custom_tool_result').map((e) => e.tool_use_id ?? e.custom_tool_use_id);
	assert.deepEqual(answers, calls.filter((n) => n !== 'free').map((n) => use[n].id));

	assert.equal(ofType(listed, 'session.status_running').length, 2, 'it woke once');
	assert.equal(ofType(listed, 'span.model_request_start').length, 2);
	assert.deepEqual(listed.at(-1).stop_reason, { type: 'end_turn' });
	assert.equal(ofType(listed, 'session.status_idle').filter((e) => e.stop_reason.type === 'end_turn').length, 1, 'one outcome');
	assert.equal(textOf(one(listed, 'agent.message')), 'Done.');
}

describe('two asks, a custom call and an allowed call, resolved in every order', { concurrency: 6 }, () => {
	before(async () => { b = await bench(c, { tools: [{ ...TOOLSET, configs: [{ name: 'bash', permission_policy: { type: 'always_ask' } }] }, CUSTOM] }); });

	const finish = (w) => w.until((e) => e.type === 'session.status_idle' && e.stop_reason.type === 'end_turn', { what: 'the end of the turn' });

	async function play({ order, split }, verdict, calls) {
		const w = await Watch.begin(b);
		const turn = await w.turn(script(calls.map((n) => CALLS[n])));
		const use = named(turn, calls);
		const asked = calls.filter((n) => n !== 'free');
		assert.equal(logShape(turn), `RrUs${calls.map((n) => (n === 'custom' ? 'c' : 'b')).join('')}eoiud`);
		assert.deepEqual(turn.at(-1).stop_reason, { type: 'requires_action', event_ids: asked.map((n) => use[n].id) });
		assert.deepEqual(calls.map((n) => use[n].evaluated_permission), calls.map((n) => ({ x: 'ask', y: 'ask', free: 'allow' })[n]));

		const said = { x: verdict[0] ? allow(use.x.id) : deny(use.x.id, 'not x'), y: verdict[1] ? allow(use.y.id) : deny(use.y.id, 'not y'),
			custom: answer(use.custom.id, 'made') };
		const left = [...order], open = new Set(asked);
		for (const n of split) {
			const now = left.splice(0, n);
			await w.send(...now.map((m) => said[m]));
			for (const m of now) open.delete(m);
			const ids = asked.filter((m) => open.has(m)).map((m) => use[m].id);
			if (!ids.length) break;
			const partial = await w.idle();
			assert.deepEqual(partial.stop_reason, { type: 'requires_action', event_ids: ids }, 'the rest is named again, in call order');
			assert.equal(w.events.at(-2).type, 'session.usage');
			await refused(w.send(message('hurry')), 400, waiting(ids));
			assert.equal((await c.beta.sessions.retrieve(w.id)).status, 'idle');
		}
		await finish(w);
		const listed = await w.assertSameAsLog();
		assertOutcome(listed, use, verdict, calls);
		assert.equal(ofType(listed, 'session.status_idle').length, split.length + 1, 'an idle for each partial answer, no other');
		// It is settled: nothing can be answered again.
		await refused(w.send(allow(use.x.id)), 400);
		await refused(w.send(answer(use.custom.id, 'another')), 400);
		assert.equal((await w.send(answer(use.custom.id, 'made')))[0].id, one(listed, 'user.custom_tool_result').id);
		assert.deepEqual(await log(c, w.id), listed);
		w.close();
	}

	// The number of the case and of the verdict decide the order of the calls.
	for (const [i, k] of cases.entries()) test(title(k), () => Promise.all(VERDICTS.map((verdict, v) => play(k, verdict, ORDERS[(i + v) % 4]))));

	test('all answered as soon as they are seen, before the idle', async () => {
		const w = await Watch.begin(b);
		const calls = ['x', 'custom', 'y', 'slow'];
		await w.send(message(script(calls.map((n) => CALLS[n] ?? call('grep', { pattern: '^root:', path: '/etc/passwd' })))));
		await w.until('span.model_request_end');
		const use = named(w.events, ['x', 'custom', 'y', 'free']);
		await w.send(answer(use.custom.id, 'made'), deny(use.y.id, 'not y'), allow(use.x.id));
		await finish(w);
		const listed = await w.assertSameAsLog();
		assertLog(listed);
		for (const n of ['x', 'y', 'free']) resultOf(listed, use[n]);
		assert.equal(ofType(listed, 'session.status_idle').filter((e) => e.stop_reason.type === 'end_turn').length, 1);
		w.close();
	});

	test('all three at once from three clients: each is taken once, one outcome', async () => {
		const w = await Watch.begin(b);
		const calls = ORDERS[0];
		const use = named(await w.turn(script(calls.map((n) => CALLS[n]))), calls);
		await Promise.all([w.send(answer(use.custom.id, 'made')), w.send(allow(use.y.id)), w.send(allow(use.x.id))]);
		await finish(w);
		const listed = await w.assertSameAsLog();
		assertOutcome(listed, use, [true, true], calls);
		w.close();
	});
});
