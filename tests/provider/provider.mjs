#!/usr/bin/env node
// A fake model provider for tests: the Messages API and Chat Completions over plain HTTP on 127.0.0.1, playing the scripted model's
// grammar, with faults on request. See README.md. As a module: `const p = await startProvider()`; as a program: prints its URL.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { pathToFileURL } from 'node:url';
import * as anthropic from './anthropic.mjs';
import * as openai from './openai.mjs';
import { directives, judge, play } from './play.mjs';

const wait = (ms) => new Promise((done) => { setTimeout(done, ms); });

// Upstream names that always fail: fault-429, fault-reset, fault-stall, ...
function byName(model) {
	const m = /^fault-(\w+)$/.exec(model ?? '');
	if (!m) return null;
	return /^\d+$/.test(m[1]) ? { fault: 'status', status: Number(m[1]), times: Infinity } : { fault: m[1], times: Infinity };
}

function flood(res) {
	const more = () => { while (!res.destroyed && res.write(`: ${'x'.repeat(65536)}\n`)); };
	res.on('drain', more);
	more();
}

class Provider {
	requests = [];
	queue = [];		// behaviours set by the control side, first match counts
	#seen = new Map();	// how often a directive of a message was used
	#sockets = new Set();
	#number = 0;

	constructor({ key, tls } = {}) { this.key = key; this.tls = tls; }

	// Behave like this for the next `times` (default 1) requests that match: { dialect?, model?, contains? }.
	fault(behaviour) { this.queue.push({ times: 1, ...behaviour }); }
	reset() { this.requests.length = 0; this.queue.length = 0; this.#seen.clear(); }

	// kept: the connection served a request before. HTTP clients repeat a request whose kept connection is reset, so that does not count.
	#behaviour(dialect, conversation, text, behaviours, kept) {
		const how = { ...byName(conversation.model) };
		const uncounted = (b) => kept && b.fault === 'reset' && !b.after;
		const i = this.queue.findIndex((q) => (!q.dialect || q.dialect === dialect) && (!q.model || q.model === conversation.model) &&
			(!q.contains || text.includes(q.contains)));
		if (i >= 0) {
			Object.assign(how, this.queue[i]);
			if (!uncounted(this.queue[i]) && --this.queue[i].times <= 0) this.queue.splice(i, 1);
		}
		for (const b of behaviours) {
			if ((b.model && b.model !== conversation.model) || (b.dialect && b.dialect !== dialect)) continue;
			const id = `${dialect} ${conversation.model} ${text} ${JSON.stringify(b)}`, used = this.#seen.get(id) ?? 0;
			if (used >= (b.times ?? (b.fault ? 1 : Infinity))) continue;
			this.#seen.set(id, used + (uncounted(b) ? 0 : 1));
			Object.assign(how, b);
		}
		return how;
	}

	async start(port = 0) {
		const make = this.tls ? (serve) => https.createServer(this.tls, serve) : (serve) => http.createServer(serve);
		this.server = make((req, res) => {
			this.#handle(req, res).catch((e) => { if (!res.headersSent) res.writeHead(500); res.end(String(e)); });
		});
		this.server.keepAliveTimeout = 60000;
		this.server.on('connection', (s) => { this.#sockets.add(s); s.on('close', () => this.#sockets.delete(s)); s.on('error', () => {}); });
		await new Promise((ok, bad) => { this.server.once('error', bad).listen(port, '127.0.0.1', ok); });
		this.port = this.server.address().port;
		this.url = `${this.tls ? 'https' : 'http'}://127.0.0.1:${this.port}`;
		return this;
	}

	get connections() { return this.#sockets.size; }

	async close() {
		for (const s of this.#sockets) s.destroy();
		await new Promise((done) => { this.server.close(done); });
	}

	async #handle(req, res) {
		const parts = [];
		req.socket.served = (req.socket.served ?? 0) + 1;
		for await (const part of req) parts.push(part);
		const raw = Buffer.concat(parts).toString();
		if (req.url.startsWith('/control/')) return this.#control(req, res, raw);
		if (req.method === 'GET' && /\/v1\/models(\?|$)/.test(req.url)) return this.#models(req, res);
		const dialect = req.url.endsWith('/v1/messages') ? 'anthropic' : req.url.endsWith('/chat/completions') ? 'openai' : null;
		if (!dialect || req.method !== 'POST') { res.writeHead(404).end('{"error":{"message":"no such address"}}'); return undefined; }
		const record = { dialect, path: req.url, headers: req.headers, raw, at: Date.now() };
		this.requests.push(record);
		return this.#reply(dialect === 'anthropic' ? anthropic : openai, record, req, res);
	}

	// What this provider offers, in both dialects' fields at once.
	#models(req, res) {
		if (this.#refusesKey(req)) { res.writeHead(401).end('{"error":{"message":"Incorrect API key provided"}}'); return; }
		const data = ['fake-1', 'fake-2'].map((id) => ({ type: 'model', object: 'model', id, display_name: id, max_input_tokens: 200000, max_tokens: 8192 }));
		res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ object: 'list', data, has_more: false }));
	}

