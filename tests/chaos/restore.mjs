// The archive full (F18), and back to a point in time under live workers (F57). TAP. See README.md.
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statfsSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { apiKey, baseURL, BETA, VERSION } from '../e2e/lib/client.mjs';
import { Clients } from './lib/clients.mjs';
import { History } from './lib/history.mjs';
import { check, restart, roostctl, runDir, services, sql, stateDir, until, violations } from './lib/instance.mjs';
import { Actor } from './lib/load.mjs';
import { ops, underLoad } from './lib/rolling.mjs';
import { atRest, close, open } from './lib/scene.mjs';
import { finish, test } from './lib/tap.mjs';

const want = (ok, what) => { if (!ok) throw new Error(what); };

const dir = mkdtempSync(path.join(os.tmpdir(), 'roost-archive-'));
chmodSync(dir, 0o755);		// Postgres gets there
const archive = path.join(dir, 'archive'), disk = path.join(dir, 'disk');
const sh = (...args) => execFileSync(args[0], args.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] }).toString().trim();
const here = { ROOST_DEMO: '0', ROOST_QUIET: '1', ROOST_OUT: path.resolve('build/release/bin'), ROOST_ARCHIVE: archive };
const health = async () => (await fetch(`${baseURL}/healthz`)).json();
const doctor = () => { try { return sh(roostctl, '-c', `${stateDir}/conf/roostctl.conf`, 'doctor'); } catch (e) { return e.stdout.toString(); } };
const archived = async () => Number((await sql('SELECT archived_count FROM pg_stat_archiver', 'postgres'))[0][0]);
const now = async () => (await sql('SELECT clock_timestamp()'))[0][0];

sh('mkdir', archive, disk);
sh('mount', '-t', 'tmpfs', '-o', 'size=160m', 'roost-archive', archive);
process.on('exit', () => {
	sh('umount', '-l', archive);
	rmSync(dir, { recursive: true, force: true });
});

const x = await open(null);
const { c } = x.clients;
const text = (s) => [{ type: 'text', text: s }];
const upload = (name, size) => c.beta.files.upload({ file: new File([Buffer.alloc(size, name)], name) });
const session = (opts = {}) => x.clients.create({ agent: x.stage.scripted.id, environment_id: x.stage.environment.id, ...opts });

await test('an archive is turned on, and a copy of the database made, while clients are served', () => underLoad(x, async () => {
	await ops('up', [], here);
	await ops('backup');
	want((await health()).checks.archive.status === 'ok', 'the archive does not work');
	want(/ok +archive/.test(doctor()), doctor());
}, { seed: 10, quick: true }));

await test('F18: the archive\'s disk is full: everything goes on, doctor and healthz tell, nothing is missing when there is room', () => underLoad(x, async () => {
	const { bavail, bsize } = statfsSync(archive), ballast = path.join(archive, 'ballast'), before = await archived();
	sh('fallocate', '-l', String(bavail * bsize), ballast);
	const began = (await sql('SELECT pg_walfile_name(pg_switch_wal())', 'postgres'))[0][0];
	await until('healthz tells', async () => (await health()).checks.archive.status === 'down', 30_000);
	want((await fetch(`${baseURL}/healthz`)).status === 200, 'it counts as an outage');
	want(/FAIL +archive/.test(doctor()), doctor());
	for (let i = 0; i < 3; i++) {
		await pause(700);
		await sql('SELECT pg_switch_wal()', 'postgres');
	}
	const waiting = sh('sh', '-c', `ls ${stateDir}/pg/pg_wal/archive_status | grep -c ready`);
	want(Number(waiting) >= 3 && await archived() === before, `${waiting} wait, ${await archived() - before} archived`);
	want(sh('sh', '-c', `ls -A ${archive}/wal | grep -c '^.new' || true`) === '0', 'parts of files are left');
	rmSync(ballast);
	await until('the archive takes everything', async () => (await health()).checks.archive.status === 'ok'
		&& sh('sh', '-c', `ls ${stateDir}/pg/pg_wal/archive_status | grep -c ready || true`) === '0', 120_000);
	want(/ok +archive/.test(doctor()), doctor());
	const list = sh('ls', path.join(archive, 'wal')).split('\n').filter((n) => /^[0-9A-F]{24}\.gz$/.test(n)).map((n) => parseInt(n.slice(8, 16), 16) * 256 + parseInt(n.slice(16, 24), 16));
	want(list.every((n, i) => i === 0 || n === list[i - 1] + 1), `the log in the archive has gaps: ${list}`);
	want(sh('ls', path.join(archive, 'wal')).includes(`${began}.gz`), `${began} is missing`);
}, { seed: 20, quick: true }));

// --- back in time --------------------------------------------------------------------------------------------------------------------

