// The disk below Postgres: full (F17), failing at fsync (F20), gone with the machine's power (F40). Its data, WAL included, lies for a while
// on an ext4 of its own in a loop device, whose blocks are a sparse file in memory:
//   full         a file takes all of the ext4's room
//   failing      a file takes all the room below the device: blocks not written before fail, and so does fsync
//   power lost   the device's blocks as they are at one moment, with every process of Postgres stopped, are all that is left: what was in
//                the page cache and not synced is gone
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { below, health, healthy, pidOf, signalAll, sql, stateDir, sv, until } from './instance.mjs';
import { Actor } from './load.mjs';

const data = path.join(stateDir, 'pg'), memory = path.join(stateDir, 'disk.memory'), mount = path.join(stateDir, 'disk');
const image = path.join(memory, 'image');
const sh = (...args) => execFileSync(args[0], args.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] }).toString().trim();

async function down() {
	await sv('-w', '30', 'stop', 'postgres');
	await until('Postgres is stopped', () => pidOf('postgres') < 2);
}

async function up() {
	await sv('start', 'postgres');
	await until('Postgres answers', () => sql('SELECT 1'), 60_000);
}

function attach(file) {
	const device = sh('losetup', '--find', '--show', file);
	sh('mount', '-o', 'nosuid,nodev', device, mount);
	sh('mount', '--bind', mount, data);
	return device;
}

// Somebody else's new mount name space may hold a copy of the mount for a moment: if for longer, it goes when they do.
async function unmount(dir) {
	try {
		await until(`${dir} is unmounted`, () => { sh('umount', dir); return true; }, 5000);
	} catch {
		sh('umount', '-l', dir);
	}
}

async function detach(device) {
	await unmount(data);
	await unmount(mount);
	sh('losetup', '--detach', device);		// when its last user is gone
}

// Why it cannot be shown here, or undefined.
export function missing() {
	try {
		sh('losetup', '--find');
		return undefined;
	} catch {
		return 'no loop devices';
	}
}

// fn(disk) with Postgres' data on such a disk of `mb` megabytes; afterwards it is back where it was, with what fn has added: as the device
// has it, not as the page cache has. single: the device is given one page at a time, and has all blocks that mkfs left out (failing).
async function onDisk({ mb, journal = true, single = false }, fn) {
	const disk = {};
	await down();
	for (const dir of [memory, mount]) sh('mkdir', '-p', dir);
	sh('mount', '-t', 'tmpfs', '-o', `size=${mb * 2 + 64}m,mode=700`, 'roost-disk', memory);
	sh('truncate', '-s', `${mb}M`, image);
	sh('mkfs.ext4', '-q', '-F', '-m', '0', '-E', 'lazy_itable_init=0,nodiscard', ...(journal ? [] : ['-O', '^has_journal']), image);
	if (single) sh('fallocate', '-l', `${mb}M`, image);
	disk.device = sh('losetup', '--find', '--show', image);
	if (single) writeFileSync(`/sys/block/${path.basename(disk.device)}/queue/max_sectors_kb`, '4');
	sh('mount', '-o', 'nosuid,nodev', disk.device, mount);
	sh('cp', '-a', `${data}/.`, mount);
	sh('chown', '--reference', data, mount);
	sh('chmod', '--reference', data, mount);
	sh('sync', '-f', mount);		// what initdb had made sure of
	sh('mount', '--bind', mount, data);
	try {
		await up();
		await healthy();
		return await fn(disk);
	} finally {
		await down();
		sh('rm', '-rf', `${data}.next`);
		await detach(disk.device);
		disk.device = attach(image);
		sh('cp', '-a', mount, `${data}.next`);
		await detach(disk.device);
		await unmount(memory);
		sh('rm', '-rf', `${data}.next/lost+found`, data, memory, mount);
		sh('mv', `${data}.next`, data);
		await up();
		await healthy();
	}
}

// Takes all room in the folder but `spare` bytes.
function fill(dir, spare) {
	const { bavail, bsize } = statfsSync(dir), file = path.join(dir, 'ballast');
	sh('fallocate', '-l', String(Math.max(bavail * bsize - spare, 4096)), file);
	return () => rmSync(file, { force: true });
}

// One message, large enough to need room, without retries: the status that its sender got.
async function say(x, c, id) {
	const mark = x.clients.mark(), text = `${mark}\n${randomBytes(150_000).toString('base64')}`;
	try {
		const { data: sent } = await c.beta.sessions.events.send(id, { events: [{ type: 'user.message', content: [{ type: 'text', text }] }] }, { maxRetries: 0 });
		x.clients.history.ack(id, sent, [mark]);
		return 200;
	} catch (e) {
		x.clients.history.fail(id, [mark]);
		return e.status ?? 0;
	}
}

async function session(x) {
	const s = await until('a session is made', () => x.clients.create({ agent: x.stage.scripted.id, environment_id: x.stage.environment.id }));
	return s.id;
}

const tally = (list) => [...list.reduce((m, v) => m.set(v, (m.get(v) ?? 0) + 1), new Map())].map(([v, n]) => `${n} × ${v}`).join(', ');

