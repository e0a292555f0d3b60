// Faults that need a story of their own: { f, name, run(x) }; run throws when something is not as it must be.
import { postgresAway } from './away.mjs';
import * as disk from './disk.mjs';
import { arm, disarm, reached } from './failpoints.mjs';
import { outage } from './outage.mjs';
import { partitioned } from './partition.mjs';
import { readiness } from './readiness.mjs';
import { redisAway } from './redisaway.mjs';
import { refused } from './refuse.mjs';
import { rolling, validations } from './rolling.mjs';
import { promoted } from './standby.mjs';
import { stopped } from './stopped.mjs';
import { storeFull } from './store.mjs';
import { busiest, ctl, healthy, pidOf, restart, runs, services, signal, sql, sv, until } from './instance.mjs';

const bash = (command) => `bash ${JSON.stringify({ command })}`;

async function session(x, kind = 'scripted') {
	const s = await x.clients.create({ agent: x.stage[kind].id, environment_id: x.stage.environment.id });
	if (!s) throw new Error(`no session: ${x.clients.last?.message}`);
	return s.id;
}

const events = async (x, id) => (await until('the list is answered', () => x.clients.list(id))).data;
const has = (x, id, type, n = 1) => until(`${type} is listed`, async () => (await events(x, id)).filter((e) => e.type === type).length >= n, 15_000);
const textOf = (e) => e.content.map((b) => b.text).join('');

const brief = true;		// also in `make test`

