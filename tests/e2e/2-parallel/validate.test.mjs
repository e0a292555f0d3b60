// mcp_oauth_validate (contract 7.5) against a real MCP server behind a guard, and token endpoints that behave in every way. What servers send
// back of a secret is never in an answer: checked of every exchange of this file.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { client, unique } from '../lib/client.mjs';
import { ctl, stateDir } from '../lib/ctl.mjs';
import { closeAll, openSite } from '../lib/mcp.mjs';
import { sql } from '../lib/sql.mjs';
import { until } from '../lib/until.mjs';

const MARK = `S3CR3T${randomBytes(6).toString('hex')}`;
let made = 0;
const secret = () => `${MARK}/+-${made++}`;

const watched = (options = {}) => client({ ...options,
	fetch: async (url, init) => {
		const res = await fetch(url, init);
		const text = await res.clone().text();
		assert.ok(!text.includes(MARK), `${init.method} ${url}: the answer has a secret: ${text}`);
		return res;
	} });

const c = watched();
const { credentials } = c.beta.vaults;
const vault = async (from = c) => (await from.beta.vaults.create({ display_name: unique('vault') })).id;
const store = async (site, { from = c, access = secret(), refresh } = {}) => {
	const vid = await vault(from);
	const x = await from.beta.vaults.credentials.create(vid, { auth: { type: 'mcp_oauth', mcp_server_url: site.url, access_token: access,
		...(refresh && { refresh: { token_endpoint: site.tokenUrl, client_id: 'client:1', token_endpoint_auth: { type: 'none' }, ...refresh } }) } });
	return { ...x, access };
};
const validate = (x, from = c) => from.beta.vaults.credentials.mcpOAuthValidate(x.id, { vault_id: x.vault_id });
const uses = async (x) => (await sql(`SELECT deed FROM credential_use WHERE credential_id = :'id' ORDER BY id`, { id: x.id })).flat().join(' ');

// An organization of its own, so that its limit is nobody else's.
async function newOrganization() {
	const organization = (await ctl('-q', 'org', 'create', unique('org')))[0][0];
	const workspace = (await ctl('-q', 'workspace', 'create', organization, 'one'))[0][0];
	const [[apiKey]] = await ctl('key', 'create', workspace, 'key');
	return watched({ apiKey });
}

after(closeAll);