// A worker that no supervisor knows: it lives on through the restore and comes back with what it holds.
async function stranger() {
	const home = path.join(dir, 'stranger'), known = (await sql('SELECT id FROM worker')).flat();
	sh('mkdir', home);
	sh('chown', 'roost-worker:roost-worker', home);
	copyFileSync(`${stateDir}/conf/worker-0.conf`, path.join(dir, 'stranger.conf'));
	const child = spawn('setpriv', ['--reuid=roost-worker', '--regid=roost-worker', '--groups=roost-hands,roost-blob', `${stateDir}/bin/roost-worker`, '-c',
		path.join(dir, 'stranger.conf')], { cwd: home, stdio: ['ignore', 'ignore', 'pipe'] });
	process.on('exit', () => child.kill('SIGKILL'));
	child.said = '';
	child.stderr.on('data', (d) => { child.said += d; });
	child.name = await until('the stranger is at work', async () => (await sql('SELECT id FROM worker')).flat().find((id) => !known.includes(id)));
	return child;
}

// What an open stream gave: [id, type], with the number it began at first.
async function streamed(id, headers, until_) {
	const abort = new AbortController(), got = [];
	const timer = setTimeout(() => abort.abort(), 20_000);
	try {
		const res = await fetch(`${baseURL}/v1/sessions/${id}/events/stream`, { signal: abort.signal,
			headers: { authorization: `Bearer ${apiKey}`, 'anthropic-version': VERSION, 'anthropic-beta': BETA, ...headers } });
		let rest = '';
		for await (const chunk of res.body) {
			rest += Buffer.from(chunk).toString();
			for (let i; (i = rest.indexOf('\n\n')) >= 0; rest = rest.slice(i + 2)) {
				const lines = rest.slice(0, i).split('\n');
				const of = (k) => lines.find((l) => l.startsWith(`${k}: `))?.slice(k.length + 2);
				if (of('id')) got.push({ id: of('id'), data: of('data') && JSON.parse(of('data')) });
			}
			if (until_(got)) return got;
		}
	} catch (e) {
		if (!abort.signal.aborted) throw e;
	} finally {
		clearTimeout(timer);
		abort.abort();
	}
	throw new Error(`${id}: the stream gave ${JSON.stringify(got)}`);
}

