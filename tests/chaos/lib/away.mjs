// Postgres away while sessions are at work (F51): for longer than a lease, with and without a worker that dies meanwhile. What must hold
// when it is back: nobody takes over the sessions of a worker that lives, no model request is repeated for them, nothing is lost.
import { setTimeout as pause } from 'node:timers/promises';
import { busiest, healthy, pidOf, postgresStill, restarted, signal, sql, sv, until, without } from './instance.mjs';

const WORDS = 30;
const list = (ids) => ids.map((id) => `'${id}'`).join();

// Three kinds, of which each worker gets some: the reply ends while Postgres is away, it ends afterwards, a tool ends meanwhile.
async function crowd(x, n, ms) {
	const { clients, stage } = x;
	const kinds = [
		['provider', `!provider {"word_ms":${Math.ceil(ms / 2 / WORDS)}}\n${'word '.repeat(WORDS)}`],
		['provider', `!provider {"word_ms":${Math.ceil((ms + 3000) / WORDS)}}\n${'word '.repeat(WORDS)}`],
		['scripted', `bash ${JSON.stringify({ command: `sleep ${ms / 2000}; echo done` })}`],
	];
	const made = await Promise.all(Array.from({ length: n }, async (_, i) => {
		const [kind, text] = kinds[i % kinds.length], mark = clients.mark();
		const s = await clients.create({ agent: stage[kind].id, environment_id: stage.environment.id,
			initial_events: [{ type: 'user.message', content: [{ type: 'text', text: `${mark}\n${text}` }] }] });
		return s && { id: s.id, mark, kind };
	}));
	if (made.some((m) => !m)) throw new Error(`no session: ${clients.last?.message}`);
	const ids = list(made.map((m) => m.id));
	await until('all of them are at work', async () => Number((await sql(`SELECT count(DISTINCT e.session_id) FROM event e
		JOIN session s ON s.id = e.session_id AND s.status = 'running' WHERE e.session_id IN (${ids})
		AND e.type = CASE WHEN s.agent_id = '${stage.scripted.id}' THEN 'agent.tool_use' ELSE 'span.model_request_start' END`))[0][0]) === n, 30_000);
	return made;
}

const owners = async (made) => new Map(await sql(`SELECT session_id, lease_owner FROM work WHERE session_id IN (${list(made.map((m) => m.id))})`));

const ways = {
	// stopped hard, and not started again by the supervisor
	async stopped(ms, meanwhile) {
		await sv('once', 'postgres');
		signal('postgres', 'SIGQUIT');
		await until('Postgres is gone', () => pidOf('postgres') < 2);
		meanwhile();
		await pause(ms);
		await sv('start', 'postgres');
		await until('it answers', () => sql('SELECT 1'), 60_000);
	},
	// it stands still: nothing is lost, nothing answered
	async still(ms, meanwhile) {
		meanwhile();
		await postgresStill(() => pause(ms));
	},
	// it works on, out of reach of all workers
	async unreachable(ms, meanwhile) {
		meanwhile();
		await without('roost_worker', ms);
	},
};

// ms: how long it is away. way: see above. kill: one worker dies with it. Returns what was measured, for people.
export async function postgresAway(x, { ms, way = 'stopped', sessions = 24, kill = false }) {
	const made = await crowd(x, sessions, ms), before = await owners(made);
	const victim = await busiest(), pid = pidOf(victim);
	let said;
	await ways[way](ms, () => {
		if (kill) signal(victim, 'SIGKILL');
		said = x.clients.say(made[0].id, 'said while it is away');	// 503 after retries, or kept when it is back: never half
	});
	const [[back]] = await sql('SELECT us(clock_timestamp())');
	await healthy();
	await said;
	if (kill) await restarted(victim, pid);
	for (const m of made) {
		m.status = await x.clients.settled(m.id, 2 * ms + 120_000);	// a repeated request takes its time again
		if (m.status !== 'idle') throw new Error(`${m.id} is ${m.status ?? 'not at rest'}`);
	}
	return judge(x, { made, before, back: Number(back), kill });
}

async function judge(x, { made, before, back, kill }) {
	const orphans = new Map((await sql(`SELECT session_id, min(us(processed_at)) FROM event WHERE type = 'session.status_rescheduled'
		AND session_id IN (${list(made.map((m) => m.id))}) GROUP BY 1`)).map(([id, at]) => [id, Number(at)]));
	const robbed = new Set([...orphans.keys()].map((id) => before.get(id)));
	if (robbed.size > (kill ? 1 : 0)) throw new Error(`the sessions of ${robbed.size} workers were taken over`);
	if (kill && orphans.size === 0) throw new Error('the dead worker had none of these sessions');
	const twice = made.filter((m) => m.kind === 'provider' && !orphans.has(m.id) && x.asked.get(m.mark) !== 1);
	if (twice.length > 0) throw new Error(`${twice.length} model requests were repeated: ${twice.map((m) => `${m.id} ${x.asked.get(m.mark)}`)}`);
	const again = await sql(`SELECT r.session_id, max(greatest(0, us(e.processed_at) - ${back})) / 1000 FROM event r JOIN event e ON e.session_id = r.session_id
		AND e.seq > r.seq AND e.type = 'session.status_running' WHERE r.type = 'session.status_rescheduled'
		AND r.session_id IN (${list([...orphans.keys(), ''])}) GROUP BY 1`);
	const last = Math.max(0, ...again.map(([, v]) => Number(v)));
	if (again.length < orphans.size || last > 3000) throw new Error(`${again.length} of ${orphans.size} sessions of the dead worker run again, after ${last} ms`);
	const lost = await sql(`SELECT session_id, count(*) FROM event WHERE type = 'agent.message' AND session_id IN (${list(made.map((m) => m.id))})
		GROUP BY 1`);
	if (lost.length < made.length) throw new Error(`${made.length - lost.length} messages were not answered`);
	return `${made.length} at work, ${orphans.size} taken over${kill ? `, the last of them after ${last} ms` : ''}`;
}
