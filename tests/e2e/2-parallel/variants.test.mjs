// session.error in its variants (contract 3.7): what a provider's refusal becomes, whether it is tried again, and how the turn ends.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { bench, client, unique } from '../lib/client.mjs';
import { LAB, provider } from '../lib/provider.mjs';
import { message } from '../lib/script.mjs';
import { assertLog } from '../lib/shape.mjs';
import { Watch, ofType, one } from '../lib/watch.mjs';

const c = client();
let b;

// [what the provider does, error.type, retried?]
const VARIANTS = [
	[{ fault: 'status', status: 402 }, 'billing_error', false],
	[{ fault: 'error_event', status: 402 }, 'billing_error', false],
	[{ fault: 'status', status: 400, message: 'messages.0: not like this' }, 'model_request_failed_error', false],
	[{ fault: 'status', status: 403 }, 'model_request_failed_error', false],
	[{ fault: 'status', status: 404 }, 'model_request_failed_error', false],
	[{ fault: 'status', status: 429, times: 100 }, 'model_rate_limited_error', true],
	[{ fault: 'status', status: 503, times: 100 }, 'model_overloaded_error', true],
	[{ fault: 'status', status: 500, times: 100 }, 'model_request_failed_error', true],
	[{ fault: 'status', status: 700, times: 100 }, 'unknown_error', true],
];

describe('session.error', { concurrency: true }, () => {
	before(async () => { b = await bench(c, { model: LAB.anthropic, tools: [] }); });

	for (const [i, [how, type, retried]] of VARIANTS.entries()) {
		const model = Object.values(LAB)[i % 2];
		test(`${model}: ${how.fault} ${how.status}: ${type}, ${retried ? 'retrying, then ' : ''}exhausted`, async () => {
			const w = await Watch.begin(b, { create: { agent: { type: 'agent_with_overrides', id: b.agent.id, model } } });
			await w.send(message(`${unique('variant')}\n${provider(how)}`));
			const idle = await w.idle({ ms: 90_000 });
			assert.deepEqual(idle.stop_reason, { type: 'retries_exhausted' });
			const listed = await w.assertSameAsLog();
			assertLog(listed);
			const errors = ofType(listed, 'session.error').map(({ error }) => [error.type, error.retry_status.type]);
			assert.deepEqual(errors.pop(), [type, 'exhausted']);
			assert.ok(retried ? errors.length >= 1 : errors.length === 0, JSON.stringify(errors));
			for (const e of errors) assert.deepEqual(e, [type, 'retrying']);
			assert.equal(ofType(listed, 'session.status_rescheduled').length, errors.length);
			for (const end of ofType(listed, 'span.model_request_end')) {
				assert.equal(end.is_error, true);
				assert.equal(end.model_usage.output_tokens, 0, 'an error is not charged');
			}
			// The session is as good as before.
			await w.turn('and now?');
			assert.equal(w.events.at(-1).stop_reason.type, 'end_turn');
			assert.ok(one(w.events, 'agent.message'));
			w.close();
		});
	}
});
