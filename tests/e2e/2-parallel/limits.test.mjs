// Sizes of what is sent, over HTTP/1.1 and HTTP/2 (operations.md D8 10, 20, 25): an envelope with the right status, whoever answers.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import { after, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { MODEL, apiKey, baseURL, caFile, BETA, VERSION, unique } from '../lib/client.mjs';
import { Wire, assertError, get, post, rawRequest, REQUEST_ID } from '../lib/http.mjs';

const AGENTS = '/v1/agents';
const kept = [];

// One request on an HTTP/2 connection: its answer, or { closed: true } when the server ended the connection.
function h2(path, more = {}, connection = http2.connect(baseURL, { ca: readFileSync(caFile), maxSendHeaderBlockLength: 1 << 24 })) {
	kept.push(connection);
	return new Promise((resolve) => {
		const end = () => resolve({ closed: true });
		connection.on('error', end).on('close', end);
		const stream = connection.request({ ':path': path, authorization: `Bearer ${apiKey}`, 'anthropic-version': VERSION, 'anthropic-beta': BETA, ...more });
		let headers, text = '';
		stream.on('response', (h) => { headers = h; }).on('data', (d) => { text += d; }).on('error', end);
		stream.on('end', () => (headers ? resolve({ status: headers[':status'], headers, text, json: JSON.parse(text), connection }) : end()));
		stream.end();
	});
}

async function h1(path, extra = []) {
	const w = await Wire.open();
	w.write(rawRequest('GET', path, { extra }));
	const res = await w.answer();
	return { ...res, again: async () => {
		w.write(rawRequest('GET', AGENTS));
		const next = await w.answer();
		w.close();
		return next.status;
	} };
}

