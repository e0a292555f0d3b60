// A model that refuses (contract 3.4), and system messages between the others (3.2), as the providers see them.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TOOLSET, bench, client } from '../lib/client.mjs';
import { LAB, provider, requests } from '../lib/provider.mjs';
import { answer, bash, call, message, script, text } from '../lib/script.mjs';
import { refused } from '../lib/sdkerror.mjs';
import { assertLog, logShape } from '../lib/shape.mjs';
import { Watch, ofType, one, textOf } from '../lib/watch.mjs';

const c = client();
const TICKET = { type: 'custom', name: 'ticket', description: 'Open a ticket.', input_schema: { type: 'object' } };
const system = (t) => ({ type: 'system.message', content: [text(t)] });
const mark = () => `mark${Math.random().toString(36).slice(2)}`;

describe('refusal', { concurrency: true }, () => {
	const cases = [
		['named', { type: 'refusal', category: 'cyber', explanation: 'Looks like "malware".' }, { category: 'cyber', explanation: 'Looks like "malware".' }],
		['of a category nobody knows', { type: 'refusal', category: 'novel', explanation: null }, { category: null, explanation: null }],
		['without details', undefined, { category: null, explanation: null }],
	];
	for (const [what, stop_details, want] of cases) {
		test(`${what}: the turn ends with it, the next message starts anew`, async () => {
			const b = await bench(c, { model: LAB.anthropic });
			const w = await Watch.begin(b);
			const turn = await w.turn(`${script(['I will not.', bash('echo never')])}\n${provider({ fault: 'refusal', stop_details })}`);
			assert.equal(ofType(turn, 'agent.tool_use').length, 0, 'calls of a refused reply are not made');
			for (const e of ofType(turn, 'session.thread_status_idle', 'session.status_idle')) {
				assert.deepEqual(e.stop_reason, { type: 'refusal' });
				assert.deepEqual(e.stop_details, { type: 'refusal', ...want });
			}
			const next = await w.turn('hello again');
			assert.deepEqual([next.at(-1).stop_reason, next.at(-1).stop_details], [{ type: 'end_turn' }, null]);
			assert.match(textOf(one(next, 'agent.message')), /hello again/);
			assertLog(await w.assertSameAsLog());
			w.close();
		});
	}

	test('a message that came meanwhile begins a turn of its own', async () => {
		const w = await Watch.begin(await bench(c, { model: LAB.anthropic }));
		await w.send(message(`no\n${provider({ fault: 'refusal', delay_ms: 3000 })}`));
		await w.until('span.model_request_start');
		await w.send(message('and this?'));
		assert.deepEqual((await w.idle()).stop_reason, { type: 'refusal' });
		assert.deepEqual((await w.idle()).stop_reason, { type: 'end_turn' });
		assert.equal(logShape(w.events), 'RrUsmeiudRrUsmeiud');
		await w.assertSameAsLog();
		w.close();
	});

	test('content filters of the other dialect are refusals', async () => {
		const w = await Watch.begin(await bench(c, { model: LAB.openai }));
		const turn = await w.turn(`hi\n${provider({ fault: 'refusal' })}`);
		assert.deepEqual(turn.at(-1).stop_reason, { type: 'refusal' });
		assert.deepEqual(turn.at(-1).stop_details, { type: 'refusal', category: null, explanation: null });
		w.close();
	});
});

describe('system messages', { concurrency: true }, () => {
	// The roles of the last request that a provider got for a mark, and its last system text.
	async function seen(m) {
		const { messages } = (await requests(m)).at(-1).body;
		const said = messages.findLast((x) => x.role === 'system')?.content;
		return { roles: messages.map((x) => x.role), said: typeof said === 'string' ? said : said?.map((x) => x.text).join('') };
	}

	for (const [model, roles] of [['lab-system', ['user', 'system']], ['lab-system-o', ['user', 'system']]]) {
		test(`${model}: follows the message it came with, and stays`, async () => {
			const b = await bench(c, { model, tools: [TOOLSET, TICKET] }), w = await Watch.begin(b), m = mark();
			const [, echo] = await w.send(message(`first ${m}`), system('Speak plainly.'));
			assert.equal(echo.processed_at, null);
			await w.idle();
			assert.equal(logShape(w.events).replace('<system.message>', 'S'), 'RrUSsmeiud');
			let got = await seen(m);
			assert.deepEqual(got.roles.filter((r, i) => !(i === 0 && r === 'system' && model.endsWith('-o') && got.roles.length > 2)), roles);
			assert.equal(got.said, 'Speak plainly.');

			await w.turn('second');
			got = await seen(m);
			assert.deepEqual(got.roles.slice(-4), ['user', 'system', 'assistant', 'user']);

			const turn = await w.turn(script(call('ticket', {}), 'thanks'));
			const use = one(turn, 'agent.custom_tool_use');
			await refused(w.send(system('alone')), 400, /waiting on responses/);
			await w.send(answer(use.id, '17'), system('Be brief.'));
			await w.idle();
			got = await seen(m);
			assert.equal(got.said, 'Be brief.');
			assert.equal(got.roles.at(-1), 'system');
			await w.assertSameAsLog();
			w.close();
		});
	}

	test('alone on an idle session: logged, starts nothing, and the next turn has it', async () => {
		const b = await bench(c, { model: 'lab-system' }), w = await Watch.begin(b), m = mark();
		await w.turn(`one ${m}`);
		await w.send(system('From now on.'));
		const logged = await w.until('system.message');
		assert.ok(logged.processed_at);
		assert.equal((await c.beta.sessions.retrieve(w.id)).status, 'idle');
		await w.turn('two');
		const got = await seen(m);
		assert.deepEqual(got.roles, ['user', 'assistant', 'user', 'system']);
		assert.equal(got.said, 'From now on.');
		w.close();
	});

	test('a model that takes none', async () => {
		const w = await Watch.begin(await bench(c, { model: LAB.anthropic }));
		const e = await refused(w.send(message('hi'), system('no')), 400, /does not support/);
		assert.equal(e.error.error.details?.error_code, 'model_does_not_support_mid_conversation_system');
		w.close();
	});
});
