// The blob store's disk full to the last byte (F19): it lies for a while on a small file system in memory, with no reserve kept free. What is
// refused is refused whole, nobody loses a session, and with room everything goes on.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, readdirSync, rmSync, statfsSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { apiKey, baseURL, BETA, VERSION } from '../../e2e/lib/client.mjs';
import { healthy, services, stateDir, sv, until } from './instance.mjs';

const store = path.join(stateDir, 'blobs'), small = path.join(stateDir, 'blobs.small');
const USERS = ['gateway', 'worker', 'hands'];
const sh = (...args) => execFileSync(args[0], args.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] }).toString().trim();
const want = (ok, what) => { if (!ok) throw new Error(what); };
const confs = () => USERS.flatMap((u) => services(u)).map((s) => path.join(stateDir, 'conf', `${s}.conf`));

async function onSmallStore(mb, fn) {
	const users = USERS.flatMap((u) => services(u)), before = confs().map((f) => [f, readFileSync(f)]);
	await sv('-w', '20', 'stop', users);
	sh('mkdir', '-p', small);
	sh('mount', '-t', 'tmpfs', '-o', `size=${mb}m`, 'roost-store', small);
	sh('cp', '-a', `${store}/.`, small);
	sh('mount', '--bind', small, store);
	for (const [f, text] of before) writeFileSync(f, `${text}\nblob_spare_mb = 0\n`);
	try {
		await sv('start', users);
		await healthy();
		return await fn();
	} finally {
		await sv('-w', '20', 'stop', users);
		for (const [f, text] of before) writeFileSync(f, text);
		sh('umount', '-l', store);
		sh('cp', '-a', `${small}/.`, store);
		sh('umount', '-l', small);
		sh('rmdir', small);
		await sv('start', users);
		await healthy();
	}
}

// As a stream, so that nobody knows beforehand how much will come.
async function upload(size, announced) {
	const mark = '------chaos', head = `--${mark}\r\ncontent-disposition: form-data; name="file"; filename="big"\r\n\r\n`;
	const parts = [Buffer.from(head), ...Array.from({ length: size >> 18 }, () => randomBytes(1 << 18)), Buffer.from(`\r\n--${mark}--\r\n`)];
	const body = announced ? Buffer.concat(parts) : ReadableStream.from(parts);
	const res = await fetch(`${baseURL}/v1/files`, { method: 'POST', body, duplex: 'half', headers: { authorization: `Bearer ${apiKey}`,
		'anthropic-version': VERSION, 'anthropic-beta': `${BETA},files-api-2025-04-14`, 'content-type': `multipart/form-data; boundary=${mark}` } });
	return { status: res.status, ...(await res.json()) };
}

const bytes = () => Number(sh('sh', '-c', `find ${store}/?? -type f -printf '%s\\n' | awk '{ n += $1 } END { print n + 0 }'`));
const left = () => readdirSync(path.join(store, 'tmp'));
const roomLeft = () => { const { bavail, bsize } = statfsSync(store); return bavail * bsize; };

export function storeFull(x) {
	return onSmallStore(48, async () => {
		const { c } = x.clients;
		const bash = (command) => `bash ${JSON.stringify({ command })}`;
		const s = await x.clients.create({ agent: x.stage.scripted.id, environment_id: x.stage.environment.id });
		const outputs = async () => (await c.beta.files.list({ scope_id: s.id, betas: [BETA] })).data.map((f) => `${f.filename} ${f.size_bytes}`).sort().join();
		const put = async (name, mb) => {
			await x.clients.say(s.id, `${bash(`dd if=/dev/urandom of=/mnt/session/outputs/${name} bs=1M count=${mb} 2>/dev/null; echo made`)}\n\nmade ${name}`);
			want(await x.clients.settled(s.id, 60_000) === 'idle', `the session is not idle after ${name}`);
		};
		const first = await upload(1 << 20);
		want(first.status === 200, JSON.stringify(first));
		await put('one', 1);
		await until('an output is published', async () => await outputs() === 'one 1048576');
		const ballast = path.join(store, 'ballast');
		sh('fallocate', '-l', String(roomLeft() - (3 << 20)), ballast);
		const held = bytes(), ids = async () => (await c.beta.files.list({ betas: [BETA] })).data.map((f) => f.id).sort().join(), had = await ids();
		const seen = [await upload(8 << 20), await upload(8 << 20, true)];
		for (const r of seen) want(r.status === 503 && r.error?.type === 'api_error' && !/space|tmp|blob|errno/i.test(r.error.message), JSON.stringify(r));
		want(bytes() === held && left().length === 0 && await ids() === had, `parts of files: ${bytes() - held} bytes, ${left()}`);
		await put('two', 8);
		want(await outputs() === 'one 1048576' && bytes() === held && left().length === 0, `with a full store: ${await outputs()}, ${bytes() - held} bytes, ${left()}`);
		want((await c.beta.files.retrieveMetadata(first.id)).size_bytes === 1 << 20, 'a file of before is gone');
		await x.clients.say(s.id, 'still there?');
		want(await x.clients.settled(s.id, 30_000) === 'idle', 'the session does not go on');
		rmSync(ballast);
		want((await upload(8 << 20)).status === 200, 'with room, no upload');
		await put('three', 1);
		await until('outputs are published again', async () => /three 1048576/.test(await outputs()), 20_000);
		want(statSync(store).isDirectory() && left().length === 0, `left: ${left()}`);
		return `uploads ${seen.map((r) => r.status).join(', ')}; published in the end: ${await outputs()}`;
	});
}
