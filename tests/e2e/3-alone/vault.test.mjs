// roost-vault and roost-egress from outside and from the operator's side: who may talk to them, what goes on without them (F49), rotation
// of keys, and that no secret is anywhere on this machine where it should not be. Alone: it stops services and makes keys.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { bench, client, log, unique } from '../lib/client.mjs';
import { ctl, runDir, stateDir } from '../lib/ctl.mjs';
import { closeAll, openSite } from '../lib/mcp.mjs';
import { message, script } from '../lib/script.mjs';
import { healthy, killService, pidOf } from '../lib/service.mjs';
import { sql } from '../lib/sql.mjs';
import { until } from '../lib/until.mjs';

const run = promisify(execFile);
const MARK = `S3CR3T${randomBytes(6).toString('hex')}`;
let made = 0;
const secret = () => `${MARK}-${made++}`;
const c = client();
const { vaults } = c.beta, { credentials } = vaults;
const validate = (x) => credentials.mcpOAuthValidate(x.id, { vault_id: x.vault_id });
const service = (...args) => run('sv', ['-w', '20', ...args.slice(0, -1), path.join(runDir(), 'service', args.at(-1))]);
let vid, site, oauth;

async function store(more = {}) {
	const access = secret();
	const x = await credentials.create(vid, { auth: { type: 'mcp_oauth', mcp_server_url: `${site.url}/${unique('p')}`, access_token: access, ...more } });
	site.accept(access);
	return { ...x, access };
}

before(async () => {
	await healthy();
	vid = (await vaults.create({ display_name: unique('vault') })).id;
	site = await openSite();
	oauth = await store();
});
after(closeAll);

describe('who may talk to whom', () => {
	// Says what came of a connection as this user with this group: the first bytes of an answer to an empty question, or why there is none.
	const dial = async (user, group, name) => {
		const text = `use IO::Socket::UNIX; $SIG{PIPE} = 'IGNORE'; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or do { print "no: $!"; exit };
			print $s pack("N", 12), '{"op":"end"}'; $s->flush; my $n = sysread($s, my $b, 64); print $n ? "answered" : "closed";`;
		return (await run('setpriv', [`--reuid=${user}`, `--regid=${user === 'nobody' ? 'nogroup' : user}`, `--groups=${group}`, 'perl', '-e', text, path.join(runDir(), name, `${name}.sock`)],
			{ cwd: '/' })).stdout;
	};
	test('roost-vault serves roost-egress and nobody else, whatever group he got into', async () => {
		assert.equal(await dial('roost-egress', 'roost-egress', 'vault'), 'answered');
		for (const user of ['roost-gw', 'roost-worker', 'roost-stream', 'roost-nginx', 'nobody']) {
			assert.match(await dial(user, user === 'nobody' ? 'nogroup' : user, 'vault'), /^no: Permission denied/, user);
			assert.equal(await dial(user, 'roost-egress', 'vault'), 'closed', user);
		}
	});
	test('roost-egress serves gateways only', async () => {
		for (const user of ['roost-worker', 'roost-stream', 'nobody']) {
			assert.match(await dial(user, user === 'nobody' ? 'nogroup' : user, 'egress'), /^no: Permission denied/, user);
			assert.equal(await dial(user, 'roost-probe', 'egress'), 'closed', user);
		}
	});
	test('the database lets roost-vault call its functions and read no table, and roost-egress not in', async () => {
		const psql = (user, role, text) => run('setpriv', [`--reuid=${user}`, `--regid=${user}`, '--clear-groups', 'psql', '-X', '-qAtc', text, '-h',
			`${runDir()}/pg`, '-U', role, 'roost'], { cwd: '/' });
		for (const table of ['credential_secret', 'credential', 'vault', 'session', 'credential_use', 'api_key']) {
			await assert.rejects(psql('roost-vault', 'roost_vault', `SELECT count(*) FROM ${table}`), /permission denied/, table);
		}
		for (const role of ['roost_vault', 'roost_gw', 'roost_admin']) await assert.rejects(psql('roost-egress', role, 'SELECT 1'), /authentication failed/, role);
		await assert.rejects(psql('roost-gw', 'roost_gw', 'SELECT sealed FROM credential_secret'), /permission denied/);
		await assert.rejects(psql('roost-gw', 'roost_gw', 'SELECT credential_release(\'x\')'), /permission denied/);
	});
	test('roost-vault has a network of its own with nothing in it, and no privileges', () => {
		const pid = pidOf('vault');
		assert.notEqual(readlinkSync(`/proc/${pid}/ns/net`), readlinkSync(`/proc/${pidOf('egress')}/ns/net`));
		assert.deepEqual(readFileSync(`/proc/${pid}/net/dev`, 'utf8').split('\n').slice(2).filter(Boolean).map((l) => l.trim().split(':')[0]), ['lo']);
		for (const name of ['vault', 'egress']) {
			const status = readFileSync(`/proc/${pidOf(name)}/status`, 'utf8');
			assert.match(status, /^CapEff:\s+0+$/m);
			assert.match(status, /^CapBnd:\s+0+$/m);
			assert.match(status, /^NoNewPrivs:\s+1$/m);
		}
	});
	test('who holds a secret cannot be looked into by others of its user, and leaves no picture of its memory', () => {
		for (const name of ['gateway-0', 'stream-0', 'worker-0']) {
			const proc = `/proc/${pidOf(name)}`;
			assert.match(readFileSync(`${proc}/limits`, 'utf8'), /^Max core file size +0 +0 /m, name);
			if (!readFileSync(`${proc}/maps`, 'utf8').includes('libasan')) assert.equal(statSync(`${proc}/environ`).uid, 0, name);
		}
	});
});

