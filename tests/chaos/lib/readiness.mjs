// Readiness tells the truth (issue 3): GET /healthz is 200 while messages are taken and 503 while they are not, and names what is away. Each
// row takes something away; a message is sent meanwhile, without retries, and must get what readiness says.
import { setTimeout as pause } from 'node:timers/promises';
import { below, health, healthy, services, signal, signalAll, sql, sv, until } from './instance.mjs';

const WITHIN_MS = 10_000;	// beats and leases included

const stop = (names) => ({ away: () => sv('-w', '20', 'down', names()), back: () => sv('start', names()) });
const one = (name) => () => [name];
const readOnly = async (on) => {
	await sql(`ALTER SYSTEM ${on ? 'SET default_transaction_read_only = on' : 'RESET default_transaction_read_only'}`, 'postgres');
	await sql('SELECT pg_reload_conf()', 'postgres');
};

const rows = [
	{ part: 'redis', ...stop(one('redis')), says: 'down', status: 'degraded', code: 200 },
	{ part: 'hands', ...stop(one('hands')), says: 'down', status: 'degraded', code: 200, answers: true },
	{ part: 'egress', ...stop(one('egress')), says: 'down', status: 'degraded', code: 200, answers: true },
	{ part: 'worker', ...stop(() => services('worker')), says: 'down', status: 'degraded', code: 200 },
	{ part: 'postgres', ...stop(one('postgres')), says: 'down', status: 'down', code: 503 },
	{ part: 'postgres', away: () => readOnly(true), back: () => readOnly(false), says: 'read_only', status: 'down', code: 503, reads: true },
];

async function told(x, row) {
	const { c } = x.clients, s = await until('a session is made', () => x.clients.create({ agent: x.stage.scripted.id, environment_id: x.stage.environment.id }));
	const mark = x.clients.mark(), events = [{ type: 'user.message', content: [{ type: 'text', text: `${mark}\njust words` }] }];
	let told, sent, read;
	await row.away();
	try {
		told = await until(`${row.part} is told to be ${row.says}`, async () => {
			const h = await health();
			return h.checks[row.part]?.status === row.says && h;
		}, WITHIN_MS);
		sent = await c.beta.sessions.events.send(s.id, { events }, { maxRetries: 0 }).then(({ data }) => {
			x.clients.history.ack(s.id, data, [mark]);
			return 200;
		}, (e) => {
			x.clients.history.fail(s.id, [mark]);
			return e.status ?? 0;
		});
		read = await c.beta.sessions.retrieve(s.id, {}, { maxRetries: 0 }).then(() => 200, (e) => e.status ?? 0);
		if (row.answers && await x.clients.settled(s.id, 15_000) !== 'idle') throw new Error('a session that does not need it does not answer');
	} finally {
		await row.back();
	}
	if (told.code !== row.code || told.status !== row.status || sent !== row.code || (row.reads && read !== 200))
		throw new Error(`${row.part}: readiness ${told.code} ${JSON.stringify(told)}, a message got ${sent}, a read ${read}`);
	await healthy();
	if (sent === 200 && await x.clients.settled(s.id, 30_000) !== 'idle') throw new Error(`${row.part} is back, and the session does not answer`);
}

// Postgres stands still, its backends too: nobody is told that requests are served. A gateway whose threads all wait for it says nothing at
// all; while one is free, who asks is told 503 in bounded time.
async function mute() {
	const ask = async () => {
		const began = performance.now(), { code } = await health(6);
		return { code, ms: performance.now() - began };
	};
	await healthy();
	const postmaster = signal('postgres', 'SIGSTOP'), all = [...below(postmaster), postmaster], found = [];
	signalAll(all, 'SIGSTOP');
	try {
		await pause(1100);	// by then the last verdict is old
		for (let i = 0; i < 2; i++) found.push(...await Promise.all(Array.from({ length: 10 }, ask)));
	} finally {
		signalAll(all, 'SIGCONT');
	}
	const told = found.filter(({ code }) => code === 503), slow = Math.round(Math.max(0, ...told.map(({ ms }) => ms)));
	const what = `${found.length} asked: ${told.length} told 503, within ${slow} ms, the others nothing`;
	if (found.some(({ code }) => ![0, 503].includes(code))) throw new Error(what);
	const began = performance.now();
	await healthy();
	return `${what}; well ${Math.round(performance.now() - began)} ms after it went on`;
}

export const readiness = [
	{ f: 'F9 F12 F22 F49', brief: true, name: 'readiness tells the truth: with Redis, hands, egress or workers away the API serves, with Postgres away or read only it does not', async run(x) {
		await until('all is well to begin with', async () => (await health()).status === 'ok');
		const took = [];
		for (const row of rows) {
			const began = performance.now();
			await told(x, row);
			took.push(`${row.part} ${row.says} ${Math.round((performance.now() - began) / 100) / 10} s`);
		}
		return took.join(', ');
	} },
	{ f: 'F55', name: 'readiness: while Postgres stands still nobody is told that all is well', run: mute },
];
