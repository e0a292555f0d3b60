// The faults, one row each: { f, name, strike(x) }. f: numbers of operations.md C4 that it stands for. strike breaks something, repairs
// it if it does not repair itself, and returns; the load goes on meanwhile. x: { rng, provider, stage, clients }.
//
// Numbers without a row are named in README.md, with the test that shows them or what is missing.
import { spawn } from 'node:child_process';
import net from 'node:net';
import tls from 'node:tls';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { apiKey, baseURL, BETA, VERSION } from '../../e2e/lib/client.mjs';
import { arm, disarm, reached } from './failpoints.mjs';
import { refusing } from './refuse.mjs';
import {
	backends, busiest, healthy, pidOf, postgresStill, redis, redisFull, redisMany, redisRoom, restart, restarted, runDir, sandboxes, services, signal, sql, sv,
	terminate, until, without,
} from './instance.mjs';

const LEASE_MS = 4000;		// instance.mjs sets lease_s

async function kill(service, sig = 'SIGKILL') {
	const old = signal(service, sig);
	if (old) await restarted(service, old);
}

async function frozen(service, ms) {
	signal(service, 'SIGSTOP');
	await pause(ms);
	signal(service, 'SIGCONT');
}

// Struck once, or not reached in time because nobody came that way: both are fine in a soak.
async function point(line, ms = 3000) {
	arm(`${line} kill once`);
	await until(line, () => reached(line), ms).catch(() => undefined);
	disarm();
}

// A subscriber that reads nothing at all.
async function mute(session, ms) {
	const url = new URL(baseURL);
	const socket = tls.connect({ host: url.hostname, port: Number(url.port), servername: url.hostname, ca: readFileSync(process.env.ROOST_CA_FILE) });
	socket.on('error', () => {});
	socket.write(`GET /v1/sessions/${session}/events/stream HTTP/1.1\r\nhost: ${url.host}\r\nauthorization: Bearer ${apiKey}\r\n` +
		`anthropic-version: ${VERSION}\r\nanthropic-beta: ${BETA}\r\n\r\n`);
	socket.pause();
	await pause(ms);
	socket.destroy();
}

async function postgresAway(ms) {
	await sv('-w', '20', 'force-stop', 'postgres');
	await pause(ms);
	await sv('start', 'postgres');
	await healthy();
}

const brief = true;		// also in `make test`

