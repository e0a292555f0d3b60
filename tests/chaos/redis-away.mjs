// Redis away for minutes under load (F22), with a real instance's times: REDIS_AWAY=120 (seconds). TAP. See README.md.
import { redisAway } from './lib/redisaway.mjs';
import { atRest, close, open } from './lib/scene.mjs';
import { finish, test } from './lib/tap.mjs';

const s = Number(process.env.REDIS_AWAY ?? 120);

const x = await open({ worker: 'lease_s = 30\nbeat_ms = 1000\npoll_ms = 1000\n', stream: 'sse_ping_ms = 5000\n' });
await test(`F22: Redis away for ${s} s under load: no message refused, streams go on by polling`, () => redisAway(x, { ms: s * 1000 }));
await test('everything comes to rest, nothing lost or doubled (roostctl check)', () => atRest(x));
await close(x);
finish();
