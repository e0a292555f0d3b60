// Somebody's transaction keeps its snapshot for very long (F60): no row version that has died since can be cleared, and the small tables that
// every turn changes grow. Turns must go on as quickly, and when it ends everything is cleared. That is asked of sessions that are new each time:
// what finds a session by its key reads its own dead versions, which is told of those that have had all the turns before (sql/README).
import { spawn } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { runDir, sql, until } from './instance.mjs';

const TURNS = 40;		// of one measurement
const TABLES = ['work', 'worker', 'session', 'inbox'];

async function turn(x, id) {
	const began = performance.now();
	if (!await x.clients.say(id, 'just words')) throw new Error(`no message is taken: ${x.clients.last?.message}`);
	if (await x.clients.settled(id, 60_000) !== 'idle') throw new Error(`${id} does not answer`);
	return performance.now() - began;
}

async function median(x, ids) {
	const took = [];
	for (let i = 0; i < TURNS; i++) took.push(await turn(x, ids[i % ids.length]));
	return took.sort((a, b) => a - b)[TURNS / 2];
}

// Row versions that have died and are there, and the megabytes of the tables.
async function dead() {
	const list = TABLES.map((t) => `'${t}'`).join();
	const [[n, mb]] = await sql(`SELECT sum(n_dead_tup), sum(pg_total_relation_size(relid)) / 1048576 FROM pg_stat_user_tables WHERE relname IN (${list})`);
	return { n: Number(n), mb: Math.round(Number(mb)) };
}

export async function heldBack(x, { ms }) {
	const { clients, stage } = x;
	const one = async () => (await clients.create({ agent: stage.scripted.id, environment_id: stage.environment.id })).id;
	const some = () => Promise.all(Array.from({ length: 4 }, one));
	const measured = async () => median(x, await some());
	const old = await some(), all = [];
	await median(x, old);
	const before = await measured();
	const holder = spawn('psql', ['-Xqc', 'BEGIN ISOLATION LEVEL REPEATABLE READ', '-c', 'SELECT count(*) FROM work', '-c', `SELECT pg_sleep(${ms / 1000})`,
		`host=${runDir}/pg dbname=roost user=postgres`], { stdio: 'ignore' });
	let holding = true, aged;
	const gone = new Promise((done) => { holder.on('exit', done); }).then(() => { holding = false; });
	await until('the snapshot is taken', async () =>
		(await sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND backend_xmin IS NOT NULL", 'postgres'))[0][0] === '1');
	while (holding) {
		all.push(await measured());
		aged = await median(x, old);
		await Promise.race([gone, pause(5000)]);
	}
	const kept = await dead();
	await sql(`VACUUM ${TABLES.join()}`);
	await until('what it kept is cleared', async () => (await dead()).n < Math.max(1000, kept.n / 10), 60_000);
	const after = await measured(), last = all.at(-1);
	const say = (v) => `${Math.round(v)} ms`;
	const what = `a turn took ${say(before)} before, ${say(all[0])} at its beginning, ${say(last)} at its end (the longest of ${all.length} medians ${
		say(Math.max(...all))}), ${say(aged)} in sessions of ${(all.length + 1) * TURNS / old.length} turns, ${say(after)} after it; ${
		kept.n} dead rows in ${kept.mb} MB then`;
	if (last > 3 * before + 50) throw new Error(what);
	return what;
}
