// The processes of the instance under test, by the supervisor's own records (never by name: other instances may run beside this one).
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { runDir } from './ctl.mjs';
import { get } from './http.mjs';
import { until } from './until.mjs';

const record = (service) => path.join(runDir(), 'supervise', service, 'pid');

// Names of the running services: gateway-0, postgres, ...
export function services() {
	return readdirSync(path.join(runDir(), 'service')).sort();
}

export function pidOf(service) {
	const pid = Number(readFileSync(record(service), 'utf8'));
	if (!(pid > 1)) throw new Error(`${service} is not running`);
	return pid;
}

// Is this process the program itself? Its run script first ends what the one before has left, like nginx's workers, who still answer.
function begun(pid) {
	try {
		return pid > 1 && !['dash', 'bash', 'env', 'unshare', 'setpriv'].includes(path.basename(readlinkSync(`/proc/${pid}/exe`)));
	} catch {
		return false;
	}
}

// kill -9 the service's process and wait until another one has taken its place.
export async function killService(service) {
	const old = pidOf(service);
	process.kill(old, 'SIGKILL');
	await until(`${service} is started again`, () => pidOf(service) !== old && begun(pidOf(service)));
	return old;
}

// The whole instance answers again: the API serves, every process but those is there, and that was looked at after this began (age_ms).
export async function healthy(without = []) {
	const began = performance.now();
	await until('healthz says that all is well', async () => {
		const { status, json } = await get('/healthz', { ms: 3000 });
		return status === 200 && json.age_ms <= performance.now() - began &&
			['redis', 'worker', 'hands', 'egress'].every((part) => json.checks[part].status === (without.includes(part) ? 'down' : 'ok'));
	}, 60_000);
}
