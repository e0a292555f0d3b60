// Outcomes (contract 6, appendix B 16): an agent works toward a rubric, an evaluation says what is missing, the agent revises. The scripted
// model's description is what it does at each step; paragraph n of the rubric is its verdict at evaluation n.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { TOOLSET, bench, client, log, unique } from '../lib/client.mjs';
import { budget } from '../lib/cost.mjs';
import { LAB, fault } from '../lib/provider.mjs';
import { allow, answer, bash, call, interrupt, message, script } from '../lib/script.mjs';
import { refused } from '../lib/sdkerror.mjs';
import { assertLog, logShape } from '../lib/shape.mjs';
import { TOO_LATE, meanwhile, until } from '../lib/until.mjs';
import { Watch, calls, ofType, one, textOf } from '../lib/watch.mjs';

const c = client();
let b;

const grade = (result, explanation = `it is ${result}`) => call('grade', { result, explanation });
const define = (description, rubric, more = {}) => ({ type: 'user.define_outcome', description, rubric: { type: 'text', content: rubric }, ...more });
const outcomes = async (w) => (await c.beta.sessions.retrieve(w.id)).outcome_evaluations;
const ends = (events) => ofType(events, 'span.outcome_evaluation_end').map((e) => [e.iteration, e.result]);

async function reach(w, ...args) {
	const [sent] = await w.send(define(...args));
	const idle = await w.idle({ ms: 60_000 });
	const listed = await w.assertSameAsLog();
	assertLog(listed);
	return { sent, idle, listed };
}