export const cases = [
	{ f: 'F61', brief, name: 'a long tool during a deploy of the workers keeps running, and its result is the real one', async run(x) {
		const id = await session(x);
		await x.clients.say(id, `${bash('sleep 4.404; echo finished')}`);
		await until('the tool runs', () => runs('sleep 4.404'));
		await restart(services('worker'));
		await x.clients.settled(id, 30_000);
		const results = (await events(x, id)).filter((e) => e.type === 'agent.tool_result');
		if (results.length !== 1 || textOf(results[0]) !== 'finished\n') throw new Error(JSON.stringify(results));
	} },
	{ f: 'F5', brief, name: 'a tool outlives its worker: kill -9, its result is fetched', async run(x) {
		const id = await session(x);
		await x.clients.say(id, `${bash('sleep 3.303; echo finished')}`);
		await until('the tool runs', () => runs('sleep 3.303'));	// in the log is not enough: who dies before hands has heard of it leaves it unknown
		for (const s of services('worker')) signal(s, 'SIGKILL');
		await healthy();
		await x.clients.settled(id, 30_000);
		const results = (await events(x, id)).filter((e) => e.type === 'agent.tool_result');
		if (results.length !== 1 || textOf(results[0]) !== 'finished\n') throw new Error(JSON.stringify(results));
	} },
	{ f: 'F9', brief, name: 'hands dies under a tool: its result says that the outcome is unknown, the tool is not run again', async run(x) {
		const id = await session(x);
		await x.clients.say(id, `${bash('echo once; sleep 9.909')}\n\n${bash('echo next')}`);
		await until('the tool runs', () => runs('sleep 9.909'));
		signal('hands', 'SIGKILL');
		await x.clients.settled(id, 40_000);
		const all = await events(x, id), uses = all.filter((e) => e.type === 'agent.tool_use');
		const [first, second] = all.filter((e) => e.type === 'agent.tool_result');
		if (uses.length !== 2 || !first.is_error || textOf(second) !== 'next\n') throw new Error(JSON.stringify([first, second]));
	} },
	{ f: 'F52 I25', brief, name: 'a commit whose publication died reaches an open stream within 5 s', async run(x) {
		const id = await session(x);
		const view = x.clients.view(id);
		await until('the SDK streams', () => view.parts.length > 0);
		arm('append.after/closing kill once');
		const sent = await x.clients.say(id, 'words');
		await until('the worker died behind its commit', () => reached('append.after/closing'));
		disarm();
		const began = performance.now();
		await until('the stream shows the idle event', () => view.parts.flat().some((e) => e.type === 'session.status_idle'), 5500);
		if (!view.parts.flat().some((e) => e.id === sent[0].id)) throw new Error('the message is missing in the stream');
		if (performance.now() - began > 5500) throw new Error(`it took ${performance.now() - began} ms`);
	} },
	{ f: 'I13', name: 'the sessions of a killed worker run again within 2 s', async run(x) {
		const ids = await Promise.all(Array.from({ length: 6 }, () => session(x)));
		await Promise.all(ids.map((id) => x.clients.say(id, bash('sleep 2'))));
		await Promise.all(ids.map((id) => has(x, id, 'agent.tool_use')));
		const [[at]] = await sql('SELECT us(clock_timestamp())');
		signal(await busiest(), 'SIGKILL');
		for (const id of ids) await x.clients.settled(id, 30_000);
		const late = (await sql(`SELECT session_id, min(us(processed_at)) FROM event WHERE type = 'session.status_running' AND session_id IN (${
			ids.map((i) => `'${i}'`).join()}) AND us(processed_at) > ${at} GROUP BY 1`)).filter(([, us]) => Number(us) - Number(at) > 2e6);
		if (late.length > 0) throw new Error(`late: ${late.map(([id, us]) => `${id} ${(Number(us) - Number(at)) / 1e6} s`).join(', ')}`);
	} },
	{ f: 'F7 F8', brief, name: 'the worker that has the work stands still: the others take what comes meanwhile, and only its own sessions wait', async run(x) {
		const ids = await Promise.all(Array.from({ length: 12 }, () => session(x)));
		const held = await session(x);
		const all = async (text) => {
			const began = performance.now();
			await Promise.all(ids.map((id) => x.clients.say(id, text)));
			for (const id of ids) if (await x.clients.settled(id, 20_000) !== 'idle') throw new Error(`${id} waits for a worker that stands still`);
			return Math.round(performance.now() - began);
		};
		const work = `words\n\n${bash('echo more')}`, usual = await all(work);
		await x.clients.say(held, `${bash('sleep 2.202')}\n\n${bash('echo next')}`);
		await until('the tool runs', () => runs('sleep 2.202'));
		const first = await busiest();
		let took;
		signal(first, 'SIGSTOP');
		try {
			took = await all(work);
		} finally {
			signal(first, 'SIGCONT');
		}
		if (took > 2 * usual + 2000) throw new Error(`they had to wait ${took} ms, ${usual} before`);
		if (await x.clients.settled(held, 20_000) !== 'idle') throw new Error('its own session does not go on');
		return `${ids.length} sessions answered within ${took} ms while it stood still, ${usual} before`;
	} },
	{ f: 'F39 F61', name: 'the worker that has the work is drained while more comes: every result is the real one, once, and nothing waits for it', async run(x) {
		const ids = await Promise.all(Array.from({ length: 30 }, () => session(x)));
		const steps = Array.from({ length: 4 }, (_, i) => bash(`sleep 0.4; echo ${i}`)).join('\n\n');
		const rest = async () => { for (const id of ids) if (await x.clients.settled(id, 30_000) !== 'idle') throw new Error(`${id} does not come to rest`); };
		await Promise.all(ids.map((id) => x.clients.say(id, bash('echo first'))));	// each has its sandbox
		await rest();
		const usually = performance.now();
		await Promise.all(ids.map((id) => x.clients.say(id, steps)));
		await rest();
		const usual = Math.round(performance.now() - usually);
		await Promise.all(ids.slice(0, 20).map((id) => x.clients.say(id, steps)));
		await Promise.all(ids.slice(0, 20).map((id) => has(x, id, 'agent.tool_use', 6)));
		const gone = restart(await busiest()), began = performance.now();
		await Promise.all(ids.slice(20).map((id) => x.clients.say(id, steps)));
		await gone;
		await rest();
		const took = Math.round(performance.now() - began);
		for (const id of ids) {
			const said = (await events(x, id)).filter((e) => e.type === 'agent.tool_result').map(textOf).join('');
			if (said !== 'first\n0\n1\n2\n3\n0\n1\n2\n3\n') throw new Error(`${id}: ${JSON.stringify(said)}`);
		}
		if (took > 2 * usual + 2000) throw new Error(`it took ${took} ms, ${usual} without a drain`);
		return `${ids.length} sessions at rest after ${took} ms, ${usual} without a drain`;
	} },
	{ f: 'F51', name: 'Postgres away for longer than a lease: nobody is taken over, no model request is repeated',
		run: (x) => postgresAway(x, { ms: 6000 }) },
	{ f: 'F51', name: 'Postgres away, a worker dies with it: its sessions go on at once when it is back, the others are left alone',
		run: (x) => postgresAway(x, { ms: 6000, kill: true }) },
	{ f: 'F51 F55', name: 'Postgres stands still for longer than a lease: nobody is taken over, no model request is repeated',
		run: (x) => postgresAway(x, { ms: 6000, way: 'still' }) },
	{ f: 'F51 F28', name: 'Postgres out of reach of all workers for longer than a lease: nobody is taken over',
		run: (x) => postgresAway(x, { ms: 6000, way: 'unreachable' }) },
	{ f: 'F51 F28', name: 'Postgres out of reach, a worker dies meanwhile: only its sessions are taken over, at once',
		run: (x) => postgresAway(x, { ms: 6000, way: 'unreachable', kill: true }) },
	{ f: 'F28', brief, name: 'one worker is cut off from Postgres: its sessions are taken over when its lease is over, what it sent meanwhile does not count',
		run: (x) => partitioned(x) },
	{ f: 'F22', brief, name: 'Redis away under load: no message is refused or much later, streams go on from the log', run: (x) => redisAway(x, { ms: 10_000 }) },
	{ f: 'F62', brief, name: 'the provider refuses everybody for a while, many sessions wait: no herd at its return, all answered, nobody pays for waiting',
		// all were told 2 s at nearly the same moment: by their jitter a third of them, give or take, comes in the densest quarter of a second
		run: (x) => outage(x, { ms: 3000, sessions: 80, way: 'busy', share: 0.6 }) },
	{ f: 'F38 F39 F37', brief, name: 'ops/restart: vault, egress, streams, gateways, workers, hands, nginx, Redis replaced under load, no caller gets an error',
		run: (x) => rolling(x, ['vault', 'egress', 'stream', 'gateway', 'worker', 'hands', 'nginx', 'redis'], { also: validations }) },
	{ f: 'F38 F49', name: 'vault and egress replaced eight times while credentials are made and validated, no caller gets an error',
		run: (x) => rolling(x, ['vault', 'egress'], { also: validations, actors: 1, times: 8 }) },
	{ f: 'F38 F12', brief, name: 'ops/restart postgres under load: 503 at most, until it has started',
		run: (x) => rolling(x, ['postgres'], { refused: [503] }) },
	{ f: 'F55', name: 'a gateway that stands still holding a session\'s row holds up that session only', async run(x) {
		const held = await session(x), others = await Promise.all(Array.from({ length: 12 }, () => session(x)));
		const steps = Array.from({ length: 6 }, (_, i) => bash(`sleep 0.3; echo ${i}`)).join('\n\n');
		await Promise.all([x.clients.say(held, `${bash('sleep 1')}\n\n${bash('echo x')}`), ...others.map((id) => x.clients.say(id, steps))]);
		await has(x, held, 'agent.tool_use');
		arm('gateway.before_commit sleep:8000 once');
		let holding = true;
		const said = x.clients.say(held, 'more').finally(() => { holding = false; });
		await until('the row is held', () => reached('gateway.before_commit'));
		for (const id of others) await x.clients.settled(id, 20_000);
		if (!holding) throw new Error('its neighbours had to wait for it');
		disarm();
		await said;
		if (await x.clients.settled(held, 20_000) !== 'idle') throw new Error('the held session does not go on');
	} },
	{ f: 'F16 F54', brief, name: 'a session whose appends the database refuses takes nobody with it, though appends of several travel as one statement', async run(x) {
		const bad = await session(x), others = await Promise.all(Array.from({ length: 24 }, () => session(x)));
		const steps = Array.from({ length: 6 }, (_, i) => bash(`echo ${i}`)).join('\n\n');
		const refused = async () => (await sql(`SELECT CASE WHEN a.is_called THEN format('%s alone, %s in a set', a.last_value, CASE WHEN s.is_called
			THEN s.last_value ELSE 0 END) END FROM chaos_alone a, chaos_set s`)).flat()[0];
		await sql(`CREATE SEQUENCE chaos_alone; CREATE SEQUENCE chaos_set;
			CREATE FUNCTION chaos_refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
			PERFORM nextval(CASE WHEN current_query() LIKE '%session_append_many%' THEN 'chaos_set' ELSE 'chaos_alone' END);
			RAISE check_violation USING MESSAGE = 'chaos'; END $$;
			CREATE TRIGGER chaos_refuse BEFORE INSERT ON event FOR EACH ROW WHEN (NEW.session_id = '${bad}' AND NEW.type = 'agent.tool_result')
			EXECUTE FUNCTION chaos_refuse()`);
		try {
			await Promise.all([bad, ...others].map((id) => x.clients.say(id, steps)));
			for (const id of others) if (await x.clients.settled(id, 20_000) !== 'idle') throw new Error(`its neighbour ${id} suffers`);
			await until('one was refused alone', refused);
		} finally {
			await sql('DROP FUNCTION chaos_refuse CASCADE');
		}
		for (const id of others) {
			const log = await events(x, id), again = log.filter((e) => e.type === 'session.status_rescheduled').length;
			const said = log.filter((e) => e.type === 'agent.tool_result').map(textOf).join('');
			if (again > 0 || said !== '0\n1\n2\n3\n4\n5\n') throw new Error(`its neighbour ${id}: ${again} times rescheduled, ${JSON.stringify(said)}`);
		}
		const end = await x.clients.settled(bad, 60_000);
		if (end === 'terminated') {
			await ctl('dead', 'retry', bad);
			if (await x.clients.settled(bad, 20_000) !== 'idle') throw new Error('sent back, it does not finish');
		}
		const times = await refused();
		await sql('DROP SEQUENCE chaos_alone, chaos_set');
		return `refused: ${times}; ${end} afterwards`;
	} },
	{ f: 'F16', brief, name: 'Postgres refuses a few per cent of all writes under load (40001, 40P01, 57014): no caller gets an error, nothing is lost or doubled',
		run: (x) => refused(x) },
	{ f: 'F17', name: 'Postgres\' disk full: writes are refused with 503, reads go on, nobody repairs anything', needs: disk.missing, run: disk.full },
	{ f: 'F19', name: 'the file store full: uploads 503, no part of a file, outputs left out, sessions go on; with room everything does', run: storeFull },
	...readiness,
	{ f: 'F14', name: 'Postgres lost under load, its synchronous standby promoted: nothing that was acknowledged is lost', run: promoted },
	{ f: 'F20', name: 'fsync fails: Postgres goes down, and comes back when the disk does with all that was acknowledged, on the disk', needs: disk.missing,
		run: disk.broken },
	{ f: 'F40 F12', name: 'power lost under load: what was acknowledged is on the disk', needs: disk.missing, run: (x) => disk.powerLost(x) },
	{ f: 'F33 F54 I19', brief, name: 'a session that kills its worker each time is given up, its neighbours are not; roostctl sends it back to work', async run(x) {
		const poison = await session(x), others = await Promise.all(Array.from({ length: 8 }, () => session(x)));
		arm(`model.after/${poison} kill`);
		await x.clients.say(poison, 'words');
		await Promise.all(others.map((id) => x.clients.say(id, `${bash('sleep 1; echo one')}\n\n${bash('sleep 1; echo two')}\n\n${bash('echo three')}`)));
		const end = await x.clients.settled(poison, 60_000);
		disarm();
		if (end !== 'terminated') throw new Error(`it is ${end}`);
		const last = (await events(x, poison)).filter((e) => e.type === 'session.error').at(-1);
		if (last?.error.retry_status.type !== 'terminal') throw new Error(JSON.stringify(last));
		for (const id of others) {
			if (await x.clients.settled(id, 60_000) !== 'idle') throw new Error(`its neighbour ${id} suffers`);
			const log = await events(x, id);
			const results = log.filter((e) => e.type === 'agent.tool_result').length;
			if (log.at(-1).stop_reason.type !== 'end_turn' || results !== 3) throw new Error(`${id} was not finished`);
		}
		if (!(await ctl('dead', 'list')).some(([id]) => id === poison)) throw new Error('roostctl dead list does not know it');
		await ctl('dead', 'retry', poison);
		if (await x.clients.settled(poison, 20_000) !== 'idle') throw new Error('sent back, it does not finish');
		if (!(await events(x, poison)).some((e) => e.type === 'agent.message')) throw new Error('sent back, it does not answer');
	} },
	{ f: 'F43', brief, name: 'a damaged row harms its session only', async run(x) {
		const bad = await session(x), good = await session(x);
		await x.clients.say(bad, 'words');
		await x.clients.settled(bad);
		await sql(`UPDATE event SET body = 'not json', fragment = '{{' WHERE session_id = '${bad}' AND type = 'user.message'`);
		const pids = services('worker').map(pidOf).join();
		await x.clients.say(bad, 'more words');
		await x.clients.say(good, 'words');
		if (await x.clients.settled(good, 15_000) !== 'idle') throw new Error('its neighbour does not answer');
		await x.clients.settled(bad, 15_000);
		if (services('worker').map(pidOf).join() !== pids) throw new Error('a worker died of it');
		x.clients.history.delete(bad);
		await sql(`DELETE FROM event WHERE session_id = '${bad}'; DELETE FROM inbox WHERE session_id = '${bad}'; DELETE FROM work WHERE session_id = '${bad}';
			DELETE FROM action WHERE session_id = '${bad}'; DELETE FROM session WHERE id = '${bad}'`);	// not for the checker
	} },
	...stopped,
];
