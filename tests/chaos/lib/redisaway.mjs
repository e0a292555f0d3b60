// Redis away for as long as it says while clients work (F22): no message is refused, none waits a second longer than before, streams go on
// from the log, and afterwards everything is as fast as it was.
import { setTimeout as pause } from 'node:timers/promises';
import { Clients } from './clients.mjs';
import { healthy, sv, until } from './instance.mjs';
import { Actor } from './load.mjs';

const BEFORE_MS = 5000, LATER_MS = 1000;
const STREAM_MS = 6000;		// a hub compares each stream with the log every sse_ping_ms at the latest (I25)
const text = 'just words';

// Single answers to messages, below the SDK's retries: { at, ms, status }; status 0: none came.
function watched(sends) {
	return async (url, init) => {
		const at = performance.now(), mine = init?.method?.toUpperCase() === 'POST' && /\/events(\?|$)/.test(`${url}`);
		const note = (status) => { if (mine) sends.push({ at, ms: performance.now() - at, status }); };
		try {
			const res = await fetch(url, init);
			note(res.status);
			return res;
		} catch (e) {
			if (!init?.signal?.aborted) note(0);
			throw e;
		}
	};
}

// Of a short list too, one or two that a machine held up are not what it is about.
const p99 = (list) => list.map((s) => s.ms).sort((a, b) => a - b)[Math.max(0, Math.min(Math.floor(list.length * 0.99), list.length - 3))] ?? 0;

// How long a stream that is open takes to show that a new message was answered.
async function shown(x, view, ms) {
	const from = view.parts.flat().length, began = performance.now();
	await x.clients.say(view.session, text);
	await until('the stream shows the idle event', () => view.parts.flat().slice(from).some((e) => e.type === 'session.status_idle'), ms);
	return Math.round(performance.now() - began);
}

const redisIs = async (want) => (await (await fetch(`${process.env.ROOST_BASE_URL}/healthz`)).json()).checks.redis.status === want;

export async function redisAway(x, { ms, actors = 6 }) {
	const sends = [], clients = new Clients(x.history, { fetch: watched(sends) });
	const session = await clients.create({ agent: x.stage.scripted.id, environment_id: x.stage.environment.id });
	const view = clients.view(session.id);
	await until('the SDK streams', () => view.parts.length > 0);
	let playing = true;
	const load = Promise.all(Array.from({ length: actors }, (_, i) => new Actor(clients, x.stage, 8500 + i).run(() => playing)));
	const streamed = [];
	let down, up, problem, usual;
	try {
		await pause(BEFORE_MS);
		usual = await shown({ clients }, view, STREAM_MS);
		down = performance.now();
		await sv('-w', '10', 'force-stop', 'redis');
		await until('readiness says so', () => redisIs('down'));
		while (performance.now() - down < ms) {
			streamed.push(await shown({ clients }, view, STREAM_MS + 4000));
			await pause(Math.min(1000, Math.max(0, down + ms - performance.now())));
		}
		up = performance.now();
		await sv('start', 'redis');
		await until('readiness says that it is back', () => redisIs('ok'));
		await healthy();
		await until('the stream is as fast as with Redis', async () => await shown({ clients }, view, STREAM_MS) < Math.max(1500, 2 * usual));
		await pause(1000);
	} catch (e) {
		problem = e;
	}
	playing = false;
	await load;
	x.clients.adopt(clients);
	if (problem) throw problem;
	const refused = sends.filter((s) => s.status === 0 || s.status >= 500 || s.status === 429);
	const during = sends.filter((s) => s.at >= down && s.at < up), before = sends.filter((s) => s.at < down);
	const what = `${during.length} messages meanwhile, p99 ${Math.round(p99(during))} ms (${Math.round(p99(before))} before), ` +
		`answers streamed after ${Math.min(...streamed)} to ${Math.max(...streamed)} ms`;
	if (refused.length > 0) throw new Error(`${refused.length} messages were refused: ${refused.slice(0, 9).map((s) => s.status)}; ${what}`);
	if (p99(during) > p99(before) + LATER_MS) throw new Error(`messages took too long: ${what}`);
	if (Math.max(...streamed) > STREAM_MS) throw new Error(`streams fell behind: ${what}`);
	return what;
}
