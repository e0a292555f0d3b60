// HTTP itself and hostile JSON (operations.md D8 10, 15, 18-27): always an envelope, nothing changed, the connection or at least the
// server still usable.
import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { after, before, describe, test } from 'node:test';
import { MODEL, apiKey, bench, client, collect, unique } from '../lib/client.mjs';
import { Wire, assertError, bad, get, post, rawRequest, REQUEST_ID } from '../lib/http.mjs';

const c = client();
const AGENTS = '/v1/agents';
const json = (body) => ['content-type: application/json', `content-length: ${Buffer.byteLength(body)}`];
const agent = () => JSON.stringify({ name: unique('wire'), model: MODEL });
let b, started;

// Is what answered an nginx page? Never.
function envelope(res, ...statuses) {
	assert.ok(res, 'closed without an answer');
	assert.ok(statuses.includes(res.status), `${res.status} not in ${statuses}: ${res.text.slice(0, 300)}`);
	assert.match(res.headers['content-type'] ?? '', /^application\/json/, res.text.slice(0, 200));
	assert.equal(res.json?.type, 'error');
	assert.match(res.json.request_id, REQUEST_ID);
	assert.equal(res.headers['request-id'], res.json.request_id);
}

describe('the wire', { concurrency: 16 }, () => {
	before(async () => {
		b = await bench(c);
		started = b.agent.created_at;
	});
	after(async () => {
		const made = await collect(c.beta.agents.list({ 'created_at[gte]': started, limit: 100 }));
		assert.deepEqual(made.filter((a) => /^never/.test(a.name)), [], 'no refused request made an agent');
		assert.equal((await get(AGENTS)).status, 200);
	});

	test('kept connections, pipelined requests, each with its own answer', async () => {
		const w = await Wire.open();
		w.write(rawRequest('GET', AGENTS) + rawRequest('GET', '/v1/nowhere') + rawRequest('GET', '/v1/models'));
		assert.deepEqual([(await w.answer()).status, (await w.answer()).status, (await w.answer()).status], [200, 404, 200]);
		w.close();
	});

	test('a refused body leaves the connection usable', async () => {
		const w = await Wire.open();
		for (const body of ['{', '[]', '{"name":""}', '{"name":"never","model":7}']) {
			w.write(rawRequest('POST', AGENTS, { extra: json(body), body }));
			bad(await w.answer());
		}
		const body = agent();
		w.write(rawRequest('POST', AGENTS, { extra: json(body), body }));
		assert.equal((await w.answer()).status, 200);
		w.close();
	});

	test('chunked bodies are fine', async () => {
		const w = await Wire.open();
		const body = agent();
		const half = body.length >> 1;
		w.write(rawRequest('POST', AGENTS, { extra: ['content-type: application/json', 'transfer-encoding: chunked'] }));
		for (const part of [body.slice(0, half), body.slice(half)]) w.write(`${part.length.toString(16)}\r\n${part}\r\n`);
		w.write('0\r\n\r\n');
		assert.equal((await w.answer()).status, 200);
		w.close();
	});

	test('content-length and chunked together, twice, negative, not a number: refused', async () => {
		const body = JSON.stringify({ name: 'never', model: MODEL });
		for (const extra of [
			[`content-length: ${body.length}`, 'transfer-encoding: chunked'],
			[`content-length: ${body.length}`, `content-length: ${body.length + 1}`],
			['content-length: -1'], ['content-length: 1e3'], ['transfer-encoding: gzip, chunked'],
		]) {
			const w = await Wire.open();
			w.write(rawRequest('POST', AGENTS, { extra: ['content-type: application/json', ...extra], body }));
			envelope(await w.answer(), 400, 411, 501);
			w.close();
		}
	});

	test('a body shorter than promised never happens', async () => {
		const w = await Wire.open();
		const body = JSON.stringify({ name: 'never', model: MODEL });
		w.write(rawRequest('POST', AGENTS, { extra: ['content-type: application/json', `content-length: ${body.length + 10}`], body }));
		w.socket.end();
		const r = await w.answer({ ms: 10_000 }).catch(() => undefined);
		if (r) assert.ok(r.status >= 400);
		w.close();
	});

	test('Expect: 100-continue', async () => {
		const w = await Wire.open();
		const body = agent();
		w.write(rawRequest('POST', AGENTS, { extra: [...json(body), 'expect: 100-continue'] }));
		assert.equal((await w.answer()).status, 100);
		w.write(body);
		assert.equal((await w.answer()).status, 200);
		w.close();
	});

	test('HEAD has no body', async () => {
		const w = await Wire.open();
		w.write(rawRequest('HEAD', AGENTS) + rawRequest('GET', AGENTS));
		const head = await w.answer({ head: true });
		assert.ok([200, 404, 405].includes(head.status), `${head.status}`);
		assert.equal((await w.answer()).status, 200, 'and does not disturb what follows');
		w.close();
	});

	test('obsolete folding, spaces before the colon, NUL, bare CR: refused or ignored, never obeyed', async () => {
		for (const line of ['x-a: b\r\n c', 'x-a : b', 'x-a: b\0c', 'x-\ra: b']) {
			const w = await Wire.open();
			w.write(rawRequest('GET', AGENTS, { extra: [line] }));
			const r = await w.answer();
			assert.ok([200, 400].includes(r.status), `${JSON.stringify(line)}: ${r.status}`);
			if (r.status === 400) envelope(r, 400);
			w.close();
		}
	});

	test('not HTTP at all', async () => {
		for (const bytes of ['hello\r\n\r\n', '\0\0\0\0\r\n\r\n', 'GET\r\n\r\n', 'GET / HTTP/9.9\r\n\r\n']) {
			const w = await Wire.open();
			w.write(bytes);
			const r = await w.answer({ ms: 10_000 }).catch((e) => {
				assert.match(e.message, /ended/);
				return undefined;
			});
			if (r?.status) assert.ok(r.status >= 400);
			w.close();
		}
	});

	test('headers too large: by one, by many, by a 10 MB key', async () => {
		const big = 'x'.repeat(70_000);
		for (const extra of [[`x-big: ${big}`], Array.from({ length: 3000 }, (_, i) => `x-${i}: ${'y'.repeat(30)}`)]) {
			const w = await Wire.open();
			w.write(rawRequest('GET', AGENTS, { extra }));
			envelope(await w.answer(), 400, 431);
			w.close();
		}
		const w = await Wire.open();
		w.write(`GET ${AGENTS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${'k'.repeat(10_000_000)}\r\n\r\n`);
		const r = await w.answer().catch(() => undefined);
		if (r) envelope(r, 400, 431);
		w.close();
	});

	test('a 1 MB path, a thousand parameters, odd escapes', async () => {
		const w = await Wire.open();
		w.write(rawRequest('GET', `${AGENTS}?x=${'y'.repeat(1_000_000)}`));
		envelope(await w.answer(), 414, 400, 431);
		w.close();
		const many = await get(`${AGENTS}?${Array.from({ length: 300 }, (_, i) => `p${i}=1`).join('&')}`);
		assert.ok([200, 400].includes(many.status), `${many.status}`);
		for (const path of ['/v1/agents/%2e%2e', '/v1/agents/%00', '/v1/agents/%zz', '/v1/agents/%', '/v1/%61gents', '/v1/agents/%ff%fe', '/v1/agents/..%2fsessions']) {
			const x = await Wire.open();
			x.write(rawRequest('GET', path));
			const r = await x.answer();
			if (path === '/v1/%61gents' && r.status === 200) continue;
			envelope(r, 400, 404);
			x.close();
		}
	});

	test('bodies beyond 32 MB: 413, announced or not', async () => {
		const w = await Wire.open();
		w.write(rawRequest('POST', AGENTS, { extra: ['content-type: application/json', `content-length: ${33 * 1024 * 1024 + 1}`] }));
		assertError(await w.answer(), 413, 'request_too_large');
		w.close();
		const x = await Wire.open();
		x.write(rawRequest('POST', AGENTS, { extra: ['content-type: application/json', 'transfer-encoding: chunked'] }));
		const chunk = `100000\r\n${' '.repeat(0x100000)}\r\n`;
		x.socket.on('error', () => {});
		for (let i = 0; i < 34 && !x.ended; i++) x.write(chunk);
		const r = await x.answer().catch(() => undefined);
		if (r) assertError(r, 413, 'request_too_large');
		x.close();
	});

	test('31 MB of message is taken', { timeout: 120_000 }, async () => {
		const s = await b.session();
		const body = JSON.stringify({ events: [{ type: 'user.message', content: [{ type: 'text', text: 'x'.repeat(31 * 1024 * 1024) }] },
			{ type: 'user.interrupt' }] });
		const r = await post(`/v1/sessions/${s.id}/events`, body, { ms: 60_000 });
		assert.ok(r.status === 200 || r.status === 429, `${r.status} ${r.text.slice(0, 200)}`);
	});

	test('content types and charsets', async () => {
		const body = agent();
		for (const type of ['application/json', 'application/json; charset=utf-8', 'application/json;charset=UTF-8', 'application/json; charset=us-ascii']) {
			assert.equal((await post(AGENTS, body, { headers: { 'content-type': type } })).status, 200, type);
		}
		const r = await post(AGENTS, body, { headers: { 'content-type': 'application/json; charset=utf-16' } });
		bad(r);
		assert.equal(r.json.error.details?.error_code, 'unsupported_charset');
	});

	test('content encodings: gzip is read or refused by its code, others refused, bombs do not go off', async () => {
		const body = agent();
		const gz = await post(AGENTS, gzipSync(body), { headers: { 'content-encoding': 'gzip' } });
		if (gz.status !== 200) {
			bad(gz);
			assert.equal(gz.json.error.details?.error_code, 'request_body_encoding_unsupported');
		}
		const br = await post(AGENTS, body, { headers: { 'content-encoding': 'br' } });
		bad(br);
		assert.equal(br.json.error.details?.error_code, 'request_body_encoding_unsupported');
		const junk = await post(AGENTS, 'not gzip', { headers: { 'content-encoding': 'gzip' } });
		bad(junk);
		assert.match(junk.json.error.details?.error_code, /^request_body_encoding_(invalid|unsupported)$/);
		const bomb = await post(AGENTS, gzipSync(Buffer.alloc(64 * 1024 * 1024, 0x20)), { headers: { 'content-encoding': 'gzip' } });
		assert.ok([400, 413].includes(bomb.status), `${bomb.status}`);
		assert.equal((await post(AGENTS, body, { headers: { 'content-encoding': 'identity' } })).status, 200);
	});

	test('slow headers are cut off, and cost nobody else anything', async () => {
		const w = await Wire.open();
		w.write('GET /v1/agents HTTP/1.1\r\nhost: x\r\n');
		assert.equal((await get(AGENTS)).status, 200);
		w.close();
	});

	const name = (v) => `{"name":${v},"model":"${MODEL}"}`;
	const never = (more) => `{"name":"never","model":"${MODEL}"${more}}`;
	const hostile = [
		['nothing', ''], ['blank', '  \n'], ['a word', 'nonsense'], ['an array', '[]'], ['a number', '1'], ['a string', '"x"'], ['null', 'null'],
		['cut off', '{"name":"never"'], ['trailing garbage', never('') + 'x'], ['two values', never('') + '{}'], ['trailing comma', never(',')],
		['a comment', `/**/${never('')}`], ['single quotes', "{'name':'never'}"], ['NaN', name('NaN')], ['Infinity', name('Infinity')],
		['leading zero', name('01')], ['1e400', name('1e400')], ['a BOM', '\ufeff' + never('')],
		['duplicate keys', never(',"name":"never2"')], ['duplicate keys deep', never(',"metadata":{"a":"1","a":"2"}')],
		['a lone surrogate', name('"never\\ud800"')], ['a reversed pair', name('"never\\udc00\\ud800"')], ['a NUL', name('"never\\u0000"')],
		['a raw control character', name('"never\u0001"')], ['a raw newline', name('"never\n"')], ['a bad escape', name('"never\\x41"')],
		['10k deep arrays', never(`,"metadata":${'['.repeat(10_000)}${']'.repeat(10_000)}`)],
		['10k deep objects', never(`,"metadata":${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`)],
		['100k open brackets', '['.repeat(100_000)],
		['deep in a free-form schema', never(`,"tools":[{"type":"custom","name":"n","description":"d","input_schema":{"type":"object","x":${'['.repeat(10_000)}${']'.repeat(10_000)}}}]`)],
		['a hundred thousand keys', `{${Array.from({ length: 100_000 }, (_, i) => `"k${i}":1`).join(',')}}`],
		['a forbidden key', never(',"id":"agent_mine"')], ['__proto__', never(',"__proto__":{}')],
	];
	for (const [what, body] of hostile) {
		test(`JSON refused: ${what}`, async () => { bad(await post(AGENTS, body)); });
	}

	test('JSON refused: bytes that are not UTF-8', async () => {
		for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]]) {
			bad(await post(AGENTS, Buffer.concat([Buffer.from('{"name":"never'), Buffer.from(bytes), Buffer.from(`","model":"${MODEL}"}`)])));
		}
	});

	test('numbers where they are kept verbatim', async () => {
		const schema = '{"type":"object","properties":{"n":{"maximum":9007199254740993,"minimum":-0,"multipleOf":1e-7}}}';
		const r = await post(AGENTS, `{"name":"${unique('num')}","model":"${MODEL}","tools":[{"type":"custom","name":"n","description":"d","input_schema":${schema}}]}`);
		assert.equal(r.status, 200, r.text);
		assert.match(r.text, /9007199254740993/, 'a big integer is not rounded');
		for (const n of ['1.10', '-0', '1e-7', '12345678901234567890123', '1.0', '0.1', '-1.50E+2']) {
			const exact = `{"type":"object","properties":{"n":{"multipleOf":${n},"const":"\\u00011.5"}}}`;
			const made = await post(AGENTS, `{"name":"${unique('num')}","model":"${MODEL}","tools":[{"type":"custom","name":"n","description":"d","input_schema":${exact}}]}`);
			assert.equal(made.status, 200, made.text);
			assert.ok(made.text.includes(exact), `${n}: ${made.text}`);
			const id = made.json.id;
			const changed = await post(`${AGENTS}/${id}`, { description: 'changed' });
			assert.ok(changed.text.includes(exact), 'and through an update');
			const s = await post('/v1/sessions', { agent: id, environment_id: b.environment.id });
			assert.ok(s.text.includes(exact), 'and in a session');
		}
		for (const body of [`{"name":1.10,"model":"${MODEL}"}`, `{"name":"never","model":1.10}`, `{"name":"never","model":"${MODEL}","metadata":{"a":1.10}}`,
			`{"name":"never","model":"${MODEL}","tools":[{"type":1.10}]}`, `{"name":"never","model":"${MODEL}","description":12345678901234567890}`]) {
			bad(await post(AGENTS, body), /got a number/);
		}
	});

	test('log injection, markup and shell characters are only text', async () => {
		const nasty = 'a\r\nset-cookie: x=1 <script>alert(1)</script> $(reboot) `id` \'; DROP TABLE agent; -- %s%n \u2028';
		const r = await post(AGENTS, { name: nasty, model: MODEL, metadata: { [nasty.slice(0, 60)]: nasty } });
		assert.equal(r.status, 200, r.text);
		assert.equal(r.json.name, nasty);
		assert.equal(r.headers['set-cookie'], undefined);
		assert.equal((await c.beta.agents.retrieve(r.json.id)).name, nasty);
	});

	test('a secret sent in the wrong place is not echoed in headers', async () => {
		const r = await get(`/v1/nowhere?k=${apiKey}`);
		assert.ok(!JSON.stringify(r.headers).includes(apiKey));
	});

	test('plain HTTP on the TLS port is an envelope too', async () => {
		const { connect } = await import('node:net');
		const url = new URL(c.baseURL);
		const text = await new Promise((resolve, reject) => {
			const s = connect(Number(url.port || 443), url.hostname, () => s.write('GET /v1/agents HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'));
			let all = '';
			s.on('data', (d) => { all += d; });
			s.on('error', reject);
			s.on('close', () => resolve(all));
			s.setTimeout(10_000, () => s.destroy());
		});
		assert.match(text, /^HTTP\/1\.1 4\d\d/);
		assert.match(text, /"type":\s*"error"/);
	});
});
