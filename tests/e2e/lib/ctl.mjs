// The instance from its operator's side: roostctl, and the processes of this instance (never anybody else's).
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { readFileSync, readdirSync, readlinkSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { unique } from './client.mjs';

const run = promisify(execFile);
export const root = fileURLToPath(new URL('../../..', import.meta.url));

// Where roostctl and the instance's folders are: told by tests/e2e/run, else those of this checkout's own instance.
const roostctl = process.env.ROOST_CTL ?? path.join(root, 'bin/roostctl');
export const runDir = () => realpathSync(process.env.ROOST_RUN_DIR ?? path.join(root, 'var/run'));

// Runs roostctl; its output's lines, split at tabs.
export async function ctl(...args) {
	const { stdout } = await run(roostctl, args, { maxBuffer: 16 << 20 });
	return stdout.split('\n').filter((l) => l !== '').map((l) => l.split('\t'));
}

// A second workspace of the same organization, with a key.
export async function newTenant() {
	const organization = (await ctl('org', 'list'))[0][0];
	const workspace = (await ctl('-q', 'workspace', 'create', organization, unique('other')))[0][0];
	const made = await ctl('key', 'create', workspace, unique('key'));
	const apiKey = made.flat().find((x) => x.startsWith('sk-ant-'));
	const keyId = made.flat().find((x) => x.startsWith('apikey_'));
	return { workspace, apiKey, keyId };
}

// All processes of the host: {pid, ppid, comm, args, cwd}.
export function processes() {
	const all = [];
	for (const pid of readdirSync('/proc').filter((n) => /^\d+$/.test(n))) {
		try {
			const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
			const ppid = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
			const comm = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
			const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter((a) => a !== '');
			let exe = '';
			try { exe = readlinkSync(`/proc/${pid}/exe`); } catch { /* gone, or a kernel thread */ }
			all.push({ pid: Number(pid), ppid, comm, args, exe });
		} catch { /* gone meanwhile */ }
	}
	return all;
}
