// What the tests have seen: node report.mjs [--whole] FOLDER. FOLDER has a file of each test process (check.mjs). Prints the answers
// that were not valid (status 1), then how much there was; with --whole, the score of the contract and what is missing, which is kept in
// build/conformance/last.json too (node report.mjs --last prints that again).
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from './build.mjs';
import { ENDPOINTS } from './endpoints.mjs';
import { NOT_YET } from './missing.mjs';

const last = fileURLToPath(new URL('../../build/conformance/last.json', import.meta.url));

function add(into, from) {
	for (const [k, n] of Object.entries(from)) into[k] = (into[k] ?? 0) + n;
}

function merged(folder) {
	const all = { answers: 0, processes: 0, endpoints: {}, events: {}, stopReasons: {}, sessionErrors: {}, errors: {}, invalid: [] };
	for (const file of readdirSync(folder)) {
		const one = JSON.parse(readFileSync(path.join(folder, file), 'utf8'));
		all.processes++;
		all.answers += one.answers;
		for (const k of ['endpoints', 'events', 'stopReasons', 'sessionErrors', 'errors']) add(all[k], one[k]);
		all.invalid.push(...one.invalid.map((m) => `${path.basename(one.file ?? '?')}: ${m}`));
	}
	return all;
}

const keys = (table) => Object.keys(table).sort();
const why = (name) => NOT_YET.find((r) => (r.what instanceof RegExp ? r.what.test(name) : r.what === name))?.why ?? 'no test yet';

// Lines of "what is missing", those of one reason together.
function missing(names) {
	const by = new Map();
	for (const n of names) by.set(why(n), [...by.get(why(n)) ?? [], n]);
	return [...by].map(([reason, all]) => `    ${reason}: ${all.join(', ')}`);
}

function score(all, schemas) {
	const lines = [];
	const put = (title, got, names) => {
		const absent = names.filter((n) => !got(n));
		lines.push(`${String(names.length - absent.length).padStart(4)} of ${String(names.length).padEnd(3)} ${title}`, ...missing(absent));
		return names.length - absent.length;
	};
	const ok = (name) => all.endpoints[`${name} 2xx`] > 0;
	const refused = (name) => all.endpoints[`${name} 4xx`] > 0;
	const scored = ENDPOINTS.filter((e) => e.scored);
	const result = {};
	result.endpoints = put('endpoints exercised, every answer valid', (n) => ok(n) || refused(n), scored.map((e) => e.name));
	const groups = [...new Set(scored.map((e) => e.group))];
	result.replies = put('of them with a reply (2xx)', ok, scored.map((e) => e.name));
	lines.push(`       (${groups.map((g) => `${g} ${scored.filter((e) => e.group === g && ok(e.name)).length}/${scored.filter((e) => e.group === g).length}`).join(' · ')})`);
	result.refusals = put('of them with a refusal (4xx)', refused, scored.map((e) => e.name));
	const types = new Set(keys(all.events).map((k) => k.split(' ')[0]));
	const streamed = new Set(keys(all.events).filter((k) => k.endsWith(' streamed')).map((k) => k.split(' ')[0]));
	result.events = put('event types seen, all valid', (t) => types.has(t), schemas.events);
	lines.push(`       (${streamed.size} of them on a stream)`);
	result.stopReasons = put('stop reasons', (r) => all.stopReasons[r], schemas.stopReasons);
	const variants = new Set(keys(all.sessionErrors).map((k) => k.split(' ')[0]));
	result.sessionErrors = put('session.error variants', (v) => variants.has(v), schemas.sessionErrors);
	lines.push(`       (${keys(all.sessionErrors).join(' · ')})`);
	lines.push(`       error answers seen: ${keys(all.errors).join(' · ')}`);
	const more = ENDPOINTS.filter((e) => !e.scored && ok(e.name));
	if (more.length) lines.push(`       beyond the score: ${more.map((e) => e.name).join(', ')}`);
	return { lines, result };
}

const args = process.argv.slice(2);
const schemas = JSON.parse(readFileSync(path.join(await build(), 'schemas.json'), 'utf8'));
if (args[0] === '--last') {
	if (!existsSync(last)) throw new Error('there are no results yet: run the end-to-end tests');
	console.log(score(JSON.parse(readFileSync(last, 'utf8')), schemas).lines.join('\n'));
} else {
	const all = merged(args.at(-1));
	for (const m of all.invalid) console.log(`NOT VALID  ${m}`);
	const events = Object.values(all.events).reduce((a, b) => a + b, 0);
	console.log(`\nconformance: ${all.answers} answers and ${events} events validated against the SDK's types, ${all.invalid.length} not valid`);
	if (args[0] === '--whole') {
		console.log(score(all, schemas).lines.join('\n'));
		mkdirSync(path.dirname(last), { recursive: true });
		writeFileSync(last, JSON.stringify(all));
	}
	if (all.invalid.length || all.answers === 0) process.exitCode = 1;
}