describe('a server and a token', { concurrency: 2 }, () => {
	test('valid: initialize, initialized, tools/list with the token, the session closed', async () => {
		const site = await openSite(), x = await store(site);
		site.accept(x.access);
		const v = await validate(x);
		assert.deepEqual({ ...v, validated_at: '' }, { type: 'vault_credential_validation', credential_id: x.id, vault_id: x.vault_id,
			has_refresh_token: false, status: 'valid', mcp_probe: null, refresh: null, validated_at: '' });
		assert.ok(Math.abs(Date.parse(v.validated_at) - Date.now()) < 60_000);
		await until('the session is closed', () => site.seen.length >= 4);
		assert.deepEqual(site.seen.map((s) => s.method), ['initialize', 'notifications/initialized', 'tools/list', 'DELETE']);
		const [first, ...others] = site.seen;
		assert.equal(first.headers['mcp-session-id'], undefined);
		for (const s of others) {
			assert.match(s.headers['mcp-session-id'], /^[0-9a-f-]{36}$/);
			assert.match(s.headers['mcp-protocol-version'], /^20\d\d-/);
		}
		for (const s of site.seen) assert.equal(s.headers.authorization, `Bearer ${x.access}`);
		assert.equal(await uses(x), 'release');
	});

	test('401 without a refresh token: invalid, and the echoed token is not shown', async () => {
		const site = await openSite(), x = await store(site);
		const v = await validate(x);
		assert.equal(v.status, 'invalid');
		assert.deepEqual(v.refresh, { status: 'no_refresh_token', http_response: null });
		assert.equal(v.mcp_probe.method, 'initialize');
		const { status_code, content_type, body, body_truncated } = v.mcp_probe.http_response;
		assert.deepEqual([status_code, content_type, body_truncated], [401, 'application/json', false]);
		assert.deepEqual(JSON.parse(body), { error: 'invalid_token', error_description: 'no such token: [redacted]' });
	});

	test('answers as plain JSON; a token that only tools/list refuses', async () => {
		const site = await openSite(), x = await store(site);
		let refuse = false;
		site.answer = (req, res, body) => {
			const { id, method } = body ? JSON.parse(body) : {};
			if (id === undefined) { res.writeHead(202).end(); return; }
			if (refuse && method === 'tools/list') { res.writeHead(403, { 'content-type': 'text/plain' }).end('scope missing'); return; }
			res.writeHead(200, { 'content-type': 'application/json; charset=utf-8' });
			res.end(JSON.stringify({ jsonrpc: '2.0', id, result: method === 'initialize'
				? { protocolVersion: '2025-03-26', capabilities: {}, serverInfo: { name: 'x', version: '1' } } : { tools: [] } }));
		};
		assert.equal((await validate(x)).status, 'valid');
		assert.equal(site.seen[2].headers['mcp-protocol-version'], '2025-03-26');
		refuse = true;
		const v = await validate(x);
		assert.deepEqual([v.status, v.mcp_probe.method, v.mcp_probe.http_response.status_code, v.mcp_probe.http_response.body, v.refresh],
			['invalid', 'tools/list', 403, 'scope missing', null]);
	});

	test('a stream that stays open after the answer is not waited for; the older transport is understood', async () => {
		const site = await openSite(), x = await store(site);
		site.answer = (req, res, body) => {
			const { id } = body ? JSON.parse(body) : {};
			if (id === undefined) { res.writeHead(202).end(); return; }
			res.writeHead(200, { 'content-type': 'text/event-stream' });
			res.write(': hello\r\n\r\nevent: message\r\ndata: {"jsonrpc":"2.0","method":"notifications/x"}\r\n\r\n');
			res.write(`event: message\ndata: {"jsonrpc":"2.0","id":${id},\ndata: "result":{"protocolVersion":"2025-06-18"}}\n\n`);
		};
		assert.equal((await validate(x)).status, 'valid');	// one that waits for the end gets none, and says unknown
		site.answer = (req, res) => {
			if (req.method !== 'GET') { res.writeHead(405).end(); return; }
			res.writeHead(req.headers.authorization === `Bearer ${x.access}` ? 200 : 401, { 'content-type': 'text/event-stream' });
			res.write('event: endpoint\ndata: /messages\n\n');
		};
		assert.equal((await validate(x)).status, 'valid');
	});

	test('unknown: 500, 429, a page that is no MCP, an error of the protocol, a redirect, nobody there', async () => {
		const site = await openSite(), x = await store(site);
		const answers = [
			[500, 'text/plain', 'oops'], [429, 'text/plain', 'slow down'], [200, 'text/html', '<h1>hello</h1>'], [404, 'text/plain', 'no'],
			[200, 'application/json', '{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"internal"}}'],
		];
		for (const [status, type, body] of answers) {
			site.answer = (req, res) => { res.writeHead(status, { 'content-type': type }).end(body); };
			const v = await validate(x);
			assert.deepEqual([v.status, v.refresh, v.mcp_probe], ['unknown', null, { method: 'initialize', http_response:
				{ status_code: status, content_type: type, body, body_truncated: false } }]);
		}
		const target = await openSite();
		site.answer = (req, res) => { res.writeHead(302, { location: target.url }).end(); };
		const v = await validate(x);
		assert.deepEqual([v.status, v.mcp_probe.http_response.status_code], ['unknown', 302]);
		assert.equal(target.seen.length, 0);
		site.server.close();
		site.server.closeAllConnections();
		assert.deepEqual((({ status, mcp_probe, refresh }) => [status, mcp_probe, refresh])(await validate(x)),
			['unknown', { method: 'initialize', http_response: null }, null]);
	});

	test('a body is cut between characters and cleaned of what names say is secret', async () => {
		const site = await openSite(), x = await store(site);
		site.answer = (req, res) => {
			res.writeHead(401, { 'content-type': 'text/plain; charset=utf-8' });
			res.end(`x-api-key=abc&id_token=eyJhbGci.x.y {"session_token": "qwer\\"ty", "token_type":"bearer"} ${encodeURIComponent(x.access)}|${'é'.repeat(300_000)}`);
		};
		const { body, body_truncated } = (await validate(x)).mcp_probe.http_response;
		assert.ok(body_truncated);
		assert.ok(Buffer.byteLength(body) <= 4096 && Buffer.byteLength(body) > 4000, `${Buffer.byteLength(body)}`);
		assert.match(body, /^x-api-key=abc&id_token=\[redacted\] {"session_token": "\[redacted\]", "token_type":"bearer"} \[redacted\]\|é+$/);
	});
});

