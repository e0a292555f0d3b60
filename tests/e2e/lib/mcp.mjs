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
import { until, within } from './until.mjs';

export const HOST = '127.0.0.2';

async function freePort() {
	const s = net.createServer().listen(0);		// on all addresses, as the server will
	await once(s, 'listening');
	const { port } = s.address();
	s.close();
	await once(s, 'close');
	return port;
}

// One server for all sites of a file.
let upstream;
async function everything() {
	upstream ??= until('the MCP server listens', started);
	return upstream;
}

// undefined: somebody else took the port before the server did.
async function started() {
	const port = await freePort();
	const program = createRequire(import.meta.url).resolve('@modelcontextprotocol/server-everything/dist/index.js');
	const child = spawn(process.execPath, [program, 'streamableHttp'], { env: { PATH: process.env.PATH, PORT: String(port) }, stdio: ['ignore', 'ignore', 'pipe'] });
	let said = '';
	const listens = await within('the MCP server says that it listens', new Promise((resolve) => {
		child.stderr.setEncoding('utf8').on('data', (d) => {
			said += d;
			if (said.includes(`listening on port ${port}`)) resolve(true);
		});
		child.once('exit', () => resolve(false));
	}));
	return listens ? { port, child } : undefined;
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
