// A seeded random soak: actors live, the nemesis strikes, then everything must be as promised. See README.md.
import { setTimeout as pause } from 'node:timers/promises';
import { random } from './lib/clients.mjs';
import { struck } from './lib/failpoints.mjs';
import { faults } from './lib/faults.mjs';
import { Actor } from './lib/load.mjs';
import { close, open, verdict } from './lib/scene.mjs';

const seed = Number(process.env.SEED ?? 1), minutes = Number(process.env.MINUTES ?? 10), actors = Number(process.env.ACTORS ?? 16);
const only = process.env.FAULTS ? new RegExp(process.env.FAULTS) : undefined;
const rng = random(seed * 7919);

console.log(`seed ${seed}, ${minutes} minutes, ${actors} actors`);
const x = await open();
const end = performance.now() + minutes * 60_000;
const going = () => performance.now() < end;
const cast = Array.from({ length: actors }, (_, i) => new Actor(x.clients, x.stage, seed * 1000 + i));
const playing = Promise.all(cast.map((a) => a.run(going)));

const count = new Map();
const list = faults.filter((f) => !only || only.test(`${f.f} ${f.name}`));
let n = 0;
while (going() && list.length > 0) {
	await pause(100 + rng.below(800));
	let f = rng.pick(list);
	if (f.slow && rng.chance(0.7)) f = rng.pick(list);		// those that take long come less often
	const began = performance.now();
	await Promise.resolve(f.strike({ rng, ...x })).catch((e) => x.clients.wrong.push(`${f.name}: ${e.message}`));
	count.set(f, (count.get(f) ?? 0) + 1);
	console.log(`${new Date().toISOString().slice(11, 19)}  ${String(++n).padStart(4)}  ${f.f.padEnd(10)} ${f.name} (${Math.round(performance.now() - began)} ms)`);
}
await playing;

const found = await verdict(x);
const r = x.report;
console.log(`\nseed        ${seed}`);
console.log(`operations  ${x.clients.ops} (refused after retries: ${[...x.clients.refusals].map(([s, k]) => `${s} ${k}`).join(', ') || 'none'})`);
console.log(`sessions    ${cast.reduce((s, a) => s + a.sessions, 0)}, turns ${cast.reduce((s, a) => s + a.turns, 0)}, in the database ${r.sessions} with ${r.events} events`);
console.log(`faults      ${n} strikes of ${count.size} kinds, ${struck()} at failpoints`);
console.log(`history     ${r.history_lines} lines, ${r.acknowledged} events acknowledged (${r.flushed} flushed by contract, ${r.doubled} sent twice by a retry without key), ${r.read} read`);
console.log(`violations  ${found.length}`);
for (const v of found.slice(0, 100)) console.log(`  ${v}`);
await close(x);
process.exit(found.length > 0 ? 1 : 0);
