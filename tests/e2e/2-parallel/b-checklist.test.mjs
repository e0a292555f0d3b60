// Appendix B of the contract: what the unmodified SDK's helpers need, one test per line of the list, named by its number. Deeper tests of
// the same things stand in the files of their subject; here it is shown that the whole list holds. B9 is b-runner.test.mjs, B7 and B8 in every
// order are b-permutations.test.mjs. What is not built is named and skipped.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { before, describe, test } from 'node:test';
import { Anthropic, BETA, TOOLSET, apiKey, baseURL, bench, caFile, client, collect, countingClient, log, makeAgent, makeEnvironment, unique } from '../lib/client.mjs';
import { ctl, newTenant } from '../lib/ctl.mjs';
import { budget } from '../lib/cost.mjs';
import { LAB, provider } from '../lib/provider.mjs';
import { allow, answer, bash, call, deny, interrupt, message, script } from '../lib/script.mjs';
import { refused } from '../lib/sdkerror.mjs';
import { assertLog, logShape } from '../lib/shape.mjs';
import { sql } from '../lib/sql.mjs';
import { Sse } from '../lib/sse.mjs';
import { TOO_LATE, meanwhile, until } from '../lib/until.mjs';
import { Watch, calls, ofType, one, resultOf, textOf } from '../lib/watch.mjs';

const c = client();
const CUSTOM = { type: 'custom', name: 'ticket', description: 'd', input_schema: { type: 'object' } };
const finished = (w) => w.until((e) => e.type === 'session.status_idle' && e.stop_reason.type === 'end_turn', { what: 'the end of the turn' });
let b;

