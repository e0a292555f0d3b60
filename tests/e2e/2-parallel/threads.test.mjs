// Threads (contract 2.3, 3.8, 3.9): the primary thread of a session as an object, its events and its stream.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { ABSENT, bench, client, collect, log } from '../lib/client.mjs';
import { get } from '../lib/http.mjs';
import { bash, interrupt, message, script } from '../lib/script.mjs';
import { exactly, refused } from '../lib/sdkerror.mjs';
import { micros } from '../lib/shape.mjs';
import { Watch, ofType, one } from '../lib/watch.mjs';

const c = client();
const threads = c.beta.sessions.threads;
const NOBODY = 'sthr_01' + '1'.repeat(22);
let b;

// The primary thread of a session.
async function primary(sessionId) {
	const all = await collect(threads.list(sessionId));
	assert.equal(all.length, 1);
	return all[0];
}

describe('threads', { concurrency: true }, () => {
	before(async () => { b = await bench(c, { system: 'base system' }); });

	test('the primary thread before, during and after its first turn', async () => {
		const w = await Watch.begin(b);
		const session = await c.beta.sessions.retrieve(w.id);
		const fresh = await primary(w.id);
		const { multiagent, ...agent } = session.agent;
		assert.deepEqual(fresh, {
			type: 'session_thread', id: fresh.id, session_id: w.id, parent_thread_id: null, agent, status: 'idle', stats: null, usage: null,
			workflow_run_id: null, created_at: session.created_at, updated_at: session.updated_at, archived_at: null,
		});
		assert.match(fresh.id, /^sthr_01[1-9A-HJ-NP-Za-km-z]{22}$/);
		assert.deepEqual(await threads.retrieve(fresh.id, { session_id: w.id }), fresh);

		await w.send(message(script(bash('sleep 100'))));
		await w.until('agent.tool_use');
		const during = await threads.retrieve(fresh.id, { session_id: w.id });
		assert.equal(during.status, 'running');
		assert.ok(during.stats && during.usage, 'both objects from the first status change on');
		await w.send(interrupt());
		await w.idle();
		const after = await threads.retrieve(fresh.id, { session_id: w.id });
		assert.equal(after.status, 'idle');
		assert.ok(after.usage.input_tokens > 0 && after.usage.output_tokens > 0);
		assert.ok(after.stats.active_seconds > 0 && after.stats.duration_seconds >= after.stats.active_seconds);
		assert.equal(after.usage.active_seconds, after.stats.active_seconds);
		for (const e of w.events.filter((x) => x.type.startsWith('session.thread_status'))) assert.equal(e.session_thread_id, fresh.id);
		w.close();
	});

	test('statuses[] picks, terminated threads stay listed', async () => {
		const s = await b.session();
		const t = await primary(s.id);
		const by = async (...statuses) => (await collect(threads.list(s.id, { statuses }))).map((x) => x.id);
		assert.deepEqual(await by('idle'), [t.id]);
		assert.deepEqual(await by('running', 'rescheduling'), []);
		assert.deepEqual(await by('running', 'idle'), [t.id]);
		await c.beta.sessions.archive(s.id);
		assert.deepEqual(await by('terminated'), [t.id]);
		assert.deepEqual(await by('idle'), []);
		const ended = await threads.retrieve(t.id, { session_id: s.id });
		assert.equal(ended.status, 'terminated');
		micros(ended.archived_at);
		await refused(threads.list(s.id, { statuses: ['asleep'] }), 400, /statuses/);
		await refused(threads.list(s.id, { limit: 1001 }), 400, /limit/);
	});

	test('its events are the session\'s, page by page', async () => {
		const w = await Watch.begin(b);
		await w.turn('one');
		await w.turn('two');
		const t = await primary(w.id);
		const whole = await log(c, w.id);
		for (const limit of [1, 5, 1000]) {
			assert.deepEqual(await collect(threads.events.list(t.id, { session_id: w.id, limit })), whole);
		}
		const page = await threads.events.list(t.id, { session_id: w.id, limit: 1 });
		await refused(c.beta.sessions.events.list(w.id, { page: page.next_page }), 400, exactly('invalid page cursor'));
		w.close();
	});

	test('its stream is the session\'s, with previews of its own choice', async () => {
		const w = await Watch.begin(b);
		const t = await primary(w.id);
		const stream = await threads.events.stream(t.id, { session_id: w.id, event_deltas: ['agent.message'] });
		const seen = [];
		const reading = (async () => {
			for await (const e of stream) {
				seen.push(e);
				if (e.type === 'session.status_idle') break;
			}
		})();
		await w.turn('a few words to be said in pieces');
		await reading;
		const previews = ['event_start', 'event_delta'];
		assert.ok(ofType(seen, 'event_delta').length > 0);
		assert.deepEqual(seen.filter((e) => !previews.includes(e.type)), w.events);
		const [start, said] = [one(seen, 'event_start'), one(seen, 'agent.message')];
		assert.equal(start.event.id, said.id);
		w.close();
	});

	test('the primary cannot be archived', async () => {
		const s = await b.session();
		const t = await primary(s.id);
		await refused(threads.archive(t.id, { session_id: s.id }), 400,
			exactly('The primary thread cannot be archived; archive the session instead.'));
		assert.equal((await threads.retrieve(t.id, { session_id: s.id })).status, 'idle');
		await c.beta.sessions.archive(s.id);
		const ended = await threads.retrieve(t.id, { session_id: s.id });
		const { stats, ...again } = await threads.archive(t.id, { session_id: s.id });
		assert.deepEqual({ ...again, stats: ended.stats }, ended, 'archived with its session: once more is nothing');
	});

	test('threads and sessions that are absent, others\' or malformed', async () => {
		const [s, other] = [await b.session(), await b.session()];
		const foreign = await primary(other.id);
		for (const id of [NOBODY, foreign.id]) {
			await refused(threads.retrieve(id, { session_id: s.id }), 404, exactly(`Thread not found: ${id}`));
			await refused(threads.archive(id, { session_id: s.id }), 404, exactly(`Thread not found: ${id}`));
			await refused(threads.events.list(id, { session_id: s.id }), 404, exactly(`Thread not found: ${id}`));
			await refused(threads.events.stream(id, { session_id: s.id }), 404, exactly(`Thread not found: ${id}`));
		}
		await refused(threads.retrieve('nope', { session_id: s.id }), 400, exactly('Invalid thread ID: nope'));
		await refused(threads.list(ABSENT.session), 404, exactly('Session not found.'));
		await refused(threads.retrieve(NOBODY, { session_id: ABSENT.session }), 404, exactly('Session not found.'));
		const gone = await get(`/v1/sessions/${other.id}/threads/${foreign.id}/events/stream`);
		assert.equal(gone.status, 404);
		assert.equal(gone.json.error.message, 'Not found');
	});
});
