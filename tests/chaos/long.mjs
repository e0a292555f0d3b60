// F60, F61 and F62 with their full times, side by side: XMIN=3600 TOOL=600 DEPLOY=60 OUTAGE=1800 (seconds; 0: left out), SESSIONS=2000.
// TAP. See README.md.
import { heldBack } from './lib/xmin.mjs';
import { longTool } from './lib/longtool.mjs';
import { outage } from './lib/outage.mjs';
import { atRest, close, open } from './lib/scene.mjs';
import { finish, test } from './lib/tap.mjs';

const seconds = (name, full) => Number(process.env[name] ?? full) * 1000;
const xmin = seconds('XMIN', 3600), tool = seconds('TOOL', 600), away = seconds('OUTAGE', 1800);
const deploy = seconds('DEPLOY', 60), sessions = Number(process.env.SESSIONS ?? 2000);
const said = (ms) => `${ms / 1000} s`;

const x = await open({ worker: 'lease_s = 30\nbeat_ms = 1000\npoll_ms = 1000\nmodel_backoff_ms = 500\nmodel_retries = 1000\n',
	hands: `tool_timeout_ms = ${Math.max(600_000, tool + 60_000)}\n` });
await Promise.all([
	xmin && test(`F60: a snapshot held for ${said(xmin)}: turns go on as quickly, and what it kept is cleared afterwards`, () => heldBack(x, { ms: xmin })),
	tool && test(`F61: a tool that runs for ${said(tool)} while everything but hands is replaced every ${said(deploy)}: its result is the real one, once`,
		() => longTool(x, { ms: tool, every: deploy })),
	away && test(`F62: the provider away for ${said(away)}, ${sessions} sessions wait for it: no herd, all answered once, nobody pays for waiting`,
		() => outage(x, { ms: away, sessions, patience: 300_000 })),
]);
await test('everything comes to rest, nothing lost or doubled (roostctl check)', () => atRest(x));
await close(x);
finish();
