// The control file of the instance's failpoints (lib/base/failpoint.h), and the marks that say that one was reached.
import { chmodSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const dir = mkdtempSync(path.join(os.tmpdir(), 'roost-chaos-'));
chmodSync(dir, 0o777);		// every system user of the instance leaves its marks here
export const control = path.join(dir, 'points');
const log = `${control}.log`, metFile = `${control}.met`;
let version = 0;

function write(text) {
	const next = `${control}.${++version}`;
	writeFileSync(next, text);
	chmodSync(next, 0o644);
	renameSync(next, control);
}

for (const f of [log, metFile]) {
	writeFileSync(f, '');
	chmodSync(f, 0o666);
}
write('');

// Every `point/place` that any process has come to so far, struck or not; of a worker the place is the state of a turn.
export const met = () => new Set(readFileSync(metFile, 'utf8').split('\n').filter(Boolean));

const mark = (point) => `${control}.${point.replace('/', '.')}`;

// Each line: `point action [when] [seed]`.
export function arm(...lines) {
	for (const line of lines.filter(Boolean)) rmSync(mark(line.split(' ')[0]), { force: true });
	write(`${lines.join('\n')}\n`);
}
export const disarm = () => write('');
export const reached = (point) => existsSync(mark(point));
// How often any of them has struck.
export const struck = () => readFileSync(log, 'utf8').split('\n').length - 1;
export const forget = () => rmSync(dir, { recursive: true, force: true });
