// The instance under test from below: its processes, its database, its Redis, its settings. It is a throw-away one made for this run
// (with-instance), so everything here may break it. Nothing is done by process name: only what its supervisor or its folders say.
import { execFile, execFileSync } from 'node:child_process';
import { appendFileSync, readFileSync, readdirSync, readlinkSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
const varDir = process.env.ROOST_VAR;
export const runDir = realpathSync(path.join(varDir, 'run'));
export const stateDir = realpathSync(path.join(varDir, 'lib'));

// Calls probe until it returns something truthy; a throwing probe counts as "not yet".
export async function until(what, probe, ms = 20_000) {
	const end = performance.now() + ms;
	for (let last; ;) {
		try {
			const got = await probe();
			if (got) return got;
			last = undefined;
		} catch (e) {
			last = e;
		}
		if (performance.now() > end) throw new Error(`not within ${ms} ms: ${what}${last ? ` (${last.message})` : ''}`);
		await pause(40);
	}
}

// --- processes -----------------------------------------------------------------------------------------------------------------------

export const services = (kind) => readdirSync(path.join(runDir, 'service')).filter((s) => !kind || s === kind || s.startsWith(`${kind}-`)).sort();
export const pidOf = (service) => Number(readFileSync(path.join(runDir, 'supervise', service, 'pid'), 'utf8')) || 0;

// Send a signal; a process that is just not there is none to kill.
export function signal(service, sig) {
	const pid = pidOf(service);
	if (pid < 2) return 0;
	try {
		process.kill(pid, sig);
	} catch {
		return 0;
	}
	return pid;
}

export const signalAll = (pids, sig) => pids.forEach((pid) => { try { process.kill(pid, sig); } catch { /* gone */ } });

export const sv = (...args) => run('sv', [...args.slice(0, -1), ...[args.at(-1)].flat().map((s) => path.join(runDir, 'service', s))], { timeout: 60_000 })
	.catch((e) => e);

// As `sv restart`, but without the CONT that it sends along, which can undo the stop of a leak checker that looks at a process as it exits
// (ops/setup/roll.sh). Who does not end is stopped perhaps, and gets one after all.
export async function restart(list) {
	const names = [list].flat(), old = new Map(names.map((s) => [s, pidOf(s)]));
	const there = (ms) => until(`${names} are started again`, () => names.every((s) => pidOf(s) > 1 && pidOf(s) !== old.get(s)), ms);
	await sv('up', names);
	await sv('term', names);
	await there(10_000).catch(() => sv('cont', names).then(() => there(20_000)));
}

export const restarted = (service, old) => until(`${service} is started again`, () => pidOf(service) > 1 && pidOf(service) !== old);

// Processes below another one.
export function below(pid) {
	const parents = new Map();
	for (const p of readdirSync('/proc').filter((x) => /^\d+$/.test(x))) {
		try {
			const stat = readFileSync(`/proc/${p}/stat`, 'utf8');
			const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
			if (!parents.has(parent)) parents.set(parent, []);
			parents.get(parent).push(Number(p));
		} catch { /* gone */ }
	}
	return parents.get(pid) ?? [];
}

// Does somebody run this command line? For a command of a sandbox that is like no other's.
// fn() while Postgres stands still: it takes connections and statements, and answers none.
export async function postgresStill(fn) {
	const postmaster = signal('postgres', 'SIGSTOP'), all = [...below(postmaster), postmaster];	// who is stopped makes no more of them
	signalAll(all, 'SIGSTOP');
	try {
		return await fn();
	} finally {
		signalAll(all, 'SIGCONT');
	}
}

export const runs = (command) => readdirSync('/proc').some((p) => {
	try {
		return /^\d+$/.test(p) && readFileSync(`/proc/${p}/cmdline`, 'utf8').replaceAll('\0', ' ').trim() === command;
	} catch {
		return false;		/* gone */
	}
});

// --- database and Redis ----------------------------------------------------------------------------------------------------------------

const dsn = (user) => `host=${runDir}/pg dbname=roost user=${user}`;

// Rows as arrays of strings.
export async function sql(text, user = 'roost_admin') {
	const { stdout } = await run('psql', ['-XqAt', '-F', '\t', '-v', 'ON_ERROR_STOP=1', '-c', text, dsn(user)], { timeout: 30_000, maxBuffer: 64 << 20 });
	return stdout.split('\n').filter((l) => l !== '').map((l) => l.split('\t'));
}

export const backends = (who) => `SELECT pid FROM pg_stat_activity WHERE datname = 'roost' AND usename LIKE '${who}' AND pid <> pg_backend_pid()`;
export const terminate = (who) => sql(`SELECT pg_terminate_backend(pid) FROM (${backends(who)}) b`, 'postgres');

// Nobody of that role has, or gets, a connection for this long: as with a network that is down.
export async function without(role, ms) {
	await sql(`ALTER ROLE ${role} CONNECTION LIMIT 0`, 'postgres');
	try {
		const end = performance.now() + ms;
		await terminate(role);
		while (performance.now() < end) await pause(100);
	} finally {
		await sql(`ALTER ROLE ${role} CONNECTION LIMIT -1`, 'postgres');
	}
}

export const redis = (...args) => run('redis-cli', ['-s', path.join(runDir, 'redis/redis.sock'), '--user', 'chaos', '--pass', 'chaos', '--no-auth-warning', ...args],
	{ timeout: 10_000 });

let room;	// Redis' own limit

// Redis takes nothing while fn runs: its memory is full.
export async function redisFull(fn) {
	room ??= (await redis('CONFIG', 'GET', 'maxmemory')).stdout.trim().split('\n').at(-1);
	await redis('CONFIG', 'SET', 'maxmemory', '1');
	try {
		await fn();
	} finally {
		await redisRoom();
	}
}
export const redisRoom = async () => room && redis('CONFIG', 'SET', 'maxmemory', room);

// Many commands through one client.
export function redisMany(commands) {
	const done = redis();
	done.child.stdin.end(commands.map((c) => `${c.join(' ')}\n`).join(''));
	return done;
}

// The name of the worker that a service is at the moment: its bell's. (Its log says it too, but a moment later.)
export function workerOf(service) {
	const fds = `/proc/${pidOf(service)}/fd`;
	const socket = (fd) => {
		try {
			return readlinkSync(`${fds}/${fd}`).match(/^socket:\[(\d+)\]$/)?.[1];
		} catch {
			return undefined;	// it has just been closed
		}
	};
	let inodes;
	try {
		inodes = new Set(readdirSync(fds).map(socket));
	} catch {
		return undefined;	// it is just being replaced
	}
	const bell = readFileSync('/proc/net/unix', 'utf8').split('\n').map((line) => line.trim().split(/\s+/)).find((f) => inodes.has(f[6]) && f[7]?.includes('/bell/'));
	return bell && path.basename(bell[7]);
}

// The service of the worker that carries most of the load: work is packed onto the first one (workers/harness/peers.h).
export async function busiest() {
	let all = [];
	const known = await until('who has the work is known', async () => {
		const rows = await sql(`SELECT w.id, count(k.session_id) FROM worker w LEFT JOIN work k ON k.lease_owner = w.id GROUP BY w.id
			ORDER BY 2 DESC, w.started_at`);
		const names = new Map(services('worker').map((s) => [workerOf(s), s]));
		all = rows.map(([id]) => names.get(id)).filter(Boolean);
		return (rows[0]?.[1] > 0 ? names.get(rows[0][0]) : all[0]) ?? false;
	}, 2000).catch(() => undefined);	// it is dead perhaps, and its work is still to be taken over
	return known ?? all[0] ?? services('worker')[0];
}

// --- settings ----------------------------------------------------------------------------------------------------------------------------

export const PROBE_S = 15;

const SETTINGS = {
	worker: 'lease_s = 4\nbeat_ms = 500\npoll_ms = 300\nmodel_backoff_ms = 50\nmodel_stall_s = 3\n',
	stream: 'sse_ping_ms = 2000\n',
	// (a busy machine takes seconds to start the MCP server that is asked, which is a program of its own)
	gateway: `keep_ms = 300\nblob_grace_s = 1\nprobe_s = ${PROBE_S}\n`, hands: '', vault: `probe_s = ${PROBE_S}\n`, egress: `probe_s = ${PROBE_S}\n`,
};

// Short times, a control file for failpoints, a Redis user that may do anything; then everything starts anew with them.
export async function prepare(control, more = {}) {
	for (const [kind, lines] of Object.entries(SETTINGS))
		for (const s of services(kind))
			appendFileSync(path.join(stateDir, 'conf', `${s}.conf`), `\nfailpoint_file = ${control}\n${lines}${more[kind] ?? ''}`);
	const acl = path.join(stateDir, 'conf/redis.acl');
	if (!readFileSync(acl, 'utf8').includes('user chaos ')) appendFileSync(acl, 'user chaos on >chaos ~* resetchannels +@all\n');
	await restart(services().filter((s) => !['postgres', 'nginx'].includes(s)));
	await healthy();
}

const ca = () => process.env.ROOST_CA_FILE;

// What GET /healthz says: { code, checks: { redis: { status } .. }, status, .. }; code 0: no answer.
export async function health(seconds = 3) {
	const { stdout } = await run('curl', ['-s', '--noproxy', '*', '--cacert', ca(), '-m', `${seconds}`, '-w', '\n%{http_code}',
		`${process.env.ROOST_BASE_URL}/healthz`]).catch((e) => ({ stdout: e.stdout }));
	const [body, code] = stdout.split('\n');
	try {
		return { ...JSON.parse(body), code: Number(code) };
	} catch {
		return { code: Number(code ?? 0), checks: {} };		// nginx speaks for itself
	}
}

// The API serves, every process is there, and that was looked at after this began. (A release before this one has fewer parts, and no age.)
export async function healthy(ms = 60_000) {
	const began = performance.now();
	await until('healthz says that all is well', async () => {
		const h = await health();
		return h.code === 200 && (h.age_ms ?? 0) <= performance.now() - began &&
			['redis', 'worker', 'hands', 'egress'].every((part) => [undefined, 'ok'].includes(h.checks[part]?.status));
	}, ms);
}

// Whatever went before: every process is there, and serves.
export async function whole() {
	await until('every service runs', () => services().every((s) => pidOf(s) > 1), 60_000);
	await healthy();
}

// --- looking -----------------------------------------------------------------------------------------------------------------------------

export const roostctl = path.join(stateDir, 'bin/roostctl');
const conf = path.join(stateDir, 'conf/roostctl.conf');

// roostctl's output: lines, split at tabs.
export async function ctl(...args) {
	const { stdout } = await run(roostctl, ['-c', conf, ...args], { maxBuffer: 64 << 20 });
	return stdout.split('\n').filter((l) => l !== '').map((l) => l.split('\t'));
}

// { ok, violated, checks: [{ name, violations, offenders, .. }], .. }
export async function check(...args) {
	let out;
	try {
		out = (await run(roostctl, ['-c', conf, 'check', '--json', ...args], { maxBuffer: 64 << 20 })).stdout;
	} catch (e) {
		if (!e.stdout) throw e;
		out = e.stdout;
	}
	return JSON.parse(out);
}

export const failpointNames = () => execFileSync(roostctl, ['-q', 'failpoints'], { encoding: 'utf8' }).trim().split('\n');

// One line per violation, for people.
export const violations = (report) => report.checks.filter((c) => c.violations > 0)
	.flatMap((c) => c.offenders.map((o) => `${c.name} (${c.invariants}): ${o.session} ${o.detail}`));

// Nothing is under way: no lease, nothing due, nothing that waits for a worker.
export const quiet = (ms = 60_000) => until('all sessions are at rest', async () =>
	(await sql('SELECT count(*) FROM work'))[0][0] === '0', ms);

// Process ids of the pid 1 of each sandbox.
export function sandboxes() {
	const hands = pidOf('hands');
	return hands > 1 ? below(hands).filter((p) => {
		try {
			return !readlinkSync(`/proc/${p}/exe`).endsWith('roost-hands');
		} catch {
			return false;
		}
	}) : [];
}
