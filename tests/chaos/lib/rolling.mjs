// Every process replaced under load by `ops/restart` (F38, F39, F61): callers with the SDK's default retries get no error of ours, streams
// no more than a reconnect.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Clients } from './clients.mjs';
import { pidOf, services } from './instance.mjs';
import { Actor } from './load.mjs';

const run = promisify(execFile);

// Single answers below the SDK's retries: status -> how often; 0: none came.
function counting() {
	const seen = new Map();
	const count = (status) => seen.set(status, (seen.get(status) ?? 0) + 1);
	return { seen, fetch: async (url, init) => {
		try {
			const res = await fetch(url, init);
			count(res.status);
			return res;
		} catch (e) {
			if (!init?.signal?.aborted) count(0);
			throw e;
		}
	} };
}

// What the load may get from races of its own making.
const OURS = (status) => status === 'connection' || status >= 500;

// fn under the load of some actors: throws when one of them got an error that is neither excused nor of its own making.
// refused: what callers may be told all the same when their retries are used up.
export async function underLoad(x, fn, { actors = 6, refused = [], seed = 7000, quick = false } = {}) {
	const { seen, fetch: counted } = counting();
	const clients = new Clients(x.history, { fetch: counted });
	let playing = true;
	const cast = Array.from({ length: actors }, (_, i) => new Actor(clients, x.stage, seed + i, { quick }));
	const load = Promise.all(cast.map((a) => a.run(() => playing)));
	let problem;
	try {
		await fn();
	} catch (e) {
		problem = e;
	}
	playing = false;
	await load;
	x.clients.adopt(clients);
	const errors = [...clients.refusals].filter(([status]) => OURS(status) && !refused.includes(status));
	const attempts = [...seen].filter(([status]) => status === 0 || status >= 500).map(([s, n]) => `${n} × ${s || 'no answer'}`).join(', ');
	const what = `${clients.ops} operations, ${[...seen.values()].reduce((a, b) => a + b, 0)} requests, answers that were retried: ${attempts || 'none'}`;
	if (errors.length > 0) problem ??= new Error(`clients got ${errors.map(([s, n]) => `${n} × ${s}`).join(', ')} (${clients.last?.message}); ${what}`);
	if (problem) throw problem;
	return what;
}

// One of ops/: its output when it succeeds.
export async function ops(name, args = [], env = {}, root = new URL('../../../', import.meta.url)) {
	try {
		return (await run(fileURLToPath(new URL(`ops/${name}`, root)), args, { env: { ...process.env, ...env }, timeout: 300_000 })).stdout;
	} catch (e) {
		throw new Error(`ops/${name}: ${e.stdout}${e.stderr || e.message}`);
	}
}

export const processes = () => services().map((s) => `${s} ${pidOf(s)}`);

export async function rolling(x, classes, options) {
	const before = processes();
	const what = await underLoad(x, () => ops('restart', classes), options);
	const same = processes().filter((s) => before.includes(s) && classes.some((c) => s.startsWith(c)) && !s.startsWith('nginx'));
	if (same.length > 0) throw new Error(`not replaced: ${same}`);
	return what;
}