describe('outcomes', { concurrency: true }, () => {
	before(async () => { b = await bench(c); });

	test('satisfied at once: the echo, the order of events, the session\'s record', async () => {
		const w = await Watch.begin(b);
		const { sent, idle, listed } = await reach(w, bash('echo built'), `${grade('satisfied', 'It says built.')}`);
		assert.match(sent.outcome_id, /^outc_01/);
		assert.equal(sent.max_iterations, 3);
		assert.equal(sent.description, bash('echo built'));
		assert.equal(sent.rubric.type, 'text');
		assert.ok(sent.processed_at, 'processed on receipt');
		assert.deepEqual(idle.stop_reason, { type: 'end_turn' });
		assert.equal(logShape(listed), 'RrOsbeosmegviud');
		assert.equal(one(listed, 'user.define_outcome').id, sent.id);
		const start = one(listed, 'span.outcome_evaluation_start'), end = one(listed, 'span.outcome_evaluation_end');
		assert.deepEqual([start.outcome_id, start.iteration], [sent.outcome_id, 0]);
		assert.equal(end.outcome_evaluation_start_id, start.id);
		assert.deepEqual([end.outcome_id, end.iteration, end.result, end.explanation], [sent.outcome_id, 0, 'satisfied', 'It says built.']);
		assert.ok(end.usage.input_tokens > 0 && end.usage.output_tokens > 0);
		assert.deepEqual(await outcomes(w), [{ type: 'outcome_evaluation', outcome_id: sent.outcome_id, description: sent.description, iteration: 0,
			result: 'satisfied', explanation: 'It says built.', completed_at: end.processed_at }]);
		// Its evaluation is part of what the session has consumed.
		const spans = [...ofType(listed, 'span.model_request_end').map((e) => e.model_usage), end.usage];
		const { usage } = await c.beta.sessions.retrieve(w.id);
		assert.equal(usage.input_tokens, spans.reduce((n, u) => n + u.input_tokens, 0));
		assert.equal(usage.output_tokens, spans.reduce((n, u) => n + u.output_tokens, 0));
		w.close();
	});

	test('revised twice: the explanation comes back to the agent, iterations count, no idle in between', async () => {
		const w = await Watch.begin(b);
		const { listed } = await reach(w, bash('echo one > /workspace/f'),
			script(grade('needs_revision', bash('echo two >> /workspace/f')), grade('needs_revision', bash('echo three >> /workspace/f')), grade('satisfied')),
			{ max_iterations: 5 });
		assert.deepEqual(ends(listed), [[0, 'needs_revision'], [1, 'needs_revision'], [2, 'satisfied']]);
		assert.equal(logShape(listed), 'RrOsbeosmegvsbeosmegvsbeosmegviud');
		assert.equal(ofType(listed, 'session.status_idle').length, 1);
		const turn = await w.turn(bash('cat /workspace/f'));
		assert.equal(calls(turn)[0].text, 'one\ntwo\nthree\n', 'it did what the evaluations asked for');
		const [o] = await outcomes(w);
		assert.deepEqual([o.iteration, o.result], [2, 'satisfied']);
		w.close();
	});

	test('the last cycle: max_iterations_reached, one last word, no more evaluation', async () => {
		const w = await Watch.begin(b);
		const { listed, idle } = await reach(w, bash('true'), script(grade('needs_revision'), grade('needs_revision', 'still not')), { max_iterations: 2 });
		assert.deepEqual(ends(listed), [[0, 'needs_revision'], [1, 'max_iterations_reached']]);
		assert.equal(logShape(listed), 'RrOsbeosmegvsmegvsmeiud');
		assert.deepEqual(idle.stop_reason, { type: 'end_turn' });
		assert.match(textOf(ofType(listed, 'agent.message').at(-1)), /still not/, 'it has read the verdict');
		assert.equal((await outcomes(w))[0].result, 'max_iterations_reached');
		w.close();
	});

	test('satisfied in the last cycle: an acknowledgement too', async () => {
		const w = await Watch.begin(b);
		const { listed } = await reach(w, bash('true'), grade('satisfied'), { max_iterations: 1 });
		assert.equal(logShape(listed), 'RrOsbeosmegvsmeiud');
		w.close();
	});

	test('failed: the rubric does not apply; then the next outcome', async () => {
		const w = await Watch.begin(b);
		const { listed } = await reach(w, bash('true'), grade('failed', 'no such thing'));
		assert.deepEqual(ends(listed), [[0, 'failed']]);
		assert.equal(logShape(listed), 'RrOsbeosmegviud');
		await reach(w, bash('echo again'), grade('satisfied'));
		assert.deepEqual((await outcomes(w)).map((o) => o.result), ['failed', 'satisfied']);
		w.close();
	});

	test('one at a time; an interrupt ends it, before and during the evaluation', async () => {
		const w = await Watch.begin(b);
		await w.send(define(bash('sleep 60'), grade('satisfied')));
		await w.until('agent.tool_use');
		assert.equal((await outcomes(w))[0].result, 'running');
		await refused(w.send(define('another', 'rubric')), 400, /still works toward an outcome/);
		await refused(w.send(define('a', 'r'), define('b', 'r')), 400, /only one outcome/);
		await w.send(interrupt());
		await w.idle();
		let listed = await w.assertSameAsLog();
		assertLog(listed);
		const end = one(listed, 'span.outcome_evaluation_end');
		assert.deepEqual([end.result, end.outcome_evaluation_start_id, end.usage.input_tokens], ['interrupted', '', 0]);
		assert.equal((await outcomes(w))[0].result, 'interrupted');
		w.close();

		const slow = await Watch.begin(b, { create: { agent: { type: 'agent_with_overrides', id: b.agent.id, model: LAB.anthropic } } });
		const marker = unique('slow');
		await fault({ delay_ms: 60_000, contains: `Evaluation 1. Rubric:\n${marker}` });
		await slow.send(define(bash('true'), `${marker}\n${grade('satisfied')}`));
		const start = await slow.until('span.outcome_evaluation_start', { ms: 60_000 });
		assert.equal((await outcomes(slow))[0].result, 'evaluating');
		await slow.send(interrupt());
		await slow.idle();
		listed = await slow.assertSameAsLog();
		assertLog(listed);
		assert.deepEqual(ofType(listed, 'span.outcome_evaluation_end').map((e) => [e.result, e.outcome_evaluation_start_id]), [['interrupted', start.id]]);
		const turn = await slow.turn('go on');
		assert.match(textOf(one(turn, 'agent.message')), /go on/, 'and the session is as good as before');
		slow.close();
	});

	test('an interrupt and a new outcome in one request', async () => {
		const w = await Watch.begin(b);
		await w.send(define(bash('sleep 60'), grade('satisfied')));
		await w.until('agent.tool_use');
		await w.send(interrupt(), define(bash('echo second'), grade('satisfied')));
		await w.idle();
		await w.idle();
		assert.deepEqual((await outcomes(w)).map((o) => o.result), ['interrupted', 'satisfied']);
		w.close();
	});

	test('as an initial event: it runs at once and is pending in the reply', async () => {
		const s = await b.session({ initial_events: [define(bash('echo first'), grade('satisfied'))] });
		assert.equal(s.status, 'running');
		assert.deepEqual(s.outcome_evaluations.map((o) => [o.result, o.iteration]), [['pending', 0]]);
		await until('it is reached', async () => (await c.beta.sessions.retrieve(s.id)).outcome_evaluations[0].result === 'satisfied');
		await refused(b.session({ initial_events: [define('a', 'r'), define('b', 'r')] }), 400, /only one outcome/);
		const listed = await log(c, s.id, { types: ['user.define_outcome', 'span.outcome_evaluation_end'] });
		assert.equal(listed.length, 2);
	});

	test('a rubric from a file is its text', async () => {
		const file = (content) => c.files.upload({ file: new File([content], 'rubric.md') });
		const from = (id) => ({ ...define(bash('echo filed'), ''), rubric: { type: 'file', file_id: id } });
		const rubric = grade('satisfied', 'größer');
		const w = await Watch.begin(b);
		const [sent] = await w.send(from((await file(rubric)).id));
		assert.deepEqual(sent.rubric, { type: 'text', content: rubric });
		await w.idle();
		assert.equal(one(w.events, 'span.outcome_evaluation_end').explanation, 'größer');
		await refused(w.send(from(`file_01${'1'.repeat(22)}`)), 404, /^One or more files not found/);
		for (const bad of [Buffer.from([0xff, 0xfe]), 'a\0b']) await refused(w.send(from((await file(bad)).id)), 400, /is not UTF-8 text/);
		for (const long of ['', 'x'.repeat(262_145), 'ü'.repeat(262_145)]) await refused(w.send(from((await file(long)).id)), 400, /1 to 262144 characters/);
		await refused(b.session({ initial_events: [from('file_x')] }), 404, /^One or more files not found/);
		await w.send(from((await file('ü'.repeat(262_144))).id));
		await w.idle();
		w.close();
	});

	test('while it waits for its client: refused; answered, it goes on to the evaluation', async () => {
		const asking = await bench(c, { tools: [{ ...TOOLSET, configs: [{ name: 'bash', permission_policy: { type: 'always_ask' } }] },
			{ type: 'custom', name: 'ticket', description: 'd', input_schema: { type: 'object' } }] });
		const w = await Watch.begin(asking);
		await w.send(define(script([bash('echo asked'), call('ticket', {})]), script(grade('needs_revision', call('ticket', {})), grade('satisfied'))));
		const idle = await w.idle();
		assert.equal(idle.stop_reason.type, 'requires_action');
		await refused(w.send(define('another', 'rubric')), 400, /waiting on responses|still works/);
		const [ask, custom] = ofType(w.events, 'agent.tool_use', 'agent.custom_tool_use');
		await w.send(answer(custom.id, 'made'), allow(ask.id));
		await w.until('span.outcome_evaluation_end');
		await w.idle();
		const again = ofType(w.events, 'agent.custom_tool_use').at(-1);
		await w.send(answer(again.id, 'made again'));
		await w.idle();
		const listed = await w.assertSameAsLog();
		assertLog(listed);
		assert.deepEqual(ends(listed), [[0, 'needs_revision'], [1, 'satisfied']]);
		w.close();
	});

	test('a message meanwhile joins the work', async () => {
		await meanwhile(async (seconds) => {
			const w = await Watch.begin(b);
			await w.send(define(bash(`sleep ${seconds}`), grade('satisfied')));
			await w.until('agent.tool_use');
			await w.send(message('and one more thing'));
			if (ofType(await log(c, w.id), 'agent.tool_result').length) return TOO_LATE;
			await w.idle({ ms: 90_000 });
			const listed = await w.assertSameAsLog();
			assertLog(listed);
			assert.equal(ofType(listed, 'session.status_running').length, 1);
			assert.deepEqual(ends(listed), [[0, 'satisfied']]);
			return w.close();
		});
	});

	for (const model of Object.values(LAB)) {
		test(`${model}: the evaluation fails once, is rescheduled and goes on`, async () => {
			const w = await Watch.begin(b, { create: { agent: { type: 'agent_with_overrides', id: b.agent.id, model } } });
			const marker = unique('rubric');
			await fault({ fault: 'status', status: 529, contains: `Evaluation 1. Rubric:\n${marker}` });
			const { listed } = await reach(w, bash('echo work'), `${marker}\n${grade('satisfied')}`);
			assert.equal(one(listed, 'session.error').error.type, 'model_overloaded_error');
			assert.match(logShape(listed), /^RrOsbeosmegX(hH|Hh)RrGviud$/);
			assert.equal(one(listed, 'span.outcome_evaluation_ongoing').iteration, 0);
			assert.equal(one(listed, 'span.outcome_evaluation_end').outcome_evaluation_start_id, one(listed, 'span.outcome_evaluation_start').id);
			w.close();
		});
	}

	test('an evaluation that cannot be made: failed, and the session is as good as before', async () => {
		const w = await Watch.begin(b, { create: { agent: { type: 'agent_with_overrides', id: b.agent.id, model: LAB.anthropic } } });
		const marker = unique('rubric');
		await fault({ fault: 'status', status: 403, contains: `Evaluation 1. Rubric:\n${marker}` });
		const { listed, idle } = await reach(w, bash('true'), `${marker}\n${grade('satisfied')}`);
		assert.deepEqual(idle.stop_reason, { type: 'retries_exhausted' });
		assert.equal(logShape(listed), 'RrOsbeosmegvXiud');
		assert.deepEqual(ends(listed), [[0, 'failed']]);
		await reach(w, bash('echo again'), grade('satisfied'));
		assert.deepEqual((await outcomes(w)).map((o) => o.result), ['failed', 'satisfied']);
		w.close();
	});

	test('an evaluation without a verdict has failed, and is paid for', async () => {
		const w = await Watch.begin(b, { create: { agent: { type: 'agent_with_overrides', id: b.agent.id, model: LAB.openai } } });
		const marker = unique('rubric');
		await fault({ fault: 'bad_input', contains: `Evaluation 1. Rubric:\n${marker}` });
		const { listed } = await reach(w, bash('true'), `${marker}\n${grade('satisfied')}`);
		assert.equal(logShape(listed), 'RrOsbeosmegviud');
		const end = one(listed, 'span.outcome_evaluation_end');
		assert.equal(end.result, 'failed');
		assert.match(end.explanation, /no verdict/);
		assert.ok(end.usage.input_tokens > 0 && end.usage.output_tokens > 0, JSON.stringify(end.usage));
		const requests = listed.filter((x) => x.type === 'span.model_request_end');
		const spent = [...requests.map((x) => x.model_usage), end.usage].reduce((n, u) => n + u.output_tokens, 0);
		assert.equal((await c.beta.sessions.retrieve(w.id)).usage.output_tokens, spent);
		w.close();
	});

	test('at the budget\'s cap the evaluation waits for a higher one', async () => {
		const w = await Watch.begin(b, { create: { budget: budget(2), agent: { type: 'agent_with_overrides', id: b.agent.id, model: 'lab-cents' } } });
		await w.send(define(bash('true'), grade('satisfied')));
		assert.deepEqual((await w.idle()).stop_reason, { type: 'budget_reached' });
		await refused(w.send(define('another', 'r')), 400, /user\.tool_confirmation/);
		assert.equal((await outcomes(w))[0].result, 'running');
		await c.beta.sessions.update(w.id, { budget: budget(100_000) });
		assert.deepEqual((await w.idle()).stop_reason, { type: 'end_turn' });
		const listed = await w.assertSameAsLog();
		assert.equal(logShape(listed).replace('p', ''), 'RrOsbeosmeiudRrgviud', 'nothing is asked of the agent again');
		assert.equal((await outcomes(w))[0].result, 'satisfied');
		w.close();
	});

	test('interrupted while idle: an outcome that a failure has left open ends', async () => {
		const w = await Watch.begin(b, { create: { agent: { type: 'agent_with_overrides', id: b.agent.id, model: 'lab-denied' } } });
		await w.send(define('anything', 'r'));
		assert.deepEqual((await w.idle()).stop_reason, { type: 'retries_exhausted' });
		assert.equal((await outcomes(w))[0].result, 'running');
		await refused(w.send(define('another', 'r')), 400, /still works toward/);
		await w.send(interrupt());
		await w.until('user.interrupt');
		assert.equal((await outcomes(w))[0].result, 'interrupted');
		assertLog(await w.assertSameAsLog());
		w.close();
	});

	test('refused', async () => {
		const s = await b.session();
		const send = (event) => c.beta.sessions.events.send(s.id, { events: [event] });
		await refused(send({ type: 'user.define_outcome', description: 'no rubric' }), 400, /rubric/);
		await refused(send(define('', 'r')), 400, /description/);
		await refused(send(define('d', '')), 400, /content/);
		for (const n of [0, 21, 1.5]) await refused(send(define('d', 'r', { max_iterations: n })), 400, /max_iterations/);
		assert.deepEqual((await c.beta.sessions.retrieve(s.id)).outcome_evaluations, []);
		assert.deepEqual(await log(c, s.id), []);
	});
});
