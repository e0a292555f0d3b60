// F13: an asynchronous standby that lags, promoted when Postgres is lost. Commits that had not got there are gone: the promise needs a
// synchronous one (F14, in tests/chaos/run). Shown here: nothing else is gone, nothing is half there, and what is gone is told.
import { readFileSync, statSync, truncateSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { baseURL } from '../e2e/lib/client.mjs';
import { Clients } from './lib/clients.mjs';
import { History } from './lib/history.mjs';
import { check, ctl, healthy, services, sql, sv, until, violations } from './lib/instance.mjs';
import { Actor } from './lib/load.mjs';
import { underLoad } from './lib/rolling.mjs';
import { atRest, close, open } from './lib/scene.mjs';
import { follow, lose, takeItsPlace } from './lib/standby.mjs';
import { finish, test } from './lib/tap.mjs';

const want = (ok, what) => { if (!ok) throw new Error(what); };
const x = await open();
const told = path.join(x.dir, 'told.jsonl');
const history = new History(told), clients = new Clients(history);
const create = () => until('a session is made', () => clients.create({ agent: x.stage.scripted.id, environment_id: x.stage.environment.id }));
let safe, one, two, before, after;

await test('F13: Postgres lost under load, an asynchronous standby that lags promoted', async () => {
	const standby = await follow({ sync: false });
	let playing = true;
	const cast = Array.from({ length: 6 }, (_, i) => new Actor(clients, x.stage, 9500 + i).run(() => playing));
	one = await create();
	before = await clients.say(one.id, 'words before');
	await clients.settled(one.id);
	await pause(2500);
	safe = Date.now();
	await standby.caughtUp();
	await standby.lag();
	two = await create();
	after = await clients.say(one.id, 'words after');
	await clients.say(two.id, 'words of a session that is lost');
	await clients.settled(two.id);
	await pause(1000);
	await history.flush();
	const size = statSync(told).size;
	await lose();
	// As ops/README.md says: nobody but Postgres, the standby in its place, put right, everybody again.
	await sv('-w', '30', 'force-stop', services().filter((s) => s !== 'postgres'));
	await takeItsPlace(standby);
	await sv('start', 'postgres');
	await until('Postgres answers', () => sql('SELECT 1'), 60_000);
	const [[timeline, atWork]] = await ctl('restored');
	await sv('start', services());
	await healthy();
	playing = false;
	await Promise.all(cast);
	await history.close();
	truncateSync(told, size);
	truncateSync(told, readFileSync(told).lastIndexOf('\n') + 1);
	want((await (await fetch(`${baseURL}/healthz`)).json()).timeline === Number(timeline), 'the API does not tell');
	return `${atWork} sessions were at work`;
});

await test('what the standby had is there; the checker names each event and session that is lost, and no other', async () => {
	const lines = readFileSync(told, 'utf8').trim().split('\n').map((l) => JSON.parse(l)), report = await check('--history', told);
	const there = new Set((await sql('SELECT id FROM event UNION ALL SELECT id FROM inbox UNION ALL SELECT id FROM session')).flat());
	const deleted = new Set(lines.filter((l) => l.op === 'delete').map((l) => l.session));
	const acks = lines.filter((l) => l.op === 'ack' && (there.has(l.session) || !deleted.has(l.session)));
	const lost = (l) => !there.has(l.session) || l.events.some((id) => !there.has(id));
	const sessions = new Set(acks.map((l) => l.session).filter((id) => !there.has(id)));
	const events = acks.filter((l) => there.has(l.session)).flatMap((l) => l.events).filter((id) => !there.has(id));
	const named = report.checks.find((v) => v.name === 'acked').violations;
	want(named === sessions.size + events.length - report.flushed, `${named} named; ${sessions.size} sessions and ${events.length} events lost`);
	const early = acks.filter((l) => l.at < safe && lost(l));
	want(early.length <= report.flushed, `the standby had them: ${JSON.stringify(early.slice(0, 5))}`);
	const of = async (id) => violations(await check('--session', id, '--history', told)).join('\n');
	want(there.has(before[0].id) && !(await of(one.id)).includes(`${before[0].id} was`), 'the message before is lost');
	want((await of(one.id)).includes(`${after[0].id} was acknowledged and is nowhere`), 'the message after is not named');
	want(/the session, with 1 events, was acknowledged and is nowhere/.test(await of(two.id)), `the session is not named: ${await of(two.id)}`);
	return `${acks.length} acknowledged answers, lost: ${sessions.size} sessions, ${events.length} events of others`;
});

await test('it works on', () => underLoad(x, () => pause(4000), { seed: 9700 }));
await test('the session whose end is lost goes on', async () => {
	const sent = await x.clients.say(one.id, 'words of now');
	want(sent && sent[0].id !== after[0].id && await x.clients.settled(one.id) === 'idle', 'it does not');
});
await test('everything comes to rest, all invariants hold (roostctl check)', () => atRest(x));
await close(x);
finish();
