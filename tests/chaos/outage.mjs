// The provider away for a while, with a real instance's times: OUTAGE=30 (seconds), SESSIONS=400. TAP. See README.md.
import { outage } from './lib/outage.mjs';
import { atRest, close, open } from './lib/scene.mjs';
import { finish, test } from './lib/tap.mjs';

const ms = Number(process.env.OUTAGE ?? 30) * 1000, sessions = Number(process.env.SESSIONS ?? 400);

const x = await open({ worker: 'lease_s = 30\nmodel_backoff_ms = 500\nmodel_retries = 20\n' });
for (const way of ['away', 'busy'])
	await test(`F62: the provider ${way} for ${ms / 1000} s, ${sessions} sessions wait for it: no herd, all answered, nobody pays for waiting`,
		() => outage(x, { ms, sessions, way, patience: 120_000 }));
await test('everything comes to rest, nothing lost or doubled (roostctl check)', () => atRest(x));
await close(x);
finish();
