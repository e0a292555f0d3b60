// What an agent writes below /mnt/session/outputs becomes files of its session (contract 2.6, 4.6).
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { randomBytes } from 'node:crypto';
import { toFile } from '@anthropic-ai/sdk';
import { bench, client, collect } from '../lib/client.mjs';
import { bash, call, script } from '../lib/script.mjs';
import { refused } from '../lib/sdkerror.mjs';
import { until } from '../lib/until.mjs';
import { Watch, calls } from '../lib/watch.mjs';

const c = client();
const OUT = '/mnt/session/outputs';
let b;

const scoped = (id) => collect(c.beta.files.list({ scope_id: id, betas: ['managed-agents-2026-04-01'] }));
const bytes = async (id) => Buffer.from(await (await c.beta.files.download(id)).arrayBuffer());

async function play(session, ...steps) {
	const w = await Watch.open(c, session.id);
	const turn = await w.turn(script(...steps), { ms: 120_000 });
	w.close();
	return calls(turn);
}

// The session's outputs, newest first, once there are n; publishing may lag the idle event a little.
async function outputs(session, n) {
	return until(`${n} outputs`, async () => {
		const list = (await scoped(session.id)).filter((f) => f.downloadable);
		return list.length >= n && list;
	});
}

before(async () => { b = await bench(c); });

describe('outputs', { concurrency: 4 }, () => {
	test('written, listed, downloaded, byte for byte', async () => {
		const blob = randomBytes(300_000);
		const up = await c.beta.files.upload({ file: await toFile(blob, 'in.bin') });
		const s = await b.session({ resources: [{ type: 'file', file_id: up.id, mount_path: 'in.bin' }] });
		await play(s, call('write', { file_path: `${OUT}/report.md`, content: '# Hello\n' }),
			bash(`mkdir -p ${OUT}/a/b; cp /mnt/session/uploads/in.bin ${OUT}/a/b/copy.png; : > ${OUT}/empty`));
		const list = await outputs(s, 3);
		const by = Object.fromEntries(list.map((f) => [f.filename, f]));
		assert.deepEqual(Object.keys(by).sort(), ['copy.png', 'empty', 'report.md']);
		assert.deepEqual({ mime: by['report.md'].mime_type, size: by['report.md'].size_bytes, scope: by['report.md'].scope, expires: by['report.md'].expires_at ?? null },
			{ mime: 'text/markdown', size: 8, scope: { type: 'session', id: s.id }, expires: null });
		assert.equal(by['copy.png'].mime_type, 'image/png');
		assert.equal((await bytes(by['report.md'].id)).toString(), '# Hello\n');
		assert.ok((await bytes(by['copy.png'].id)).equals(blob));
		assert.equal((await bytes(by.empty.id)).length, 0);
		assert.equal((await scoped(s.id)).length, 4, 'with the mounted copy');
		await c.beta.sessions.delete(s.id);
		await refused(c.beta.files.retrieveMetadata(by['report.md'].id), 404, /not found/i);
	});

	test('once per content, again when it changes', async () => {
		const s = await b.session();
		await play(s, bash(`echo one > ${OUT}/f.txt`));
		const [first] = await outputs(s, 1);
		await play(s, bash(`touch ${OUT}/f.txt; echo one > ${OUT}/f.txt`));
		await play(s, bash(`echo two > ${OUT}/f.txt; echo x > ${OUT}/g.txt`));
		const list = await outputs(s, 3);
		assert.equal(list.length, 3, list.map((f) => f.filename).join());
		const [g, f2] = ['g.txt', 'f.txt'].map((n) => list.find((f) => f.filename === n));
		assert.ok(g);
		assert.notEqual(f2.id, first.id, 'newest first');
		assert.equal((await bytes(f2.id)).toString(), 'two\n');
		assert.equal((await bytes(first.id)).toString(), 'one\n', 'what was handed out stays');
	});

	test('nothing but plain files', async () => {
		const s = await b.session();
		const [, told] = await play(s, bash(`cd ${OUT}; ln -s /etc/passwd l; mkfifo p; ln -s / d; truncate -s 500G sparse; echo ok > ok; printf x > "$(printf 'a\\nb')"`), bash('true'));
		const list = await outputs(s, 2);
		assert.deepEqual(list.map((f) => f.filename).sort(), ['a_b', 'ok']);
		assert.equal(told.error, false);
		const [next] = await play(s, bash('echo next'));
		assert.match(next.text, /^\[1 file in \/mnt\/session\/outputs could not be handed to the user: it is too large\.\]\nnext\n$/);
	});

	test('a session without outputs has no files', async () => {
		const s = await b.session();
		await play(s, bash('echo x > /workspace/not-an-output'));
		await play(s, 'no tool at all');
		assert.deepEqual(await scoped(s.id), []);
	});
});