// What clients were told in the first `size` bytes of their history. A session that one of them deletes later, when the past is back, is
// missing all the same: deletes are kept, whenever.
const told = path.join(dir, 'told.jsonl'), held = path.join(dir, 'held.jsonl');
function keep(size) {
	const all = readFileSync(told), end = all.lastIndexOf('\n', size - 1) + 1;
	const deletes = all.subarray(end).toString().split('\n').filter((line) => line.startsWith('{"op":"delete"'));
	writeFileSync(held, Buffer.concat([all.subarray(0, end), Buffer.from(deletes.map((line) => `${line}\n`).join(''))]));
}
await test('F57: back to a moment between two acknowledged messages, under live workers', async () => {
	const early = await upload('early', 300_000), kept = await upload('kept', 1000);
	const s = await session();
	const one = await x.clients.say(s.id, 'words before');
	await x.clients.settled(s.id);
	// This load does not know that time will be turned back: what it was told until then must hold.
	const history = new History(told), clients = new Clients(history);
	let playing = true;
	const cast = Array.from({ length: 6 }, (_, i) => new Actor(clients, x.stage, 500 + i, { quick: true }).run(() => playing));
	const ghost = await stranger();
	await restart(services('worker'));	// work is packed onto the worker that has been there longest: the stranger, then
	await until('the stranger has work', async () => Number((await sql(`SELECT count(*) FROM work WHERE lease_owner = '${ghost.name}'`))[0][0]) > 0, 30_000);
	await pause(3000);
	await history.flush();
	const size = statSync(told).size, to = await now();
	await pause(200);
	// What is lost.
	const two = await (async () => {
		const c2 = new Clients(new History(path.join(dir, 'lost.jsonl')));
		const sent = await c2.say(s.id, 'words after');
		await c2.settled(s.id);
		return sent;
	})();
	const late = await upload('late', 1000);
	// A file that goes, and its bytes, as the sweep would a day later.
	const [[blob]] = await sql(`SELECT blob_id FROM file WHERE id = '${early.id}'`);
	const bytes = path.join(stateDir, 'blobs', blob.slice(0, 2), blob);
	await sql('SELECT pg_switch_wal()', 'postgres');
	await until('the archive has it', () => existsSync(path.join(archive, 'blobs', blob.slice(0, 2), blob)), 90_000);
	await c.beta.files.delete(early.id);
	rmSync(bytes);
	const before = await streamed(s.id, { 'last-event-id': '0' }, (g) => g.filter((e) => e.data?.type === 'session.status_idle').length === 2);
	await until('the stranger has work', async () => Number((await sql(`SELECT count(*) FROM work WHERE lease_owner = '${ghost.name}'`))[0][0]) > 0, 30_000);
	ghost.kill('SIGSTOP');
	const began = performance.now();
	const said = await ops('restore', ['--to', to], { ...here, ROOST_ARCHIVE: undefined });
	const took = performance.now() - began;
	ghost.kill('SIGCONT');
	playing = false;
	await Promise.all(cast);
	await history.flush();
	keep(size);
	const log = (await x.clients.list(s.id)).data;
	want(log.some((e) => e.id === one[0].id), 'the message before is lost');
	want(!log.some((e) => e.id === two[0].id), 'the message after is there');
	want((await health()).timeline === 1, 'the API does not tell');
	await until('the stranger has come back', async () => (await sql('SELECT id FROM worker')).flat().includes(ghost.name), 60_000);
	await x.clients.say(s.id, 'words of now');
	want(await x.clients.settled(s.id) === 'idle', 'the session does not go on');
	// Who resumes with a number of the lost past gets everything from where the pasts part, and sees it in the ids.
	const last = before.at(-1).id, fork = log.length;
	const after = await streamed(s.id, { 'last-event-id': last }, (g) => g.at(-1)?.data?.type === 'session.status_idle');
	want(after.every((e) => !before.some((b) => b.id === e.id && b.data?.id !== e.data?.id)), `ids come again: ${JSON.stringify([before, after])}`);
	const whole = (await x.clients.list(s.id)).data.slice(fork).map((e) => e.id);
	want(JSON.stringify(after.filter((e) => e.data?.id).map((e) => e.data.id)) === JSON.stringify(whole), `resumed: ${JSON.stringify(after)}, listed: ${whole}`);
	// Files: what was there then is there now.
	want((await c.beta.files.retrieveMetadata(early.id)).size_bytes === 300_000, 'the deleted file has not come back');
	want(statSync(bytes).size === 300_000, 'its bytes have not come back');
	await c.beta.files.retrieveMetadata(kept.id);
	want(await c.beta.files.retrieveMetadata(late.id).then(() => 200, (e) => e.status) === 404, 'a file of the lost past is there');
	const [[epochs, olds]] = await sql("SELECT last_value, (SELECT count(*) FROM work WHERE lease_epoch > 0 AND lease_epoch < 1000000000 AND lease_owner IS NOT NULL) FROM lease_epoch");
	want(Number(epochs) > 1e9 && olds === '0', `epochs: ${epochs}, leases of before: ${olds}`);
	ghost.kill('SIGTERM');
	await new Promise((done) => { ghost.on('exit', done); });
	return `back in ${Math.round(took)} ms; ${said.match(/\S+ files put back/)}; the stranger ${ghost.said.match(/"event":"[a-z_]*lost[a-z_]*"/)?.[0] ?? 'was fenced'}`;
});
await test('what clients were told until then is in the log', async () => {
	const report = await check('--history', held);
	want(report.ok, violations(report).slice(0, 10).join('\n'));
	return `${report.acknowledged} events acknowledged, ${report.read} read`;
});
await test('it works on', () => underLoad(x, () => pause(5000), { seed: 30, quick: true }));
await test('another machine takes over from the archive alone, keys of it kept apart', async () => {
	const keys = path.join(dir, 'keys'), other = path.join(dir, 'other');
	const there = { ...here, ROOST_INSTANCE: `o${process.pid}`, ROOST_VAR: other, ROOST_PORT: 'free', ROOST_ARCHIVE: undefined };
	sh('mkdir', keys, other);
	await ops('backup', ['--keys', keys]);
	const s = await session(), sent = await x.clients.say(s.id, 'words for the other machine');
	await x.clients.settled(s.id);
	const [[end]] = await sql('SELECT pg_walfile_name(pg_switch_wal())', 'postgres');
	await until('its log is archived', () => existsSync(path.join(archive, 'wal', `${end}.gz`)), 90_000);
	try {
		await ops('up', [], there);
		await ops('restore', ['--from', archive, '--to', 'latest'], there).then(() => want(false, 'restored without the keys'), (e) => want(/--keys/.test(e.message), e.message));
		await ops('restore', ['--from', archive, '--keys', path.join(keys, readdirSync(keys)[0]), '--to', 'latest'], there);
		const url = `https://localhost:${readFileSync(path.join(other, 'lib/port'), 'utf8').trim()}`;
		const res = await fetch(`${url}/v1/sessions/${s.id}/events`, { headers: { authorization: `Bearer ${apiKey}`, 'anthropic-version': VERSION, 'anthropic-beta': BETA } });
		const log = await res.json();
		want(res.status === 200 && log.data.some((e) => e.id === sent[0].id) && log.data.at(-1).type === 'session.status_idle', JSON.stringify(log).slice(0, 300));
		const found = JSON.parse(sh('sh', '-c', `${other}/lib/bin/roostctl -c ${other}/lib/conf/roostctl.conf check --json || true`));
		want(found.ok, violations(found).slice(0, 10).join('\n'));
	} finally {
		await ops('down', ['--purge'], there);
	}
});
await test('everything comes to rest, nothing lost or doubled (roostctl check)', () => atRest(x));
await close(x);
finish();