export const faults = [
	{ f: 'F1', name: 'kill -9 of a gateway', brief, strike: ({ rng }) => kill(rng.pick(services('gateway'))) },
	{ f: 'F2', name: 'kill -9 of a gateway between commit and reply', strike: () => point('gateway.after_commit') },
	{ f: 'F2', name: 'kill -9 of a gateway before its reply', strike: () => point('gateway.before_reply') },
	{ f: 'F3 F5 F11', name: 'kill -9 of a worker', brief, strike: ({ rng }) => kill(rng.pick(services('worker'))) },
	{ f: 'F3', name: 'kill -9 of the worker that has the work', brief, strike: async () => kill(await busiest()) },
	{ f: 'F3 F39', name: 'kill -9 of all workers at once', brief, strike: () => Promise.all(services('worker').map((s) => kill(s))) },
	{ f: 'F4', name: 'kill -9 of a worker between the model\'s reply and the append', strike: () => point('model.after') },
	{ f: 'F6', name: 'kill -9 of a worker between a tool\'s result and the append', strike: () => point('call.after') },
	{ f: 'F52', name: 'kill -9 of a worker between commit and publication', strike: () => point('append.after') },
	{ f: 'F7', name: 'a worker stopped for longer than its lease, then woken', strike: ({ rng }) => frozen(rng.pick(services('worker')), LEASE_MS + 1500) },
	{ f: 'F7', name: 'the worker that has the work stopped for longer than its lease, then woken', strike: async () => frozen(await busiest(), LEASE_MS + 1500) },
	{ f: 'F7', name: 'the worker that has the work stopped for a moment', brief, strike: async () => frozen(await busiest(), 1200) },
	{ f: 'F53', name: 'a worker\'s loop stalled for longer than its lease', async strike() {
		arm(`beat.before sleep:${LEASE_MS + 1500} once`);
		await until('stalled', () => reached('beat.before'), 3000).catch(() => undefined);
		await pause(LEASE_MS + 1500);
		disarm();
	} },
	{ f: 'F9', name: 'kill -9 of a sandbox\'s pid 1', brief, strike({ rng }) {
		const all = sandboxes();
		if (all.length > 0) try { process.kill(rng.pick(all), 'SIGKILL'); } catch { /* gone */ }
	} },
	{ f: 'F9', name: 'kill -9 of hands', brief, strike: () => kill('hands') },
	{ f: 'F55', name: 'hands stopped for two seconds', strike: () => frozen('hands', 2000) },
	{ f: 'F12', name: 'Postgres stopped immediately', brief, async strike() {
		await kill('postgres', 'SIGQUIT');
		await healthy();
	} },
	{ f: 'F12', name: 'kill -9 of the postmaster', async strike() {
		await kill('postgres');
		await healthy();
	} },
	{ f: 'F51', name: 'Postgres away for longer than a lease', strike: () => postgresAway(LEASE_MS + 2000), slow: true },
	{ f: 'F55', name: 'Postgres stands still for longer than a lease', brief, async strike() {
		await postgresStill(() => pause(LEASE_MS + 1000));
		await healthy();
	} },
	{ f: 'F55', name: 'Postgres stands still for 20 seconds', async strike() {
		await postgresStill(() => pause(20_000));
		await healthy();
	}, slow: true },
	{ f: 'F15', name: 'no connection left for the gateways', strike: () => without('roost_gw', 2000) },
	{ f: 'F28', name: 'workers cut off from Postgres for longer than a lease', strike: () => without('roost_worker', LEASE_MS + 2000), slow: true },
	{ f: 'F16', name: 'every backend terminated', brief, strike: () => terminate('roost_%') },
	{ f: 'F16', name: 'statements cancelled (57014)', async strike() {
		for (let i = 0; i < 15; i++) {
			await sql(`SELECT pg_cancel_backend(pid) FROM (${backends('roost_%')} AND state = 'active') b`, 'postgres');
			await pause(50);
		}
	} },
	{ f: 'F16', name: 'statements that fail', async strike({ rng }) {
		arm(`db.before_run error:TIMEOUT 0.05 ${rng.below(1e6)}`, `db.before_commit error 0.05 ${rng.below(1e6)}`);
		await pause(1500);
		disarm();
	} },
	{ f: 'F16', name: 'serialization failures, deadlocks, timeouts', strike: ({ rng }) => refusing(() => pause(1500), { seed: rng.below(1e6) }) },
	{ f: 'F16', name: 'commits whose answer is lost', brief, async strike({ rng }) {
		arm(`dbq.before_done error 0.05 ${rng.below(1e6)}`);
		await pause(1500);
		disarm();
	} },
	{ f: 'F25', name: 'the clocks of all our processes an hour ahead, then an hour behind', brief, async strike() {
		arm('clock.wall shift:3600000');
		await pause(1200);
		arm('clock.wall shift:-3600000');
		await pause(1200);
		disarm();
	} },
	{ f: 'F26', name: 'workers five minutes ahead of the rest', async strike() {
		arm('clock.wall/roost-worker shift:300000');
		await pause(2000);
		disarm();
	} },
	{ f: 'F21', name: 'FLUSHALL', brief, strike: () => redis('FLUSHALL') },
	{ f: 'F22', name: 'Redis down for three seconds', async strike() {
		await sv('-w', '10', 'force-stop', 'redis');
		await pause(3000);
		await sv('start', 'redis');
	} },
	{ f: 'F23', name: 'kill -9 of Redis', brief, strike: () => kill('redis') },
	{ f: 'F56', name: 'Redis connected but mute for two seconds', strike: () => frozen('redis', 2000) },
	{ f: 'F56', name: 'Redis full', strike: () => redisFull(() => pause(1500)) },
	{ f: 'F24', name: 'publications lost', brief, async strike() {
		for (let i = 0; i < 10; i++) {
			await redis('XTRIM', 'sse:0', 'MAXLEN', '0');
			await pause(30);
		}
	} },
	{ f: 'F32', name: 'every doorbell rung many times', brief, async strike() {
		const ids = (await sql('SELECT id FROM session ORDER BY id DESC LIMIT 40')).flat();
		await redisMany([...ids.map((id) => ['XADD', 'jobs', '*', 's', id]), ...ids.map((id) => ['XADD', 'jobs', '*', 's', id, 'o', 'worker_nobody'])]);
	} },
	{ f: 'F63', name: 'forged entries in Redis, forged requests at internal sockets', async strike({ rng }) {
		await redis('XADD', 'jobs', '*', 'nonsense', '1');
		await redis('XADD', 'sse:0', '*', 's', 'sesn_01', 'q', 'x', 't', '', 'p', '{');
		for (const [folder, file] of [['hands', 'hands.sock'], ['gateway', 'gateway-0.sock'], ['stream', 'stream-0.sock']]) {
			const s = net.connect(`${runDir}/${folder}/${file}`);
			s.on('error', () => {});
			s.end(Buffer.from(Array.from({ length: 64 }, () => rng.below(256))));
		}
		await pause(100);
	} },
	{ f: 'F30', name: 'the provider answers 529 for a while', async strike({ provider }) {
		provider.fault({ fault: 'status', status: 529, times: 8 });
		await pause(500);
	} },
	{ f: 'F29 F62', name: 'the provider is away for two seconds', async strike({ provider }) {
		const { port } = provider;
		await provider.close();
		await pause(2000);
		await provider.start(port);
	} },
	{ f: 'F34 I16', name: 'a subscriber that reads nothing', async strike({ clients, rng }) {
		const open = [...clients.readers].map((r) => r.session);
		if (open.length > 0) await mute(rng.pick(open), 1500);
	} },
	{ f: 'F35', name: 'subscribers cut', strike({ clients }) { for (const r of clients.readers) r.abort?.abort(); } },
	{ f: 'F37', name: 'nginx reloaded', strike: () => signal('nginx', 'SIGHUP') },
	{ f: 'F49', name: 'kill -9 of roost-vault and roost-egress', brief, strike: () => Promise.all([kill('vault'), kill('egress')]) },
	{ f: 'F37', name: 'kill -9 of nginx', brief, strike: () => kill('nginx') },
	{ f: 'F1', name: 'kill -9 of the hub', brief, strike: ({ rng }) => kill(rng.pick(services('stream'))) },
	{ f: 'F55', name: 'the hub stopped for two seconds', strike: ({ rng }) => frozen(rng.pick(services('stream')), 2000) },
	{ f: 'F55', name: 'a gateway stopped while it holds a row lock', async strike() {
		arm('gateway.before_commit sleep:2500 once');
		await until('held', () => reached('gateway.before_commit'), 2000).catch(() => undefined);
		await pause(2500);
		disarm();
	} },
	{ f: 'F39', name: 'SIGTERM to all workers at once', brief, strike: () => restart(services('worker')) },
	{ f: 'F39', name: 'SIGTERM to the worker that has the work', brief, strike: async () => restart(await busiest()) },
	{ f: 'F38', name: 'rolling restart of every class', async strike() {
		for (const s of services().filter((x) => /^(gateway|stream|worker)-/.test(x))) await restart(s);
	}, slow: true },
	{ f: 'F38', name: 'hands restarted', strike: () => restart('hands') },
	{ f: 'F60', name: 'a transaction held open', async strike() {
		const p = spawn('psql', ['-Xqc', 'BEGIN', '-c', 'SELECT count(*) FROM session', '-c', 'SELECT pg_sleep(3)', `host=${runDir}/pg dbname=roost user=roost_admin`],
			{ stdio: 'ignore' });
		await new Promise((done) => { p.on('exit', done); });
	} },
];

// Everything that a strike may have left is whole again.
export async function heal() {
	disarm();
	for (const s of services()) signal(s, 'SIGCONT');
	await sv('start', services());
	await until('every service runs', () => services().every((s) => pidOf(s) > 1));
	await healthy();
	for (const role of ['roost_gw', 'roost_worker']) await sql(`ALTER ROLE ${role} CONNECTION LIMIT -1`, 'postgres');
	await redisRoom().catch(() => undefined);
}
