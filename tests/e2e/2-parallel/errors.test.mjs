// The table of error codes (contract 1.11): the SDK raises its own class for each, and what is said about trying again.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { ABSENT, client, countingClient, makeAgent, makeEnvironment } from '../lib/client.mjs';
import { assertError, get, post } from '../lib/http.mjs';

// The SDK exports the classes one by one; its own map is an internal file beside them.
const sdk = dirname(createRequire(import.meta.url).resolve('@anthropic-ai/sdk'));
const { ERROR_CODE_CLASSES: CLASSES } = await import(pathToFileURL(join(sdk, 'core/error-classes.mjs')));
const table = (name) => readFileSync(new URL(`../../../lib/base/${name}`, import.meta.url), 'utf8');
const KINDS = new Map([...table('err.def').matchAll(/^ERR\((\w+),\s*(\d+),\s*"(\w+)"/gm)].map(([, k, status, type]) => [k, { status, type }]));
const CODES = [...table('errcode.def').matchAll(/^CODE\((\w+),\s*"(\w+)",\s*(\w+),\s*(\w+)\)/gm)].map(([, , code, kind]) => ({ code, ...KINDS.get(kind) }));
// Reasons that the documentation quotes and for which the SDK has no class.
const PLAIN = /^(agent_model_required|budget_\w+|model_\w+|workflow_run_open)$/;

const c = client();

async function raises(promise, status, code, pattern) {
	const wanted = CLASSES.get(`${status} ${code}`);
	const error = await promise.then(() => assert.fail(`expected ${code}`), (e) => e);
	assert.equal(error.constructor.name, wanted.name, error.message);
	assert.ok(error instanceof wanted);
	assert.equal(error.status, status);
	assert.equal(error.errorCode, code);
	if (pattern) assert.match(error.apiMessage, pattern);
	return error;
}

describe('error codes', { concurrency: true }, () => {
	test('every code of the table has its class in the SDK, under the same status', () => {
		assert.ok(CODES.length > 20);
		for (const { code, status } of CODES) {
			if (!PLAIN.test(code)) assert.ok(CLASSES.has(`${status} ${code}`), `${status} ${code}`);
		}
	});

	test('environment_archived', async () => {
		const env = await makeEnvironment(c);
		await c.beta.environments.archive(env.id);
		const e = await raises(c.beta.environments.update(env.id, { name: 'x' }), 400, 'environment_archived');
		assert.equal(e.headers.get('x-should-retry'), 'false');
		const agent = await makeAgent(c);
		await raises(c.beta.sessions.create({ agent: agent.id, environment_id: env.id }), 400, 'environment_archived');
	});

	test('invalid_config_type_change', async () => {
		const env = await makeEnvironment(c);
		await raises(c.beta.environments.update(env.id, { config: { type: 'self_hosted' } }), 400, 'invalid_config_type_change');
	});

	test('environment_not_found', async () => {
		await raises(c.beta.environments.retrieve(ABSENT.environment), 404, 'environment_not_found');
	});

	test('invalid_metadata names every problem', async () => {
		const metadata = { ['k'.repeat(65)]: 'v', ok: 'v', long: 'x'.repeat(513) };
		await raises(makeEnvironment(c, { metadata }), 400, 'invalid_metadata', /at most 64.*; metadata\.long: .*at most 512/);
	});

	test('unsupported_charset and the encodings of bodies', async () => {
		for (const [headers, code] of [
			[{ 'content-type': 'application/json; charset=utf-16' }, 'unsupported_charset'],
			[{ 'content-encoding': 'br' }, 'request_body_encoding_unsupported'],
		]) await raises(c.beta.environments.create({ name: 'x' }, { headers }), 400, code);
	});

	test('conflicts and unknown paths are not tried again', async () => {
		const { c: eager, hits } = countingClient({ maxRetries: 2 });
		const agent = await makeAgent(eager);
		hits.length = 0;
		await assert.rejects(eager.beta.agents.update(agent.id, { version: 7, name: 'x' }), { status: 409 });
		assert.equal(hits.length, 1);
		const nowhere = await get('/v1/nowhere');
		assertError(nowhere, 404, 'not_found_error', /^Not found$/);
		assert.equal(nowhere.headers['x-should-retry'], 'false');
	});

	test('organization and workspace stand on refusals too, once the key is known', async () => {
		const mine = await get('/v1/agents?limit=1');
		for (const res of [
			await get('/v1/agents?limit=0'), await get(`/v1/agents/${ABSENT.agent}`), await post('/v1/agents', { nope: 1 }),
			await get('/v1/agents', { headers: { 'anthropic-beta': null } }), await get('/v1/agents', { headers: { 'anthropic-version': null } }),
			await get(`/v1/sessions/${ABSENT.session}/events/stream`),
			await get(`/v1/sessions/${ABSENT.session}/events/stream`, { headers: { 'anthropic-version': null } }),
		]) {
			assert.ok(res.status === 400 || res.status === 404, `${res.status} ${res.text}`);
			for (const h of ['anthropic-organization-id', 'anthropic-workspace-id']) assert.equal(res.headers[h], mine.headers[h], res.text);
		}
		const nobody = await get('/v1/agents', { headers: { authorization: null } });
		assertError(nobody, 401, 'authentication_error');
		assert.equal(nobody.headers['anthropic-organization-id'], undefined);
	});
});
