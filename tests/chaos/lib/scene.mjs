// One chaos run: provider, catalogue, clients, history; and its end: quiet, then the verdict.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as pause } from 'node:timers/promises';
import { startProvider } from '../../provider/provider.mjs';
import { Clients } from './clients.mjs';
import { control, forget } from './failpoints.mjs';
import { heal } from './faults.mjs';
import { History } from './history.mjs';
import { check, prepare, quiet, roostctl, stateDir, violations } from './instance.mjs';
import { stage } from './load.mjs';

// The checkout that set the instance up.
const root = process.env.FROM ?? fileURLToPath(new URL('../../../', import.meta.url));

// settings: further lines for the conf of a kind of service, { worker: 'lease_s = 2\n' }; null: the instance stays as it was set up
export async function open(settings) {
	const dir = mkdtempSync(path.join(os.tmpdir(), 'roost-chaos-seen-'));
	const provider = await startProvider();
	const asked = new Map();			// a message's mark -> requests that ended with it
	provider.requests.push = ({ raw }) => {		// a soak's requests are not kept
		const mark = raw.match(/mk\d+x/g)?.at(-1);
		asked.set(mark, (asked.get(mark) ?? 0) + 1);
		return 0;
	};
	if (settings !== null) await prepare(control, settings);
	const catalogue = path.join(dir, 'catalogue.json');
	writeFileSync(catalogue, readFileSync(path.join(root, 'tests/e2e/catalogue.json'), 'utf8').replaceAll('@URL@', provider.url));
	execFileSync(roostctl, ['-c', path.join(stateDir, 'conf/roostctl.conf'), 'models', 'apply', catalogue]);
	const history = new History(process.env.ROOST_CHAOS_HISTORY ?? path.join(dir, 'history.jsonl'));
	const clients = new Clients(history);
	return { dir, provider, asked, history, clients, stage: await stage(clients.c) };
}

// What the views' comparison, the checker and the clients found; empty when all is well.
export async function verdict(x) {
	const found = [...x.clients.wrong];
	await heal();
	await quiet(90_000).catch((e) => found.push(e.message));
	await pause(5500);		// by then the hub has compared every stream with the log (I25)
	await Promise.all([...x.clients.readers].map((r) => r.close()));
	for (const v of x.clients.views) {
		await v.close();
		found.push(...await v.compare().catch((e) => (e.status === 404 ? [] : [`${v.session}: ${e.message}`])));
	}
	await x.history.flush();
	x.report = await check('--history', x.history.file);
	return [...found, ...violations(x.report)];
}

// For programs whose last test it is.
export async function atRest(x) {
	const found = await verdict(x);
	if (found.length > 0) throw new Error(found.slice(0, 20).join('\n'));
	return `${x.report.acknowledged} events acknowledged, ${x.report.read} read`;
}

export async function close(x) {
	await x.history.close();
	await x.provider.close();
	rmSync(x.dir, { recursive: true, force: true });
	forget();
}