describe('appendix B', { concurrency: true }, () => {
	before(async () => { b = await bench(c, { tools: [{ ...TOOLSET, configs: [{ name: 'write', permission_policy: { type: 'always_ask' } }] }, CUSTOM] }); });

	test('B1 the key as Bearer from new Anthropic(), as x-api-key from curl, both documented versions', async () => {
		let sent;
		const plain = new Anthropic({ apiKey, baseURL, fetch: (url, init) => {
			sent = new Headers(init.headers);
			return fetch(url, init);
		} });
		await plain.beta.agents.list({ limit: 1 });
		assert.equal(sent.get('authorization'), `Bearer ${apiKey}`);
		assert.equal(sent.get('x-api-key'), null);
		assert.equal(sent.get('anthropic-version'), '2026-10-21');
		for (const version of ['2026-10-21', '2023-06-01']) {
			for (const key of [`x-api-key: ${apiKey}`, `authorization: Bearer ${apiKey}`]) {
				const { stdout } = await promisify(execFile)('curl', ['-sS', '--cacert', caFile, '-H', key, '-H', `anthropic-version: ${version}`,
					'-H', `anthropic-beta: ${BETA}`, '-w', '\n%{response_code}', `${baseURL}/v1/agents?limit=1&beta=true`]);
				const [body, code] = stdout.split('\n');
				assert.equal(code, '200', `${version} ${key.slice(0, 9)}: ${body}`);
				assert.ok(Array.isArray(JSON.parse(body).data));
			}
		}
	});

	test('B2 lists page by themselves, over an empty page too; sessions lead back with prev_page', async () => {
		const name = unique('page');
		const since = (await makeAgent(c, { name })).created_at;
		for (let i = 0; i < 3; i++) await makeAgent(c, { name });
		let pages = 0;
		// The second page arrives empty, with its cursor.
		const emptied = client({ fetch: async (url, init) => {
			const res = await fetch(url, init);
			if (++pages !== 2) return res;
			const body = await res.json();
			return Response.json({ ...body, data: [] });
		} });
		const seen = await collect(emptied.beta.agents.list({ limit: 1, 'created_at[gte]': since }));
		const all = await collect(c.beta.agents.list({ limit: 100, 'created_at[gte]': since }));
		const mine = (list) => list.filter((a) => a.name === name).length;
		assert.ok(pages >= 4, `${pages} pages`);
		assert.equal(mine(all), 4);
		assert.ok(mine(seen) >= 3 && seen.length >= 3, 'the walk went on after the empty page');

		const agent = await makeAgent(c);
		const made = [];
		for (let i = 0; i < 3; i++) made.unshift((await c.beta.sessions.create({ agent: agent.id, environment_id: b.environment.id })).id);
		assert.deepEqual((await collect(c.beta.sessions.list({ agent_id: agent.id, limit: 1 }))).map((s) => s.id), made);
		const first = await c.beta.sessions.list({ agent_id: agent.id, limit: 1 });
		const second = await first.getNextPage();
		assert.equal(first.prev_page ?? null, null);
		assert.ok(second.prev_page);
		const back = await c.beta.sessions.list({ agent_id: agent.id, limit: 1, page: second.prev_page });
		assert.deepEqual([first, second, back].map((p) => p.data[0].id), [made[0], made[1], made[0]]);
	});

	test('B3 a stale version is a ConflictError, asked once', async () => {
		const { c: counting, hits } = countingClient({ maxRetries: 2 });
		const agent = await makeAgent(c);
		await c.beta.agents.update(agent.id, { version: 1, name: 'second' });
		const e = await refused(counting.beta.agents.update(agent.id, { version: 1, name: 'third' }), 409,
			/^Concurrent modification detected\. Please fetch the latest version and retry\.$/);
		assert.ok(e instanceof Anthropic.ConflictError);
		assert.equal(hits.length, 1);
	});

	test('B4 a session with initial_events is running at once, and its log has them', async () => {
		const session = await b.session({ initial_events: [message('from the start')] });
		assert.equal(session.status, 'running');
		const listed = await log(c, session.id);
		assert.equal(textOf(one(listed, 'user.message')), 'from the start');
	});

	test('B5 a stream that was open before the send gets every event, and no ping', async () => {
		const w = await Watch.begin(b);
		const raw = await Sse.open(`/v1/sessions/${w.id}/events/stream`);
		await w.turn(script(bash('echo one')));
		await raw.until('ping', 16_000);
		await w.turn('two');
		await raw.untilType('session.status_idle');
		await w.assertSameAsLog();
		assert.ok(raw.frames.some((f) => f.event === 'ping') && !w.events.some((e) => e.type === 'ping' || e.type === undefined));
		raw.close();
		w.close();
	});

	test('B5 event: error is an APIError with its type', async () => {
		const t = await newTenant();
		const tb = await bench(client({ apiKey: t.apiKey }), { tools: [] });
		const w = await Watch.open(tb.c, (await tb.session()).id);
		await ctl('key', 'revoke', t.keyId);
		await assert.rejects(w.end(45_000), (e) => {
			assert.ok(e instanceof Anthropic.APIError, `${e.constructor.name}: ${e.message}`);
			assert.equal(e.type, 'authentication_error');
			return true;
		});
	});

	test('B6 deltas: one start, a prefix, then the message itself; interrupted: no message, the span ends', async () => {
		const w = await Watch.begin(b, { event_deltas: ['agent.message'] });
		await w.turn(Array.from({ length: 500 }, (_, i) => `word${i}`).join(' '));
		const final = one(w.events, 'agent.message');
		assert.deepEqual(one(w.events, 'event_start').event, { type: 'agent.message', id: final.id });
		const deltas = ofType(w.events, 'event_delta');
		assert.ok(deltas.length > 0 && deltas.every((d) => d.event_id === final.id));
		assert.ok(textOf(final).startsWith(deltas.map((d) => d.delta.content.text).join('')));
		assert.ok(w.events.lastIndexOf(deltas.at(-1)) < w.events.indexOf(final));
		assert.deepEqual(one(await log(c, w.id), 'agent.message'), final, 'what is streamed at the end is what is listed');
		w.close();

		const slow = await makeAgent(c, { model: LAB.anthropic, tools: [] });
		const cut = await Watch.open(c, (await b.session({ agent: slow.id })).id, { event_deltas: ['agent.message'] });
		await cut.send(message(`${'blah '.repeat(400)}\n${provider({ word_ms: 40 })}`));
		const { event } = await cut.until('event_start');
		await cut.until('event_delta');
		await cut.send(interrupt());
		assert.deepEqual((await cut.idle()).stop_reason, { type: 'end_turn' });
		const listed = await log(c, cut.id);
		assert.equal(logShape(listed), 'RrUseIiud');
		assert.ok(![...listed, ...cut.persisted].some((e) => e.id === event.id), 'no buffered message');
		assert.equal(one(listed, 'span.model_request_end').model_request_start_id, one(listed, 'span.model_request_start').id);
		cut.close();
	});

	test('B7 confirmations: allow and deny, one by one, wrong ones, a message meanwhile and after an interrupt', async () => {
		const write = (f) => call('write', { file_path: `/workspace/${f}`, content: f });
		const w = await Watch.begin(b);
		const [x, y, plain] = ofType(await w.turn(script([write('x'), write('y'), bash('true')])), 'agent.tool_use');
		await refused(w.send(message('hello?')), 400, /waiting on responses to events \[sevt_/);
		await refused(w.send(allow(plain.id)), 400);
		await w.send(deny(y.id, 'no'));
		assert.deepEqual((await w.idle()).stop_reason, { type: 'requires_action', event_ids: [x.id] });
		await w.send(allow(x.id));
		await finished(w);
		const turn = await w.turn(script(bash('ls /workspace')));
		assert.equal(calls(turn)[0].text, 'x\n', 'what was allowed happened, what was denied did not');
		assert.match(textOf(resultOf(w.events, y)), /rejected\. Rejection message: no$/);

		await w.turn(script([write('z')]));
		await w.send(interrupt());
		await w.idle();
		assert.match(textOf(one(await w.turn('and now?'), 'agent.message')), /and now\?/, 'a message is welcome after the interrupt');
		assertLog(await w.assertSameAsLog());
		w.close();
	});

	test('B8 a custom tool\'s result before the idle', async () => {
		await meanwhile(async (seconds) => {
			const w = await Watch.begin(b);
			await w.send(message(script([call('ticket', {}), bash(`sleep ${seconds}; echo slow`)])));
			const use = await w.until('agent.custom_tool_use');
			const [sent] = await w.send(answer(use.id, 'early'));
			assert.ok(sent.processed_at, 'processed on receipt');
			await w.until((e) => e.type === 'session.status_idle' && e.stop_reason.type === 'end_turn', { ms: 90_000, what: 'the end of the turn' });
			const listed = await w.assertSameAsLog();
			assertLog(listed);
			assert.equal(one(listed, 'user.custom_tool_result').id, sent.id);
			w.close();
			return listed.some((e) => e.stop_reason?.type === 'requires_action') ? TOO_LATE : true;
		});
	});

	test('B15 a budget: the pause, what is accepted at it, raise and resume, removal, no second one', async () => {
		const paid = await bench(c, { model: 'lab-cents' });		// a call of `true` costs a cent
		const w = await Watch.begin(paid, { create: { budget: budget(2) } });
		const turn = await w.turn(script(...Array.from({ length: 6 }, () => bash('true'))));
		assert.deepEqual(turn.slice(-3).map((e) => e.type), ['session.thread_status_idle', 'session.usage', 'session.status_idle']);
		assert.deepEqual([turn.at(-3).stop_reason, turn.at(-1).stop_reason], [{ type: 'budget_reached' }, { type: 'budget_reached' }]);
		const spent = Number(turn.at(-2).usage.list_cost.amount);
		assert.ok(spent >= 2 && spent <= 3, `${spent} cents: at most one request beyond the cap`);
		await refused(w.send(message('more')), 400, /user\.tool_confirmation.*user\.tool_result.*user\.custom_tool_result.*user\.interrupt/);
		const before = await log(c, w.id);
		await w.send(interrupt());
		assert.deepEqual(await log(c, w.id), before, 'an interrupt at the cap is accepted, ignored, not kept');
		const low = await refused(c.beta.sessions.update(w.id, { budget: budget(spent) }), 400, /must be greater than the session's consumed list cost/);
		assert.equal(low.errorCode, 'budget_not_raised');
		await c.beta.sessions.update(w.id, { budget: budget(spent + 1) });
		assert.deepEqual((await w.until('session.updated')).budget, budget(spent + 1));
		await w.until('session.status_running');
		assert.deepEqual((await w.idle()).stop_reason, { type: 'budget_reached' });
		assert.equal((await c.beta.sessions.update(w.id, { budget: null })).budget, null);
		assert.deepEqual((await w.idle()).stop_reason, { type: 'end_turn' });
		assert.equal((await refused(c.beta.sessions.update(w.id, { budget: budget(900) }), 400)).errorCode, 'budget_create_only');
		assert.equal(calls(await w.assertSameAsLog()).length, 6, 'nothing was lost and nothing was done twice');
		w.close();
	});

	test('B16 an outcome: verdicts, numbered iterations, interrupted before any evaluation', async () => {
		const grade = (result) => call('grade', { result, explanation: `it is ${result}` });
		const define = (description, rubric) => ({ type: 'user.define_outcome', description, rubric: { type: 'text', content: rubric } });
		const w = await Watch.begin(b);
		await w.send(define(bash('true'), script(grade('needs_revision'), grade('satisfied'))));
		await w.idle();
		await w.send(define(bash('sleep 60'), grade('satisfied')));
		await w.until((e) => e.type === 'agent.tool_use' && e.input.command === 'sleep 60');
		await w.send(interrupt());
		await w.idle();
		const ends = ofType(await w.assertSameAsLog(), 'span.outcome_evaluation_end');
		assert.deepEqual(ends.map((e) => [e.iteration, e.result, e.outcome_evaluation_start_id === '']),
			[[0, 'needs_revision', false], [1, 'satisfied', false], [0, 'interrupted', true]]);
		assert.deepEqual((await c.beta.sessions.retrieve(w.id)).outcome_evaluations.map((o) => o.result), ['satisfied', 'interrupted']);
		w.close();
	});

	test('B18 files: names of parts, scope_id and its beta, types of downloads, the code of an expired one', async () => {
		const upload = await c.files.upload({ file: new File(['x,y'], 'a/deep/path/table.csv', { type: 'text/csv' }) });
		assert.deepEqual([upload.filename, upload.mime_type, upload.downloadable], ['table.csv', 'text/csv', false]);
		assert.ok(await refused(c.files.download(upload.id), 400) instanceof Anthropic.FileNotDownloadableError);

		const w = await Watch.begin(b);
		await w.turn(script(bash('echo "<p>hi</p>" > /mnt/session/outputs/page.html')));
		const listed = () => collect(c.beta.files.list({ scope_id: w.id, betas: [BETA] }));
		const [page] = await until('the output is published', async () => ((await listed()).length ? listed() : null));
		assert.deepEqual([page.filename, page.downloadable, page.scope], ['page.html', true, { type: 'session', id: w.id }]);
		await refused(c.beta.files.list({ scope_id: w.id }), 400, /scope_id/);
		const res = await c.beta.files.download(page.id);
		assert.match(res.headers.get('content-type'), /^text\/html/);
		assert.equal(await res.text(), '<p>hi</p>\n');
		await sql('UPDATE file SET expires_at = clock_timestamp() WHERE id = :\'id\'', { id: page.id });
		const e = await refused(c.beta.files.download(page.id), 404);
		assert.ok(e instanceof Anthropic.FileExpiredError);
		assert.equal(e.errorCode, 'file_expired');
		w.close();
	});

	test('B14 credentials: secrets never echoed, injection defaults and merge, both off is refused, a duplicate is a conflict', async () => {
		const { id: vault_id } = await c.beta.vaults.create({ display_name: unique('b14') });
		const { credentials } = c.beta.vaults, secrets = ['sk-b14-one', 'sk-b14-two', 'tok-b14'];
		const variable = (injection_location) => ({ auth: { type: 'environment_variable', secret_name: unique('B14').replace('-', '_'), secret_value: secrets[0],
			networking: { type: 'limited', allowed_hosts: ['api.example.com', '*.example.org'] }, injection_location } });
		const both = await credentials.create(vault_id, variable(undefined));
		const header = await credentials.create(vault_id, variable({ header: true }));
		assert.deepEqual([both, header].map((x) => x.auth.injection_location), [{ header: true, body: true }, { header: true, body: false }]);
		const merged = await credentials.update(header.id, { vault_id, auth: { type: 'environment_variable', secret_value: secrets[1],
			injection_location: { body: true } } });
		assert.deepEqual(merged.auth.injection_location, { header: true, body: true });
		const off = { type: 'environment_variable', injection_location: { header: false, body: false } };
		await refused(credentials.update(header.id, { vault_id, auth: off }), 400, /injection_location/);
		const bearer = { auth: { type: 'static_bearer', mcp_server_url: 'https://b14.example.com/mcp', token: secrets[2] } };
		const token = await credentials.create(vault_id, bearer);
		const { c: counting, hits } = countingClient({ maxRetries: 2 });
		assert.ok(await refused(counting.beta.vaults.credentials.create(vault_id, bearer), 409) instanceof Anthropic.ConflictError);
		assert.equal(hits.length, 1, 'not asked again');
		const all = JSON.stringify([both, header, merged, token, await collect(credentials.list(vault_id)), await credentials.retrieve(token.id, { vault_id })]);
		for (const s of secrets) assert.ok(!all.includes(s));
	});

	for (const [n, what, why] of [[10, 'work.poller', 'self-hosted environments'], [11, 'EnvironmentWorker.run', 'self-hosted environments'],
		[12, 'webhooks.unwrap', 'webhooks'], [13, 'memories', 'memory stores'],
		[17, 'deployments', 'deployments'], [21, 'several agents in one session', 'child threads']]) {
		test(`B${n} ${what}`, { skip: `${why} are not built` }, () => {});
	}

	test('B19 error classes from details.error_code', async () => {
		const archived = await makeEnvironment(c);
		await c.beta.environments.archive(archived.id);
		const cases = [
			[() => c.beta.environments.update(archived.id, { name: unique('late') }), Anthropic.Beta.BetaEnvironmentArchivedError, 400, 'environment_archived'],
			[() => c.beta.environments.update(b.environment.id, { config: { type: 'self_hosted' } }), Anthropic.Beta.BetaInvalidConfigTypeChangeError, 400,
				'invalid_config_type_change'],
			[() => c.beta.environments.update(b.environment.id, { metadata: { ['k'.repeat(65)]: 'v' } }), Anthropic.Beta.BetaInvalidMetadataError, 400,
				'invalid_metadata'],
			[() => c.beta.environments.retrieve(`env_01${'1'.repeat(22)}`), Anthropic.Beta.BetaEnvironmentNotFoundError, 404, 'environment_not_found'],
		];
		for (const [ask, kind, status, code] of cases) {
			const e = await refused(ask(), status);
			assert.equal(typeof kind, 'function', code);
			assert.ok(e instanceof kind, `${e.constructor.name} for ${code}`);
			assert.equal(e.errorCode, code);
		}
	});

	test('B20 a message sent during a tool call lands after its result, in the same turn', async () => {
		await meanwhile(async (seconds) => {
			const w = await Watch.begin(b);
			await w.send(message(bash(`sleep ${seconds}; echo slept`)));
			await w.until('agent.tool_use');
			const [sent] = await w.send(message('and this'));
			assert.equal(sent.processed_at, null);
			if (ofType(await log(c, w.id), 'agent.tool_result').length) return TOO_LATE;
			await w.idle({ ms: 90_000 });
			const listed = await w.assertSameAsLog();
			assertLog(listed);
			assert.equal(logShape(listed), 'RrUsbeoUsmeiud', 'one running, one idle');
			assert.equal(ofType(listed, 'user.message')[1].id, sent.id);
			return w.close();
		});
	});
});
