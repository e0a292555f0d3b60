// A crowd at work when a worker dies: N sessions stream from the provider, one worker is killed with SIGKILL. How long until each of its
// sessions runs again, is every acknowledged message answered exactly once, are the meters exact? TAP.
//   SESSIONS=1000   KILL=all: every worker instead of one
import { setTimeout as pause } from 'node:timers/promises';
import { busiest, check, pidOf, quiet, services, signal, sql, until, violations } from './lib/instance.mjs';
import { close, open } from './lib/scene.mjs';
import { finish, test } from './lib/tap.mjs';

const N = Number(process.env.SESSIONS ?? 1000), all = process.env.KILL === 'all';
const shown = (name, ok, more = '') => test(name, () => {
	if (!ok) throw new Error(more);
	return more;
});

const x = await open({ worker: 'model_stall_s = 60\n' });	// the provider plays a thousand streams in one process
const { clients, stage } = x;
// Thirty-odd words, one each 1.5 s: every turn lasts longer than it takes to bring all of them to work.
const text = (n) => `!provider {"word_ms":${Number(process.env.WORD_MS ?? 1500)}}\ncrowd ${n} ${'word '.repeat(30)}`;
const sessions = [];
let next = 0;
await Promise.all(Array.from({ length: 24 }, async () => {
	while (next < N) {
		const n = next++;
		const mark = clients.mark();
		const s = await clients.create({ agent: stage.provider.id, environment_id: stage.environment.id,
			initial_events: [{ type: 'user.message', content: [{ type: 'text', text: `${mark}\n${text(n)}` }] }] });
		if (s) sessions.push(s.id);
	}
}));
await shown(`${N} sessions created`, sessions.length === N, `${sessions.length}`);
const count = async (where) => Number((await sql(`SELECT count(*) FROM session WHERE ${where}`))[0][0]);
const atWork = "status = 'running' AND id IN (SELECT session_id FROM work WHERE lease_owner IS NOT NULL)";
await until('all of them run', async () => await count(atWork) === N, 60_000).catch(() => undefined);
const running = await count(atWork);
await shown('all are at work at the same moment', running === N, `${running}`);

const owners = await sql('SELECT w.id, count(*) FROM work k JOIN worker w ON w.id = k.lease_owner GROUP BY 1');
const victims = all ? services('worker') : [await busiest()];
const before = new Map(victims.map((s) => [s, pidOf(s)]));
const [[at]] = await sql('SELECT us(clock_timestamp())');
for (const s of victims) signal(s, 'SIGKILL');
await until('the supervisor has started them again', () => victims.every((s) => pidOf(s) > 1 && pidOf(s) !== before.get(s)));
const [[back]] = await sql('SELECT us(clock_timestamp())');

// Those whose worker died: they have a rescheduled event after the kill, and then a running one.
await quiet(180_000);
const resumed = (await sql(`SELECT r.session_id, min(us(e.processed_at)) FROM event r LEFT JOIN event e
	ON e.session_id = r.session_id AND e.type = 'session.status_running' AND e.seq > r.seq
	WHERE r.type = 'session.status_rescheduled' GROUP BY 1`)).map(([id, us]) => [id, us === '' ? Infinity : (Number(us) - Number(at)) / 1000]);
const ms = resumed.map(([, v]) => v).sort((a, b) => a - b);
const q = (p) => Math.round(ms[Math.min(ms.length - 1, Math.floor(ms.length * p))] ?? 0);
const restart = (Number(back) - Number(at)) / 1000;
const share = owners.map(([, n]) => n).join(' and ');
await shown('the dead worker had sessions', ms.length > 0, `owners had ${share}; ${ms.length} were rescheduled`);
await shown('all resume within 2 s of the restart or on the surviving worker', ms.length > 0 && ms.at(-1) < 2000 + (all ? restart : 0),
	`p50 ${q(0.5)} ms, p99 ${q(0.99)} ms, last ${Math.round(ms.at(-1) ?? 0)} ms after the kill; supervisor's restart ${Math.round(restart)} ms`);

const [[messages, answered, doubled]] = await sql(`SELECT count(*), count(*) FILTER (WHERE said = 1), count(*) FILTER (WHERE said > 1)
	FROM (SELECT session_id, count(*) FILTER (WHERE type = 'user.message') AS asked, count(*) FILTER (WHERE type = 'agent.message') AS said
	FROM event GROUP BY 1) t WHERE asked = 1`);
await shown('every acknowledged message is answered exactly once', Number(messages) === N && Number(answered) === N,
	`${messages} messages, ${answered} answered once, ${doubled} more than once`);
const starts = Number((await sql("SELECT count(*) FROM event WHERE type = 'span.model_request_start'"))[0][0]);
await shown('requests are repeated only where one was lost', starts <= N + ms.length, `${starts} requests for ${N} messages and ${ms.length} lost`);
await x.history.flush();
await pause(100);
const report = await check('--history', x.history.file);
await shown('meters exact, nothing lost or doubled (roostctl check)', report.ok, violations(report).slice(0, 5).join('; '));
await close(x);
finish();
