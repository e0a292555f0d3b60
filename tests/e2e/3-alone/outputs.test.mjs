// Files and outputs when the hands, or the worker that publishes, are killed (kill -9): nothing is lost that could be kept, nothing twice.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { toFile } from '@anthropic-ai/sdk';
import { bench, client, collect } from '../lib/client.mjs';
import { bash, script } from '../lib/script.mjs';
import { healthy, killService, services } from '../lib/service.mjs';
import { until } from '../lib/until.mjs';
import { Watch, calls } from '../lib/watch.mjs';

const c = client({ maxRetries: 3 });
const OUT = '/mnt/session/outputs';
let b;

const scoped = async (id) => (await collect(c.beta.files.list({ scope_id: id, betas: ['managed-agents-2026-04-01'] }))).filter((f) => f.downloadable);
const workers = () => services().filter((s) => s.startsWith('worker'));

async function play(session, ...steps) {
	const w = await Watch.open(c, session.id);
	const turn = await w.turn(script(...steps), { ms: 120_000 });
	w.close();
	return calls(turn);
}

before(async () => {
	await healthy();
	b = await bench(c);
});

describe('files under kill -9', () => {
	test('hands: the next sandbox has the same files', async () => {
		const f = await c.beta.files.upload({ file: await toFile(Buffer.from('kept'), 'f.txt') });
		const s = await b.session({ resources: [{ type: 'file', file_id: f.id, mount_path: 'f.txt' }] });
		const [first] = await play(s, bash('cat /mnt/session/uploads/f.txt; echo x > /workspace/lost'));
		assert.equal(first.text, 'kept');
		await killService('hands');
		await healthy();
		const [again] = await until('a sandbox works again', async () => {
			const got = await play(s, bash('cat /mnt/session/uploads/f.txt; ls /workspace'));
			return got[0].error ? undefined : got;
		}, 60_000);
		assert.equal(again.text, 'kept', 'the file is there, what was written is not');
	});

	test('hands and workers, while outputs are being published', async () => {
		const sessions = await Promise.all([...Array(6).keys()].map(() => b.session()));
		const turns = Promise.all(sessions.map((s, i) => play(s, bash(`for k in 1 2 3 4 5; do head -c 200k /dev/zero | tr '\\0' ${i} > ${OUT}/f$k; done; echo ok`))));
		const results = await turns;
		assert.ok(results.every(([r]) => r.text === 'ok\n'));
		// the turns are over: publishing is under way, or just done
		for (const w of workers()) await killService(w);
		await killService('hands');
		await healthy();
		for (const [i, s] of sessions.entries()) {
			// what had been copied when hands died is published by whoever asks next; what had not went with its sandbox
			const list = await until('the outputs settle', async () => {
				const one = await scoped(s.id);
				await new Promise((done) => { setTimeout(done, 300); });
				const two = await scoped(s.id);
				return one.length === two.length && two;
			});
			const names = list.map((f) => f.filename);
			assert.equal(new Set(names).size, names.length, `session ${i}: ${names.join()}`);
			for (const f of list) {
				const body = Buffer.from(await (await c.beta.files.download(f.id)).arrayBuffer());
				assert.equal(body.length, 204800);
				assert.ok(body.every((x) => x === 48 + i));
			}
		}
	});

	test('workers alone: every output is published, once', async () => {
		const sessions = await Promise.all([...Array(6).keys()].map(() => b.session()));
		const all = Promise.all(sessions.map((s) => play(s, bash(`for k in 1 2 3 4 5 6 7 8; do echo $k > ${OUT}/f$k; done; echo ok`))));
		await all;
		for (const w of workers()) await killService(w);
		await healthy();
		for (const s of sessions) {
			const list = await until('all eight', async () => {
				const got = await scoped(s.id);
				return got.length >= 8 && got;
			}, 60_000);
			assert.deepEqual(list.map((f) => f.filename).sort(), ['f1', 'f2', 'f3', 'f4', 'f5', 'f6', 'f7', 'f8']);
		}
	});
});
