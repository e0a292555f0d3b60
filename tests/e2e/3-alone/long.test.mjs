// A session with a log of 100,000 events (about 50 MB): lists page by page, streams, and goes on, within bounds of time and memory.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { bench, client, collect } from '../lib/client.mjs';
import { spent } from '../lib/conform.mjs';
import { runDir } from '../lib/ctl.mjs';
import { pidOf, services } from '../lib/service.mjs';
import { Watch, ofType, one } from '../lib/watch.mjs';

const EVENTS = 100_000;
const c = client();
let b, session, w, first, whole;

const psql = (sql) => execFileSync('psql', ['-qAt', '-h', path.join(runDir(), 'pg'), '-U', 'roost_admin', '-c', sql, 'roost'],
	{ encoding: 'utf8' }).trim();

// A past as turns make it: one in ten a user's message, three in ten seen by the model. Each event is what its type says.
const BLOCK = JSON.stringify({ type: 'text', text: 'word '.repeat(300) });
const CONTENT = `"content":[${BLOCK}]`;
const USAGE = { input_tokens: 1, output_tokens: 1, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 };
const KINDS = [
	['session.status_running'], ['user.message', CONTENT, 'u'], ['span.model_request_start'], ['agent.message', CONTENT, 'a'],
	['span.model_request_end', `"model_request_start_id":"sevt_01${'1'.repeat(22)}","is_error":false,"model_usage":${JSON.stringify(USAGE)}`],
	['agent.thinking'], ['session.updated', '"title":"long"'], ['agent.message', CONTENT, 'a'], ['session.usage', '"usage":{"input_tokens":1}'],
	['session.status_idle', '"stop_reason":{"type":"end_turn"},"stop_details":null'],
];
const eventId = (n) => `sevt_01${String(n).replaceAll('0', 'z').padStart(22, 'z')}`;

const grow = (id) => psql(`
	WITH s AS (SELECT * FROM session WHERE id = '${id}'),
	  kind(n, type, rest, role) AS (VALUES ${KINDS.map(([type, rest, role], n) => `(${n}, '${type}', '${rest ? `,${rest}` : ''}', ${role ? `'${role}'` : 'NULL'})`)}),
	  e AS (SELECT e, 'sevt_01' || lpad(translate(e::text, '0', 'z'), 22, 'z') AS id FROM generate_series(1, ${EVENTS}) e)
	INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body, role, fragment)
	SELECT s.id, s.last_seq + e, e.id, type, s.thread_id, s.last_at + e * interval '1 us',
	       '{"id":"' || e.id || '","type":"' || type || '"' || rest || ',"processed_at":"' || wire_stamp(s.last_at + e * interval '1 us') || '"}',
	       role::"char", CASE WHEN role IS NOT NULL THEN '${BLOCK}' END
	  FROM s, e JOIN kind ON n = e % 10;
	UPDATE session SET last_seq = last_seq + ${EVENTS}, last_at = last_at + ${EVENTS} * interval '1 us' WHERE id = '${id}'`);

// Resident memory of our processes, in kB: the most that one of a kind has grown by since `forget`, whatever ran before this file.
const status = (service, field) => Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pidOf(service)}/status`, 'utf8'))[1]);
const start = new Map();
const forget = () => services().forEach((s) => {
	writeFileSync(`/proc/${pidOf(s)}/clear_refs`, '5');	// the peak begins anew at what is resident now
	start.set(s, { pid: pidOf(s), kb: status(s, 'VmRSS') });
});
const memory = (kind) => services().filter((s) => s.startsWith(kind) && start.get(s)?.pid === pidOf(s))
	.map((s) => status(s, 'VmHWM') - start.get(s).kb).reduce((x, y) => Math.max(x, y), 0);

describe('a log of 100,000 events', { concurrency: false }, () => {
	before(async () => {
		b = await bench(c, { model: 'lab-vast', tools: [] });
		w = await Watch.begin(b);
		first = await w.turn('hello');
		grow(w.id);
		session = w.id;
		forget();
	});

	test('is listed whole, page by page, both ways', async () => {
		for (const order of ['asc', 'desc']) {
			const began = performance.now() - spent.ms;
			let n = 0, pages = 0, last = '';
			for await (const page of (await c.beta.sessions.events.list(session, { limit: 1000, order })).iterPages()) {
				n += page.data.length;
				pages++;
				for (const e of page.data) {
					if (order === 'asc') assert.ok(e.processed_at > last, `${e.processed_at} after ${last}`);
					last = e.processed_at;
				}
			}
			const ms = performance.now() - spent.ms - began;
			whole = ms;
			assert.equal(n, EVENTS + first.filter((e) => e.id).length);
			console.log(`# ${order}: ${n} events in ${pages} pages, ${(ms / pages).toFixed(1)} ms each`);
			assert.ok(ms / pages < 500, `${ms / pages} ms a page`);
		}
	});

	test('is filtered by type and time without reading it all', async () => {
		const mid = (await c.beta.sessions.events.list(session, { limit: 1, order: 'desc' })).data[0].processed_at;
		const began = performance.now();
		const newest = await c.beta.sessions.events.list(session, { limit: 5, 'created_at[gte]': mid });
		assert.equal(newest.data.length, 1);
		const typed = await c.beta.sessions.events.list(session, { limit: 5, order: 'desc', types: ['user.message'] });
		assert.equal(typed.data.length, 5);
		const ms = performance.now() - began;
		assert.ok(ms < Math.max(1000, whole / 2), `${ms} ms; all of it took ${whole} ms`);
	});

	test('is streamed: a subscriber that was there gets all of it', async () => {
		const began = performance.now();
		await w.until((e) => e.id === eventId(EVENTS), { ms: 60_000 });
		console.log(`# streamed, ${(performance.now() - began).toFixed(0)} ms after the lists`);
		assert.deepEqual(w.persisted.slice(-EVENTS).map((e) => e.id), Array.from({ length: EVENTS }, (_, k) => eventId(k + 1)));
	});

	test('goes on: claimed, read and answered; the stream has what the list has', async () => {
		const began = performance.now();
		const events = await w.turn('and now?');
		const cold = performance.now() - began;
		w.events.length = w.mark = 0;		// what is not looked at any more
		const end = one(events, 'span.model_request_end');
		// 30,000 remembered texts of 90 words, two first turns and the question
		assert.ok(end.model_usage.input_tokens > 30_000 * 90, `the model saw ${end.model_usage.input_tokens} words`);
		const again = performance.now();
		const more = await w.turn('and again?');
		const warm = performance.now() - again;
		assert.ok(one(more, 'span.model_request_end').model_usage.input_tokens > end.model_usage.input_tokens);
		console.log(`# turn: ${cold.toFixed(0)} ms after a read of the log, ${warm.toFixed(0)} ms from memory`);
		assert.ok(cold < 20_000);
		const tail = await collect(c.beta.sessions.events.list(session, { 'created_at[gte]': events[0].processed_at }));
		assert.deepEqual([...events, ...more], tail);
		assert.equal(ofType(tail, 'agent.message').length, 2);
	});

	test('costs bounded memory', () => {
		const kb = { gateway: memory('gateway'), stream: memory('stream'), worker: memory('worker') };
		console.log(`# grew by kB: ${JSON.stringify(kb)}`);
		assert.ok(kb.gateway < 100_000 && kb.stream < 50_000 && kb.worker < 150_000, JSON.stringify(kb));
	});
});
