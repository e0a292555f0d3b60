// Sending and listing events (contract 3.1, 3.2, 3.8, 1.10; operations.md D8 29, 30, 33-39).
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { ABSENT, bench, client, collect, log } from '../lib/client.mjs';
import { bad, get, post } from '../lib/http.mjs';
import { answer, allow, bash, interrupt, message, script, text } from '../lib/script.mjs';
import { exactly, refused } from '../lib/sdkerror.mjs';
import { assertLog, micros, shape } from '../lib/shape.mjs';
import { TOO_LATE, meanwhile, until } from '../lib/until.mjs';
import { Watch, ofType, one, textOf } from '../lib/watch.mjs';

const c = client();
const events = c.beta.sessions.events;
let b, w;		// w: a session with one finished turn of two steps, only read by the list tests
const ids = (list) => list.map((e) => e.id);

describe('events', { concurrency: 16 }, () => {
	before(async () => {
		b = await bench(c);
		w = await Watch.begin(b);
		await w.turn(script([bash('echo one'), bash('echo two')]));
		await w.turn('second turn');
	});

	test('echo: in order, with ids, waiting ones without a stamp', async () => {
		const s = await b.session();
		const { data, ...rest } = await events.send(s.id, { events: [message('a'), { type: 'user.message', content: [text('b1'), text('b2')] }] });
		assert.deepEqual(rest, {}, 'the envelope has data and nothing else');
		assert.deepEqual(data.map(({ id, ...e }) => e), [
			{ type: 'user.message', content: [text('a')], processed_at: null },
			{ type: 'user.message', content: [text('b1'), text('b2')], processed_at: null },
		]);
		for (const e of data) assert.match(e.id, /^sevt_01/);
		assert.ok(!('session_thread_id' in data[0]));
	});

	test('the echoed ids are those of the log, once each, processed', async () => {
		const v = await Watch.begin(b);
		const sent = await v.send(message('x'), message('y'));
		await v.idle();
		const listed = await v.assertSameAsLog();
		assertLog(listed);
		assert.deepEqual(ids(ofType(listed, 'user.message')), ids(sent));
		for (const e of ofType(listed, 'user.message')) micros(e.processed_at);
		const first = one(listed, 'span.model_request_start');
		assert.equal(micros(first.processed_at) - micros(ofType(listed, 'user.message').at(-1).processed_at), 1n,
			'1 µs before the request that consumes them');
		v.close();
	});

	test('while waiting behind a tool call: listed at the tail without a stamp, streamed once, when processed', async () => {
		await meanwhile(async (seconds) => {
			const v = await Watch.begin(b);
			await v.send(message(bash(`sleep ${seconds}`)));
			await v.until('agent.tool_use');
			const [sent] = await v.send(message('and another thing'));
			assert.equal(sent.processed_at, null);
			const [listed, desc] = [await log(c, v.id), await collect(events.list(v.id, { order: 'desc' }))];
			if (ofType(await log(c, v.id), 'agent.tool_result').length) return TOO_LATE;
			assert.deepEqual(listed.at(-1), sent);
			assertLog(listed, { running: true });
			assert.deepEqual(ids(desc), ids(listed).reverse());
			await v.idle({ ms: 90_000 });
			assert.equal(v.events.filter((e) => e.id === sent.id).length, 1);
			assert.notEqual(v.events.find((e) => e.id === sent.id).processed_at, null);
			assertLog(await v.assertSameAsLog());
			return v.close();
		});
	});

	test('list: stream and list agree', async () => {
		assertLog(await w.assertSameAsLog());
	});

	test('list: paging in both orders', async () => {
		const all = await log(c, w.id);
		for (const limit of [1, 2, 5, 1000]) {
			assert.deepEqual(await collect(events.list(w.id, { limit })), all);
			assert.deepEqual(await collect(events.list(w.id, { limit, order: 'desc' })), [...all].reverse());
		}
		const page = await events.list(w.id, { limit: 2 });
		assert.equal(page.data.length, 2);
		const changed = await events.list(w.id, { limit: 3, page: page.next_page });
		assert.deepEqual(changed.data, all.slice(2, 5), 'the limit may change between pages');
		await refused(events.list(w.id, { limit: 2, page: page.next_page, order: 'desc' }), 400, exactly('page token order does not match request'));
		assert.equal((await events.list(w.id)).next_page, null);
	});

	test('list: types', async () => {
		const all = await log(c, w.id);
		const some = await collect(events.list(w.id, { types: ['agent.message', 'session.status_idle'], limit: 1 }));
		assert.deepEqual(some, ofType(all, 'agent.message', 'session.status_idle'));
		const plain = await get(`/v1/sessions/${w.id}/events?types=agent.message&types=session.status_idle`);
		assert.deepEqual(plain.json.data, some, 'without brackets too');
		assert.deepEqual((await events.list(w.id, { types: ['agent.thinking'] })).data, []);
		await refused(events.list(w.id, { types: ['agent.nonsense'] }), 400, /types/);
		await refused(events.list(w.id, { types: ['session.deleted'] }), 400, /types/);
		await refused(events.list(w.id, { types: ['event_delta'] }), 400, /types/);
	});

	test('list: every filterable type is accepted', async () => {
		const types = ('user.message user.interrupt user.tool_confirmation user.custom_tool_result user.tool_result user.define_outcome '
			+ 'system.message agent.message agent.thinking agent.tool_use agent.tool_result agent.mcp_tool_use agent.mcp_tool_result '
			+ 'agent.custom_tool_use agent.thread_message_sent agent.thread_message_received agent.thread_context_compacted '
			+ 'session.status_running session.status_idle session.status_rescheduled session.status_terminated session.updated session.usage '
			+ 'session.error session.thread_created session.thread_status_running session.thread_status_idle '
			+ 'session.thread_status_rescheduled session.thread_status_terminated span.model_request_start span.model_request_end '
			+ 'span.outcome_evaluation_start span.outcome_evaluation_ongoing span.outcome_evaluation_end workflow_run.created '
			+ 'workflow_run.status_running workflow_run.status_idle workflow_run.phase_started workflow_run.phase_ended workflow_run.error '
			+ 'workflow_run.status_ended').split(' ');
		assert.equal(types.length, 41);
		assert.deepEqual(await collect(events.list(w.id, { types })), await log(c, w.id));
	});

	test('list: created_at means processed_at', async () => {
		const all = await log(c, w.id);
		const at = all[4].processed_at;
		const q = (f) => collect(events.list(w.id, f));
		assert.deepEqual(await q({ 'created_at[gt]': at }), all.slice(5));
		assert.deepEqual(await q({ 'created_at[gte]': at }), all.slice(4));
		assert.deepEqual(await q({ 'created_at[lt]': at }), all.slice(0, 4));
		assert.deepEqual(await q({ 'created_at[lte]': at, order: 'desc' }), all.slice(0, 5).reverse());
		assert.deepEqual(await q({ 'created_at[gt]': at, 'created_at[lt]': at }), []);
		const zoned = at.replace('Z', '+00:00');
		assert.deepEqual(await q({ 'created_at[gte]': zoned }), all.slice(4), 'an offset is as good as Z');
		assert.deepEqual(await q({ 'created_at[gt]': '9999-12-31T23:59:59Z' }), []);
		await refused(events.list(w.id, { 'created_at[gt]': 'noon' }), 400, /created_at/);
	});

	test('list: limits and cursors', async () => {
		for (const limit of [0, -1, 1001, 1e9]) await refused(events.list(w.id, { limit }), 400, /limit/);
		bad(await get(`/v1/sessions/${w.id}/events?limit=ten`), /limit/);
		await refused(events.list(w.id, { page: 'page_x' }), 400, exactly('invalid page cursor'));
	});

	test('content blocks: text, image, document', async () => {
		const v = await Watch.begin(b);
		const content = [
			text('look at these'),
			{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'iVBORw0KGgo=' } },
			{ type: 'image', source: { type: 'url', url: 'https://example.com/x.png' } },
			{ type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'a plain document' }, title: 'D', context: null },
		];
		const [sent] = await v.send({ type: 'user.message', content });
		assert.equal(sent.content.length, 4);
		assert.deepEqual(sent.content[1], content[1]);
		await v.idle();
		const listed = ofType(await log(c, v.id), 'user.message')[0];
		assert.deepEqual(listed.content, sent.content);
		v.close();
	});

	test('content blocks: base64, url and text documents, and everything a custom result may hold', async () => {
		const mine = await bench(c, { tools: [{ type: 'custom', name: 'look', description: 'd', input_schema: { type: 'object' } }] });
		const v = await Watch.begin(mine);
		const pdf = { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'JVBERi0=' }, title: 'P', context: 'C' };
		const url = { type: 'document', source: { type: 'url', url: 'https://example.com/x.pdf' } };
		const [sent] = await v.send({ type: 'user.message', content: [text('look {}'), pdf, url] });
		assert.deepEqual(sent.content, [text('look {}'), pdf, url]);
		await v.idle();
		const content = [text('found'), pdf, { type: 'image', source: { type: 'base64', media_type: 'image/gif', data: 'R0lG' } }, {
			type: 'search_result', source: 'https://example.com', title: 'T', content: [text('a'), text('b')], citations: { enabled: true } }];
		const use = ofType(v.events, 'agent.custom_tool_use')[0];
		if (use) {
			const [result] = await v.send({ type: 'user.custom_tool_result', custom_tool_use_id: use.id, content, is_error: null });
			assert.deepEqual(result.content, content);
			assert.ok(!('is_error' in result));
			await v.idle();
			assert.deepEqual(ofType(await log(c, v.id), 'user.custom_tool_result')[0].content, content);
		}
		assert.ok(use, 'the scripted model called the tool');
		v.close();
	});

	test('list: a time filter that leaves out the cursor\'s position', async () => {
		const page = await events.list(w.id, { limit: 3 });
		const at = page.data.at(-1).processed_at;
		const next = (f) => events.list(w.id, { limit: 1, page: page.next_page, ...f });
		assert.equal((await next({ 'created_at[gte]': at })).data.length, 1);
		await refused(next({ 'created_at[lt]': at }), 400, /invalid page cursor/);
		await refused(next({ 'created_at[gt]': at }), 400, /invalid page cursor/);
	});

	test('text is kept byte for byte', async () => {
		const v = await Watch.begin(b);
		for (const t of ['ﷺ 👩‍👩‍👧 \u200b\u202e\u0000 \u0001 \u2028 "\\ </script>', 'line\r\nline', '1e400 9007199254740993 -0', '{"not":"json"}',
			'\ud83d\ude00'.repeat(1000)]) {
			if (t.includes('\u0000')) {
				await refused(events.send(v.id, { events: [message(t)] }), 400);
				continue;
			}
			const [sent] = await v.send(message(t));
			assert.equal(sent.content[0].text, t);
			await v.idle();
			assert.equal((await v.assertSameAsLog()).find((e) => e.id === sent.id).content[0].text, t);
		}
		v.close();
	});

	test('a megabyte in one message', async () => {
		const s = await b.session();		// not through a stream, which may cut a reader as slow as this process beside others
		const big = 'word '.repeat(210_000).trim();
		const { data: [sent] } = await events.send(s.id, { events: [message(big)] });
		await until('idle', async () => (await c.beta.sessions.retrieve(s.id)).status === 'idle', 90_000);
		const listed = await log(c, s.id);
		assertLog(listed);
		assert.equal(listed.find((e) => e.id === sent.id).content[0].text, big);
	});

	const M = (content) => ({ type: 'user.message', content });
	const rejected = [
		['no events', [], /events/],
		['content missing', [{ type: 'user.message' }], /events(\[0\]|\.0).*content/],
		['content empty', [M([])], /events(\[0\]|\.0).*content/],
		['content a string', [M('hi')], /events(\[0\]|\.0).*content/],
		['empty text', [M([text('')])], exactly('events.0.user_message.content.0.text: value is required')],
		['redacted block', [M([{ type: 'redacted' }])], /events(\[0\]|\.0).*content/],
		['unknown block', [M([{ type: 'hologram' }])], /events\[0\]\.content\[0\]\.type/],
		['unknown type', [{ type: 'user.shout' }], /events\[0\]\.type/],
		['an agent\'s event', [{ type: 'agent.message', content: [text('I am the agent')] }], /events\[0\]\.type/],
		['unknown key', [{ ...M([text('x')]), id: 'sevt_mine' }], /unknown field "(events\[0\]\.)?id"/],
		['processed_at is not ours to set', [{ ...M([text('x')]), processed_at: null }], /unknown field "(events\[0\]\.)?processed_at"/],
		['confirmation of nothing', [allow(ABSENT.event)], /events(\[0\]|\.0)|tool_use_id/],
		['confirmation of a malformed id', [allow('nonsense')], /tool_use_id|events/],
		['custom result of nothing', [answer(ABSENT.event, 'x')], /events(\[0\]|\.0)|custom_tool_use_id/],
		['deny_message with allow', [{ ...allow(ABSENT.event), deny_message: 'no' }], /deny_message/],
		['confirmation neither allow nor deny', [{ ...allow(ABSENT.event), result: 'maybe' }], /events\[0\]\.result/],
		['a document of no media type', [M([{ type: 'document', source: { type: 'base64', media_type: 'pdf', data: 'aGk=' } }])], /content\.0\.source\.media_type/],
		['an image of another type', [M([{ type: 'image', source: { type: 'base64', media_type: 'image/tiff', data: 'aGk=' } }])], /source\.media_type/],
		['base64 that is none', [M([{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'a' } }])], /content\.0\.source\.data/],
		['a URL that is none', [M([{ type: 'image', source: { type: 'url', url: 'javascript:1' } }])], /content\.0\.source\.url/],
		['search results of a user', [M([{ type: 'search_result', source: 's', title: 't', content: [text('x')], citations: { enabled: false } }])], /content\[0\]\.type/],
		['interrupt of a malformed thread', [{ type: 'user.interrupt', session_thread_id: 'x' }], exactly('Invalid thread ID: x')],
		['system message first', [{ type: 'system.message', content: [text('s')] }, message('x')], /system\.message event at events\[0\]/],
		['system message behind an interrupt', [interrupt(), { type: 'system.message', content: [text('s')] }], /system\.message event at events\[1\]/],
		['two system messages', [message('x'), { type: 'system.message', content: [text('s')] }, { type: 'system.message', content: [text('s')] }],
			/system\.message event at events\[1\]/],
		['system message without text', [message('x'), { type: 'system.message', content: [] }], /events\.1\.system_message\.content/],
		['good then bad', [message('fine'), { type: 'nope' }], /events\[1\]/],
	];
	for (const [what, list, pattern] of rejected) {
		test(`refused whole: ${what}`, async () => {
			const s = await b.session();
			await refused(events.send(s.id, { events: list }), 400, pattern);
			assert.deepEqual(await log(c, s.id), []);
			assert.equal((await c.beta.sessions.retrieve(s.id)).status, 'idle');
		});
	}

	test('user.tool_result is for workers\' credentials only', async () => {
		const s = await b.session();
		await refused(events.send(s.id, { events: [{ type: 'user.tool_result', tool_use_id: ABSENT.event, content: [text('x')] }] }), 403);
	});

	test('a confirmation for a call that never asked', async () => {
		const use = ofType(await log(c, w.id), 'agent.tool_use')[0];
		await refused(events.send(w.id, { events: [allow(use.id)] }), 400);
		const other = await b.session();
		await refused(events.send(other.id, { events: [allow(use.id)] }), 400);
	});

	test('interrupt by thread: the primary\'s, nobody\'s', async () => {
		const v = await Watch.begin(b);
		const [thread] = await collect(c.beta.sessions.threads.list(v.id));
		const nobody = 'sthr_01' + '1'.repeat(22);
		await refused(events.send(v.id, { events: [{ ...interrupt(), session_thread_id: nobody }] }), 404, exactly(`Thread not found: ${nobody}`));
		await v.send(message(bash('sleep 100')));
		await v.until('agent.tool_use');
		const [sent] = await v.send({ ...interrupt(), session_thread_id: thread.id });
		assert.equal(sent.session_thread_id, thread.id);
		assert.equal((await v.idle()).stop_reason.type, 'end_turn');
		assert.equal(one(await v.assertSameAsLog(), 'user.interrupt').session_thread_id, thread.id);
		v.close();
	});

	test('interrupt of an idle session: recorded, changes nothing', async () => {
		const v = await Watch.begin(b);
		await v.turn('hello');
		const [sent] = await v.send(interrupt());
		assert.equal(sent.type, 'user.interrupt');
		const turn = await v.turn('still there?');
		assert.match(textOf(one(turn, 'agent.message')), /still there/);
		const listed = await v.assertSameAsLog();
		assertLog(listed);
		assert.equal(listed.filter((e) => e.id === sent.id).length, 1);
		assert.match(shape(listed), /^RrUsmeiudI?RrI?UsmeiudI?$/);
		v.close();
	});

	test('many events in one request, and many requests at once, each once and in order', async () => {
		const v = await Watch.begin(b);
		const batches = await Promise.all(Array.from({ length: 10 }, (_, i) => v.send(...Array.from({ length: 5 }, (_, k) => message(`${i}.${k}`)))));
		await v.idleAfter(50);
		const listed = await v.assertSameAsLog();
		assertLog(listed);
		const order = ids(ofType(listed, 'user.message'));
		assert.deepEqual([...order].sort(), batches.flatMap(ids).sort());
		for (const batch of batches) {
			const at = order.indexOf(batch[0].id);
			assert.deepEqual(order.slice(at, at + 5), ids(batch), 'a request stays together');
		}
		v.close();
	});

	test('the body\'s own form', async () => {
		const s = await b.session();
		const path = `/v1/sessions/${s.id}/events`;
		for (const body of ['', '[]', '"x"', 'null', '7', '{}', '{"events":{}}', '{"events":null}', '{"events":[null]}', '{"events":[[]]}']) {
			bad(await post(path, body));
		}
		assert.deepEqual(await log(c, s.id), []);
	});
});