	#refusesKey(req) {
		const key = req.headers['x-api-key'] ?? req.headers.authorization?.replace(/^Bearer /, '');
		return (this.key && key !== this.key) || key === 'bad';
	}

	#control(req, res, raw) {
		const answer = (v) => { res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(v)); };
		const what = `${req.method} ${req.url}`;
		if (what === 'GET /control/health') return answer({ ok: true });
		if (what === 'GET /control/requests') return answer(this.requests.map(({ dialect, path, headers, body, fault, closed }) => ({ dialect, path, headers, body, fault, closed })));
		if (what === 'POST /control/fault') { this.fault(JSON.parse(raw)); return answer({ ok: true }); }
		if (what === 'POST /control/reset') { this.reset(); return answer({ ok: true }); }
		res.writeHead(404).end('{}');
		return undefined;
	}

	async #reply(side, record, req, res) {
		const id = `fake${++this.#number}`;
		const refuse = (status, message, headers = {}) => {
			record.refused = message;
			res.writeHead(status, { 'content-type': 'application/json', 'request-id': `req_${id}`, ...headers }).end(JSON.stringify(side.error(status, message)));
		};
		try { record.body = JSON.parse(record.raw); } catch { return refuse(400, 'The request body is not valid JSON'); }
		if (this.#refusesKey(req)) return refuse(401, 'Incorrect API key provided');
		const bad = side.check(record.body, req.headers);
		if (bad) return refuse(400, bad);
		const conversation = side.read(record.body);
		const { text, behaviours } = directives(conversation.latest);
		const how = this.#behaviour(record.dialect, conversation, conversation.latest, behaviours, req.socket.served > 1);
		record.fault = how.fault;
		res.on('close', () => { record.closed = res.writableFinished ? 'finished' : 'aborted'; });
		if (how.delay_ms) await wait(how.delay_ms);
		if (how.refuse_field && how.refuse_field in record.body) return refuse(400, `${how.refuse_field}: Extra inputs are not permitted`);
		if (how.refuse_thoughts && record.raw.includes('"type":"thinking","thinking"')) return refuse(400, 'messages.1.content.0: Invalid `signature` in `thinking` block');
		if (how.fault === 'status') {
			const headers = how.retry_after !== undefined ? { 'retry-after': String(how.retry_after) } : {};
			return refuse(how.status, how.message ?? `a fault was asked for: ${how.status}`, headers);
		}
		if (how.fault === 'reset' && !how.after) return res.socket.resetAndDestroy();
		if (how.fault === 'html') return res.writeHead(200, { 'content-type': 'text/html' }).end('<html>a captive portal</html>');
		if (how.fault === 'redirect') return res.writeHead(302, { location: `${this.url}/elsewhere` }).end();
		res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache', 'request-id': `req_${id}` });
		res.socket.setNoDelay(true);
		return this.#stream(res, side, side.write(judge(conversation) ?? play({ ...conversation, latest: text }), conversation, how, id), how);
	}

	// Write the events; a fault strikes after `after` events (default 3).
	async #stream(res, side, events, how) {
		const after = how.after ?? 3;
		let n = 0;
		for (const e of events) {
			if (n++ === after) {
				switch (how.fault) {
				case 'truncate': return res.end();
				case 'reset': return res.socket.resetAndDestroy();
				case 'bad_json': return res.end('event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"te\n\n');
				case 'error_event': return res.end(side.errorEvent(how.status ?? 529, how.message ?? 'a fault was asked for'));
				case 'stall': return undefined;
				case 'flood':
					return flood(res);
				default:
				}
			}
			if (res.destroyed) return undefined;
			const bytes = Buffer.from(e), step = how.chunk ?? bytes.length;
			for (let i = 0; i < bytes.length; i += step) {
				res.write(bytes.subarray(i, i + step));
				if (how.chunk) await new Promise((ok) => { setImmediate(ok); });
			}
			if (how.word_ms) await wait(how.word_ms);
		}
		if (how.fault === 'open_end') return undefined;	/* everything was sent, the connection stays */
		return res.end();
	}
}

export const startProvider = ({ port = 0, key, tls } = {}) => new Provider({ key, tls }).start(port);

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
	const option = (name) => (process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : undefined);
	const pem = option('--tls') && readFileSync(option('--tls'));
	const p = await startProvider({ port: Number(option('--port') ?? 0), tls: pem && { key: pem, cert: pem } });
	console.log(`listening ${p.url}`);
	/* Started by a test program through a pipe: gone with it. */
	if (process.argv.includes('--until-eof')) process.stdin.on('end', () => process.exit(0)).resume();
}
