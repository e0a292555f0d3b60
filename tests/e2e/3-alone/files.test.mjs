// A large file costs the gateways no memory (issue 4: 4 MiB at most for 500 MB). Alone, because the peak of a process is everybody's.
// ROOST_FILES_MB=500 for the whole size.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createWriteStream, openAsBlob, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { client } from '../lib/client.mjs';
import { pidOf, services } from '../lib/service.mjs';
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
