// The disk below Postgres: full (F17), failing at fsync (F20), gone with the machine's power (F40). Its data, WAL included, lies for a while
// on an ext4 of its own in a loop device, whose blocks are a sparse file in memory:
//   full         a file takes all of the ext4's room
//   failing      a file takes all the room below the device: blocks not written before fail, and fsync says EIO
//   power lost   the device's blocks as they are at one moment, with every process of Postgres stopped, are all that is left: what was in
//                the page cache and not synced is gone
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { below, healthy, pidOf, signal, sql, stateDir, sv, until } from './instance.mjs';

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

function attach(file, options) {
	const device = sh('losetup', '--find', '--show', file);
	sh('mount', '-o', `nosuid,nodev,${options}`, device, mount);
	sh('mount', '--bind', mount, data);
	return device;
}

function detach(device) {
	sh('umount', data);
	sh('umount', mount);
	sh('losetup', '--detach', device);
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

// fn(disk) with Postgres' data on such a disk of `mb` megabytes; afterwards it is back where it was, with what fn has added.
async function onDisk({ mb, journal = true }, fn) {
	const disk = {};
	await down();
	for (const dir of [memory, mount]) sh('mkdir', '-p', dir);
	sh('mount', '-t', 'tmpfs', '-o', `size=${mb * 2 + 64}m,mode=700`, 'roost-disk', memory);
	sh('truncate', '-s', `${mb}M`, image);
	sh('mkfs.ext4', '-q', '-F', '-m', '0', '-E', 'lazy_itable_init=0,nodiscard', ...(journal ? [] : ['-O', '^has_journal']), image);
	disk.device = sh('losetup', '--find', '--show', image);
	sh('mount', '-o', 'nosuid,nodev', disk.device, mount);
	sh('cp', '-a', `${data}/.`, mount);
	sh('chown', '--reference', data, mount);
	sh('chmod', '--reference', data, mount);
	sh('mount', '--bind', mount, data);
	try {
		await up();
		await healthy();
		return await fn(disk);
	} finally {
		await down();
		sh('rm', '-rf', `${data}.next`);
		sh('cp', '-a', mount, `${data}.next`);
		detach(disk.device);
		sh('umount', memory);
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
		empty();
		const seen = `writes ${tally(writes)}; reads ${tally(reads)}`;
		if (writes.some((s) => ![200, 503].includes(s)) || !writes.includes(503)) throw new Error(seen);
		if (pidOf('postgres') !== old) throw new Error(`Postgres went down; ${seen}`);
		if (reads.some((s) => s !== 200)) throw new Error(seen);
		await until('writes are taken again', async () => await say(x, c, id) === 200, 15_000);
		if (await x.clients.settled(id, 60_000) !== 'idle') throw new Error('the session does not go on');
		return seen;
	});
}