// Writes are refused with 503, reads go on; when there is room again everything works, nobody repairs anything.
export function full(x) {
	return onDisk({ mb: 512 }, async () => {
		const { c } = x.clients, id = await session(x), writes = [], reads = [];
		const old = pidOf('postgres'), empty = fill(data, 1 << 20);
		for (const end = performance.now() + 20_000; writes.filter((s) => s !== 200).length < 20 && performance.now() < end;) {
			writes.push(await say(x, c, id));
			reads.push(await c.beta.sessions.retrieve(id, {}, { maxRetries: 0 }).then(() => 200, (e) => e.status ?? 0));
			reads.push(await c.beta.sessions.events.list(id, { limit: 5 }, { maxRetries: 0 }).then(() => 200, (e) => e.status ?? 0));
		}
		const told = await health();
		empty();
		const seen = `writes ${tally(writes)}; reads ${tally(reads)}; readiness ${told.code}, ${told.checks.postgres?.status}`;
		if (told.code !== 503 || told.checks.postgres.status !== 'read_only') throw new Error(seen);
		if (writes.some((s) => ![200, 503].includes(s)) || !writes.includes(503)) throw new Error(seen);
		if (pidOf('postgres') !== old) throw new Error(`Postgres went down; ${seen}`);
		if (reads.some((s) => s !== 200)) throw new Error(seen);
		await until('writes are taken again', async () => await say(x, c, id) === 200, 15_000);
		await healthy(15_000);
		if (await x.clients.settled(id, 60_000) !== 'idle') throw new Error('the session does not go on');
		return seen;
	});
}

const physical = (file) => sh('filefrag', '-v', '-b4096', file).split('\n').map((l) => /^\s*\d+:\s+\d+\.\.\s*\d+:\s+(\d+)\.\.\s*(\d+):/.exec(l))
	.filter(Boolean).map(([, from, to]) => [Number(from) * 4096, (Number(to) - Number(from) + 1) * 4096]);

// All room that is left to files is made of blocks that the device cannot write: returns how to repair it. Given one page at a time, the
// device tells each one that it has not written; of a longer write that begins in good blocks and ends in such, Linux' loop says success.
function failing() {
	const room = path.join(mount, 'room'), free = fill(mount, 48 << 20);
	sh('fallocate', '-l', String(40 << 20), room);
	sh('sync', '-f', mount);
	for (const [at, length] of physical(room)) sh('fallocate', '--punch-hole', '-o', String(at), '-l', String(length), image);
	rmSync(room);
	const repair = fill(memory, 0);
	return () => { repair(); free(); };
}

// fsync fails: Postgres gives up what it cannot have written, and comes back by itself when the disk does. What was acknowledged is there,
// on the device, and not only in the page cache that took the failed writes (ops/roostctl/uncache.c).
export function broken(x) {
	return onDisk({ mb: 512, journal: false, single: true }, async () => {
		const { c } = x.clients, id = await session(x), writes = [], old = pidOf('postgres');
		for (let i = 0; i < 4; i++) writes.push(await say(x, c, id));
		const repair = failing();
		for (const end = performance.now() + 20_000; performance.now() < end && !writes.includes(503);) {
			writes.push(await say(x, c, id));
			await sql('CHECKPOINT', 'postgres').catch(() => writes.push(503));	// it asks for fsync, as time would
		}
		for (let i = 0; i < 5; i++) writes.push(await say(x, c, id));
		const panics = sh('sh', '-c', `grep -ch PANIC ${path.join(stateDir, 'log/postgres/current')} || true`);
		repair();
		await until('writes are taken again', async () => await say(x, c, id) === 200, 60_000);
		if (await x.clients.settled(id, 60_000) !== 'idle') throw new Error('the session does not go on');
		if (Number(panics) === 0) throw new Error(`the disk did not fail: writes ${tally(writes)}`);
		if (writes.some((s) => ![200, 503].includes(s))) throw new Error(`writes ${tally(writes)}`);
		return `writes ${tally(writes)}, ${panics} PANIC, ${pidOf('postgres') === old ? 'recovered' : 'started again'}`;
	});
}

// What the device has been given to write so far, and what of it is under way.
function writes(device) {
	const f = readFileSync(`/sys/block/${path.basename(device)}/stat`, 'utf8').trim().split(/\s+/);
	return `${f[4]} ${f[8]}`;
}

// The device as it is at one moment: when the kernel has written pages meanwhile, that was not one.
async function moment(device, to) {
	for (let i = 0; i < 50; i++) {
		const before = writes(device);
		sh('cp', '--sparse=always', image, to);
		if (before.endsWith(' 0') && writes(device) === before) return;
		await pause(100);
	}
	throw new Error('the device never rests');
}

// The machine goes down: Postgres' processes stop between two instructions, and only what the device holds is left.
async function cut(disk) {
	const lost = `${image}.lost`, postmaster = pidOf('postgres');
	await sv('once', 'postgres');
	signalAll([postmaster], 'SIGSTOP');		// who is stopped makes no more of them
	const pids = [...below(postmaster), postmaster];
	signalAll(pids, 'SIGSTOP');
	await moment(disk.device, lost);
	signalAll(pids, 'SIGKILL');
	await until('Postgres is gone', () => pidOf('postgres') < 2);
	await detach(disk.device);
	sh('mv', lost, image);
	disk.device = attach(image);
	await up();
	await healthy();
}

export function powerLost(x, times = 3) {
	return onDisk({ mb: 512 }, async (disk) => {
		let playing = true;
		const cast = Array.from({ length: 6 }, (_, i) => new Actor(x.clients, x.stage, 8000 + i));
		const large = async () => {		// messages of many pages each
			for (let n = 0, id; playing; n++) {
				if (n % 8 === 0) id = await session(x);
				await say(x, x.clients.c, id);
				await pause(150);
			}
		};
		const load = Promise.all([...cast.map((a) => a.run(() => playing)), large()]);
		for (let i = 0; i < times; i++) {
			await pause(1500 + i * 700);
			await cut(disk);
		}
		playing = false;
		await load;
		return `${times} times under load`;
	});
}
