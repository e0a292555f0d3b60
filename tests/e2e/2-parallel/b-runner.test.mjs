// Appendix B 9: events.toolRunner of the unmodified SDK, with its own defaults. It exits 60 s after end_turn: this file's clock runs such
// waits in half a second, which is why it stands alone.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { bench, breakingStreams, client, log } from '../lib/client.mjs';
import { call, message, script } from '../lib/script.mjs';
import { assertLog } from '../lib/shape.mjs';
import { within } from '../lib/until.mjs';
import { Watch, ofType, textOf } from '../lib/watch.mjs';

const IDLE = 60_000;
const waits = [];
const { setTimeout: real } = globalThis;
globalThis.setTimeout = (fn, ms, ...args) => {
	if (ms === IDLE) waits.push(performance.now());
	return real(fn, ms === IDLE ? 500 : ms, ...args);
};

// No request of ours may have a timeout of just that length.
const options = { timeout: 59_000, maxRetries: 2 };
const c = client(options);
const tool = (name, run) => ({ type: 'custom', name, description: 'd', input_schema: { type: 'object' }, parse: (x) => x, run });
let b;

describe('appendix B 9', () => {
	before(async () => {
		b = await bench(c, { tools: ['ticket', 'weather'].map((name) => ({ type: 'custom', name, description: 'd', input_schema: { type: 'object' } })) });
	});

	test('B9 the tool runner completes a turn of many calls over a stream that breaks, runs nothing twice, and exits 60 s after end_turn', async () => {
		const { fetch, broken } = breakingStreams(3, 'agent.custom_tool_use');
		const breaking = client({ ...options, fetch });
		const w = await Watch.begin(b);
		const ran = [];
		const results = [];
		let worked;
		const runner = breaking.beta.sessions.events.toolRunner(w.id, { tools: [
			tool('ticket', async (i) => { ran.push(`ticket ${i.n}`); worked = performance.now(); return `made ${i.n}`; }),
			tool('weather', async (i) => { ran.push(`weather ${i.n}`); worked = performance.now(); return `rain ${i.n}`; })] });
		const done = (async () => { for await (const r of runner) results.push(r); })();
		await w.send(message(script([call('ticket', { n: 1 }), call('weather', { n: 2 })], call('ticket', { n: 3 }), [call('weather', { n: 4 }), call('ticket', { n: 5 })])));
		await w.until((e) => e.type === 'session.status_idle' && e.stop_reason.type === 'end_turn', { what: 'the end of the turn' });
		await within('the runner exits', done);
		assert.ok(broken() >= 1, 'the stream was broken');
		assert.ok(waits.some((t) => t >= worked), 'it waited its 60 s (shortened here) after its last call');
		assert.deepEqual(ran.sort(), ['ticket 1', 'ticket 3', 'ticket 5', 'weather 2', 'weather 4']);
		assert.equal(results.length, 5);
		const listed = await log(c, w.id);
		assertLog(listed);
		assert.deepEqual(ofType(listed, 'user.custom_tool_result').map(textOf).sort(), ['made 1', 'made 3', 'made 5', 'rain 2', 'rain 4']);
		w.close();
	});
});
