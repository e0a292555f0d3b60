// Custom tools: the client runs them (contract 3.2, 4.4, appendix B 8, 9).
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { TOOLSET, bench, breakingStreams, client, countingClient, log } from '../lib/client.mjs';
import { answer, bash, call, interrupt, message, script, text } from '../lib/script.mjs';
import { refused } from '../lib/sdkerror.mjs';
import { assertLog, logShape, micros } from '../lib/shape.mjs';
import { within } from '../lib/until.mjs';
import { Watch, calls, ofType, one, textOf } from '../lib/watch.mjs';

const c = client();
const TICKET = { type: 'custom', name: 'ticket', description: 'Open a ticket.', input_schema: { type: 'object', properties: { title: { type: 'string' } } } };
const WEATHER = { type: 'custom', name: 'weather', description: 'Ask for weather.', input_schema: { type: 'object', properties: { city: { type: 'string' } } } };
let b;

describe('custom tools', { concurrency: true }, () => {
	before(async () => { b = await bench(c, { tools: [TOOLSET, TICKET, WEATHER] }); });

	test('use, wait, result, on it goes', async () => {
		const w = await Watch.begin(b);
		const turn = await w.turn(call('ticket', { title: 'T', nested: { a: [1, 2.5, null, 'é'] } }));
		assert.equal(logShape(turn), 'RrUsceiud');
		const use = one(turn, 'agent.custom_tool_use');
		assert.equal(use.name, 'ticket');
		assert.deepEqual(use.input, { title: 'T', nested: { a: [1, 2.5, null, 'é'] } });
		assert.ok(!('evaluated_permission' in use));
		assert.deepEqual(turn.at(-1).stop_reason, { type: 'requires_action', event_ids: [use.id] });
		assert.equal((await c.beta.sessions.retrieve(w.id)).status, 'idle');

		const [sent] = await w.send(answer(use.id, 'ticket 17'));
		assert.equal(sent.type, 'user.custom_tool_result');
		assert.equal(sent.custom_tool_use_id, use.id);
		micros(sent.processed_at);
		assert.ok(!('session_thread_id' in sent));
		await w.idle();
		const listed = await w.assertSameAsLog();
		assertLog(listed);
		assert.equal(logShape(listed), 'RrUsceiudKRrsmeiud');
		assert.equal(textOf(one(listed, 'agent.message')), 'Done.');
		w.close();
	});

	test('answered before the idle event', async () => {
		const w = await Watch.begin(b);
		await w.send(message(script([call('ticket', { title: 'a' }), bash('sleep 1; echo slow')])));
		const use = await w.until('agent.custom_tool_use');
		await w.send(answer(use.id, 'early'));
		await w.until((e) => e.type === 'session.status_idle' && e.stop_reason.type === 'end_turn', { what: 'the end of the turn' });
		const listed = await w.assertSameAsLog();
		assertLog(listed);
		assert.equal(one(listed, 'user.custom_tool_result').custom_tool_use_id, use.id);
		w.close();
	});

	test('two calls, answered one after the other: the rest is named again', async () => {
		const w = await Watch.begin(b);
		const turn = await w.turn(script([call('ticket', { title: 'a' }), call('weather', { city: 'b' })]));
		const [t, k] = ofType(turn, 'agent.custom_tool_use');
		assert.deepEqual(turn.at(-1).stop_reason.event_ids, [t.id, k.id]);
		await w.send(answer(t.id, '1'));
		const partial = await w.idle();
		assert.deepEqual(partial.stop_reason, { type: 'requires_action', event_ids: [k.id] });
		assert.equal(w.events.at(-2).type, 'session.usage');
		await w.send(answer(k.id, '2'));
		assert.deepEqual((await w.idle()).stop_reason, { type: 'end_turn' });
		assertLog(await w.assertSameAsLog());
		w.close();
	});

	test('answers in one request, in any order, wake once', async () => {
		const w = await Watch.begin(b);
		const turn = await w.turn(script([call('ticket', { title: 'a' }), call('weather', { city: 'b' })]));
		const [t, k] = ofType(turn, 'agent.custom_tool_use');
		await w.send(answer(k.id, '2'), answer(t.id, '1'));
		await w.until((e) => e.type === 'session.status_idle' && e.stop_reason.type === 'end_turn', { what: 'the end of the turn' });
		const listed = await w.assertSameAsLog();
		assertLog(listed);
		assert.equal(ofType(listed, 'session.status_running').length, 2);
		w.close();
	});

	test('a mixed step: the allowed tool runs, then it waits for the custom one', async () => {
		const w = await Watch.begin(b);
		const turn = await w.turn(script([bash('echo done first'), call('weather', { city: 'x' })]));
		assert.equal(logShape(turn), 'RrUsbceoiud');
		assert.equal(calls(turn)[0].text, 'done first\n');
		await w.send(answer(one(turn, 'agent.custom_tool_use').id, 'sunny'));
		await w.idle();
		assertLog(await w.assertSameAsLog());
		w.close();
	});

	test('the same answer again is the same event; another one is refused', async () => {
		const w = await Watch.begin(b);
		const use = one(await w.turn(call('ticket', {})), 'agent.custom_tool_use');
		const [first] = await w.send(answer(use.id, 'same'));
		await w.idle();
		const [again] = await w.send(answer(use.id, 'same'));
		assert.equal(again.id, first.id);
		await refused(w.send(answer(use.id, 'different')), 400);
		const listed = await w.assertSameAsLog();
		assert.equal(ofType(listed, 'user.custom_tool_result').length, 1);
		assert.equal(ofType(listed, 'session.status_running').length, 2);
		w.close();
	});

	test('is_error, no content, several blocks', async () => {
		const w = await Watch.begin(b);
		for (const more of [{ is_error: true }, { content: undefined }, { content: [] }, { content: [text('a'), text('b')], is_error: false }]) {
			const use = one(await w.turn(call('ticket', {})), 'agent.custom_tool_use');
			const [sent] = await w.send({ ...answer(use.id, 'x'), ...more });
			assert.equal(sent.is_error === true, more.is_error === true);
			assert.equal((await w.idle()).stop_reason.type, 'end_turn');
		}
		assertLog(await w.assertSameAsLog());
		w.close();
	});

	test('a message while it waits is refused by name; together with the answer it is welcome', async () => {
		const w = await Watch.begin(b);
		const use = one(await w.turn(call('ticket', {})), 'agent.custom_tool_use');
		await refused(w.send(message('impatient')), 400, /waiting on responses to events \[sevt_/);
		await w.send(answer(use.id, 'x'), message('also this'));
		const idle = await w.idle();
		assert.equal(idle.stop_reason.type, 'end_turn');
		const listed = await w.assertSameAsLog();
		assertLog(listed);
		assert.match(textOf(ofType(listed, 'agent.message').at(-1)), /also this/);
		w.close();
	});

	test('interrupt while it waits: the wait is over, the next message is answered', async () => {
		const w = await Watch.begin(b);
		const use = one(await w.turn(call('ticket', {})), 'agent.custom_tool_use');
		await w.send(interrupt());
		await w.idle();
		await refused(w.send(answer(use.id, 'too late')), 400);
		const turn = await w.turn('never mind');
		assert.match(textOf(one(turn, 'agent.message')), /never mind/);
		assertLog(await w.assertSameAsLog());
		w.close();
	});

	test('the SDK\'s tool runner completes a turn of several calls', async () => {
		const { c: counting, hits } = countingClient({ maxRetries: 2 });
		const s = await b.session();
		const asked = [];
		const tool = (name, run) => ({ type: 'custom', name, description: 'd', input_schema: { type: 'object' }, parse: (x) => x, run });
		const abort = new AbortController();
		const runner = counting.beta.sessions.events.toolRunner(s.id, {
			tools: [tool('ticket', async (i) => { asked.push(['ticket', i.title]); return `made ${i.title}`; }),
				tool('weather', async (i) => { asked.push(['weather', i.city]); return 'rain'; })],
			signal: abort.signal, maxIdleMs: 500,
		});
		const w = await Watch.open(c, s.id);
		const results = [];
		const finished = (async () => { for await (const r of runner) results.push(r); })();
		await w.send(message(script([call('ticket', { title: 'one' }), call('weather', { city: 'two' })], call('ticket', { title: 'three' }))));
		await w.until((e) => e.type === 'session.status_idle' && e.stop_reason.type === 'end_turn', { what: 'the end of the turn' });
		await within('the runner stops after end_turn', finished);
		assert.deepEqual(asked.sort(), [['ticket', 'one'], ['ticket', 'three'], ['weather', 'two']]);
		assert.equal(results.length, 3);
		const listed = await log(c, s.id);
		assertLog(listed);
		assert.deepEqual(ofType(listed, 'user.custom_tool_result').map(textOf).sort(), ['made one', 'made three', 'rain']);
		assert.ok(hits.every((h) => h.status === 200), JSON.stringify(hits.filter((h) => h.status !== 200)));
		abort.abort();
		w.close();
	});

	test('the tool runner survives a stream that breaks, and runs nothing twice', async () => {
		const { fetch, broken } = breakingStreams(2, 'agent.custom_tool_use');
		const breaking = client({ maxRetries: 2, fetch });
		const w = await Watch.begin(b);
		const ran = [];
		const runner = breaking.beta.sessions.events.toolRunner(w.id, { maxIdleMs: 500, tools: [
			{ type: 'custom', name: 'ticket', description: 'd', input_schema: { type: 'object' }, parse: (x) => x, run: async (i) => { ran.push(i.title); return 'ok'; } }] });
		const finished = (async () => { for await (const _ of runner); })();
		await w.send(message(script(call('ticket', { title: 'a' }), call('ticket', { title: 'b' }), call('ticket', { title: 'c' }))));
		await w.until((e) => e.type === 'session.status_idle' && e.stop_reason.type === 'end_turn', { what: 'the end of the turn' });
		await within('the runner stops', finished);
		assert.ok(broken() >= 1, 'the stream was broken');
		assert.deepEqual(ran, ['a', 'b', 'c']);
		assertLog(await log(c, w.id));
		w.close();
	});

	test('the tool runner picks up a call that was made before it came', async () => {
		const w = await Watch.begin(b);
		await w.turn(call('weather', { city: 'late' }));
		const runner = c.beta.sessions.events.toolRunner(w.id, {
			tools: [{ type: 'custom', name: 'weather', description: 'd', input_schema: { type: 'object' }, parse: (x) => x, run: async () => 'found' }],
			maxIdleMs: 300,
		});
		await within('the runner ends', (async () => { for await (const _ of runner); })());
		assert.equal((await w.idle()).stop_reason.type, 'end_turn');
		w.close();
	});
});
