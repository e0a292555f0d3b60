// Sessions (contract 2.3, 1.9, 1.10, 1.12; usage and stats of a new one 9.1).
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { ABSENT, MODEL, TOOLSET, bench, client, collect, log, makeAgent } from '../lib/client.mjs';
import { exactly, refused } from '../lib/sdkerror.mjs';
import { bash, message, script } from '../lib/script.mjs';
import { assertLog, logShape, micros, shape } from '../lib/shape.mjs';
import { until } from '../lib/until.mjs';
import { Watch, ofType, one, textOf } from '../lib/watch.mjs';

const c = client();
const sessions = c.beta.sessions;
let b;
const ALWAYS = ['agent', 'archived_at', 'budget', 'created_at', 'environment_id', 'id', 'metadata', 'outcome_evaluations', 'resources',
	'stats', 'status', 'title', 'type', 'updated_at', 'usage', 'vault_ids'];

describe('sessions', { concurrency: 16 }, () => {
	before(async () => { b = await bench(c, { system: 'base system', metadata: { not: 'copied' } }); });

	test('create with the least', async () => {
		const s = await b.session();
		for (const k of ALWAYS) assert.ok(k in s, k);
		assert.match(s.id, /^sesn_01[1-9A-HJ-NP-Za-km-z]{22}$/);
		assert.equal(s.type, 'session');
		assert.equal(s.status, 'idle');
		assert.equal(s.title, null);
		assert.equal(s.budget, null);
		assert.equal(s.archived_at, null);
		assert.equal(s.environment_id, b.environment.id);
		for (const k of ['resources', 'vault_ids', 'outcome_evaluations']) assert.deepEqual(s[k], []);
		assert.deepEqual(s.metadata, {});
		micros(s.created_at);
		const { metadata, created_at, updated_at, archived_at, ...config } = b.agent;
		assert.deepEqual(s.agent, config, 'the agent without its metadata and times');
		assert.equal(s.usage.input_tokens, 0);
		assert.equal(s.usage.output_tokens, 0);
		assert.equal(s.usage.cache_read_input_tokens, 0);
		assert.equal(s.usage.active_seconds, 0);
		assert.equal((await sessions.retrieve(s.id)).id, s.id);
		assert.deepEqual(await log(c, s.id), []);
	});

	test('create with initial events runs at once', async () => {
		const s = await b.session({ initial_events: [message('first'), message('second')], title: 'T', metadata: { k: 'v' } });
		assert.equal(s.status, 'running');
		assert.equal(s.title, 'T');
		assert.deepEqual(s.metadata, { k: 'v' });
		await until('the session is idle', async () => (await sessions.retrieve(s.id)).status === 'idle');
		const events = await log(c, s.id);
		assertLog(events);
		assert.deepEqual(ofType(events, 'user.message').map(textOf), ['first', 'second']);
		assert.equal(logShape(events), 'RrUUsmeiud');
	});

	test('the agent may be named in three ways', async () => {
		const a = await makeAgent(c, { name: 'v1' });
		await c.beta.agents.update(a.id, { name: 'v2' });
		const by = async (agent) => (await b.session({ agent })).agent;
		assert.equal((await by(a.id)).version, 2);
		assert.equal((await by({ type: 'agent', id: a.id })).version, 2);
		const old = await by({ type: 'agent', id: a.id, version: 1 });
		assert.deepEqual([old.version, old.name], [1, 'v1']);
		await refused(b.session({ agent: { type: 'agent', id: a.id, version: 999 } }), 404, /agent\.version: 999 not found/);
	});

	test('a session keeps the agent it was made with', async () => {
		const a = await makeAgent(c, { name: 'before' });
		const s = await b.session({ agent: a.id });
		await c.beta.agents.update(a.id, { name: 'after' });
		assert.equal((await sessions.retrieve(s.id)).agent.name, 'before');
		assert.equal((await sessions.retrieve(s.id)).agent.version, 1);
	});

	test('overrides replace whole fields and echo the base\'s id and version', async () => {
		const tool = { type: 'custom', name: 'ask_me', description: 'd', input_schema: { type: 'object' } };
		const s = await b.session({ agent: { type: 'agent_with_overrides', id: b.agent.id, system: null, tools: [tool], model: MODEL } });
		assert.equal(s.agent.id, b.agent.id);
		assert.equal(s.agent.version, 1);
		assert.equal(s.agent.system, null);
		assert.equal(s.agent.name, b.agent.name);
		assert.deepEqual(s.agent.tools.map((t) => t.name), ['ask_me']);
		assert.equal((await c.beta.agents.retrieve(b.agent.id)).system, 'base system', 'the agent itself is untouched');
		const same = await b.session({ agent: { type: 'agent_with_overrides', id: b.agent.id } });
		assert.equal(same.agent.system, 'base system');
		assert.deepEqual(same.agent.tools, b.agent.tools);
		await refused(b.session({ agent: { type: 'agent_with_overrides', id: b.agent.id, model: null } }), 400, /agent_model_required|model/);
	});

	test('update: title and metadata, session.updated with what changed only', async () => {
		const w = await Watch.begin(b, { create: { title: 'old', metadata: { a: '1', b: '2' } } });
		const s = await sessions.update(w.id, { metadata: { a: null, c: '3' } });
		assert.deepEqual(s.metadata, { b: '2', c: '3' });
		assert.equal(s.title, 'old');
		const first = await w.until('session.updated');
		assert.deepEqual(first.metadata, { b: '2', c: '3' }, 'the whole bag');
		assert.ok(!('title' in first) && !('agent' in first));
		assert.equal((await sessions.update(w.id, { title: null })).title, null);
		const second = await w.until('session.updated');
		assert.equal(second.title, null);
		assert.ok(!('metadata' in second));
		await sessions.update(w.id, {});
		await sessions.update(w.id, { metadata: { nope: null }, title: null });
		await w.turn('go on');
		assert.equal(ofType(w.events, 'session.updated').length, 2, 'an update that changes nothing emits nothing');
		assertLog(await w.assertSameAsLog());
		w.close();
	});

	test('update: refused', async () => {
		const s = await b.session();
		await refused(sessions.update(s.id, { vault_ids: [] }), 400, /vault_ids/);
		await refused(sessions.update(s.id, { vault_ids: null }), 400, /vault_ids/);
		await refused(sessions.update(s.id, { status: 'running' }), 400, exactly('Failed to parse request body: unknown field "status"'));
		await refused(sessions.update(s.id, { usage: {} }), 400, /unknown field "usage"/);
		await refused(sessions.update(s.id, { metadata: { k: 1 } }), 400, /metadata/);
		await refused(sessions.update(s.id, { budget: { type: 'limit', max_list_cost: { amount: '100', currency: 'USD' } } }), 400, /budget/);
		const now = await sessions.retrieve(s.id);
		assert.deepEqual({ ...now, stats: s.stats }, s);
	});

	test('update: the agent of an idle session, from its next turn on', async () => {
		const w = await Watch.begin(b, { create: { agent: { type: 'agent_with_overrides', id: b.agent.id, tools: [] } } });
		const none = await w.turn(bash('echo one'));
		assert.deepEqual(ofType(none, 'agent.tool_use'), [], 'no tools yet');
		const s = await sessions.update(w.id, { agent: { tools: [TOOLSET] } });
		const told = await w.until('session.updated');
		assert.deepEqual(Object.keys(told).sort(), ['agent', 'id', 'processed_at', 'type']);
		assert.deepEqual(told.agent, s.agent, 'the whole snapshot');
		assert.deepEqual(s.agent.tools[0].default_config, { enabled: true, permission_policy: { type: 'always_allow' } });
		assert.equal(s.agent.version, b.agent.version);
		assert.equal((await c.beta.agents.retrieve(b.agent.id)).version, b.agent.version, 'the agent itself is untouched');
		const turn = await w.turn(bash('echo two'));
		assert.equal(textOf(one(turn, 'agent.tool_result')), 'two\n');
		await sessions.update(w.id, { agent: { tools: s.agent.tools, mcp_servers: [] } });
		await sessions.update(w.id, { agent: { tools: [{ ...TOOLSET, default_config: { enabled: false } }] } });
		const off = await w.turn(bash('echo three'));
		assert.deepEqual(ofType(off, 'agent.tool_use'), [], 'nothing is offered any more');
		assert.equal(ofType(w.events, 'session.updated').length, 2, 'what changes nothing emits nothing');
		assertLog(await w.assertSameAsLog());
		w.close();
	});

	test('update: many at once, and the log tells the order in which they won', async () => {
		const w = await Watch.begin(b);
		const tool = (n) => ({ type: 'custom', name: `t${n}`, description: 'd', input_schema: { type: 'object', properties: { x: { minimum: 1.10 } } } });
		await Promise.all(Array.from({ length: 12 }, (_, n) => sessions.update(w.id, { title: `n${n}`, agent: { tools: [tool(n)] } })));
		await w.turn('go on');
		const now = await sessions.retrieve(w.id);
		const told = ofType(await w.assertSameAsLog(), 'session.updated');
		assert.equal(told.length, 12);
		assert.deepEqual(told.at(-1).agent, now.agent);
		assert.equal(told.at(-1).title, now.title);
		assert.equal(`t${now.title.slice(1)}`, now.agent.tools[0].name, 'title and tools of one request');
		w.close();
	});

	test('update: not the agent of a running session', async () => {
		const w = await Watch.begin(b);
		await w.send(message(bash('sleep 100')));
		await w.until('agent.tool_use');
		await refused(sessions.update(w.id, { title: 'both or none', agent: { tools: [] } }), 400, /^agent: .*"running"/);
		assert.equal((await sessions.retrieve(w.id)).title, null);
		await w.send({ type: 'user.interrupt' });
		await w.idle();
		assert.deepEqual((await sessions.update(w.id, { agent: { tools: null } })).agent.tools, []);
		w.close();
	});

	test('a budget is set at creation, changed, removed for good', async () => {
		const budget = (amount) => ({ type: 'limit', max_list_cost: { amount: String(amount), currency: 'USD' } });
		const priced = await makeAgent(c, { model: 'lab-openai' });
		const s = await b.session({ agent: priced.id, budget: budget(1000) });
		assert.deepEqual(s.budget, budget(1000));
		assert.deepEqual((await sessions.retrieve(s.id)).budget, budget(1000));
		assert.deepEqual((await sessions.update(s.id, { budget: budget(500) })).budget, budget(500), 'lower than before, above what was spent');
		assert.deepEqual((await sessions.update(s.id, { title: 'kept' })).budget, budget(500));
		assert.equal((await sessions.update(s.id, { budget: null })).budget, null);
		const code = async (promise) => (await refused(promise, 400)).error.error.details.error_code;
		assert.equal(await code(sessions.update(s.id, { budget: budget(500) })), 'budget_create_only');
		const plain = await b.session({ agent: priced.id });
		assert.equal(await code(sessions.update(plain.id, { budget: budget(500) })), 'budget_create_only');
		const free = await makeAgent(c, { model: 'lab-vast' });
		assert.equal(await code(b.session({ agent: free.id, budget: budget(1) })), 'model_not_budgetable');
		for (const amount of ['0', '-1', '25.00', '1e3', '']) await refused(b.session({ agent: priced.id, budget: budget(amount) }), 400, /amount/);
	});

	test('while running: no archive, no delete; title may change', async () => {
		const w = await Watch.begin(b);
		await w.send(message(bash('sleep 20')));
		await w.until('agent.tool_use');
		assert.equal((await sessions.retrieve(w.id)).status, 'running');
		await refused(sessions.delete(w.id), 400,
			exactly('Cannot delete session while it is running. Send an interrupt event or wait for the session to complete.'));
		await refused(sessions.archive(w.id), 400,
			exactly(`Session ${w.id} cannot be archived while its status is "running". Only pending or idle sessions may be archived.`));
		assert.equal((await sessions.update(w.id, { title: 'while running' })).title, 'while running');
		await w.send({ type: 'user.interrupt' });
		await w.idle();
		assert.equal(one(w.events, 'session.updated').title, 'while running');
		assertLog(await w.assertSameAsLog());
		w.close();
	});

	test('status reads running from the moment the message is acknowledged', async () => {
		const s = await b.session();
		for (let i = 0; i < 5; i++) {
			const { data: [sent] } = await c.beta.sessions.events.send(s.id, { events: [message(bash('sleep 0.5'))] });
			const { status } = await sessions.retrieve(s.id);
			if (status !== 'running') {		// on a busy machine it may be over already; then the log must say so
				const events = await log(c, s.id);
				assert.equal(events.at(-1).type, 'session.status_idle', status);
				assert.ok(events.some((e) => e.id === sent.id && e.processed_at));
			}
			await until('idle', async () => (await sessions.retrieve(s.id)).status === 'idle');
			assert.equal((await log(c, s.id)).at(-1).type, 'session.status_idle', 'idle is the last thing written');
		}
	});

	test('archive: terminated, history kept, nothing new; the stream ends', async () => {
		const w = await Watch.begin(b);
		await w.turn(bash('touch /workspace/x'));
		const s = await sessions.archive(w.id);
		assert.equal(s.status, 'terminated');
		micros(s.archived_at);
		await w.end();
		const events = await log(c, w.id);
		assertLog(events);
		assert.deepEqual(events.slice(-2).map((e) => e.type).sort(), ['session.status_terminated', 'session.thread_status_terminated']);
		assert.deepEqual(w.persisted, events);
		const again = await sessions.archive(w.id);
		assert.equal(again.archived_at, s.archived_at);
		assert.equal((await log(c, w.id)).length, events.length);
		await refused(c.beta.sessions.events.send(w.id, { events: [message('hello?')] }), 400);
		await refused(sessions.update(w.id, { title: 'x' }), 400);
		assert.deepEqual(await log(c, w.id), events);
	});

	test('archive and delete while it waits for its client are allowed', async () => {
		const asking = { agent: { type: 'agent_with_overrides', id: b.agent.id,
			tools: [{ ...TOOLSET, default_config: { permission_policy: { type: 'always_ask' } } }] } };
		for (const end of ['archive', 'delete']) {
			const w = await Watch.begin(b, { create: asking });
			assert.equal((await w.turn(bash('true'))).at(-1).stop_reason.type, 'requires_action');
			await sessions[end](w.id);
			await w.end();
		}
	});

	test('delete: the stream ends with session.deleted, then there is nothing', async () => {
		const w = await Watch.begin(b);
		await w.turn('hello');
		assert.deepEqual(await sessions.delete(w.id), { id: w.id, type: 'session_deleted' });
		await w.end();
		assert.equal(w.events.at(-1).type, 'session.deleted');
		assert.match(w.events.at(-1).id, /^sevt_/);
		for (const gone of [() => sessions.retrieve(w.id), () => sessions.delete(w.id), () => sessions.update(w.id, { title: 'x' }),
			() => sessions.archive(w.id), () => sessions.events.list(w.id), () => sessions.events.send(w.id, { events: [message('x')] }),
			() => sessions.events.stream(w.id)]) {
			await refused(gone(), 404);
		}
		assert.ok(!(await sessions.list({ agent_id: b.agent.id, include_archived: true })).data.some((s) => s.id === w.id));
	});

	test('an archived session can be deleted', async () => {
		const s = await b.session();
		await sessions.archive(s.id);
		assert.equal((await sessions.delete(s.id)).type, 'session_deleted');
		await refused(sessions.retrieve(s.id), 404);
	});

	test('list: both cursors, both orders', async () => {
		const agent = await makeAgent(c);
		const made = [];
		for (let i = 0; i < 5; i++) made.push((await b.session({ agent: agent.id })).id);
		const newest = [...made].reverse();
		const of = { agent_id: agent.id };
		assert.deepEqual((await collect(sessions.list({ ...of, limit: 1 }))).map((s) => s.id), newest);
		assert.deepEqual((await collect(sessions.list({ ...of, limit: 2, order: 'asc' }))).map((s) => s.id), made);
		const p1 = await sessions.list({ ...of, limit: 2 });
		assert.ok(!p1.prev_page);
		const p2 = await sessions.list({ ...of, limit: 2, page: p1.next_page });
		assert.deepEqual(p2.data.map((s) => s.id), newest.slice(2, 4));
		const back = await sessions.list({ ...of, limit: 2, page: p2.prev_page });
		assert.deepEqual(back.data.map((s) => s.id), newest.slice(0, 2), 'back to the first page, in the asked order');
		const p3 = await sessions.list({ ...of, limit: 2, page: p2.next_page });
		assert.deepEqual(p3.data.map((s) => s.id), newest.slice(4));
		assert.equal(p3.next_page, null);
		await refused(sessions.list({ ...of, page: p1.next_page, order: 'asc' }), 400, exactly('page token order does not match request'));
		await refused(sessions.list({ ...of, page: 'page_bogus' }), 400, exactly('invalid page cursor'));
	});

	test('list: filters', async () => {
		const agent = await makeAgent(c);
		const s1 = await b.session({ agent: agent.id });
		await c.beta.agents.update(agent.id, { name: 'two' });
		const s2 = await b.session({ agent: agent.id });
		const s3 = await b.session({ agent: agent.id });
		await sessions.archive(s3.id);
		const ids = async (q) => (await collect(sessions.list({ agent_id: agent.id, order: 'asc', ...q }))).map((s) => s.id);
		assert.deepEqual(await ids({}), [s1.id, s2.id], 'archived and terminated are left out');
		assert.deepEqual(await ids({ agent_version: 1 }), [s1.id]);
		assert.deepEqual(await ids({ agent_version: 2 }), [s2.id]);
		assert.deepEqual(await ids({ include_archived: true, statuses: ['terminated'] }), [s3.id]);
		assert.deepEqual(await ids({ include_archived: true, statuses: ['idle', 'terminated'] }), [s1.id, s2.id, s3.id]);
		assert.deepEqual(await ids({ statuses: ['running'] }), []);
		assert.deepEqual(await ids({ 'created_at[gt]': s1.created_at }), [s2.id]);
		assert.deepEqual(await ids({ 'created_at[gte]': s1.created_at, 'created_at[lt]': s2.created_at }), [s1.id]);
		assert.deepEqual(await ids({ 'created_at[lte]': s1.created_at }), [s1.id]);
		assert.deepEqual(await ids({ 'created_at[gt]': s2.created_at, 'created_at[lt]': s1.created_at }), []);
		assert.deepEqual(await ids({ deployment_id: 'depl_01' + '1'.repeat(22) }), []);
		assert.deepEqual(await ids({ memory_store_id: 'memstore_01' + '1'.repeat(22) }), []);
		await refused(sessions.list({ agent_version: 1 }), 400, /agent_version/);
		await refused(sessions.list({ statuses: ['sleeping'] }), 400, /statuses/);
		await refused(sessions.list({ order: 'random' }), 400, /order/);
		await refused(sessions.list({ limit: 0 }), 400, /limit/);
		await refused(sessions.list({ 'created_at[gt]': '2026-13-01' }), 400, /created_at/);
	});

	test('list: a running session is found by its status', async () => {
		const agent = await makeAgent(c);
		const w = await Watch.begin(b, { create: { agent: agent.id } });
		await w.send(message(bash('sleep 20')));
		await w.until('agent.tool_use');
		const running = await sessions.list({ agent_id: agent.id, statuses: ['running'] });
		assert.deepEqual(running.data.map((s) => s.id), [w.id]);
		assert.deepEqual((await sessions.list({ agent_id: agent.id, statuses: ['idle'] })).data, []);
		await w.send({ type: 'user.interrupt' });
		await w.idle();
		w.close();
	});

	const events = (n) => Array.from({ length: n }, (_, i) => message(`m${i}`));
	const rejected = [
		['agent missing', { agent: undefined }, 400, /agent/],
		['agent of another kind', { agent: ABSENT.session }, 400, /agent/i],
		['agent absent', { agent: ABSENT.agent }, 404],
		['environment missing', { environment_id: undefined }, 400, /environment_id/],
		['environment absent', { environment_id: ABSENT.environment }, 404],
		['unknown key', { colour: 'red' }, 400, exactly('Failed to parse request body: unknown field "colour"')],
		['title of another type', { title: 1 }, 400, /title/],
		['51 initial events', { initial_events: events(51) }, 400, /initial_events/],
		['an interrupt as initial event', { initial_events: [{ type: 'user.interrupt' }] }, 400, /initial_events\[0\]/],
		['a system message as initial event', { initial_events: [{ type: 'system.message', content: [{ type: 'text', text: 'x' }] }] }, 400, /initial_events\[0\]/],
		['one bad among good', { initial_events: [message('a'), { type: 'user.message', content: [] }] }, 400, /initial_events(\[1\]|\.1)/],
		['a file that nobody has', { resources: [{ type: 'file', file_id: 'file_x' }] }, 404, /files not found/],
		['a memory store', { resources: [{ type: 'memory_store', memory_store_id: 'x' }] }, 400, /not supported yet/],
		['vaults', { vault_ids: ['vlt_x'] }, 400, /not supported yet/],
		['budget of no integer', { budget: { type: 'limit', max_list_cost: { amount: '25.00', currency: 'USD' } } }, 400, /budget\.max_list_cost\.amount/],
		['metadata', { metadata: { k: null } }, 400, /metadata/],
	];
	for (const [what, more, status, pattern] of rejected) {
		test(`refused: ${what}`, async () => { await refused(b.session(more), status, pattern); });
	}

	test('a refused create leaves no session behind', async () => {
		const agent = await makeAgent(c);
		await refused(b.session({ agent: agent.id, initial_events: [message('a'), { type: 'user.interrupt' }] }), 400);
		await refused(b.session({ agent: agent.id, environment_id: ABSENT.environment }), 404);
		assert.deepEqual((await sessions.list({ agent_id: agent.id, include_archived: true })).data, []);
	});

	test('empty lists of what comes later are fine; 50 initial events are', async () => {
		const s = await b.session({ resources: [], vault_ids: [], initial_events: events(50) });
		await until('idle', async () => (await sessions.retrieve(s.id)).status === 'idle');
		assert.equal(shape(await log(c, s.id)), `Rr${'U'.repeat(50)}smeiud`);
	});

	test('ids that are absent or malformed', async () => {
		await refused(sessions.retrieve(ABSENT.session), 404);
		await refused(sessions.events.list(ABSENT.session), 404);
		await refused(sessions.events.send(ABSENT.session, { events: [message('x')] }), 404);
		await refused(sessions.events.stream(ABSENT.session), 404);
		await refused(sessions.retrieve('nope'), 400);
		await refused(sessions.retrieve(ABSENT.agent), 400);
	});

	test('a session without any tool use gets no sandbox, one with keeps its files over turns', async () => {
		const w = await Watch.begin(b);
		await w.turn(script(bash('echo kept > note; cd /tmp; export X=42')));
		const turn = await w.turn(script(bash('cat /workspace/note; pwd; echo $X')));
		assert.equal(textOf(one(turn, 'agent.tool_result')), 'kept\n/tmp\n42\n', 'files, directory and variables persist');
		w.close();
	});
});
