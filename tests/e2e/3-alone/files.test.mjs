// A large file costs the gateways no memory (issue 4: 4 MiB at most for 500 MB). Alone, because the peak of a process is everybody's.
// ROOST_FILES_MB=500 for the whole size.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createWriteStream, openAsBlob, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { client, collect, unique } from '../lib/client.mjs';
import { ctl, newTenant } from '../lib/ctl.mjs';
import { healthy, killService, pidOf, services } from '../lib/service.mjs';
import { sql } from '../lib/sql.mjs';

const MB = Number(process.env.ROOST_FILES_MB ?? 64);
const c = client({ timeout: 600_000 });
const gateways = () => services().filter((s) => /^gateway-\d+$/.test(s)).map(pidOf);
const status = (pid, name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
let dir;

before(async () => { dir = await mkdtemp(path.join(tmpdir(), 'roost-large-')); });
after(() => rm(dir, { recursive: true, force: true }));

// How far the resident memory of any gateway rises above where it stood, in kB, while f runs.
async function rise(what, f) {
	const pids = gateways();
	const stood = new Map(pids.map((pid) => {
		writeFileSync(`/proc/${pid}/clear_refs`, '5');		// the peak begins anew
		return [pid, status(pid, 'VmRSS')];
	}));
	const began = performance.now();
	const got = await f();
	const s = (performance.now() - began) / 1000;
	const most = Math.max(...pids.map((pid) => status(pid, 'VmHWM') - stood.get(pid)));
	console.log(`${what} of ${MB} MB: ${s.toFixed(1)} s, ${(MB / s).toFixed(0)} MB/s, gateways' peak ${most} kB above rest`);
	assert.ok(most <= 4096, `${what}: ${most} kB`);
	return got;
}

test('up and down', { timeout: 600_000 }, async () => {
	const file = path.join(dir, 'large.bin');
	const out = createWriteStream(file);
	const hash = createHash('sha256');
	for (let i = 0; i < MB; i++) {
		const piece = Buffer.alloc(1_000_000, `${i} `);
		hash.update(piece);
		if (!out.write(piece)) await new Promise((resolve) => { out.once('drain', resolve); });
	}
	await new Promise((resolve) => { out.end(resolve); });
	const sha = hash.digest('hex');
	for (let i = 0; i < 8; i++) await c.files.delete((await c.files.upload({ file: new File(['warm'], 'warm') })).id);

	const f = await rise('upload', async () => c.files.upload({ file: new File([await openAsBlob(file)], 'large.bin') }));
	assert.equal(f.size_bytes, MB * 1_000_000);
	assert.deepEqual(await sql('SELECT b.sha256 FROM blob b JOIN file f ON f.blob_id = b.id WHERE f.id = :\'id\'', { id: f.id }), [[sha]]);
	await sql('UPDATE file SET downloadable = true WHERE id = :\'id\'', { id: f.id });		// as if a session had made it
	const down = createHash('sha256');
	await rise('download', async () => {
		const res = await c.files.download(f.id);
		assert.equal(res.headers.get('content-length'), String(f.size_bytes));
		for await (const piece of res.body) down.update(piece);
	});
	assert.equal(down.digest('hex'), sha);
	await c.files.delete(f.id);
});

test('gateways die under uploads: each is one file in the end', { timeout: 200_000 }, async () => {
	const t = await newTenant();
	const mine = client({ apiKey: t.apiKey, maxRetries: 8 });
	const sent = new Map();
	const upload = async (i) => {
		const bytes = Buffer.alloc(2_000_000 + i, `${i}`);
		const f = await mine.files.upload({ file: new File([bytes], `${i}.bin`) }, { headers: { 'idempotency-key': unique('upload') } });
		sent.set(f.id, createHash('sha256').update(bytes).digest('hex'));
	};
	let going = true;
	const uploads = (async () => {
		for (let round = 0; round < 6; round++) await Promise.all(Array.from({ length: 5 }, (_, i) => upload(round * 5 + i)));
		going = false;
	})();
	const kills = (async () => {
		for (let i = 0; going && i < 6; i++) {
			for (const s of services().filter((x) => /^gateway-\d+$/.test(x))) await killService(s);
			await new Promise((resolve) => { setTimeout(resolve, 700); });		// between two kills, uploads get somewhere
		}
	})();
	await Promise.all([uploads, kills]);
	await healthy();
	const rows = await sql('SELECT f.id, b.sha256 FROM file f JOIN blob b ON b.id = f.blob_id WHERE f.workspace_id = :\'w\'', { w: t.workspace });
	assert.deepEqual(new Map(rows), sent);
	assert.equal((await collect(mine.files.list({ limit: 7 }))).length, 30);
	const report = JSON.parse(await ctl('check', '--json').then((rows) => rows.flat().join('\t'), (e) => e.stdout));	// whatever else is violated
	for (const name of ['files', 'stored', 'blobs']) assert.deepEqual(report.checks.find((k) => k.name === name).offenders, [], name);
});
