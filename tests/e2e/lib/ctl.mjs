// The instance from its operator's side: roostctl (which needs root) and where its files are.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { realpathSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { unique } from './client.mjs';

const run = promisify(execFile);
export const root = fileURLToPath(new URL('../../..', import.meta.url));

// The folder with dev.env and the links to the instance's files (default: this checkout's own instance).
const varDir = path.resolve(process.env.ROOST_VAR ?? path.join(root, 'var'));
export const runDir = () => realpathSync(path.join(varDir, 'run'));
export const stateDir = () => realpathSync(path.join(varDir, 'lib'));

// Runs roostctl; its output's lines, split at tabs.
export async function ctl(...args) {
	const { stdout } = await run(path.join(stateDir(), 'bin/roostctl'), ['-c', path.join(stateDir(), 'conf/roostctl.conf'), ...args],
		{ maxBuffer: 16 << 20 });
	return stdout.split('\n').filter((l) => l !== '').map((l) => l.split('\t'));
}

// A second workspace of the same organization, with a key.
export async function newTenant() {
	const organization = (await ctl('org', 'list'))[0][0];
	const workspace = (await ctl('-q', 'workspace', 'create', organization, unique('other')))[0][0];
	const [[apiKey, keyId]] = await ctl('key', 'create', workspace, unique('key'));
	if (!apiKey || !/^apikey_/.test(keyId)) throw new Error('roostctl key create printed no key and id');
	return { workspace, apiKey, keyId };
}
