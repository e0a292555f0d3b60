// A proxy on loopback between a client (plain HTTP) and the instance (TLS) that loses things: a request before the server has it, or a
// reply after the server has finished it. Each client's connection has one of its own behind it, as in a network that loses things, which
// ends with it; `shared` makes it an HTTP proxy that says so (Via) and shares its connections among clients. What it loses is drawn from a seed, or decided by lose(request number, request).
import http from 'node:http';
import https from 'node:https';
import { readFileSync } from 'node:fs';
import { baseURL, caFile } from './client.mjs';
import { opened } from './open.mjs';

// mulberry32: the same numbers for the same seed everywhere.
export function random(seed) {
	let a = seed >>> 0;
	return () => {
		a = (a + 0x6d2b79f5) | 0;
		let t = Math.imul(a ^ (a >>> 15), 1 | a);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
}

// Loses each POST's request, or its reply, with probability p each.
export function sometimes(seed, p) {
	const next = random(seed);
	return (n, req) => {
		if (req.method !== 'POST') return undefined;
		const x = next();
		return x < p ? 'request' : x < 2 * p ? 'reply' : undefined;
	};
}

export async function dropping(lose, { shared = false } = {}) {
	const base = new URL(baseURL);
	const newAgent = (maxSockets) => new https.Agent({ keepAlive: true, maxSockets, ca: readFileSync(caFile) });
	const pool = newAgent(16);
	const lost = { request: 0, reply: 0, seen: 0 };
	const agentOf = (socket) => {
		if (shared) return pool;
		if (!socket.behind) {
			socket.behind = newAgent(1);
			socket.once('close', () => socket.behind.destroy());
		}
		return socket.behind;
	};
	const forward = (req, body, done) => {
		const out = https.request({ agent: agentOf(req.socket), host: base.hostname, port: base.port || 443, servername: base.hostname, method: req.method,
			path: req.url, headers: { ...req.headers, host: base.host, ...(shared ? { via: '1.1 dropping' } : {}) } }, (res) => {
			const parts = [];
			res.on('data', (d) => parts.push(d));
			res.on('end', () => done(res, Buffer.concat(parts)));
		});
		out.on('error', () => req.socket.destroy());
		out.end(body);
	};
	const server = http.createServer((req, res) => {
		const parts = [];
		req.on('data', (d) => parts.push(d));
		req.on('end', () => {
			const what = lose(lost.seen++, req);
			if (what) lost[what]++;
			if (what === 'request') {
				req.socket.destroy();
				return;
			}
			forward(req, Buffer.concat(parts), (got, body) => {
				if (what === 'reply') {
					req.socket.destroy();
					return;
				}
				const { connection, 'transfer-encoding': coded, ...head } = got.headers;
				res.writeHead(got.statusCode, { ...head, 'content-length': body.length });
				res.end(body);
			});
		});
	});
	server.keepAliveTimeout = 60_000;
	await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
	return opened({
		lost,
		url: `http://127.0.0.1:${server.address().port}`,
		close() {
			server.close();
			server.closeAllConnections();
			pool.destroy();
		},
	});
}
