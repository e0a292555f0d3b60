// HTTP below the SDK: requests with exactly the headers given, and raw bytes on a TLS connection.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import tls from 'node:tls';
import { apiKey, baseURL, caFile, BETA, VERSION } from './client.mjs';
import { conforms } from './conform.mjs';
import { opened } from './open.mjs';
import { DEADLINE } from './until.mjs';

const base = new URL(baseURL);
const ca = readFileSync(caFile);
const port = Number(base.port || 443);
const agent = new https.Agent({ keepAlive: true, maxSockets: 8, ca });

// The headers of a well-behaved client; more overrides, a value of null removes.
export function headers(more = {}) {
	const all = {
		authorization: `Bearer ${apiKey}`, 'anthropic-version': VERSION, 'anthropic-beta': BETA, accept: 'application/json', ...more,
	};
	return Object.fromEntries(Object.entries(all).filter(([, v]) => v !== null));
}

// body: an object is sent as JSON, a string or Buffer as it is (with content-type application/json unless headers say otherwise).
export function request(method, path, options = {}) {
	// A kept connection may be closed by the server in the moment it is used again: then nothing was answered, and it is asked once more.
	return exchange(method, path, options).catch((e) => {
		if (['ECONNRESET', 'EPIPE'].includes(e.code) && e.reused) return exchange(method, path, options);
		throw e;
	});
}

function exchange(method, path, { body, headers: more, ms = DEADLINE }) {
	const h = headers(more);
	let bytes;
	if (body !== undefined) {
		bytes = typeof body === 'string' || Buffer.isBuffer(body) ? Buffer.from(body) : Buffer.from(JSON.stringify(body));
		if (!('content-type' in h) && more?.['content-type'] !== null) h['content-type'] = 'application/json';
		h['content-length'] ??= bytes.length;
	} else if (method === 'POST') {
		h['content-length'] ??= 0;
	}
	return new Promise((resolve, reject) => {
		const req = https.request({ agent, host: base.hostname, port, servername: base.hostname, method, path, headers: h, timeout: ms }, (res) => {
			const parts = [];
			res.on('data', (d) => parts.push(d));
			res.on('error', reject);
			res.on('end', () => {
				const text = Buffer.concat(parts).toString('utf8');
				try {
					conforms({ method, path, status: res.statusCode, headers: res.headers, text });
				} catch (e) {
					reject(e);
				}
				resolve(answer(res.statusCode, res.headers, text));
			});
		});
		req.on('timeout', () => req.destroy(new Error(`${method} ${path}: no answer within ${ms} ms`)));
		req.on('error', (e) => reject(Object.assign(e, { reused: req.reusedSocket })));
		req.end(bytes);
	});
}

function answer(status, head, text) {
	let json;
	try {
		json = JSON.parse(text);
	} catch {
		json = undefined;
	}
	return { status, headers: head, text, json };
}

export const get = (path, o) => request('GET', path, o);
export const post = (path, body, o) => request('POST', path, { ...o, body });
export const del = (path, o) => request('DELETE', path, o);

// One connection on which bytes are written as given and HTTP/1.1 answers are read one after the other.
export class Wire {
	static open() {
		return new Promise((resolve, reject) => {
			const socket = tls.connect({ host: base.hostname, port, servername: base.hostname, ca, ALPNProtocols: ['http/1.1'] }, () => {
				socket.off('error', reject);
				resolve(opened(new Wire(socket)));
			});
			socket.once('error', reject);
		});
	}

	constructor(socket) {
		this.socket = socket;
		this.buffer = Buffer.alloc(0);
		this.asked = [];
		this.ended = false;
		this.wake = () => {};
		socket.on('data', (d) => {
			this.buffer = Buffer.concat([this.buffer, d]);
			this.wake();
		});
		const end = () => {
			this.ended = true;
			this.wake();
		};
		socket.on('end', end);
		socket.on('close', end);
		socket.on('error', end);
	}

	write(bytes) {
		for (const [, method, path] of String(bytes).matchAll(/(?:^|\r\n\r\n)([A-Z]+) (\/\S*) HTTP\/1\.1\r\n/g)) this.asked.push({ method, path });
		this.socket.write(bytes);
		return this;
	}