describe('F49: without them', () => {
	for (const name of ['vault', 'egress']) {
		test(`roost-${name} away: validations are a 503, everything else goes on; back is back`, async () => {
			const b = await bench(c);
			assert.equal((await validate(oauth)).status, 'valid');
			await service('down', name);
			await assert.rejects(validate(oauth), (e) => e.status === 503 && e.type === 'api_error');
			await healthy([name]);
			const x = await store();
			assert.equal((await credentials.update(x.id, { vault_id: vid, auth: { type: 'mcp_oauth', access_token: secret() } })).id, x.id);
			await credentials.archive(x.id, { vault_id: vid });
			const s = await c.beta.sessions.create({ agent: b.agent.id, environment_id: b.environment.id });
			await c.beta.sessions.events.send(s.id, { events: [message(script('still here'))] });
			await until('a turn is done', async () => (await log(c, s.id)).some((e) => e.type === 'session.status_idle'));
			await service('up', name);
			await until(`roost-${name} is back`, async () => (await validate(oauth)).status === 'valid');
		});
		test(`kill -9 of roost-${name} under a validation`, async () => {
			const waiting = [];
			site.answer = (req, res) => { waiting.push(res); };
			const pending = validate(oauth).then((v) => v.status, (e) => e.status);
			await until('the server is asked', () => waiting.length > 0);
			await killService(name);
			site.answer = undefined;
			for (const res of waiting) res.writeHead(500).end();
			assert.ok([503, 'unknown'].includes(await pending));
			await until('and works', async () => (await validate(oauth)).status === 'valid');
		});
	}
});

