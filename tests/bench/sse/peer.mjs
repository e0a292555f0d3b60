// The yardstick of the stream benchmark: the smallest Node server that does what roost-stream and nginx do for a stream. It terminates
// TLS itself, tails the same Redis stream with an explicit id, writes each event to who follows its session, and pings, spread over
// moments. No authorisation, no Postgres, no gaps, no bounds: less work than ours does.
//
//   node --expose-gc peer.mjs CERT KEY REDIS_SOCKET REDIS_USER PASSWORD_FILE      prints `listening PORT`; SIGUSR2 collects garbage
import { readFileSync } from 'node:fs';
import https from 'node:https';
import net from 'node:net';

const [cert, key, socket, user, passwordFile] = process.argv.slice(2);
const SLOTS = 50, PING_MS = 5000, PING = 'event: ping\ndata: {}\n\n';
const sessions = new Map();		// id -> Set of responses
const slots = Array.from({ length: SLOTS }, () => new Set());
let next = 0, at = 0;

const server = https.createServer({ cert: readFileSync(cert), key: readFileSync(key), minVersion: 'TLSv1.2' }, (req, res) => {
	const id = req.url.split('/')[3];
	const slot = slots[next++ % SLOTS];
	res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
	res.write(PING);
	if (!sessions.has(id)) sessions.set(id, new Set());
	sessions.get(id).add(res);
	slot.add(res);
	res.on('close', () => {
		slot.delete(res);
		sessions.get(id)?.delete(res);
		if (sessions.get(id)?.size === 0) sessions.delete(id);
	});
});
setInterval(() => {
	for (const res of slots[at++ % SLOTS]) res.write(PING);
}, PING_MS / SLOTS);

// One reply of Redis from `data` at `i`: [value, end], or undefined when it is not whole.
function parse(data, i) {
	const eol = data.indexOf('\r\n', i);
	if (eol < 0) return undefined;
	const n = Number(data.toString('latin1', i + 1, eol));
	switch (data[i]) {
	case 0x24: {	// $
		if (n < 0) return [null, eol + 2];
		return data.length < eol + 4 + n ? undefined : [data.toString('utf8', eol + 2, eol + 2 + n), eol + 4 + n];
	}
	case 0x2a: {	// *
		if (n < 0) return [null, eol + 2];
		const list = [];
		let end = eol + 2;
		for (let k = 0; k < n; k++) {
			const part = parse(data, end);
			if (!part) return undefined;
			list.push(part[0]);
			end = part[1];
		}
		return [list, end];
	}
	default:
		return [data.toString('utf8', i + 1, eol), eol + 2];
	}
}

const redis = net.connect(socket);
const send = (...args) => redis.write(`*${args.length}\r\n${args.map((a) => `$${Buffer.byteLength(a)}\r\n${a}\r\n`).join('')}`);
let id, rest = Buffer.alloc(0);

function onReply(reply) {
	if (reply === 'OK') return send('XREVRANGE', 'sse:0', '+', '-', 'COUNT', '1');
	if (typeof reply === 'string') throw new Error(reply);
	if (id === undefined) id = reply?.[0]?.[0] ?? '0-0';
	else {
		for (const [entry, f] of reply?.[0]?.[1] ?? []) {
			id = entry;
			const followers = sessions.get(f[1]);
			if (!followers) continue;
			const text = `id: ${f[5]}\nevent: ${f[3]}\ndata: ${f[7]}\n\n`;
			for (const res of followers) res.write(text);
		}
	}
	return send('XREAD', 'COUNT', '200', 'BLOCK', '2000', 'STREAMS', 'sse:0', id);
}
redis.on('data', (chunk) => {
	rest = rest.length ? Buffer.concat([rest, chunk]) : chunk;
	for (let part; rest.length && (part = parse(rest, 0)); onReply(part[0])) rest = rest.subarray(part[1]);
});
send('AUTH', user, readFileSync(passwordFile, 'utf8').trim());
process.on('SIGUSR2', () => globalThis.gc());
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => console.log(`listening ${server.address().port}`));