describe('a token that has expired', { concurrency: 2 }, () => {
	for (const auth of ['none', 'client_secret_basic', 'client_secret_post']) {
		test(`refreshed (${auth}): stored, asked about again, and used from then on`, async () => {
			const site = await openSite(), word = secret(), first = secret(), renewed = [secret(), secret()];
			const x = await store(site, { refresh: { refresh_token: first, scope: 'read write', resource: 'https://mcp.example/a',
				token_endpoint_auth: auth === 'none' ? { type: auth } : { type: auth, client_secret: word } } });
			site.token = () => {
				site.accept(renewed[0]);
				return { body: { access_token: renewed[0], refresh_token: renewed[1], token_type: 'Bearer', expires_in: 3600 } };
			};
			const v = await validate(x);
			assert.deepEqual([v.status, v.mcp_probe, v.refresh, v.has_refresh_token],
				['valid', null, { status: 'succeeded', http_response: null }, true]);
			const [{ form, headers }] = site.exchanges;
			const basic = `Basic ${Buffer.from(`client%3A1:${encodeURIComponent(word)}`).toString('base64')}`;
			assert.deepEqual(form, { grant_type: 'refresh_token', refresh_token: first, scope: 'read write', resource: 'https://mcp.example/a',
				...(auth !== 'client_secret_basic' && { client_id: 'client:1' }), ...(auth === 'client_secret_post' && { client_secret: word }) });
			assert.equal(headers.authorization, auth === 'client_secret_basic' ? basic : undefined);
			const shown = await credentials.retrieve(x.id, { vault_id: x.vault_id });
			assert.ok(Math.abs(Date.parse(shown.auth.expires_at) - Date.now() - 3_600_000) < 60_000);
			assert.equal(shown.updated_at, x.updated_at);
			// the new one is stored: no second refresh; and when that has expired too, the new refresh token is what is used
			assert.deepEqual((({ status, refresh }) => [status, refresh])(await validate(x)), ['valid', null]);
			assert.equal(site.exchanges.length, 1);
			site.forget();
			site.token = () => ({ body: { access_token: secret() } });	// which the server does not take either
			const w = await validate(x);
			assert.deepEqual([w.status, w.mcp_probe.http_response.status_code, w.refresh.status], ['invalid', 401, 'succeeded']);
			assert.equal(site.exchanges[1].form.refresh_token, renewed[1]);
			assert.equal(await uses(x), 'release refresh store release release release refresh store release');
		});
	}

	test('refused: invalid; 5xx, 429 and nonsense: unknown; nobody there: connect_error', async () => {
		const site = await openSite(), old = secret(), other = secret();
		const x = await store(site, { refresh: { refresh_token: old } });
		const cases = [
			[{ status: 400, body: { error: 'invalid_grant', error_description: `bad: ${old}` } }, 'invalid', 'failed', '{"error":"invalid_grant","error_description":"bad: [redacted]"}'],
			[{ status: 401, type: 'text/plain', body: 'who are you' }, 'invalid', 'failed', 'who are you'],
			[{ status: 200, body: { error: 'bad_refresh_token' } }, 'invalid', 'failed', '[redacted]'],
			[{ status: 500, type: 'text/html', body: '<p>' }, 'unknown', 'failed', '<p>'],
			[{ status: 429, type: 'text/plain', body: 'later' }, 'unknown', 'failed', 'later'],
			[{ status: 200, type: 'text/plain', body: `hello ${other}` }, 'unknown', 'failed', '[redacted]'],
			[{ status: 200, body: { data: { tokens: [other] } } }, 'unknown', 'failed', '[redacted]'],
		];
		for (const [answer, status, outcome, body] of cases) {
			site.token = () => answer;
			const v = await validate(x);
			assert.deepEqual([v.status, v.refresh.status, v.refresh.http_response.status_code, v.refresh.http_response.body], [status, outcome, answer.status, body]);
			assert.equal(v.mcp_probe.http_response.status_code, 401);
		}
		assert.equal(await uses(x), cases.map(() => 'release refresh').join(' '));
		const away = await openSite(), y = await store({ url: site.url, tokenUrl: away.tokenUrl }, { refresh: { refresh_token: secret() } });
		away.server.close();
		const v = await validate(y);
		assert.deepEqual([v.status, v.refresh], ['unknown', { status: 'connect_error', http_response: null }]);
		assert.deepEqual(await sql('SELECT * FROM credential_lease WHERE credential_id IN (:\'x\', :\'y\')', { x: x.id, y: y.id }), []);
	});

	test('F48: eight at once use a rotating refresh token once', async () => {
		const from = await newOrganization();
		const site = await openSite();
		let current = secret(), uses = 0;
		const x = await store(site, { from, refresh: { refresh_token: current } });
		site.token = async ({ refresh_token }) => {
			if (refresh_token !== current) return { status: 400, body: { error: 'invalid_grant' } };	// a second use ends the family
			uses++;
			current = secret();
			const access = secret();
			await new Promise((resolve) => { setTimeout(resolve, 300); });	// the server's own slowness
			site.accept(access);
			return { body: { access_token: access, refresh_token: current } };
		};
		// four at a time may be under way
		for (let i = 0; i < 2; i++) {
			const all = await Promise.all(Array.from({ length: 4 }, () => validate(x, from)));
			assert.deepEqual(all.map((v) => v.status), ['valid', 'valid', 'valid', 'valid'], JSON.stringify(all));
			assert.equal(uses, i + 1);
			site.forget();
		}
	});

	test('F48: what the customer writes during a refresh wins', async () => {
		const site = await openSite(), theirs = secret();
		const x = await store(site, { refresh: { refresh_token: secret() } });
		site.accept(theirs);
		site.token = async () => {
			await credentials.update(x.id, { vault_id: x.vault_id, auth: { type: 'mcp_oauth', access_token: theirs } });
			return { body: { access_token: secret(), refresh_token: secret() } };
		};
		const v = await validate(x);
		assert.deepEqual([v.status, v.refresh], ['valid', null]);
		assert.equal(site.seen.at(-1).headers.authorization, `Bearer ${theirs}`);
	});
});

