// List cost to the cent, and what a budget does (contract 9.1 to 9.3, appendix B 15).
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { TOOLSET, bench, client, log } from '../lib/client.mjs';
import { budget, cents, exact, tokenNano } from '../lib/cost.mjs';
import { provider } from '../lib/provider.mjs';
import { allow, answer, bash, call, deny, interrupt, message, script } from '../lib/script.mjs';
import { refused } from '../lib/sdkerror.mjs';
import { assertLog, logShape } from '../lib/shape.mjs';
import { TOO_LATE, meanwhile, until } from '../lib/until.mjs';
import { Watch, ofType, one } from '../lib/watch.mjs';

const c = client();
const sessions = c.beta.sessions;
const TICKET = { type: 'custom', name: 'ticket', description: 'Open a ticket.', input_schema: { type: 'object' } };
const ZERO = { amount: '0', currency: 'USD' };
const REACHED = { type: 'budget_reached' };
const FOUR = /user\.tool_confirmation.*user\.tool_result.*user\.custom_tool_result.*user\.interrupt/;
let b;		// of the model that costs half a cent a word: a call of `step` is one cent

const step = bash('true');
const steps = (n) => script(...Array.from({ length: n }, () => step));
const cost = async (id) => (await sessions.retrieve(id)).usage.list_cost;

// GET, the list, the thread and the last session.usage against the events.
async function check(id, model, hour = 0) {
	const [s, events] = [await sessions.retrieve(id), await log(c, id)];
	assertLog(events);
	assert.deepEqual(s.usage.list_cost, cents(exact(events, model, hour)));
	const told = ofType(events, 'session.usage').at(-1);
	assert.deepEqual(told.usage.list_cost, s.usage.list_cost);
	assert.deepEqual(told.budget, s.budget);
	const thread = (await sessions.threads.list(id)).data[0];
	assert.deepEqual(thread.usage.list_cost, cents(tokenNano(events, model, hour) * 9n), 'a thread\'s cost is without the runtime');
	return { s, events };
}

describe('list cost', { concurrency: true }, () => {
	test('every class of tokens and the runtime, to the cent, over many turns', async () => {
		const odd = await bench(c, { model: 'lab-odd' });
		const w = await Watch.begin(odd);
		let hour = 0;
		assert.deepEqual((await sessions.retrieve(w.id)).usage.list_cost, ZERO);
		for (let i = 0; i < 12; i++) {
			const cache = { read: 1000 * i + 7, write_5m: 311 * i, write_1h: 97 * i };
			hour += cache.write_1h;
			await w.turn(`turn ${i} with some words\n${provider({ cache })}`);
			await check(w.id, 'lab-odd', hour);
		}
		const { s } = await check(w.id, 'lab-odd', hour);
		assert.equal(s.usage.cache_creation.ephemeral_1h_input_tokens, hour);
		const listed = (await sessions.list({ agent_id: odd.agent.id })).data[0];
		assert.deepEqual(listed.usage, s.usage);
		w.close();
	});

	test('a request that failed costs nothing; the fallback costs what the model costs', async () => {
		const odd = await bench(c, { model: 'lab-odd' });
		const w = await Watch.begin(odd);
		await w.turn(`hello\n${provider({ fault: 'status', status: 529 })}`, { ms: 60_000 });
		const { events } = await check(w.id, 'lab-odd');
		assert.ok(ofType(events, 'span.model_request_end').length > 1);
		w.close();
	});

	test('without a price there is no sum, once something was used', async () => {
		const plain = await bench(c);
		const w = await Watch.begin(plain);
		assert.deepEqual(await cost(w.id), ZERO);
		const told = one(await w.turn('hi'), 'session.usage');
		assert.equal(await cost(w.id), null);
		assert.ok(!('list_cost' in told.usage));
		assert.equal(told.budget, null);
		w.close();
	});
});

