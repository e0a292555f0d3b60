// A door for tests to what no request can reach: the instance's own database, as its owner (root may become the system user postgres
// trusts). Used to move time (an expiry) or sums (a quota), never to make what a request could have made.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { runDir } from './ctl.mjs';

const run = promisify(execFile);

// Rows as arrays of texts. values become psql variables: :'name' in the text.
export async function sql(text, values = {}) {
	const vars = Object.entries(values).flatMap(([k, v]) => ['-v', `${k}=${v}`]);
	const child = run('setpriv', ['--reuid=roost-pg', '--regid=roost-pg', '--clear-groups', 'psql', '-X', '-qAt', '-F', '\t', '-v', 'ON_ERROR_STOP=1',
		...vars, '-h', `${runDir()}/pg`, '-U', 'postgres', 'roost'], { cwd: '/' });
	child.child.stdin.end(text);
	const { stdout } = await child;
	return stdout.split('\n').filter((l) => l !== '').map((l) => l.split('\t'));
}
