// Readiness tells the truth (issue 3): GET /healthz is 200 while messages are taken and 503 while they are not, and names what is away. Each
// row takes something away; a message is sent meanwhile, without retries, and must get what readiness says.
import { setTimeout as pause } from 'node:timers/promises';
import { health, healthy, postgresStill, services, sql, sv, until } from './instance.mjs';

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

// Postgres stands still, its backends too: whoever asks is told so in bounded time, also when requests hold every thread of the gateways.
async function mute({ clients }) {
	const ask = async () => {
		const began = performance.now(), { code, checks } = await health(6);
		return { said: `${code} ${checks.postgres?.status}`, ms: performance.now() - began };
	};
	await healthy();
	const found = [];
	let requests;
	await postgresStill(async () => {
		requests = Array.from({ length: 40 }, () => clients.c.beta.agents.list({ limit: 1 }, { maxRetries: 0, timeout: 60_000 })
			.then(() => 200, (e) => e.status ?? 0));
		await pause(1100);	// by then the last verdict is old
		for (let i = 0; i < 3; i++) found.push(...await Promise.all(Array.from({ length: 10 }, ask)));
	});
	const began = performance.now();
	await healthy();
	const back = Math.round(performance.now() - began), slow = Math.round(Math.max(...found.map(({ ms }) => ms)));
	const others = found.map(({ said }) => said).filter((said) => said !== '503 down');
	if (others.length > 0) throw new Error(`${found.length} asked, of whom ${others.length} were not told: ${[...new Set(others)].join()}`);
	const got = await Promise.all(requests), odd = got.filter((status) => ![200, 503].includes(status));
	if (odd.length > 0) throw new Error(`requests meanwhile: ${odd.join()}`);
	return `${found.length} asked, told 503 within ${slow} ms; well ${back} ms after it went on`;
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
	{ f: 'F55', brief: true, name: 'readiness: while Postgres stands still everybody is told so', run: mute },
];