	async #need(test, what, ms) {
		const end = performance.now() + ms;
		for (;;) {
			const got = test();
			if (got !== undefined) return got;
			if (this.ended) throw new Error(`connection ended before ${what}; had ${JSON.stringify(this.buffer.toString('latin1').slice(0, 300))}`);
			const left = end - performance.now();
			if (left <= 0) throw new Error(`not within ${ms} ms: ${what}`);
			await new Promise((resolve) => {
				const timer = setTimeout(resolve, left);
				this.wake = () => {
					clearTimeout(timer);
					resolve();
				};
			});
		}
	}

	// The next answer; undefined when the server closed the connection without one.
	async answer({ head = false, ms = DEADLINE } = {}) {
		const at = await this.#need(() => {
			const i = this.buffer.indexOf('\r\n\r\n');
			return i >= 0 ? i : this.ended ? -1 : undefined;
		}, 'an answer', ms);
		if (at < 0) return undefined;
		const lines = this.buffer.subarray(0, at).toString('latin1').split('\r\n');
		this.buffer = this.buffer.subarray(at + 4);
		const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(lines[0])?.[1]);
		const h = {};
		for (const line of lines.slice(1)) {
			const colon = line.indexOf(':');
			h[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
		}
		if (status === 100) return { status, headers: h, text: '' };
		const text = head ? '' : (await this.#body(h, ms)).toString('utf8');
		// What was not recognised as a request can only be refused.
		conforms({ ...this.asked.shift() ?? { method: '?', path: '/?' }, ...(head ? { method: 'HEAD' } : {}), status, headers: h, text });
		return answer(status, h, text);
	}

	async #body(h, ms) {
		if (h['transfer-encoding'] === 'chunked') {
			const parts = [];
			for (;;) {
				const size = await this.#need(() => {
					const i = this.buffer.indexOf('\r\n');
					if (i < 0) return undefined;
					const n = parseInt(this.buffer.subarray(0, i).toString(), 16);
					return this.buffer.length >= i + 2 + n + 2 ? { i, n } : undefined;
				}, 'a chunk', ms);
				parts.push(this.buffer.subarray(size.i + 2, size.i + 2 + size.n));
				this.buffer = this.buffer.subarray(size.i + 2 + size.n + 2);
				if (size.n === 0) return Buffer.concat(parts);
			}
		}
		const n = Number(h['content-length'] ?? 0);
		await this.#need(() => (this.buffer.length >= n ? true : undefined), 'a body', ms);
		const body = this.buffer.subarray(0, n);
		this.buffer = this.buffer.subarray(n);
		return body;
	}

	close() {
		this.socket.destroy();
	}
}

// An HTTP/1.1 request as text; extra is a list of header lines.
export function rawRequest(method, path, { extra = [], body = '', auth = true, host = base.host } = {}) {
	const lines = [`${method} ${path} HTTP/1.1`, `host: ${host}`];
	if (auth) lines.push(`authorization: Bearer ${apiKey}`, `anthropic-version: ${VERSION}`, `anthropic-beta: ${BETA}`);
	return `${[...lines, ...extra].join('\r\n')}\r\n\r\n${body}`;
}

export const REQUEST_ID = /^req_[0-9A-Za-z]{10,}$/;

// Every refusal has this form, whoever answers: the status, the contract's type, a request id that agrees with the header.
export function assertError(res, status, type, pattern) {
	assert.ok(res, 'the connection was closed without an answer');
	assert.equal(res.status, status, `status; body ${res.text.slice(0, 400)}`);
	assert.match(res.headers['content-type'] ?? '', /^application\/json/, 'errors are JSON');
	assert.equal(res.json?.type, 'error', `an error envelope: ${res.text.slice(0, 400)}`);
	assert.equal(res.json.error.type, type, res.text.slice(0, 400));
	assert.equal(typeof res.json.error.message, 'string');
	assert.match(res.headers['request-id'] ?? '', REQUEST_ID, 'request-id header');
	assert.equal(res.json.request_id, res.headers['request-id'], 'request_id of the body is the header\'s');
	if (pattern) assert.match(res.json.error.message, pattern);
}

export const bad = (res, pattern) => assertError(res, 400, 'invalid_request_error', pattern);
export const missing = (res, pattern) => assertError(res, 404, 'not_found_error', pattern);