// Not merely without an answer: the probe's own log says that it did not try. A probe has its request's id.
const refusedIn = (v, url) => until(`${url} is refused`, () => readFileSync(path.join(stateDir(), 'log/egress/current'), 'utf8').split('\n')
	.some((l) => l.includes(`"probe":"${v._request_id}"`) && /may not be reached|resolve host/.test(l)));	// not every machine knows ip6-localhost

describe('what a tenant may not reach', { concurrency: 2 }, () => {
	test('loopback, private, link-local, metadata, mapped and written otherwise, by name and by redirect', async () => {
		const here = await openSite('127.0.0.1'), six = await openSite('::1');
		const { port } = here;
		const urls = [`http://127.0.0.1:${port}/`, `http://localhost:${port}/`, `http://[::1]:${six.port}/`, `http://[::ffff:127.0.0.1]:${port}/`,
			`http://[::ffff:7f00:1]:${port}/`, `http://2130706433:${port}/`, `http://0x7f.1:${port}/`, `http://0.0.0.0:${port}/`, `http://127.1:${port}/`,
			'http://169.254.169.254/latest/meta-data/', 'http://10.0.0.1/', 'http://192.168.0.1/', 'http://172.16.0.1/', 'http://100.64.0.1/',
			'http://[fe80::1]/', 'http://[fd00::1]/', 'http://[64:ff9b::7f00:1]/', 'http://[2002:7f00:1::]/', 'http://224.0.0.1/',
			`http://127.0.0.2:22/`, `http://ip6-localhost:${six.port}/`];
		for (const url of urls) {
			let x;
			try {
				x = await store({ url });
			} catch (e) {
				assert.equal(e.status, 400, `${url}: ${e.message}`);	// not even taken
				continue;
			}
			const v = await validate(x);
			assert.deepEqual([v.status, v.mcp_probe, v.refresh], ['unknown', { method: 'initialize', http_response: null }, null], url);
			await refusedIn(v, url);
		}
		// the token endpoint too
		const site = await openSite();
		const x = await store({ url: site.url, tokenUrl: here.tokenUrl }, { refresh: { refresh_token: secret() } });
		assert.deepEqual((await validate(x)).refresh, { status: 'connect_error', http_response: null });
		assert.deepEqual([here.seen, here.exchanges, six.seen], [[], [], []]);
	});
});

describe('slow servers', () => {
	test('four of an organization at a time, the fifth is a 429; other requests do not wait', async () => {
		const from = await newOrganization();
		const site = await openSite();
		const hanging = [];
		site.answer = (req, res) => { hanging.push(res); };
		const x = await store(site, { from });
		let answered = 0;
		const four = Array.from({ length: 4 }, () => validate(x, from).finally(() => { answered++; }));
		await until('all four wait for their server', () => hanging.length === 4);
		await assert.rejects(validate(x, from), (e) => e.status === 429 && /validations/.test(e.message));
		// two gateways of four handler threads each: more reads than that, one after the other, while all four wait (egress gives up after 12 s)
		let reads = 0;
		for (; reads < 40 && answered === 0; reads++) await from.beta.vaults.retrieve(x.vault_id);
		assert.ok(reads > 10, `${reads} reads were answered while four validations waited`);
		for (const res of hanging) res.writeHead(500).end();
		site.answer = (req, res) => { res.writeHead(500).end(); };
		assert.deepEqual((await Promise.all(four)).map((v) => v.status), ['unknown', 'unknown', 'unknown', 'unknown']);
		assert.equal((await validate(x, from)).status, 'unknown');	// there is room again
	});
});
