// The quickstart, as the SDK's users write it, on an instance without any model provider: nothing but the environment variables of
// dev.env, and a model id that this instance has never heard of (the built-in scripted model answers and says so).
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { describe, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { apiKey, baseURL, caFile, BETA, unique } from '../lib/client.mjs';
import { bash, script } from '../lib/script.mjs';
import { assertLog, logShape } from '../lib/shape.mjs';
import { until } from '../lib/until.mjs';
import { calls, ofType, one, textOf } from '../lib/watch.mjs';

async function quickstart(client) {
	const environment = await client.beta.environments.create({
		name: unique('quickstart-env'), config: { type: 'cloud', networking: { type: 'unrestricted' } },
	});
	const agent = await client.beta.agents.create({
		name: 'Coding Assistant', model: 'claude-opus-4-6', system: 'You are a helpful coding assistant.',
		tools: [{ type: 'agent_toolset_20260401' }],
	});
	const session = await client.beta.sessions.create({ agent: agent.id, environment_id: environment.id, title: 'Quickstart session' });
	return { environment, agent, session };
}

async function converse(client, session, text, params) {
	const stream = await client.beta.sessions.events.stream(session.id, params);
	await client.beta.sessions.events.send(session.id, {
		events: [{ type: 'user.message', content: [{ type: 'text', text }] }],
	});
	const seen = [];
	for await (const event of stream) {
		seen.push(event);
		if (event.type === 'session.status_idle') break;
	}
	return seen;
}

describe('quickstart', { concurrency: true }, () => {
	test('environment, agent, session, stream, message, idle', async () => {
		const client = new Anthropic();
		const { environment, agent, session } = await quickstart(client);
		assert.equal(agent.version, 1);
		assert.equal(session.status, 'idle');
		assert.equal(session.environment_id, environment.id);
		assert.equal(session.agent.id, agent.id);
		const seen = await converse(client, session, 'Hello there');
		assert.equal(logShape(seen), 'RrUsmeiud');
		assertLog(seen);
		assert.deepEqual(seen.at(-1).stop_reason, { type: 'end_turn' });
		assert.match(textOf(one(seen, 'agent.message')), /script/i, 'an unknown model is served by the scripted one, which says so');
		assert.match(textOf(one(seen, 'agent.message')), /Hello there/, 'and echoes');
	});

	test('a tool call runs in the sandbox', async () => {
		const client = new Anthropic();
		const { session } = await quickstart(client);
		const seen = await converse(client, session, script(['Let me look.', bash('echo "2 + 3 = $((2+3))"')]));
		assert.equal(logShape(seen), 'RrUsmbeosmeiud');
		assertLog(seen);
		assert.deepEqual(calls(seen).map(({ name, text, error }) => [name, text, error]), [['bash', '2 + 3 = 5\n', false]]);
		assert.equal(textOf(ofType(seen, 'agent.message').at(-1)), 'Done.');
	});

	test('with event deltas', async () => {
		const client = new Anthropic();
		const { session } = await quickstart(client);
		const seen = await converse(client, session, 'one two three four five', { event_deltas: ['agent.message'] });
		const message = one(seen, 'agent.message');
		const start = one(seen, 'event_start');
		assert.deepEqual(start.event, { type: 'agent.message', id: message.id });
		const text = ofType(seen, 'event_delta').map((d) => d.delta.content.text).join('');
		assert.ok(text.length > 0, 'some deltas came');
		assert.ok(textOf(message).startsWith(text), 'deltas are a prefix of the message');
	});

	test('with curl over HTTP/2', async () => {
		const { session } = await quickstart(new Anthropic());
		const path = `${baseURL}/v1/sessions/${session.id}/events`;
		const common = ['-sS', '--http2', '--cacert', caFile, '--max-time', '60', '-H', `x-api-key: ${apiKey}`,
			'-H', 'anthropic-version: 2023-06-01', '-H', `anthropic-beta: ${BETA}`, '-w', '\nversion=%{http_version} code=%{response_code}\n'];
		const stream = curl([...common, '-N', '-i', `${path}/stream?beta=true`]);
		await until('curl got the stream\'s headers', () => /\r\n\r\n/.test(stream.out));
		assert.match(stream.out, /^HTTP\/2 200/);
		assert.match(stream.out, /content-type: text\/event-stream/i);
		assert.doesNotMatch(stream.out, /^content-length:/im);

		const sent = curl([...common, '-H', 'content-type: application/json', '-d',
			JSON.stringify({ events: [{ type: 'user.message', content: [{ type: 'text', text: 'Hi from curl' }] }] }), path]);
		assert.equal(await sent.exit, 0, sent.out);
		assert.match(sent.out, /version=2 code=200/);
		await until('the turn arrives over curl', () => /^event: session\.status_idle$/m.test(stream.out));
		stream.kill();
		const names = [...stream.out.matchAll(/^event: (.*)$/gm)].map((m) => m[1]).filter((n) => n !== 'ping');
		assert.deepEqual(names, ['session.status_running', 'session.thread_status_running', 'user.message', 'span.model_request_start',
			'agent.message', 'span.model_request_end', 'session.thread_status_idle', 'session.usage', 'session.status_idle']);
	});
});

function curl(args) {
	const child = spawn('curl', args, { stdio: ['ignore', 'pipe', 'inherit'] });
	const run = { out: '', kill: () => child.kill() };
	child.stdout.setEncoding('utf8').on('data', (d) => { run.out += d; });
	run.exit = new Promise((resolve, reject) => {
		child.on('error', reject);
		child.on('close', resolve);
	});
	return run;
}
