// Every failpoint at every state, the stories, every fault under load, then all invariants: TAP, one line each. See README.md.
//   POINTS=regex PAIRS=regex OUTSIDE=regex RACE=regex CASES=regex FAULTS=regex   only some of them ("none" leaves a part out)
//   REPEAT=10   stories one after the other, that often
//   SHUFFLE=7   points, pairs, races, stories and faults in an order by this seed: each must do whatever went before it
//   BRIEF=1   what `make test` has time for: each failpoint once, of its other states and of the pairs another part each day, the quick stories
import { performance } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { cases } from './lib/cases.mjs';
import { random, shuffle } from './lib/clients.mjs';
import { arm, disarm, reached } from './lib/failpoints.mjs';
import { faults, heal } from './lib/faults.mjs';
import { check, failpointNames, healthy, quiet, until, violations, whole } from './lib/instance.mjs';
import { Actor } from './lib/load.mjs';
import { discover, fromOutside, missed, part, QUICK, someOf, today, unlisted } from './lib/matrix.mjs';
import { over, points, ways } from './lib/points.mjs';
import { races } from './lib/races.mjs';
import { close, open, verdict } from './lib/scene.mjs';
import { finish, skip, test as tap } from './lib/tap.mjs';

const seed = Number(process.env.SEED ?? 1);
const some = (name) => new RegExp(process.env[name] ?? '.');
const brief = process.env.BRIEF === '1';
const shuffled = (list) => (process.env.SHUFFLE ? shuffle(list, random(Number(process.env.SHUFFLE))) : list);
const wanted = (name, v) => some(name).test(`${v.f} ${v.name}`) && (!brief || v.brief);
let stopping = false;
process.on('SIGTERM', () => { stopping = true; });

async function test(name, fn, needs) {
	if (stopping) return;
	const lacking = needs?.();
	lacking ? skip(name, lacking) : await tap(name, fn);
}

if (brief) console.log(`# the same parts again: DAY=${today}`);
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

const struck = new Set();

// Its client has its answer, and no worker holds it any more.
async function atRest({ id }) {
	await clients.settled(id, 30_000);
	await quiet(10_000).catch(() => undefined);
}


// Go one way after the other until the point is come to; false when none led there.
async function strike(point, list, more = '') {
	arm(`${point} kill once`, more);
	try {
		for (const way of list) {
			const s = await ways[way](x, () => reached(point));
			if (list.length === 1) await until(`${point} is reached`, () => reached(point));
			else if (!reached(point)) await atRest(s);
			if (!reached(point)) continue;
			struck.add(point);
			disarm();
			await healthy();
			await good(s);
			return true;
		}
		return false;
	} finally {
		disarm();
	}
}

// Every pair of failpoint and state that there is. First of all, while nobody has met anything.
let pairs = [];
if (process.env.PAIRS !== 'none') {
	await test('what can be come to in which state', async () => {
		pairs = unlisted(await discover(x, atRest, brief ? QUICK : undefined));
		return `${pairs.length} pairs beside those above`;
	});
	if (brief) pairs = part(pairs, 16);
}
for (const p of shuffled(brief ? someOf(points) : points).filter((v) => some('POINTS').test(v.point)))
	await test(`kill -9 at ${p.point}, ${p.way}`, () => strike(p.point, [p.way], p.with));
if (!process.env.POINTS) await test('every failpoint has been struck', async () => {
	const missing = failpointNames().filter((n) => !n.startsWith('clock.') && !points.some((p) => p.point.split('/')[0] === n));
	if (missing.length > 0) throw new Error(missing.join(' '));
});

for (const p of shuffled(pairs).filter((v) => some('PAIRS').test(v.point)))
	await test(`kill -9 at ${p.point}, ${p.ways[0]}`, async () => {
		if (!await strike(p.point, p.ways)) return `not come to again in ${p.ways.length} lives`;
	});

// A worker stands in a state of the turn, a gateway dies of a message for it.
async function fromTheOutside({ point, state, way }) {
	const { create } = clients;
	let session, entered;
	clients.create = async (...args) => {
		session = await create.apply(clients, args);
		entered = `turn.enter/${state}+${session?.id}`;	// of this one: the turn of the test before may be at its end still
		arm(`${entered} sleep:700 once`);
		return session;
	};
	try {
		const life = ways[way](x);
		life.catch(() => undefined);		// heard of below, if what comes first has not failed
		await until(`${state} is entered`, () => entered && reached(entered));
		arm(`${point} kill once`);
		await clients.say(session.id, 'and this');
		await until(`${point} is reached`, () => reached(point));
		struck.add(`${point}/${state}`);
		disarm();
		const s = await life;
		await healthy();
		await good(s);
	} finally {
		delete clients.create;
		disarm();
	}
}
for (const o of shuffled(brief ? part(fromOutside, 32) : fromOutside).filter((v) => some('OUTSIDE').test(`${v.point} ${v.state}`)))
	await test(`kill -9 at ${o.point} while ${o.state}, ${o.way}`, () => fromTheOutside(o));

for (const r of shuffled(races).filter((v) => some('RACE').test(`${v.f} ${v.name}`)))
	await test(`race, ${r.f}: ${r.name}`, () => whole().then(() => r.run(x)));

for (const c of shuffled(Array(Number(process.env.REPEAT ?? 1)).fill(cases).flat()).filter((v) => wanted('CASES', v)))
	await test(`${c.f}: ${c.name}`, () => whole().then(() => c.run(x)).finally(disarm), c.needs);

// Faults under load: between two of them a session of its own must work.
let playing = true;
const rng = random(seed);
const cast = Array.from({ length: 6 }, (_, i) => new Actor(clients, x.stage, seed * 1000 + i).run(() => playing && !stopping));
for (const f of shuffled(faults).filter((v) => wanted('FAULTS', v))) {
	await test(`${f.f}: ${f.name}`, async () => {
		const wrong = clients.wrong.length;
		await whole();
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
// What was come to and not struck, by the load or in passing, is struck under the load (PAIRS=load: this alone).
if (!brief && some('PAIRS').test('load')) await test('pairs that only the load came to', async () => {
	const only = missed(struck), before = struck.size;
	for (const point of only) {
		arm(`${point} kill once`);
		await until('it is come to', () => reached(point), 4000).then(() => struck.add(point), () => undefined);
		disarm();
	}
	await healthy();
	const left = missed(struck);
	return `${struck.size - before} of ${only.length} struck; not come to again: ${left.join(' ') || 'none'}`;
});
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
