// Every failpoint at every state, the stories, every fault under load, then all invariants: TAP, one line each. See README.md.
//   POINTS=regex RACE=regex CASES=regex FAULTS=regex   only some of them ("none" leaves a part out)
//   REPEAT=10   stories one after the other, that often
//   BRIEF=1   the stories and faults that `make test` has time for
import { performance } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { cases } from './lib/cases.mjs';
import { random } from './lib/clients.mjs';
import { arm, disarm, reached } from './lib/failpoints.mjs';
import { faults, heal } from './lib/faults.mjs';
import { check, failpointNames, healthy, until, violations } from './lib/instance.mjs';
import { Actor } from './lib/load.mjs';
import { over, points, ways } from './lib/points.mjs';
import { races } from './lib/races.mjs';
import { close, open, verdict } from './lib/scene.mjs';
import { finish, skip, test as tap } from './lib/tap.mjs';

const seed = Number(process.env.SEED ?? 1);
const some = (name) => new RegExp(process.env[name] ?? '.');
const brief = process.env.BRIEF === '1';
const wanted = (name, v) => some(name).test(`${v.f} ${v.name}`) && (!brief || v.brief);
let stopping = false;
process.on('SIGTERM', () => { stopping = true; });

async function test(name, fn, needs) {
	if (stopping) return;
	const lacking = needs?.();
	lacking ? skip(name, lacking) : await tap(name, fn);
}

const x = await open();
const { clients } = x;

// The session came to rest as it should, its log is right, and it goes on (unless it has ended).
async function good({ id, want }) {
	const status = await clients.settled(id, 30_000);
	if (status !== want) throw new Error(`${id}: ${status ?? 'not at rest'}, expected ${want}`);
	const report = await check('--session', id);
	if (!report.ok) throw new Error(violations(report).join('\n'));
	if (want !== 'idle') return;
	const sent = await clients.say(id, 'still there?');
	if (!sent) throw new Error(`${id} takes no message: ${clients.last?.message}`);
	await clients.settled(id, 20_000);
	const log = (await until('the list is answered', () => clients.list(id))).data;
	const mine = log.findIndex((e) => e.id === sent[0].id);
	if (mine < 0 || !log.slice(mine).some((e) => e.type === 'agent.message')) throw new Error(`${id}: the next message was not answered`);
}

for (const { point, way, with: more = '' } of points.filter((p) => some('POINTS').test(p.point))) {
	await test(`kill -9 at ${point}, ${way}`, async () => {
		arm(`${point} kill once`, more);
		try {
			const s = await ways[way](x, () => reached(point));
			await until(`${point} is reached`, () => reached(point));
			disarm();
			await healthy();
			await good(s);
		} finally {
			disarm();
		}
	});
}
if (!process.env.POINTS) await test('every failpoint has been struck', async () => {
	const missing = failpointNames().filter((n) => !n.startsWith('clock.') && !points.some((p) => p.point.split('/')[0] === n));
	if (missing.length > 0) throw new Error(missing.join(' '));
});

for (const r of races.filter((v) => some('RACE').test(`${v.f} ${v.name}`)))
	await test(`race, ${r.f}: ${r.name}`, () => r.run(x));

for (const c of Array(Number(process.env.REPEAT ?? 1)).fill(cases).flat().filter((v) => wanted('CASES', v)))
	await test(`${c.f}: ${c.name}`, () => c.run(x).finally(disarm), c.needs);

// Faults under load: between two of them a session of its own must work.
let playing = true;
const rng = random(seed);
const cast = Array.from({ length: 6 }, (_, i) => new Actor(clients, x.stage, seed * 1000 + i).run(() => playing && !stopping));
for (const f of faults.filter((v) => wanted('FAULTS', v))) {
	await test(`${f.f}: ${f.name}`, async () => {
		const wrong = clients.wrong.length;
		await f.strike({ rng, ...x });
		const began = performance.now();
		await until('a new session works', async () => {
			const s = await ways.tool(x);
			return (await clients.settled(s.id, 15_000)) === 'idle';
		}, 25_000);
		if (clients.wrong.length > wrong) throw new Error(clients.wrong.slice(wrong).join('\n'));
		if (performance.now() - began > 15_000) throw new Error('it took over 15 s until a session worked');
	});
}
playing = false;
await Promise.all(cast);
await heal();
await pause(100);

let found = [];
await test('everything comes to rest', async () => {
	found = await verdict(x);
	const mine = found.filter((v) => !/^[a-z-]+ \(/.test(v));
	if (mine.length > 0) throw new Error(mine.join('\n'));
});
for (const c of x.report?.checks ?? [])
	await test(`${c.name}: ${c.sentence} (${c.invariants})`, () => {
		if (c.violations > 0) throw new Error(c.offenders.map((o) => `${o.session} ${o.detail}`).join('\n'));
	});
await close(x);
await over();
console.log(`# ${clients.ops} operations, ${x.report?.events} events, ${x.report?.read} read by ${clients.readers.size + clients.views.size} readers`);
finish();
