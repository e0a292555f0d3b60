// Postgres away for as long as it says, with the leases of a real instance: AWAY="35 300" (seconds), SESSIONS=60. TAP. See README.md.
import { postgresAway } from './lib/away.mjs';
import { Actor } from './lib/load.mjs';
import { close, open, verdict } from './lib/scene.mjs';

const seconds = (process.env.AWAY ?? '35').split(' ').map(Number), sessions = Number(process.env.SESSIONS ?? 60);
let passed = 0, failed = 0;
async function test(name, fn) {
	let more, problem;
	try {
		more = await fn();
		passed++;
	} catch (e) {
		failed++;
		problem = e.stack;
	}
	console.log(`${problem ? 'not ok' : 'ok'} ${passed + failed} - ${name}${more ? ` # ${more}` : ''}`);
	if (problem) console.log(problem.replace(/^/gm, '# '));
}

const x = await open({ worker: 'lease_s = 30\nbeat_ms = 5000\npoll_ms = 1000\nmodel_stall_s = 120\n' });
let playing = true;
const cast = [1, 2].map((n) => new Actor(x.clients, x.stage, n, { patience: Math.max(...seconds) * 1000 + 120_000 }).run(() => playing));
for (const s of seconds)
	for (const kill of [false, true])
		await test(`F51: Postgres away for ${s} s under load${kill ? ', a worker dies with it' : ''}: no take-over of the living, no request repeated`,
			() => postgresAway(x, { ms: s * 1000, sessions, kill }));
playing = false;
await Promise.all(cast);
await test('everything comes to rest, nothing lost or doubled (roostctl check)', async () => {
	const found = await verdict(x);
	if (found.length > 0) throw new Error(found.slice(0, 10).join('\n'));
	return `${x.report.acknowledged} events acknowledged, ${x.report.read} read`;
});
await close(x);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