describe('budgets', { concurrency: true }, () => {
	before(async () => { b = await bench(c, { model: 'lab-cents', tools: [TOOLSET, TICKET] }); });

	test('tokens and cost of GET move only when the turn ends', async () => {
		const w = await Watch.begin(b);
		await w.turn(steps(1));
		const before = await sessions.retrieve(w.id);
		await w.send(message(script(step, bash('sleep 120'))));
		await w.until((e) => e.type === 'agent.tool_use' && e.input.command === 'sleep 120');
		const during = await sessions.retrieve(w.id);
		assert.equal(during.status, 'running');
		assert.deepEqual({ ...during.usage, active_seconds: 0 }, { ...before.usage, active_seconds: 0 });
		await w.send(interrupt());
		await w.idle();
		const { s } = await check(w.id, 'lab-cents');
		assert.ok(s.usage.output_tokens > before.usage.output_tokens);
		w.close();
	});

	test('the pause, exactly; a higher cap goes on by itself; without a cap to the end; never again', async () => {
		const w = await Watch.begin(b, { create: { budget: budget(2) } });
		const turn = await w.turn(steps(5));
		assert.equal(logShape(turn), 'RrUsbeosbeoiud', 'two requests were below the cap, the third was not made');
		const [thread, usage, idle] = turn.slice(-3);
		assert.deepEqual([thread.stop_reason, thread.stop_details], [REACHED, null]);
		assert.deepEqual([idle.stop_reason, idle.stop_details], [REACHED, null]);
		assert.deepEqual(usage.budget, budget(2));
		assert.deepEqual(usage.usage.list_cost, { amount: '2', currency: 'USD' });
		const { s } = await check(w.id, 'lab-cents');
		assert.equal(s.status, 'idle');

		for (const amount of [1, 2]) {
			const e = await refused(sessions.update(w.id, { budget: budget(amount) }), 400,
				/^budget\.max_list_cost must be greater than the session's consumed list cost$/);
			assert.equal(e.error.error.details?.error_code, 'budget_not_raised');
		}
		await sessions.update(w.id, { title: 'still paused' });
		await w.until('session.updated');
		assert.equal((await sessions.retrieve(w.id)).status, 'idle');

		const from = w.events.length;
		const raised = await sessions.update(w.id, { budget: budget(3) });
		assert.deepEqual(raised.budget, budget(3));
		await w.idle();
		assert.equal(logShape(w.events.slice(from)).replace(/^p?/, 'p'), 'pRrsbeoiud');
		assert.deepEqual(w.events.findLast((e) => e.type === 'session.updated').budget, budget(3));
		assert.deepEqual(w.events.at(-1).stop_reason, REACHED);
		await check(w.id, 'lab-cents');

		assert.equal((await sessions.update(w.id, { budget: null })).budget, null);
		await w.idle();
		assert.deepEqual(w.events.at(-1).stop_reason, { type: 'end_turn' });
		const { events } = await check(w.id, 'lab-cents');
		assert.equal(ofType(events, 'agent.tool_use').length, 5);
		assert.equal(ofType(events, 'session.updated').at(-1).budget, null);
		const again = await refused(sessions.update(w.id, { budget: budget(1000) }), 400);
		assert.equal(again.error.error.details?.error_code, 'budget_create_only');
		await w.assertSameAsLog();
		w.close();
	});

	test('at the cap: the four are accepted, an interrupt does nothing and is not kept', async () => {
		const w = await Watch.begin(b, { create: { budget: budget(1) } });
		await w.turn(steps(2));
		const before = await log(c, w.id);
		await refused(w.send(message('more')), 400, FOUR);
		await refused(w.send(interrupt(), message('more')), 400, FOUR);
		const [echo] = await w.send(interrupt());
		assert.equal(echo.type, 'user.interrupt');
		assert.ok(echo.processed_at);
		assert.deepEqual(await log(c, w.id), before);
		assert.equal((await sessions.retrieve(w.id)).status, 'idle');
		await sessions.update(w.id, { budget: budget(100) });
		await w.until((e) => e.type === 'session.status_idle' && e.stop_reason.type === 'end_turn');
		await check(w.id, 'lab-cents');
		w.close();
	});

	test('messages that came before the cap wait for a higher one', async () => {
		const odd = await bench(c, { model: 'lab-odd' });
		const [w, sent] = await meanwhile(async (seconds) => {
			const watch = await Watch.begin(odd, { create: { budget: budget(1) } });
			await watch.send(message(`one two three four five six seven eight\n${provider({ delay_ms: 1000 * seconds })}`));
			await watch.until('span.model_request_start');
			const put = await watch.send(message('wait for me')).catch(() => []);
			return put.length && !watch.events.some((e) => e.type === 'span.model_request_end') ? [watch, put[0]] : TOO_LATE;
		});
		const idle = await w.idle();
		assert.deepEqual(idle.stop_reason, REACHED, 'the reply was the turn\'s last, but the message is not answered');
		const waiting = (await log(c, w.id)).at(-1);
		assert.deepEqual([waiting.id, waiting.processed_at], [sent.id, null]);
		assert.equal((await sessions.retrieve(w.id)).status, 'idle');
		await sessions.update(w.id, { budget: budget(100) });
		assert.deepEqual((await w.idle()).stop_reason, { type: 'end_turn' });
		const { events } = await check(w.id, 'lab-odd');
		assert.ok(events.find((e) => e.id === sent.id).processed_at);
		w.close();
	});

	test('answers at the cap are taken; the model is not asked', async () => {
		const w = await Watch.begin(b, { create: { budget: budget(1), agent: { type: 'agent_with_overrides', id: b.agent.id, tools: [TICKET,
			{ ...TOOLSET, configs: [{ name: 'bash', permission_policy: { type: 'always_ask' } }] }] } } });
		const turn = await w.turn(script([call('ticket', {}), bash('echo yes'), bash('echo no')]));
		const [ticket] = ofType(turn, 'agent.custom_tool_use'), [yes, no] = ofType(turn, 'agent.tool_use');
		assert.equal(turn.at(-1).stop_reason.type, 'requires_action');
		assert.ok(Number((await cost(w.id)).amount) >= 1);
		await refused(w.send(message('no')), 400, FOUR);
		await w.send(answer(ticket.id, '17'));
		assert.deepEqual((await w.idle()).stop_reason.event_ids, [yes.id, no.id], 'requires_action goes before budget_reached');
		await w.send(allow(yes.id), deny(no.id));
		assert.deepEqual((await w.idle()).stop_reason, REACHED);
		const { events } = await check(w.id, 'lab-cents');
		assert.equal(ofType(events, 'span.model_request_start').length, 1);
		assert.equal(ofType(events, 'agent.tool_result').length, 2, 'the confirmed call has run');
		await sessions.update(w.id, { budget: budget(50) });
		assert.deepEqual((await w.idle()).stop_reason, { type: 'end_turn' });
		await w.assertSameAsLog();
		w.close();
	});

	test('nothing left to run at the cap: the rejections are told, without a running pair', async () => {
		const w = await Watch.begin(b, { create: { budget: budget(1), agent: { type: 'agent_with_overrides', id: b.agent.id,
			tools: [{ ...TOOLSET, default_config: { permission_policy: { type: 'always_ask' } } }] } } });
		const use = one(await w.turn(steps(1)), 'agent.tool_use');
		const from = w.events.length;
		await w.send(deny(use.id));
		assert.deepEqual((await w.idle()).stop_reason, REACHED);
		assert.equal(logShape(w.events.slice(from)), 'Coiud');
		await check(w.id, 'lab-cents');
		await sessions.update(w.id, { budget: null });
		assert.deepEqual((await w.idle()).stop_reason, { type: 'end_turn' });
		await check(w.id, 'lab-cents');
		w.close();
	});

	test('a turn that ends beyond the cap ends; the next one is refused', async () => {
		const w = await Watch.begin(b, { create: { budget: budget(1) } });
		const turn = await w.turn('one two three four five');
		assert.deepEqual(turn.at(-1).stop_reason, { type: 'end_turn' });
		await refused(w.send(message('more')), 400, FOUR);
		const listed = (await sessions.list({ agent_id: b.agent.id, limit: 100 })).data.find((s) => s.id === w.id);
		assert.deepEqual(listed.budget, budget(1));
		await sessions.update(w.id, { budget: budget(500) });
		await until('it is told', async () => (await log(c, w.id)).at(-1).type === 'session.updated');
		assert.equal((await sessions.retrieve(w.id)).status, 'idle', 'nothing was owed');
		await w.turn('more');
		await check(w.id, 'lab-cents');
		w.close();
	});

	test('a reply that is interrupted at its end is not free', async () => {
		const odd = await bench(c, { model: 'lab-odd' });
		const s = await odd.session({ budget: budget(5) });
		const w = await Watch.open(c, s.id, { event_deltas: ['agent.message'] });
		await w.send(message(`${'blah '.repeat(500)}\n${provider({ word_ms: 40 })}`));
		await w.until('event_delta');
		await w.send(interrupt());
		await w.idle();
		const { s: after } = await check(w.id, 'lab-odd');
		assert.ok(Number(after.usage.list_cost.amount) >= 15, `${after.usage.list_cost.amount} cents for 500 words at 333 dollars a million, and what was said`);
		await refused(w.send(message('go on')), 400, FOUR);
		w.close();
	});

	test('at the cap with initial events; archive while paused', async () => {
		const s = await b.session({ budget: budget(1), initial_events: [message(steps(3))] });
		await until('it pauses', async () => (await sessions.retrieve(s.id)).status === 'idle');
		const { events } = await check(s.id, 'lab-cents');
		assert.deepEqual(events.at(-1).stop_reason, REACHED);
		assert.equal((await sessions.archive(s.id)).status, 'terminated');
	});
});
