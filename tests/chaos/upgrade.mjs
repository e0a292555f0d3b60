// An instance of an earlier commit (with-instance has set it up) becomes one of this checkout under load, goes back to the old programs on
// the new schema, and forward again: F38. TAP. See README.md.
import { setTimeout as pause } from 'node:timers/promises';
import { sql } from './lib/instance.mjs';
import { ops, processes, underLoad } from './lib/rolling.mjs';
import { atRest, close, open } from './lib/scene.mjs';
import { finish, test } from './lib/tap.mjs';

const here = { ROOST_DEMO: '0', ROOST_QUIET: '1', ROOST_OUT: `${process.cwd()}/build/release/bin` };
const migrations = async () => Number((await sql('SELECT count(*) FROM schema_migration'))[0][0]);
const WARM_MS = Number(process.env.WARM_MS ?? 4000);

// Some load before, through and after.
async function step(x, name, args, seed) {
	const before = processes();
	let said = '';
	const what = await underLoad(x, async () => {
		await pause(WARM_MS);
		said = await ops(name, args, here);
		await pause(WARM_MS);
	}, { seed, quick: true });
	const same = processes().filter((s) => before.includes(s) && /^(gateway|stream|worker)/.test(s));
	if (same.length > 0) throw new Error(`not replaced: ${same}\n${said}`);
	return what;
}

const x = await open(null);
const old = await migrations();
await test(`${process.env.OLD} to this checkout under load`, async () => {
	const what = await step(x, 'up', [], 100);
	return `${await migrations() - old} migrations; ${what}`;
});
await test('back to the old programs on the new schema', () => step(x, 'rollback', [], 200));
await test('and forward again', () => step(x, 'up', [], 300));
await test('everything comes to rest, nothing lost or doubled (roostctl check)', () => atRest(x));
await close(x);
finish();
