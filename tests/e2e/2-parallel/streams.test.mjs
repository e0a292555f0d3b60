// The SSE stream (contract 3.9, appendix B 5, 6, D-1; operations.md D8 68, I25). Previews while a model speaks slowly, and for those who
// join in the middle: dialects.test.mjs.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { TOOLSET, bench, client, log } from '../lib/client.mjs';
import { bad, get, missing, headers } from '../lib/http.mjs';
import { Sse } from '../lib/sse.mjs';
import { bash, message, script } from '../lib/script.mjs';
import { refused } from '../lib/sdkerror.mjs';
import { logShape } from '../lib/shape.mjs';
import { until } from '../lib/until.mjs';
import { Watch, ofType, one, textOf } from '../lib/watch.mjs';

const c = client();
let b;
const words = (n) => Array.from({ length: n }, (_, i) => `word${i}`).join(' ');
const path = (id, q = '') => `/v1/sessions/${id}/events/stream${q}`;
const DELTAS = '?event_deltas%5B%5D=agent.message';

describe('streams', { concurrency: 8 }, () => {
	before(async () => { b = await bench(c); });

	test('headers', async () => {
		const s = await b.session();
		const sse = await Sse.open(path(s.id));
		assert.equal(sse.status, 200);
		assert.match(sse.headers['content-type'], /^text\/event-stream/);
		assert.equal(sse.headers['content-length'], undefined);
		assert.equal(sse.headers['content-encoding'], undefined);
		assert.match(sse.headers['request-id'], /^req_/);
		assert.ok(sse.headers['anthropic-workspace-id']?.startsWith('wrkspc_'));
		assert.ok(sse.headers['anthropic-organization-id']);
		sse.close();
	});

	test('frames: what is in the log has its number, one event line that says the type, one data line, a blank line', async () => {
		const s = await b.session();
		const sse = await Sse.open(path(s.id, DELTAS));
		await c.beta.sessions.events.send(s.id, { events: [message(script(['words first', bash('echo hi')]))] });
		await sse.until('session.status_idle');
		let seq = 0;
		for (const f of sse.frames.filter((x) => x.event !== 'ping' && !x.comment)) {
			const preview = f.event.startsWith('event_');
			assert.equal(f.lines.length, preview ? 2 : 3, f.raw);
			if (!preview) assert.equal(f.lines.shift(), `id: ${++seq}`);
			assert.match(f.lines[0], /^event: /);
			assert.match(f.lines[1], /^data: \{/);
			assert.equal(JSON.parse(f.data).type, f.event);
		}
		sse.close();
	});

	test('SDK 0.86.1 yields only frames named message: it gets them', async () => {
		const s = await b.session();
		const sse = await Sse.open(path(s.id), { 'user-agent': 'Anthropic/JS 0.86.1' });
		await c.beta.sessions.events.send(s.id, { events: [message('hi')] });
		await sse.untilType('session.status_idle');
		assert.deepEqual([...new Set(sse.frames.map((f) => f.event).filter((e) => e && e !== 'ping'))], ['message']);
		sse.close();
	});

	test('a ping at least every 15 seconds', async () => {
		const s = await b.session();
		const sse = await Sse.open(path(s.id));
		const at = performance.now();
		await sse.until('ping', 15_500);
		await sse.until('ping', 15_500);
		assert.ok(performance.now() - at < 31_000);
		assert.deepEqual(sse.frames.filter((f) => f.event !== 'ping' && !f.comment), [], 'an idle session sends nothing else');
		sse.close();
	});

	test('nothing is missed between the headers and the first event', async () => {
		await Promise.all(Array.from({ length: 20 }, async () => {
			const s = await b.session();
			const sse = await Sse.open(path(s.id));
			await c.beta.sessions.events.send(s.id, { events: [message('quick')] });
			await sse.untilType('session.status_idle');
			assert.equal(logShape(sse.events), 'RrUsmeiud');
			sse.close();
		}));
	});

	test('two subscribers see the same, each with its own previews', async () => {
		const s = await b.session();
		const [plain, fine, other] = await Promise.all([Watch.open(c, s.id), Watch.open(c, s.id, { event_deltas: ['agent.message'] }), Watch.open(c, s.id)]);
		await plain.send(message(words(300)));
		await Promise.all([plain, fine, other].map((w) => w.idle()));
		const listed = await log(c, s.id);
		for (const w of [plain, fine, other]) assert.deepEqual(w.persisted, listed);
		assert.ok(ofType(fine.events, 'event_delta').length > 0);
		for (const w of [plain, other]) assert.equal(w.events.length, w.persisted.length, 'no previews unasked');
		for (const w of [plain, fine, other]) w.close();
	});

	test('one subscriber goes, the other stays', async () => {
		const s = await b.session();
		const [stays, goes] = await Promise.all([Watch.open(c, s.id), Watch.open(c, s.id)]);
		await stays.turn('one');
		goes.close();
		await stays.turn('two');
		assert.equal(logShape(stays.events), 'RrUsmeiudRrUsmeiud');
		stays.close();
	});

	test('a late subscriber to an idle session receives no history, and everything from then on', async () => {
		const first = await Watch.begin(b);
		await first.turn('before');
		const late = await Watch.open(c, first.id);
		assert.deepEqual(late.events, []);
		await late.turn('after');
		assert.equal(logShape(late.events), 'RrUsmeiud');
		for (const w of [first, late]) w.close();
	});

	test('joining in the middle: list and stream together have everything once', async () => {
		const first = await Watch.begin(b);
		await first.send(message(script(...Array.from({ length: 8 }, () => bash('sleep 0.2')))));
		await first.until('agent.tool_result');
		const late = await Watch.open(c, first.id);
		const history = await log(c, first.id);
		if (history.at(-1).type !== 'session.status_idle') await late.idle();
		await first.idle();
		const whole = new Map([...history, ...late.persisted].map((e) => [e.id, e]));
		const listed = await log(c, first.id);
		assert.deepEqual([...whole.keys()].sort(), listed.map((e) => e.id).sort());
		for (const w of [first, late]) w.close();
	});

	test('deltas: one start, a prefix of the message, nothing after it', async () => {
		const w = await Watch.begin(b, { event_deltas: ['agent.message'] });
		await w.turn(words(1000));
		const final = one(w.events, 'agent.message');
		const starts = ofType(w.events, 'event_start');
		assert.equal(starts.length, 1);
		assert.deepEqual(Object.keys(starts[0]).sort(), ['event', 'type'], 'no id, no processed_at');
		assert.deepEqual(starts[0].event, { type: 'agent.message', id: final.id });
		const deltas = ofType(w.events, 'event_delta');
		assert.ok(deltas.length >= 1);
		for (const d of deltas) {
			assert.equal(d.event_id, final.id);
			assert.equal(d.delta.type, 'content_delta');
			assert.equal(d.delta.index ?? 0, 0);
			assert.equal(d.delta.content.type, 'text');
		}
		const text = deltas.map((d) => d.delta.content.text).join('');
		assert.ok(textOf(final).startsWith(text));
		const at = w.events.indexOf(final);
		assert.ok(w.events.lastIndexOf(deltas.at(-1)) < at, 'the message is the last thing delivered for its id');
		assert.ok(w.events.indexOf(starts[0]) > w.events.findIndex((e) => e.type === 'span.model_request_start'));
		w.close();
	});

	test('deltas of multi-byte text are whole characters', async () => {
		const w = await Watch.begin(b, { event_deltas: ['agent.message'] });
		await w.turn('größe 👩‍👩‍👧 日本語 '.repeat(200).trim());
		const text = ofType(w.events, 'event_delta').map((d) => d.delta.content.text).join('');
		assert.ok(textOf(one(w.events, 'agent.message')).startsWith(text));
		assert.ok(!text.includes('\ufffd'));
		w.close();
	});

	test('thinking is previewed by a start only; unknown previews are refused', async () => {
		const s = await b.session();
		const sse = await Sse.open(path(s.id, '?event_deltas[]=agent.message&event_deltas[]=agent.thinking'));
		assert.equal(sse.status, 200);
		sse.close();
		await refused(c.beta.sessions.events.stream(s.id, { event_deltas: ['bogus'] }), 400, /event_deltas/);
		await refused(c.beta.sessions.events.stream(s.id, { event_deltas: ['agent.tool_use'] }), 400, /event_deltas/);
		const many = Array(101).fill('event_deltas[]=agent.message').join('&');
		bad(await get(path(s.id, `?${many}`)), /event_deltas/);
	});

	test('the stream outlives many turns', async () => {
		const w = await Watch.begin(b);
		for (let i = 0; i < 10; i++) await w.turn(`turn ${i}`);
		await w.assertSameAsLog();
		assert.equal(w.ended, false);
		w.close();
	});

	test('resuming: after any number or id, by header or parameter, everything that follows and nothing else', async () => {
		const w = await Watch.begin(b);
		await w.turn('one');
		await w.turn(script(bash('echo two')));
		const listed = await w.assertSameAsLog();
		const last = listed.length - 1;
		const from = async (q, more, n) => {
			const sse = await Sse.open(path(w.id, q), more);
			assert.equal(sse.status, 200);
			await until(`all after ${n} has come`, () => sse.lastId === String(listed.length));
			assert.deepEqual(sse.events, listed.slice(n));
			sse.close();
		};
		await from('?after=0', {}, 0);
		await from('?after=3', {}, 3);
		await from(`?after=${last}`, {}, last);
		await from('', { 'last-event-id': String(last) }, last);
		await from(`?after=${listed[last - 1].id}`, {}, last);
		await from('?after=0', { 'last-event-id': listed[last - 1].id }, last);
		await from('', {}, listed.length);
		await from(`?after=${listed.length + 100}`, {}, listed.length);
		w.close();
	});

	test('the SDK can resume too: a header, and everything it missed', async () => {
		const first = await Watch.begin(b);
		await first.turn('missed');
		const w = await Watch.open(c, first.id, {}, { headers: { 'Last-Event-ID': '0' } });
		await w.idle();
		await w.turn('and live');
		await w.assertSameAsLog();
		for (const x of [first, w]) x.close();
	});

	test('bad places to resume at are refused by name', async () => {
		const [s, other] = await Promise.all([b.session(), Watch.begin(b)]);
		await other.turn('hi');
		for (const v of ['', 'x', '-1', '1.', '1.x', '1.5.2', '1,5', '0x1', '99999999999999999999', 'sevt_1', other.events[0].id]) bad(await get(path(s.id, `?after=${v}`)), /^after: /);
		bad(await get(path(s.id, '?after=1&after=1')), /^after: /);
		bad(await get(path(s.id), { headers: { 'last-event-id': 'x' } }), /^Last-Event-ID: /);
		other.close();
	});

	test('on an archived session: opens, says nothing', async () => {
		const s = await b.session();
		await c.beta.sessions.archive(s.id);
		const sse = await Sse.open(path(s.id));
		assert.equal(sse.status, 200);
		await Promise.race([sse.until('ping', 16_000), sse.ended]);
		assert.deepEqual(sse.events, []);
		sse.close();
	});

	test('without the right path, key, beta or session it is an error envelope, not a stream', async () => {
		const s = await b.session();
		missing(await get(`/v1/sessions/${s.id}/stream`));
		missing(await get(path(s.id), { headers: { 'anthropic-beta': null } }), /^not found$/);
		const r = await get(path(s.id), { headers: { authorization: 'Bearer sk-ant-api03-nobody' } });
		assert.equal(r.status, 401);
		assert.equal(r.json.error.type, 'authentication_error');
	});

	test('50 streams at once', async () => {
		const s = await b.session();
		const all = await Promise.all(Array.from({ length: 50 }, () => Sse.open(path(s.id))));
		await c.beta.sessions.events.send(s.id, { events: [message(bash('echo to all'))] });
		await Promise.all(all.map((x) => x.untilType('session.status_idle')));
		const listed = await log(c, s.id);
		for (const x of all) assert.deepEqual(x.events, listed);
		for (const x of all) x.close();
	});

	test('a reader that does not read is cut or waits, and nobody else notices', async () => {
		const s = await b.session({ agent: { type: 'agent_with_overrides', id: b.agent.id, tools: [TOOLSET] } });
		const slow = await Sse.open(path(s.id));
		slow.pause();
		const w = await Watch.open(c, s.id);
		await w.turn(script(...Array.from({ length: 12 }, () => bash('head -c 90000 /dev/zero | tr "\\0" x'))), { ms: 60_000 });
		assert.equal(ofType(w.events, 'agent.tool_result').length, 12);
		await w.turn('and again');
		slow.close();
		w.close();
		const again = await Watch.open(c, s.id);
		await again.turn('a new stream works');
		again.close();
	});

	test('many connects and disconnects leave the session as it was', async () => {
		const s = await b.session();
		for (let i = 0; i < 30; i++) {
			const sse = await Sse.open(path(s.id));
			sse.close();
		}
		const w = await Watch.open(c, s.id);
		await w.turn('fine');
		await until('GET still works', async () => (await get(`/v1/sessions/${s.id}`, { headers: headers() })).status === 200);
		w.close();
	});
});
