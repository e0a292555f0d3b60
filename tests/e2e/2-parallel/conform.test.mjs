// The yardstick itself (tests/conformance): real answers, changed at every place, are found invalid; so a valid one means something.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { TOOLSET, bench, client } from '../lib/client.mjs';
import { get } from '../lib/http.mjs';
import { allow, bash, call, script } from '../lib/script.mjs';
import { Watch } from '../lib/watch.mjs';

const { StreamChecker, answered, rehearsed } = await import('../../conformance/check.mjs');

const c = client();
const CUSTOM = { type: 'custom', name: 'ticket', description: 'd', input_schema: { type: 'object', properties: { a: { type: 'string' } } } };
const OPEN = ['metadata', 'input', 'input_schema'];	// anything may stand in these
let agent, environment, session, events, refusal;

// [what, a changed copy] for each object with one key more, each value of another kind, each key left out.
function* changes(value, at = [], root = value) {
	const changed = (fn) => {
		const copy = structuredClone(root);
		fn(at.reduce((v, k) => v[k], copy), at.length ? at.slice(0, -1).reduce((v, k) => v[k], copy) : undefined);
		return copy;
	};
	const where = at.join('.') || 'the body';
	if (at.length) yield [`${where} is another kind of thing`, changed((v, parent) => { parent[at.at(-1)] = Array.isArray(v) ? 'x' : [[]]; })];
	if (value === null || typeof value !== 'object') return;
	if (!Array.isArray(value)) yield [`${where} has a key too many`, changed((v) => { v.surprise = 1; })];
	for (const [k, v] of Object.entries(value)) if (!OPEN.includes(k)) yield* changes(v, [...at, Array.isArray(value) ? Number(k) : k], root);
}

function assertStrict(method, path, status, body, headers) {
	const answer = (b) => rehearsed(() => answered({ method, path, status, headers, text: JSON.stringify(b) }));
	assert.equal(answer(body), undefined, 'as it came it is valid');
	let n = 0;
	for (const [what, copy] of changes(body)) {
		assert.ok(answer(copy), `${method} ${path}: ${what}, and nobody objects: ${JSON.stringify(copy).slice(0, 500)}`);
		n++;
	}
	return n;
}

describe('validation', () => {
	before(async () => {
		const b = await bench(c, { tools: [{ ...TOOLSET, configs: [{ name: 'bash', permission_policy: { type: 'always_ask' } }] }, CUSTOM], metadata: { a: 'b' } });
		const w = await Watch.begin(b);
		const turn = await w.turn(script([bash('true'), call('grep', { pattern: 'x', path: '/etc/passwd' })]));
		await w.send(allow(turn.at(-1).stop_reason.event_ids[0]));
		await w.idle();
		w.close();
		[agent, environment, session, events, refusal] = await Promise.all([`agents/${b.agent.id}`, `environments/${b.environment.id}`, `sessions/${w.id}`,
			`sessions/${w.id}/events`, 'agents/agent_x'].map((p) => get(`/v1/${p}`)));
	});

	test('every change of an answer is found', () => {
		const list = (r) => ({ data: [r.json], next_page: null });
		const counts = [
			assertStrict('GET', `/v1/agents/${agent.json.id}`, 200, agent.json, agent.headers),
			assertStrict('GET', '/v1/agents', 200, list(agent), agent.headers),
			assertStrict('GET', `/v1/environments/${environment.json.id}`, 200, environment.json, environment.headers),
			assertStrict('GET', `/v1/sessions/${session.json.id}`, 200, session.json, session.headers),
			assertStrict('GET', `/v1/sessions/${session.json.id}/events`, 200, events.json, events.headers),
			assertStrict('GET', '/v1/agents/agent_x', refusal.status, refusal.json, refusal.headers),
		];
		console.log(`# ${counts.reduce((a, b) => a + b)} changes, all found`);
	});

	test('a key that must be there, an id of another kind, a time in another form, a status that does not fit', () => {
		const body = (change) => rehearsed(() => answered({ method: 'GET', path: `/v1/sessions/${session.json.id}`, status: 200, headers: session.headers,
			text: JSON.stringify({ ...session.json, ...change }) }));
		for (const key of Object.keys(session.json).filter((k) => k !== 'deployment_id')) assert.match(body({ [key]: undefined }), /required/, key);
		assert.match(body({ id: agent.json.id }), /id must match/);
		assert.match(body({ id: 'sesn_01short' }), /id must match/);
		assert.match(body({ created_at: '2026-11-20T08:53:40.404Z' }), /created_at must match/);
		assert.match(body({ created_at: '2026-11-20 08:53:40.404624+00' }), /created_at must match/);
		assert.match(body({ status: 'asleep' }), /status must be/);
		const whole = (more) => rehearsed(() => answered({ method: 'GET', path: `/v1/sessions/${session.json.id}`, status: 200, headers: session.headers,
			text: session.text, ...more }));
		assert.equal(whole({}), undefined);
		assert.match(whole({ path: '/v1/somewhere' }), /no such endpoint/);
		assert.match(whole({ status: 201 }), /no such status/);
		assert.match(whole({ text: session.text.slice(1) }), /no JSON/);
		assert.match(whole({ headers: { ...session.headers, 'request-id': undefined } }), /request-id/);
		assert.match(whole({ headers: { ...session.headers, 'content-type': 'text/html' } }), /content-type/);
		const error = (more) => rehearsed(() => answered({ method: 'GET', path: '/v1/agents/agent_x', status: 400, headers: refusal.headers, text: refusal.text, ...more }));
		assert.equal(error({}), undefined);
		assert.match(error({ status: 404 }), /error\.type/);
		assert.match(error({ headers: { ...refusal.headers, 'request-id': 'req_0123456789abcdef' } }), /is not the header's/);
	});

	test('the order of a stream', () => {
		const id = (n) => `sevt_01${String(n).padStart(22, '1')}`;
		const at = '2026-11-20T08:53:40.404624Z';
		const start = { type: 'event_start', event: { type: 'agent.message', id: id(2) } };
		const delta = (text) => ({ type: 'event_delta', event_id: id(2), delta: { type: 'content_delta', index: 0, content: { type: 'text', text } } });
		const message = { id: id(2), type: 'agent.message', content: [{ type: 'text', text: 'Hello' }], processed_at: at };
		const thinking = { id: id(3), type: 'agent.thinking', processed_at: at };
		const play = (...all) => rehearsed(() => {
			const checker = new StreamChecker('GET', `/v1/sessions/${session.json.id}/events/stream`, 200, { ...session.headers, 'content-type': 'text/event-stream' });
			for (const e of all) checker.bytes(new TextEncoder().encode(`event: ${e.name ?? e.type}\ndata: ${JSON.stringify({ ...e, name: undefined })}\n\n`));
		});
		assert.equal(play(start, delta('Hel'), delta('lo'), message, thinking), undefined);
		assert.equal(play({ ...thinking, name: 'message' }), undefined, 'the name for SDK 0.86');
		assert.match(play(start, start), /second event_start/);
		assert.match(play(delta('H')), /without a start/);
		assert.match(play(start, delta('Hal'), message), /not what the fragments/);
		assert.match(play(start, message, delta('lo')), /after its event/);
		assert.match(play(message, message), /came before/);
		assert.match(play({ ...thinking, name: 'agent.message' }), /is of type/);
		assert.match(play({ ...message, type: 'agent.unheard' }), /must/);
		assert.match(play({ id: id(4), type: 'user.message', content: message.content, processed_at: null }), /not processed yet/);
	});
});