describe('sizes', { concurrency: true }, () => {
	after(() => kept.forEach((c) => c.destroy()));

	test('headers: 15 kB pass, 17 to 60 kB are a 431 on both protocols and the connection lives', async () => {
		const lines = (n) => Array.from({ length: n }, (_, i) => [`x-${i}`, 'v'.repeat(995)]);
		const raw = (n) => lines(n).map(([k, v]) => `${k}: ${v}`);
		assert.equal((await h1(AGENTS, raw(15))).status, 200);
		assert.equal((await h2(AGENTS, Object.fromEntries(lines(15)))).status, 200);
		for (const n of [17, 30, 55]) {
			const one = await h1(AGENTS, raw(n));
			assertError(one, 431, 'invalid_request_error', /headers/);
			assert.equal(await one.again(), 200);
			const two = await h2(AGENTS, Object.fromEntries(lines(n)));
			assertError(two, 431, 'invalid_request_error', /headers/);
			assert.equal((await h2(AGENTS, {}, two.connection)).status, 200);
		}
	});

	test('one header of 30 kB is a 431; of 70 kB too over HTTP/1.1, while HTTP/2 loses the connection', async () => {
		assertError(await h1(AGENTS, [`x-big: ${'v'.repeat(30_000)}`]), 431, 'invalid_request_error');
		assertError(await h2(AGENTS, { 'x-big': 'v'.repeat(30_000) }), 431, 'invalid_request_error');
		assertError(await h1(AGENTS, [`x-big: ${'v'.repeat(70_000)}`]), 431, 'invalid_request_error');
		assert.deepEqual(await h2(AGENTS, { 'x-big': 'v'.repeat(70_000) }), { closed: true });	// nginx 1.22 cannot refuse it otherwise
	});

	test('many headers: up to 120 kB in all are a 431 on both protocols, whoever refuses them, and HTTP/2 goes on', async () => {
		for (const [n, length] of [[60, 995], [75, 995], [115, 995], [900, 60], [999, 100], [2000, 10]]) {
			const lines = Array.from({ length: n }, (_, i) => [`x-${i}`, 'v'.repeat(length)]);
			const two = await h2(AGENTS, Object.fromEntries(lines));
			assertError(two, 431, 'invalid_request_error', /header/);
			assert.equal((await h2(AGENTS, {}, two.connection)).status, 200, `${n} of ${length}`);
			assertError(await h1(AGENTS, lines.map(([k, v]) => `${k}: ${v}`)), 431, 'invalid_request_error', /header/);
		}
		const many = (n) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`x-${i}`, 'v'.repeat(995)]));
		assert.deepEqual(await h2(AGENTS, many(150)), { closed: true });
	});

	test('paths: 8 kB pass, more is a 414', async () => {
		const path = (n) => `${AGENTS}?x=${'y'.repeat(n - AGENTS.length - 3)}`;
		for (const ask of [h1, h2]) {
			assert.equal((await ask(path(8192))).status, 200);
			for (const n of [8193, 15_000, 17_000, 30_000, 35_000]) assertError(await ask(path(n)), 414, 'invalid_request_error');
		}
		assertError(await h1(path(100_000)), 414, 'invalid_request_error');
	});

	test('streams and uploads have the same limits', async () => {
		for (const n of [9000, 28_000]) {
			assertError(await get(`/v1/sessions/sesn_x/events/stream?x=${'y'.repeat(n)}`), 414, 'invalid_request_error');
			assertError(await get(`/v1/files?x=${'y'.repeat(n)}`), 414, 'invalid_request_error');
		}
	});

	test('gzip bodies are read; what is no gzip, more than one member or too large when decoded is refused by its code', async () => {
		const gzip = (body) => post(AGENTS, body, { headers: { 'content-encoding': 'gzip' } });
		const body = JSON.stringify({ name: unique('gzip'), model: MODEL });
		assert.equal((await gzip(gzipSync(body))).status, 200);
		for (const bytes of [Buffer.from(body), gzipSync(body).subarray(0, 20), Buffer.concat([gzipSync(body), gzipSync(body)]),
			Buffer.concat([gzipSync(body), Buffer.from('x')])]) {
			const res = await gzip(bytes);
			assertError(res, 400, 'invalid_request_error');
			assert.equal(res.json.error.details.error_code, 'request_body_encoding_invalid');
		}
		const bomb = await gzip(gzipSync(Buffer.alloc(40 << 20, 0x20)));
		assertError(bomb, 413, 'request_too_large');
		assert.equal(bomb.json.error.details.error_code, 'request_body_too_large_after_decoding');
		assertError(await gzip(gzipSync('{"name":7}')), 400, 'invalid_request_error', /name: expected a string/);
	});

	test('media types: JSON or nothing, else 415; no Accept is ever a 406', async () => {
		const body = () => JSON.stringify({ name: unique('media'), model: MODEL });
		for (const type of ['application/json', 'APPLICATION/JSON; charset=utf-8', 'application/vnd.api+json', null]) {
			assert.equal((await post(AGENTS, body(), { headers: { 'content-type': type } })).status, 200, type);
		}
		for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/jsonx', 'json', '*/*']) {
			assertError(await post(AGENTS, body(), { headers: { 'content-type': type } }), 415, 'invalid_request_error', /application\/json/);
		}
		for (const accept of ['text/html', 'application/xml', 'image/*;q=0', '', 'x']) {
			assert.equal((await get(AGENTS, { headers: { accept } })).status, 200, accept);
		}
	});

	test('two credentials that differ are refused, on streams as on the API; the same twice is one', async () => {
		const other = `${apiKey.slice(0, -1)}${apiKey.endsWith('x') ? 'y' : 'x'}`;
		const plain = [`anthropic-version: ${VERSION}`, `anthropic-beta: ${BETA}`];
		for (const path of [AGENTS, '/v1/sessions/sesn_01' + '1'.repeat(22) + '/events/stream']) {
			for (const [lines, status] of [
				[[`x-api-key: ${apiKey}`, `x-api-key: ${other}`], 401], [[`x-api-key: ${other}`, `x-api-key: ${apiKey}`], 401],
				[[`authorization: Bearer ${apiKey}`, `x-api-key: ${other}`], 401], [[`x-api-key: ${apiKey}`, `x-api-key: ${apiKey}`], path === AGENTS ? 200 : 404],
				[[`authorization: Bearer ${apiKey}`, `x-api-key: ${apiKey}`], path === AGENTS ? 200 : 404],
			]) {
				const w = await Wire.open();
				w.write(rawRequest('GET', path, { auth: false, extra: [...plain, ...lines] }));
				const res = await w.answer();
				assert.equal(res.status, status, `${path} ${lines.map((l) => l.slice(0, 20))}: ${res.text}`);
				w.close();
			}
		}
	});

	test('wrong methods on known paths: 405 with what is allowed, also without a key', async () => {
		for (const [method, path, allow] of [
			['PUT', AGENTS, 'POST, GET'], ['PATCH', '/v1/agents/agent_x', 'GET, POST'], ['OPTIONS', '/v1/sessions', 'POST, GET'],
			['POST', '/v1/models', 'GET'], ['HEAD', AGENTS, 'POST, GET'], ['DELETE', '/v1/sessions/sesn_x/events', 'GET, POST'],
			['POST', '/v1/sessions/sesn_x/events/stream', 'GET'], ['POST', '/openapi.json', 'GET'],
		]) {
			const w = await Wire.open();
			w.write(rawRequest(method, path, { auth: false, extra: ['content-length: 0'] }));
			const res = await w.answer({ head: method === 'HEAD' });
			assert.equal(res.status, 405, `${method} ${path}: ${res.text}`);
			assert.equal(res.headers.allow, allow, `${method} ${path}`);
			assert.match(res.headers['request-id'], REQUEST_ID);
			if (method !== 'HEAD') assertError(res, 405, 'invalid_request_error');
			w.close();
		}
	});
});
