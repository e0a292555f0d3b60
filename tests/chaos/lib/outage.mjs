// The provider refuses everybody for a while, and many sessions wait for it (F62): when it is back they do not come all at once, each goes
// on by itself and is answered once, and nobody has paid for waiting.
import { setTimeout as pause } from 'node:timers/promises';
import { sql, until } from './instance.mjs';

const WINDOW_MS = 250;
// What most waits last at least: three quarters of `prepare`'s model_backoff_ms, what the provider asks for. A request may fail otherwise too,
// where the provider is late to answer, for one: what counts is the waits behind the error that is meant (away: any).
const LEAST_MS = { away: 30, busy: 1900 }, ERROR = { away: 'session.error', busy: 'model_overloaded_error' };
const list = (ids) => ids.map((id) => `'${id}'`).join();

// When requests come to the provider from now on.
function arrivals({ requests }) {
	const { push } = requests, at = [];
	requests.push = (r) => {
		at.push(performance.now());
		return push(r);
	};
	return { at, over: () => { requests.push = push; } };
}

// n sessions that ask the provider at once.
async function waiting({ clients, stage }, n) {
	const ids = [];
	let next = 0;
	await Promise.all(Array.from({ length: 16 }, async () => {
		while (next++ < n) {
			const mark = clients.mark();
			const s = await clients.create({ agent: stage.provider.id, environment_id: stage.environment.id,
				initial_events: [{ type: 'user.message', content: [{ type: 'text', text: `${mark}\njust words` }] }] });
			if (!s) throw new Error(`no session: ${clients.last?.message}`);
			ids.push(s.id);
		}
	}));
	await until('all of them have been sent back', async () => Number((await sql(`SELECT count(DISTINCT session_id) FROM event
		WHERE type = 'session.status_rescheduled' AND session_id IN (${list(ids)})`))[0][0]) === n, 30_000 + n * 30);
	return ids;
}

// The most requests within WINDOW_MS of each other.
function densest(at) {
	let most = 0;
	for (let from = 0, to = 0; to < at.length; to++) {
		while (at[to] - at[from] > WINDOW_MS) from++;
		most = Math.max(most, to - from + 1);
	}
	return most;
}

// What was billed, in ms, against the log: between two of its lines a session was at work or waited, and no more than its work may be billed.
// How slow a machine is does not matter to that.
async function paid(ids, error) {
	const [row] = await sql(`WITH seen AS (SELECT session_id, seq, type, us(processed_at) AS at, lag(body) OVER (PARTITION BY session_id ORDER BY seq) AS said
			FROM event WHERE type IN ('session.error', 'session.status_running', 'session.status_rescheduled', 'session.status_idle') AND session_id IN (${list(ids)})),
		step AS (SELECT session_id, type, said, at, lead(at) OVER (PARTITION BY session_id ORDER BY seq) AS next FROM seen WHERE type <> 'session.error'),
		log AS (SELECT session_id, sum(next - at) FILTER (WHERE type = 'session.status_running') AS work FROM step GROUP BY 1)
		SELECT sum(active_us) / 1000 / count(*), max(active_us) / 1000, greatest(0, max(active_us - work)) / 1000,
			(SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY next - at) FROM step
			  WHERE type = 'session.status_rescheduled' AND said LIKE '%${error}%') / 1000
		  FROM session JOIN log ON session_id = id`);
	const [billed, atMost, over, wait] = row.map((v) => Math.round(Number(v)));
	return { billed, atMost, over, wait };
}

const ways = {
	// nobody listens at its address
	async away({ provider }, fn) {
		const { port } = provider;
		await provider.close();
		await fn();
		await provider.start(port);
	},
	// it says when to come back
	async busy({ provider }, fn) {
		provider.fault({ fault: 'status', status: 529, retry_after: 2, times: Infinity });
		await fn();
		provider.queue.length = 0;
	},
};

// ms: from when all have been sent back. share: of the sessions, how many may come within a quarter of a second.
export async function outage(x, { ms, sessions, way = 'away', share = 0.12, patience = 90_000 }) {
	let ids;
	const began = performance.now();
	await ways[way](x, async () => {
		ids = await waiting(x, sessions);
		await pause(ms);
	});
	const back = performance.now(), seen = arrivals(x.provider);
	await until('all of them have been answered', async () => Number((await sql(`SELECT count(*) FROM session WHERE status = 'idle' AND id IN (${list(ids)})`))[0][0])
		=== sessions, patience);
	seen.over();
	const took = performance.now() - back, most = densest(seen.at);
	const logs = await sql(`SELECT session_id, count(*) FILTER (WHERE type = 'agent.message'), count(*) FILTER (WHERE type = 'session.status_rescheduled'),
		count(*) FILTER (WHERE type = 'session.status_idle' AND body LIKE '%end_turn%') FROM event WHERE session_id IN (${list(ids)}) GROUP BY 1`);
	const { billed, atMost, over, wait } = await paid(ids, ERROR[way]);
	const what = `${sessions} sessions waited ${Math.round((back - began) / 1000)} s and were sent back ${logs.reduce((n, l) => n + Number(l[2]), 0)} times; ` +
		`answered within ${Math.round(took)} ms of the return, at most ${most} requests in ${WINDOW_MS} ms; half of the waits ${wait} ms or more; billed ${billed} ms each, ${atMost} at most`;
	const wrong = logs.filter(([, answers, , done]) => answers !== '1' || done !== '1');
	if (wrong.length > 0) throw new Error(`${wrong.length} were not answered once: ${wrong.slice(0, 3).join(' ')}; ${what}`);
	if (most > Math.max(10, sessions * share)) throw new Error(`they came back together: ${what}`);
	if (over > 0 || wait < LEAST_MS[way]) throw new Error(`waiting was billed, ${over} ms of it: ${what}`);
	return what;
}
