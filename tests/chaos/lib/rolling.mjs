// Every process replaced under load by `ops/restart` (F38, F39, F61): callers with the SDK's default retries get no error of ours, streams
// no more than a reconnect.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { openSite } from '../../e2e/lib/mcp.mjs';
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

// Credentials made, asked for at their server through roost-egress and roost-vault, and archived, until playing() is over: each call must
// succeed within the SDK's retries. Returns how many were valid.
export async function validations(clients, playing, { loops = 3 } = {}) {
	const { vaults } = clients.c.beta, site = await openSite();
	let valid = 0;
	site.accept('good');
	await Promise.all(Array.from({ length: loops }, async (_, loop) => {
		const vault = await vaults.create({ display_name: clients.mark() });
		for (let n = 0; playing(); n++) {
			const { id } = await vaults.credentials.create(vault.id, { auth: { type: 'mcp_oauth', mcp_server_url: `${site.url}?${loop}.${n}`, access_token: 'good' } });
			for (let i = 0; i < 3; i++) {
				const { status } = await vaults.credentials.mcpOAuthValidate(id, { vault_id: vault.id });
				if (status !== 'valid') throw new Error(`a good credential is ${status}`);
				valid++;
			}
			await vaults.credentials.archive(id, { vault_id: vault.id });
		}
	}));
	return valid;
}

// fn under the load of some actors: throws when one of them got an error that is neither excused nor of its own making.
// refused: what callers may be told all the same when their retries are used up. also: more load, (clients, playing) => how much it was.
export async function underLoad(x, fn, { actors = 6, refused = [], seed = 7000, quick = false, also } = {}) {
	const { seen, fetch: counted } = counting();
	const clients = new Clients(x.history, { fetch: counted });
	let playing = true;
	const cast = Array.from({ length: actors }, (_, i) => new Actor(clients, x.stage, seed + i, { quick }));
	const load = Promise.all(cast.map((a) => a.run(() => playing)));
	let problem, more;
	const beside = also?.(clients, () => playing).then((n) => { more = `, ${n} validations`; }, (e) => { problem ??= e; });
	try {
		await fn();
	} catch (e) {
		problem ??= e;
	}
	playing = false;
	await load;
	await beside;
	x.clients.adopt(clients);
	const errors = [...clients.refusals].filter(([status]) => OURS(status) && !refused.includes(status));
	const attempts = [...seen].filter(([status]) => status === 0 || status >= 500).map(([s, n]) => `${n} × ${s || 'no answer'}`).join(', ');
	const what = `${clients.ops} operations${more ?? ''}, ${[...seen.values()].reduce((a, b) => a + b, 0)} requests, answers that were retried: ${attempts || 'none'}`;
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
	const what = await underLoad(x, async () => {
		for (let i = 0; i < (options?.times ?? 1); i++) await ops('restart', classes);
	}, options);
	const same = processes().filter((s) => before.includes(s) && classes.some((c) => s.startsWith(c)) && !s.startsWith('nginx'));
	if (same.length > 0) throw new Error(`not replaced: ${same}`);
	return what;
}
