// Postgres lost for good, its synchronous standby promoted in its place (F14): what was acknowledged is in it, and no number of a log is
// used twice with other content. With an asynchronous one commits of the last moment may be lost (F13, tests/chaos/standby).
import { execFile, execFileSync, spawn } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { healthy, pidOf, runDir, signal, sql, stateDir, sv, until } from './instance.mjs';
import { Actor } from './load.mjs';

const run = promisify(execFile);
const data = path.join(stateDir, 'pg'), copy = path.join(stateDir, 'standby'), sockets = path.join(runDir, 'standby');
const bin = execFileSync('sh', ['-c', 'ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1']).toString().trim();
const asPostgres = ['--reuid=roost-pg', '--regid=roost-pg', '--clear-groups'];
const ask = async (text) => (await run('psql', ['-XqAt', '-c', text, `host=${sockets} dbname=postgres user=postgres`], { timeout: 10_000 })).stdout.trim();

// A copy that follows; resolves when each commit waits for it, or just when it follows. caughtUp(): it has what is committed by now;
// lag(): from now on nothing gets there, and nobody notices.
export async function follow({ sync = true } = {}) {
	const hba = path.join(stateDir, 'conf/pg_hba.conf');
	if (!readFileSync(hba, 'utf8').includes('replication')) appendFileSync(hba, 'local  replication  all  peer map=roost\n');
	signal('postgres', 'SIGHUP');
	for (const dir of [copy, sockets]) {
		rmSync(dir, { recursive: true, force: true });
		mkdirSync(dir, { mode: 0o700 });
		execFileSync('chown', ['roost-pg:roost-pg', dir]);
	}
	await until('a base backup is made', () => run('setpriv', [...asPostgres, `${bin}/pg_basebackup`, '-D', copy, '-R', '-X', 'stream', '-c', 'fast',
		'-d', `host=${runDir}/pg user=postgres application_name=standby`], { cwd: '/', timeout: 60_000 }), 60_000);
	const standby = spawn('setpriv', [...asPostgres, `${bin}/postgres`, '-D', copy, '-c', `config_file=${stateDir}/conf/postgresql.conf`,
		'-c', `unix_socket_directories=${sockets}`], { cwd: copy, stdio: 'ignore' });
	const of = (what) => sql(`SELECT ${what} FROM pg_stat_replication WHERE application_name = 'standby'`, 'postgres').then((r) => r[0]?.[0]);
	if (sync) await sql("ALTER SYSTEM SET synchronous_standby_names = 'standby'", 'postgres');
	await sql('SELECT pg_reload_conf()', 'postgres');
	await until('the standby follows', async () => await of('sync_state') === (sync ? 'sync' : 'async'), 30_000);
	return Object.assign(standby, {
		async caughtUp() {
			const [[end]] = await sql('SELECT pg_current_wal_lsn()', 'postgres');
			await until('the standby has it', async () => await of(`replay_lsn >= '${end}'`) === 't', 30_000);
		},
		async lag() {
			await ask("ALTER SYSTEM SET primary_conninfo = ''");
			await ask('SELECT pg_reload_conf()');
			await until('the standby is left behind', async () => await of('pid') === undefined);
		},
	});
}

// The machine is gone.
export async function lose() {
	await sv('once', 'postgres');
	signal('postgres', 'SIGKILL');
	await until('Postgres is gone', () => pidOf('postgres') < 2);
	await run(path.join(stateDir, 'bin/sweep'), [data, 'roost-pg']);	// what the postmaster has left
}

export async function takeItsPlace(standby) {
	const gone = new Promise((done) => { standby.on('exit', done); });
	await ask('SELECT pg_promote()');
	await until('the standby is promoted', async () => await ask('SELECT pg_is_in_recovery()') === 'f', 30_000);
	process.kill(standby.pid, 'SIGINT');
	await gone;
	execFileSync('sh', ['-c', `mv "${data}" "${data}.lost" && mv "${copy}" "${data}"`]);
}

export async function promoted(x) {
	const standby = await follow();
	let playing = true;
	const cast = Array.from({ length: 6 }, (_, i) => new Actor(x.clients, x.stage, 9000 + i));
	const load = Promise.all(cast.map((a) => a.run(() => playing)));
	await pause(4000);
	await lose();
	await takeItsPlace(standby);
	await sv('start', 'postgres');
	await until('Postgres answers', () => sql('SELECT 1'), 60_000);
	await healthy();
	await pause(2000);
	playing = false;
	await load;
	rmSync(`${data}.lost`, { recursive: true, force: true });
	rmSync(sockets, { recursive: true, force: true });
	return `timeline ${(await sql('SELECT timeline_id FROM pg_control_checkpoint()', 'postgres'))[0][0]}`;
}
