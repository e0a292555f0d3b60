// The same agent on all three dialects: the same events in the same order (must show 3), and what a provider is sent and bills.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { MODEL, TOOLSET, client, log, makeAgent, makeEnvironment, unique } from '../lib/client.mjs';
import { LAB, provider, requests } from '../lib/provider.mjs';
import { answer, bash, call, interrupt, message, script } from '../lib/script.mjs';
import { assertLog, logShape, micros } from '../lib/shape.mjs';
import { TOO_LATE, meanwhile, until } from '../lib/until.mjs';
import { Watch, calls, ofType, one, textOf } from '../lib/watch.mjs';

const c = client();
const TICKET = { type: 'custom', name: 'ticket', description: 'Open a ticket.', input_schema: { type: 'object', properties: { title: { type: 'string' } } } };
const SYSTEM = 'You are terse.';
const benches = {};

describe('dialects', { concurrency: true }, () => {
	before(async () => {
		const environment = await makeEnvironment(c);
		for (const model of [MODEL, LAB.anthropic, LAB.openai]) {
			const agent = await makeAgent(c, { model, name: 'Polyglot', system: SYSTEM, tools: [TOOLSET, TICKET] });
			benches[model] = { c, environment, agent, session: (more = {}) => c.beta.sessions.create({ agent: agent.id, environment_id: environment.id, ...more }) };
		}
	});

	// What must not differ: everything but ids, times, token counts and the model's own words about itself.
	const essence = (events) => {
		const number = new Map();
		const id = (x) => (number.has(x) ? number.get(x) : number.set(x, number.size).get(x));
		return events.map((e) => ({
			type: e.type, ...(e.name ? { name: e.name, input: e.input, permission: e.evaluated_permission } : {}),
			...(e.type === 'agent.tool_result' ? { of: id(e.tool_use_id), text: textOf(e), error: e.is_error === true } : {}),
			...(e.type === 'agent.message' ? { text: textOf(e).replace(/^I am .*? You said/s, 'You said') } : {}),
			...(e.stop_reason ? { stop: { ...e.stop_reason, event_ids: e.stop_reason.event_ids?.map(id) } } : {}),
		}));
	};

	test('tools in parallel, text, a custom tool: the same canonical order', async () => {
		const logs = await Promise.all(Object.values(benches).map(async (b) => {
			const w = await Watch.begin(b);
			await w.turn(script(['Let me see.', bash('echo a'), call('write', { file_path: '/workspace/f', content: 'ünï\n"quoted"\\' }), bash('echo c; exit 4')],
				[call('read', { file_path: '/workspace/f' }), call('grep', { pattern: 'quoted', path: '/workspace' })]));
			await w.turn('Just talk to me');
			const wait = await w.turn(script(['Asking.', call('ticket', { title: 'T', n: 1.50, deep: [{}] })]));
			await w.send(answer(one(wait, 'agent.custom_tool_use').id, 'done'));
			await w.idle();
			const listed = await w.assertSameAsLog();
			assertLog(listed);
			w.close();
			return listed;
		}));
		for (const l of logs) assert.equal(logShape(l), 'RrUsmbbbeooosbbeoosmeiud' + 'RrUsmeiud' + 'RrUsmceiudKRrsmeiud');
		const [built, messages, chat] = logs.map(essence);
		assert.deepEqual(messages, built);
		assert.deepEqual(chat, built);
	});

	for (const model of Object.values(LAB)) {
		test(`${model}: what it is sent`, async () => {
			const marker = unique('marker');
			const w = await Watch.begin(benches[model]);
			await w.turn(script(`${marker}\n${bash('echo one')}`));
			await w.turn(`second ${marker}`);
			const sent = await requests(marker);
			assert.equal(sent.length, 3);
			for (const r of sent) {
				assert.equal(r.body.stream, true);
				assert.equal(r.body.model, 'fake-1', 'the upstream\'s name');
				assert.match(r.headers['x-api-key'] ?? r.headers.authorization, /sk-test-/);
				assert.match(JSON.stringify(r.body), new RegExp(SYSTEM));
				const tools = r.body.tools.map((t) => t.name ?? t.function.name).sort();
				assert.deepEqual(tools, ['bash', 'edit', 'glob', 'grep', 'read', 'ticket', 'write'], 'web tools are not offered');
				assert.ok(!JSON.stringify(r.body).includes(process.env.ROOST_API_KEY), 'our keys stay with us');
			}
			const events = await log(c, w.id);
			assert.ok(!JSON.stringify(events).includes('sk-test-'), 'the provider\'s key is in no event');
			assert.ok(JSON.stringify(sent[2].body).includes('one\\n'), 'the earlier result is in the context');
			w.close();
		});

		test(`${model}: tool inputs are passed on as the model wrote them`, async () => {
			const w = await Watch.begin(benches[model]);
			const turn = await w.turn(script('ticket {"title":"big 9007199254740993","n":12345678901234567890,"f":1e2,"u":"\\u00e9"}'));
			const raw = one(turn, 'agent.custom_tool_use');
			assert.equal(raw.input.title, 'big 9007199254740993');
			assert.equal(raw.input.u, 'é');
			await w.send(interrupt());
			await w.idle();
			w.close();
		});

		test(`${model}: usage`, async () => {
			const w = await Watch.begin(benches[model]);
			const turn = await w.turn(`count these words\n${provider({ cache: { read: 5, write_5m: 7, write_1h: 3 } })}`);
			const { model_usage: u } = one(turn, 'span.model_request_end');
			const { usage } = one(turn, 'session.usage');
			assert.equal(u.cache_read_input_tokens, 5);
			assert.equal(usage.cache_read_input_tokens, 5);
			assert.equal(usage.input_tokens, u.input_tokens);
			assert.equal(usage.output_tokens, u.output_tokens);
			assert.ok(u.input_tokens > 0 && u.output_tokens > 0);
			if (model === LAB.anthropic) {
				assert.equal(u.cache_creation_input_tokens, 10);
				assert.deepEqual(usage.cache_creation, { ephemeral_5m_input_tokens: 7, ephemeral_1h_input_tokens: 3 });
			}
			const none = { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 };
			assert.deepEqual((await c.beta.sessions.retrieve(w.id)).usage.cache_creation ?? none, usage.cache_creation ?? none);
			w.close();
		});

		test(`${model}: interrupted while it streams: no message, the span ends, the connection to the provider too`, async () => {
			const marker = unique('cut');
			const w = await Watch.begin(benches[model], { event_deltas: ['agent.message'] });
			await w.send(message(`${marker} ${'blah '.repeat(2000)}\n${provider({ word_ms: 40 })}`));
			const start = await w.until('event_start');
			await w.until('event_delta');
			const at = performance.now();
			await w.send(interrupt());
			const idle = await w.idle();
			assert.ok(performance.now() - at < 25_000, 'long before the 80 s that it would have spoken');
			assert.deepEqual(idle.stop_reason, { type: 'end_turn' });
			const listed = await log(c, w.id);
			assertLog(listed);
			assert.equal(logShape(listed), 'RrUseIiud');
			assert.ok(!listed.some((e) => e.id === start.event.id), 'no buffered message');
			// What was streamed is paid for: the input if this dialect tells it at the beginning, a token for four bytes of what has come.
			const { is_error, model_usage: took } = one(listed, 'span.model_request_end');
			const seen = ofType(w.events, 'event_delta').reduce((n, e) => n + e.delta.content.text.length, 0);
			assert.equal(is_error, true);
			assert.equal(took.input_tokens > 2000, model === LAB.anthropic);
			assert.ok(took.output_tokens >= Math.floor(seen / 4) && took.output_tokens < 2000, `${took.output_tokens} for ${seen} characters`);
			const { usage } = await c.beta.sessions.retrieve(w.id);
			assert.deepEqual([usage.input_tokens, usage.output_tokens], [took.input_tokens, took.output_tokens]);
			await until('the provider sees the connection closed', async () => (await requests(marker))[0].closed === 'aborted');
			const turn = await w.turn('go on');
			assert.match(textOf(one(turn, 'agent.message')), /go on/);
			w.close();
		});

		test(`${model}: a reply of too many blocks fails, and is paid for`, async () => {
			const w = await Watch.begin(benches[model]);
			await w.send(message(script(Array.from({ length: 513 }, (_, i) => bash(`echo ${i}`)))));
			const idle = await w.idle();
			assert.deepEqual(idle.stop_reason, { type: 'retries_exhausted' });
			const listed = await log(c, w.id);
			assert.equal(ofType(listed, 'agent.tool_use').length, 0);
			assert.deepEqual([one(listed, 'session.error').error.type, one(listed, 'session.error').error.retry_status.type],
				['model_request_failed_error', 'exhausted']);
			const { model_usage: took } = one(listed, 'span.model_request_end');
			assert.ok(took.output_tokens >= 513, `${took.output_tokens}`);
			const { usage } = await c.beta.sessions.retrieve(w.id);
			assert.deepEqual([usage.input_tokens, usage.output_tokens], [took.input_tokens, took.output_tokens]);
			w.close();
		});

		test(`${model}: deltas come while it speaks, for those who joined in time`, async () => {
			await meanwhile(async (seconds) => {
				const w = await Watch.begin(benches[model], { event_deltas: ['agent.message'] });
				await w.send(message(`${Array.from({ length: 60 }, (_, i) => `word${i}`).join(' ')}\n${provider({ word_ms: seconds * 12 })}`));
				await w.until('event_delta');
				const late = await Watch.open(c, w.id, { event_deltas: ['agent.message'] });
				if ((await c.beta.sessions.retrieve(w.id)).status !== 'running') return TOO_LATE;
				await w.idle({ ms: 90_000 });
				await late.idle();
				const final = one(w.events, 'agent.message');
				const deltas = ofType(w.events, 'event_delta');
				if (deltas.length < 3) return TOO_LATE;		// a worker that was late has read several words at once
				assert.ok(textOf(final).startsWith(deltas.map((d) => d.delta.content.text).join('')));
				assert.equal(ofType(w.events, 'event_start').length, 1);
				assert.equal(ofType(late.events, 'event_start', 'event_delta').length, 0, 'no orphan deltas');
				assert.deepEqual(one(late.events, 'agent.message'), final);
				for (const x of [w, late]) x.close();
				return undefined;
			});
		});

		test(`${model}: a message sent during the last request is answered by one more`, async () => {
			await meanwhile(async (seconds) => {
				const w = await Watch.begin(benches[model]);
				await w.send(message(`slowly now\n${provider({ delay_ms: seconds * 500 })}`));
				await w.until('span.model_request_start');
				const [sent] = await w.send(message('one more thing'));
				if (ofType(await log(c, w.id), 'span.model_request_end').length) return TOO_LATE;
				await w.idle({ ms: 90_000 });
				const listed = await w.assertSameAsLog();
				assertLog(listed);
				assert.equal(logShape(listed), 'RrUsmeUsmeiud', 'one running, one idle');
				const at = listed.findIndex((e) => e.id === sent.id);
				assert.equal(micros(listed[at + 1].processed_at) - micros(listed[at].processed_at), 1n);
				return w.close();
			});
		});

		test(`${model}: a call whose input is no JSON is an error result, and the turn goes on`, async () => {
			const w = await Watch.begin(benches[model]);
			const turn = await w.turn(`${bash('echo x')}\n${provider({ fault: 'bad_input' })}`);
			assert.equal(logShape(turn), 'RrUsbeosmeiud');
			assert.deepEqual(one(turn, 'agent.tool_use').input, {});
			assert.equal(calls(turn)[0].error, true);
			assertLog(await w.assertSameAsLog());
			w.close();
		});
	}

	test('thinking: an event without content, a preview without deltas, the block back to the provider with its signature', async () => {
		const marker = unique('think');
		const w = await Watch.begin(benches[LAB.anthropic], { event_deltas: ['agent.message', 'agent.thinking'] });
		await w.turn(`${bash(`echo ${marker}`)}\n${provider({ thinking: 'A secret thought.', signature: 'c2lnbmVk' })}`);
		const events = w.persisted;
		assert.equal(logShape(events), 'RrUstbeostmeiud');
		for (const t of ofType(events, 'agent.thinking')) assert.deepEqual(Object.keys(t).sort(), ['id', 'processed_at', 'type']);
		assert.ok(!JSON.stringify(w.events.filter((e) => e.type !== 'user.message')).includes('secret thought'));
		const started = ofType(w.events, 'event_start').filter((e) => e.event.type === 'agent.thinking').map((e) => e.event.id);
		assert.deepEqual(started, ofType(events, 'agent.thinking').map((e) => e.id));
		const second = (await requests(marker)).at(-1).body.messages.find((m) => m.role === 'assistant');
		assert.deepEqual([second.content[0].type, second.content[0].thinking, second.content[0].signature], ['thinking', 'A secret thought.', 'c2lnbmVk']);
		w.close();
	});

	test('a refusal ends the turn and says so', async () => {
		const w = await Watch.begin(benches[LAB.anthropic]);
		const turn = await w.turn(`do something bad\n${provider({ fault: 'refusal' })}`);
		const idle = turn.at(-1);
		assert.equal(idle.stop_reason.type, 'refusal');
		assert.equal(idle.stop_details?.type, 'refusal');
		w.close();
	});
});
