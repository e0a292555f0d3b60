// Postgres away for as long as it says, with the leases of a real instance: AWAY="35 300" (seconds), SESSIONS=60. TAP. See README.md.
import { postgresAway } from './lib/away.mjs';
import { Actor } from './lib/load.mjs';
import { atRest, close, open } from './lib/scene.mjs';
import { finish, test } from './lib/tap.mjs';

const seconds = (process.env.AWAY ?? '35').split(' ').map(Number), sessions = Number(process.env.SESSIONS ?? 60);

const x = await open({ worker: 'lease_s = 30\nbeat_ms = 5000\npoll_ms = 1000\nmodel_stall_s = 120\n' });
let playing = true;		// an actor waits through one absence and a provider's stalls of two minutes each
const cast = [1, 2].map((n) => new Actor(x.clients, x.stage, n, { patience: Math.max(...seconds) * 1000 + 300_000 }).run(() => playing));
for (const s of seconds)
	for (const kill of [false, true])
		await test(`F51: Postgres away for ${s} s under load${kill ? ', a worker dies with it' : ''}: no take-over of the living, no request repeated`,
			() => postgresAway(x, { ms: s * 1000, sessions, kill }));
playing = false;
await Promise.all(cast);
await test('everything comes to rest, nothing lost or doubled (roostctl check)', () => atRest(x));
await close(x);
finish();