describe('F58: a probe dies between the token server\'s answer and the commit', () => {
	test('the rotated token is lost, and said to be; nobody waits for the dead; the customer authorizes again', async () => {
		const first = secret();
		const x = await store({ refresh: { token_endpoint: site.tokenUrl, client_id: 'c', refresh_token: first, token_endpoint_auth: { type: 'none' } } });
		site.forget();
		let current = first;
		site.token = ({ refresh_token }) => {
			if (refresh_token !== current) return { status: 400, body: { error: 'invalid_grant' } };
			current = secret();
			const pid = pidOf('egress');
			for (const child of readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')) process.kill(Number(child), 'SIGKILL');
			return { body: { access_token: secret(), refresh_token: current } };
		};
		await assert.rejects(validate(x), (e) => e.status === 503);
		const [[organization]] = await sql(`SELECT organization_id FROM credential WHERE id = :'id'`, { id: x.id });
		const uses = await ctl('vault', 'uses', organization, '--credential', x.id);
		assert.deepEqual(uses.map((u) => [u[1], u[2], u[3], u[4]]), [['refresh', 'refresh_token', x.id, vid], ['release', 'access_token', x.id, vid]]);
		assert.match(uses[0].slice(5).join(' '), /^apikey_\w+ req_\w+$/);
		await until('its lease is gone', async () => (await sql(`SELECT * FROM credential_lease WHERE credential_id = :'id'`, { id: x.id })).length === 0);
		const v = await validate(x);
		assert.deepEqual([v.status, v.refresh.status, v.refresh.http_response.status_code], ['invalid', 'failed', 400]);
		const access = secret();
		site.accept(access);
		await credentials.update(x.id, { vault_id: vid, auth: { type: 'mcp_oauth', access_token: access, refresh: { refresh_token: current } } });
		assert.equal((await validate(x)).status, 'valid');
		site.accept(oauth.access);
	});
});

describe('keys', () => {
	test('rotate, seal anew, forget the old key: every credential opens all the while', async () => {
		const old = (await ctl('vault', 'keys')).find((k) => k[1] === 'current')[0];
		const before = await store({ refresh: { token_endpoint: site.tokenUrl, client_id: 'c', refresh_token: secret(), token_endpoint_auth: { type: 'none' } } });
		const [[fresh]] = await ctl('-q', 'vault', 'rotate');
		const behind = await store();
		const keyOf = async (x) => (await sql(`SELECT DISTINCT key_id FROM credential_secret WHERE credential_id = :'id'`, { id: x.id })).flat().join();
		assert.deepEqual([await keyOf(before), await keyOf(behind)], [old, fresh]);
		for (const x of [before, behind]) assert.equal((await validate(x)).status, 'valid');
		await assert.rejects(ctl('vault', 'forget', old), /secrets need key/);
		await assert.rejects(ctl('vault', 'forget', fresh), /is the current key/);
		const [[n]] = await ctl('vault', 'reseal');
		assert.ok(Number(n) >= 2);
		assert.equal(await keyOf(before), fresh);
		await ctl('vault', 'forget', old);
		assert.deepEqual((await ctl('vault', 'keys')).map((k) => k.slice(0, 2)), [[fresh, 'current']]);
		for (const x of [oauth, before, behind]) assert.equal((await validate(x)).status, 'valid');
		assert.match((await ctl('doctor').catch((e) => e.stdout.split('\n').map((l) => [l]))).flat().join('\n'), /ok +vault/);
	});
});

describe('no secret lies about', () => {
	test('not in logs, database, its files and WAL, Redis, environments, command lines', async () => {
		const refresh_token = secret(), client_secret = secret(), renewed = secret();
		const x = await store({ refresh: { token_endpoint: site.tokenUrl, client_id: 'c', refresh_token, token_endpoint_auth: { type: 'client_secret_post', client_secret } } });
		await credentials.create(vid, { auth: { type: 'static_bearer', mcp_server_url: 'https://a.example.com', token: secret() } });
		await credentials.create(vid, { auth: { type: 'environment_variable', secret_name: 'S', secret_value: secret(), networking: { type: 'unrestricted' } } });
		await assert.rejects(credentials.create(vid, { auth: { type: 'static_bearer', mcp_server_url: 7, token: secret() } }), (e) => e.status === 400);
		site.forget();
		site.token = () => { site.accept(renewed); return { body: { access_token: renewed, refresh_token: secret() } }; };
		assert.deepEqual((({ status, refresh }) => [status, refresh.status])(await validate(x)), ['valid', 'succeeded']);
		const { form } = site.exchanges.at(-1);
		assert.deepEqual([form.refresh_token, form.client_secret], [refresh_token, client_secret]);
		// while one is being used
		const waiting = [];
		site.answer = (req, res) => { waiting.push(res); };
		const pending = validate(x);
		await until('the server is asked', () => waiting.length > 0);
		const found = [];
		for (const pid of readdirSync('/proc').filter((p) => /^\d+$/.test(p) && Number(p) !== process.pid)) {
			for (const file of ['environ', 'cmdline']) {
				let text = '';
				try { text = readFileSync(`/proc/${pid}/${file}`, 'latin1'); } catch { continue; }
				if (text.includes(MARK)) found.push(`/proc/${pid}/${file}: ${text.slice(0, 200)}`);
			}
		}
		assert.deepEqual(found, []);
		site.answer = undefined;
		for (const res of waiting) res.writeHead(500).end();
		await pending;
		await sql('CHECKPOINT');
		const dump = execFileSync('setpriv', ['--reuid=roost-pg', '--regid=roost-pg', '--clear-groups', 'pg_dump', '-h', `${runDir()}/pg`, '-U', 'postgres', 'roost'],
			{ cwd: '/', maxBuffer: 1 << 30 });
		assert.ok(dump.includes(x.id));
		assert.ok(!dump.includes(MARK) && !dump.includes(Buffer.from(MARK).toString('hex')) && !dump.includes(Buffer.from(MARK).toString('base64').slice(0, -4)));
		// whole folders as bytes: the cluster with its WAL, logs, nginx' and Redis' files, settings, keys
		const grep = await run('grep', ['-rlaF', '--devices=skip', MARK, stateDir(), runDir()]).then((r) => r.stdout, (e) => e.stdout);	// 1: nothing; 2: a file went away meanwhile
		assert.equal(grep, '');
	});
});
