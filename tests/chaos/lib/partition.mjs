// One worker is cut off from Postgres, the others are not (F28): its connections stand, and nothing gets through, in no direction. When it
// has been silent for a lease the others take its sessions over. It is not told; what it had under way goes on, and what it has sent
// arrives when the way is open again, long after it was replaced. Nothing of that may count.
import { spawn } from 'node:child_process';
import { appendFileSync, chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as pause } from 'node:timers/promises';
import { busiest, healthy, restart, runDir, services, signal, sql, stateDir, until, workerOf } from './instance.mjs';

const LEASE_MS = 4000;		// instance.mjs sets lease_s
const SOCKET = '.s.PGSQL.5432';
const list = (ids) => ids.map((id) => `'${id}'`).join();
const conf = (service) => path.join(stateDir, 'conf', `${service}.conf`);

// fn({ cut(service), mend(service) }) runs while each worker's way to Postgres is one of its own.
async function withOwnWays(fn) {
	const dir = mkdtempSync(path.join(os.tmpdir(), 'roost-chaos-pg-')), ways = new Map(), before = new Map();
	const ident = path.join(stateDir, 'conf/pg_ident.conf');
	chmodSync(dir, 0o755);
	if (!readFileSync(ident, 'utf8').includes('root roost_worker')) appendFileSync(ident, 'roost root roost_worker\n');
	signal('postgres', 'SIGHUP');
	try {
		for (const service of services('worker')) {
			const own = mkdtempSync(path.join(dir, 'w-')), text = readFileSync(conf(service), 'utf8');
			chmodSync(own, 0o755);
			const proxy = spawn(process.execPath, [fileURLToPath(new URL('pgproxy.mjs', import.meta.url)), path.join(own, SOCKET), `${runDir}/pg/${SOCKET}`],
				{ stdio: ['ignore', 'pipe', 'inherit'] });
			ways.set(service, proxy);
			await new Promise((ready) => { proxy.stdout.once('data', ready); });
			before.set(service, text);
			writeFileSync(conf(service), `${text}\n${text.match(/^pg_dsn = .*$/m)[0].replace(`${runDir}/pg`, own)}\n`);
		}
		await restart(services('worker'));
		await healthy();
		await fn({ cut: (s) => ways.get(s).kill('SIGSTOP'), mend: (s) => ways.get(s).kill('SIGCONT') });
	} finally {
		for (const [service, text] of before) writeFileSync(conf(service), text);
		for (const proxy of ways.values()) proxy.kill('SIGCONT');
		await restart(services('worker'));
		for (const proxy of ways.values()) proxy.kill('SIGKILL');
		rmSync(dir, { recursive: true, force: true });
		await healthy();
	}
}

// Sessions at work: a model streams, or a tool runs that leaves a line behind. Both end after the lease has.
async function crowd({ clients, stage }, n) {
	const kinds = [
		['provider', `!provider {"word_ms":${Math.ceil((LEASE_MS + 1000) / 20)}}\n${'word '.repeat(20)}`],
		['scripted', `bash ${JSON.stringify({ command: `echo ran >> /workspace/n; sleep ${LEASE_MS / 1000 + 1}` })}\n\nbash {"command":"cat /workspace/n"}`],
	];
	const made = await Promise.all(Array.from({ length: n }, async (_, i) => {
		const [kind, text] = kinds[i % kinds.length], mark = clients.mark();
		const s = await clients.create({ agent: stage[kind].id, environment_id: stage.environment.id,
			initial_events: [{ type: 'user.message', content: [{ type: 'text', text: `${mark}\n${text}` }] }] });
		if (!s) throw new Error(`no session: ${clients.last?.message}`);
		return { id: s.id, kind };
	}));
	await until('all of them are at work', async () => Number((await sql(`SELECT count(DISTINCT e.session_id) FROM event e JOIN session s ON s.id = e.session_id
		WHERE s.status = 'running' AND e.session_id IN (${list(made.map((m) => m.id))}) AND e.type = CASE WHEN s.agent_id = '${stage.scripted.id}'
		THEN 'agent.tool_use' ELSE 'span.model_request_start' END`))[0][0]) === n, 20_000);
	return made;
}

async function judge(x, made, at) {
	const late = [];
	for (const m of made) {
		const log = (await until('the list is answered', () => x.clients.list(m.id))).data, of = (type) => log.filter((e) => e.type === type);
		const text = (type) => of(type).map((e) => e.content.map((b) => b.text).join('')).join('|');
		if (of('session.status_rescheduled').length !== 1) throw new Error(`${m.id} was taken over ${of('session.status_rescheduled').length} times`);
		if (of('session.status_idle').length !== 1 || (m.kind === 'provider' && of('agent.message').length !== 1))
			throw new Error(`${m.id}: ${log.map((e) => e.type).join(' ')}`);
		if (m.kind === 'scripted' && (of('agent.tool_result').length !== 2 || !text('agent.tool_result').endsWith('|ran\n'))) throw new Error(`${m.id}: ${JSON.stringify(text('agent.tool_result'))}`);
		const again = log.slice(log.findIndex((e) => e.type === 'session.status_rescheduled')).find((e) => e.type === 'session.status_running');
		late.push(Date.parse(again.processed_at) - at);	// the event before it has the time up to which the lost worker is paid
	}
	if (Math.min(...late) < LEASE_MS / 2 || Math.max(...late) > LEASE_MS + 2500)
		throw new Error(`at work again ${Math.min(...late)} to ${Math.max(...late)} ms after the cut`);
	return `${made.length} sessions at work again ${Math.min(...late)} to ${Math.max(...late)} ms after the cut`;
}

export async function partitioned(x, { sessions = 12 } = {}) {
	let what;
	await withOwnWays(async ({ cut, mend }) => {
		const all = await crowd(x, sessions), victim = await busiest(), name = workerOf(victim);
		const owners = new Map(await sql(`SELECT session_id, lease_owner FROM work WHERE session_id IN (${list(all.map((m) => m.id))})`));
		const made = all.filter((m) => owners.get(m.id) === name);
		if (made.length < 2) throw new Error(`${victim} has ${made.length} of ${all.length}`);
		cut(victim);
		const at = Date.now();
		for (const m of all) if (await x.clients.settled(m.id, 60_000) !== 'idle') throw new Error(`${m.id} does not come to rest`);
		const counts = () => sql(`SELECT count(*), sum(last_seq) FROM session WHERE id IN (${list(all.map((m) => m.id))})`).then((r) => r.join());
		const before = await counts();
		mend(victim);		// what it has sent arrives now
		await until('it beats again', async () => Number((await sql(`SELECT count(*) FROM worker WHERE id = '${name}'
			AND beat_at > clock_timestamp() - interval '1 s'`))[0][0]) === 1);
		await pause(1500);
		if (await counts() !== before) throw new Error('what the worker that was cut off had sent has counted');
		what = await judge(x, made, at);
	});
	return what;
}
