// A context that fills its model's window is summarised (contract 3.3, agent.thread_context_compacted): the turn goes on, the log stays
// whole, the summary is nowhere to be seen. The models lab-narrow* have a window of 3,000 tokens, 1,000 of them for the
// reply.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { bench, client, log } from '../lib/client.mjs';
import { bash, message, script } from '../lib/script.mjs';
import { assertLog, logShape } from '../lib/shape.mjs';
import { Watch, calls, ofType, one, textOf } from '../lib/watch.mjs';

const c = client();
const words = (n, word = 'word') => Array.from({ length: n }, () => word).join(' ');
const compacted = (events) => ofType(events, 'agent.thread_context_compacted');
const usage = (events) => ofType(events, 'span.model_request_end').map((e) => e.model_usage);
let b;

describe('compaction', { concurrency: true }, () => {
	before(async () => { b = await bench(c, { model: 'lab-narrow' }); });

	for (const model of ['lab-narrow', 'lab-narrow-a', 'lab-narrow-o']) test(`between turns: the next message is answered behind a summary, ${model}`, async () => {
		const w = await Watch.begin(await bench(c, { model }));
		const turns = [];
		for (let i = 0; i < 12 && compacted(w.events).length === 0; i++) turns.push(await w.turn(words(200, `w${i}`)));
		const events = turns.at(-1), event = one(events, 'agent.thread_context_compacted');
		assert.ok(turns.length > 2, `after ${turns.length} turns`);
		assert.deepEqual(Object.keys(event).sort(), ['id', 'processed_at', 'type']);
		assert.equal(logShape(events), 'RrsezUsmeiud');
		assert.match(textOf(one(events, 'agent.message')), new RegExp(`w${turns.length - 1} w${turns.length - 1}`));
		const [summary, reply] = usage(events);
		assert.ok(summary.input_tokens > 200 * (turns.length - 1), `the summary saw ${summary.input_tokens} words`);
		assert.ok(reply.input_tokens < 400, `the reply saw ${reply.input_tokens} words`);
		assert.equal(ofType(w.events, 'event_delta').length, 0);
		const listed = await w.assertSameAsLog();
		assertLog(listed);
		assert.equal(ofType(listed, 'user.message').length, turns.length, 'the log is whole');
		assert.doesNotMatch(JSON.stringify(listed), /A conversation of \d+ items/);
		// the bill has every request
		const total = usage(listed).reduce((n, u) => n + u.input_tokens, 0);
		assert.equal((await c.beta.sessions.retrieve(w.id)).usage.input_tokens, total);
		const more = await w.turn('short');
		assert.equal(logShape(more), 'RrUsmeiud');
		assert.ok(usage(more)[0].input_tokens > reply.input_tokens);
		w.close();
	});

	test('in a turn: the script goes on where it was', async () => {
		const w = await Watch.begin(b);
		const steps = Array.from({ length: 6 }, (_, k) => bash(`echo step${k}; yes w | head -500 | tr '\\n' ' '`));
		const events = await w.turn(message(script(...steps.map((s) => [s]), 'all done')));
		assert.ok(compacted(events).length >= 1, logShape(events));
		const results = calls(events);
		assert.deepEqual(results.map((r) => /step\d/.exec(r.text)?.[0]), steps.map((_, k) => `step${k}`));
		assert.match(textOf(ofType(events, 'agent.message').at(-1)), /all done|Done/);
		assertLog(await w.assertSameAsLog());
		w.close();
	});

	test('what does not fit even behind a summary ends the turn, not the session', async () => {
		const w = await Watch.begin(b);
		await w.turn('hello');
		const events = await w.turn(words(3000));
		const error = one(events, 'session.error').error;
		assert.equal(error.type, 'compaction_limit_reached_error');
		assert.equal(error.retry_status.type, 'exhausted');
		assert.deepEqual(events.at(-1).stop_reason, { type: 'retries_exhausted' });
		assert.equal(logShape(events), 'RrsezXiud');
		assert.equal(logShape(await w.turn('still there?')), 'RrUsmeiud');
		assertLog(await log(c, w.id));
		w.close();
	});
});
