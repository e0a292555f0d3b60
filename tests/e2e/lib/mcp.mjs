// A real MCP server (server-everything, streamable HTTP) behind a small guard that wants a Bearer token, and token endpoints that give new
// ones. All on 127.0.0.2, the one address that is not public and that the test instance may reach (tests/env/instance).
//
//   const site = await openSite(); site.url, site.tokenUrl     each site has tokens of its own
//   site.accept(token)      what the guard lets through; anything else is a 401
//   site.answer = (req, res, body) => ...    instead of guard and server;  site.token = (form, headers) => ({ status, type, body })
import { spawn } from 'node:child_process';
import http from 'node:http';
import { createRequire } from 'node:module';
import net from 'node:net';
import { once } from 'node:events';
import { until } from './until.mjs';

export const HOST = '127.0.0.2';

async function freePort(host) {
	const s = net.createServer().listen(0, host);
	await once(s, 'listening');
	const { port } = s.address();
	s.close();
	await once(s, 'close');
	return port;
}

// One server for all sites of a file.
let upstream;
async function everything() {
	upstream ??= (async () => {
		const port = await freePort('127.0.0.1');
		const program = createRequire(import.meta.url).resolve('@modelcontextprotocol/server-everything/dist/index.js');
		const child = spawn(process.execPath, [program, 'streamableHttp'], { env: { PATH: process.env.PATH, PORT: String(port) }, stdio: 'ignore' });
		await until('the MCP server listens', () => new Promise((resolve) => {
			const c = net.connect(port, '127.0.0.1', () => { c.destroy(); resolve(true); });
			c.on('error', () => resolve(false));
		}));
		return { port, child };
	})();
	return upstream;
}

export async function closeAll() {
	for (const s of sites) s.server.closeAllConnections();
	for (const s of sites) s.server.close();
	if (upstream) (await upstream).child.kill('SIGKILL');
}

const sites = [];

async function read(req) {
	const parts = [];
	for await (const p of req) parts.push(p);
	return Buffer.concat(parts).toString();
}

function pass(req, res, body, port) {
	const { host, authorization, ...headers } = req.headers;
	const up = http.request({ host: '127.0.0.1', port, path: '/mcp', method: req.method, headers }, (r) => {
		res.writeHead(r.statusCode, r.headers);
		r.pipe(res);
	});
	up.on('error', () => res.destroy());
	res.on('close', () => up.destroy());
	up.end(body);
}

export async function openSite(host = HOST) {
	const { port: to } = await everything();
	const site = { seen: [], exchanges: [], tokens: new Set(), accept(t) { site.tokens.add(t); }, forget() { site.tokens.clear(); } };
	site.server = http.createServer(async (req, res) => {
		const body = await read(req);
		if (req.url.startsWith('/token')) {
			const form = Object.fromEntries(new URLSearchParams(body));
			site.exchanges.push({ form, headers: req.headers });
			const { status = 200, type = 'application/json', body: answer } = await site.token(form, req.headers);
			res.writeHead(status, { 'content-type': type });
			res.end(typeof answer === 'string' ? answer : JSON.stringify(answer));
			return;
		}
		const method = body ? JSON.parse(body).method : req.method;
		site.seen.push({ method, headers: req.headers });
		if (site.answer) {
			await site.answer(req, res, body);
			return;
		}
		const [, token] = /^Bearer (.*)$/.exec(req.headers.authorization ?? '') ?? [];
		if (!site.tokens.has(token)) {
			res.writeHead(401, { 'content-type': 'application/json', 'www-authenticate': 'Bearer error="invalid_token"' });
			res.end(JSON.stringify({ error: 'invalid_token', error_description: `no such token: ${token}` }));
			return;
		}
		pass(req, res, body, to);
	});
	site.server.listen(0, host);
	await once(site.server, 'listening');
	const at = host.includes(':') ? `[${host}]` : host;
	site.port = site.server.address().port;
	site.url = `http://${at}:${site.port}/mcp`;
	site.tokenUrl = `http://${at}:${site.port}/token`;
	sites.push(site);
	return site;
}
