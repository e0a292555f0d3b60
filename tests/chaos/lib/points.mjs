// Every failpoint, at every state of a turn in which it can be reached, with a way to get there: { point, way }. The scenarios are small
// lives of one session; they return the session and the status in which it must come to rest.
import { closeAll, openSite } from '../../e2e/lib/mcp.mjs';
import { redisFull, sql, until } from './instance.mjs';

const bash = (command) => `bash ${JSON.stringify({ command })}`;
const message = (mark, text) => ({ type: 'user.message', content: [{ type: 'text', text: `${mark}\n${text}` }] });

function must(got, what, x) {
	if (!got) throw new Error(`${what} was not answered: ${x.clients.last?.message}`);
	return got;
}

// A subscriber that is there.
async function watch(x, id) {
	const r = x.clients.read(id);
	await until('the stream is open', () => r.sub !== undefined);
}

async function session(x, kind = 'scripted') {
	const s = must(await x.clients.create({ agent: x.stage[kind].id, environment_id: x.stage.environment.id }), 'the create', x);
	return s.id;
}

const say = async (x, id, text) => must(await x.clients.say(id, text), 'the message', x);

async function resting(x, id, stop = 'end_turn') {
	await x.clients.settled(id, 30_000);
	const log = (await until('the list is answered', () => x.clients.list(id))).data;
	const got = log.at(-1)?.stop_reason;
	if (got?.type !== stop) throw new Error(`rests with ${JSON.stringify(got ?? log.at(-1)?.type)}, not ${stop}`);
	return got.event_ids;
}

export const ways = {
	async plain(x) {
		const id = await session(x);
		await say(x, id, 'some words');
		return { id, want: 'idle' };
	},
	async watched(x) {
		const id = await session(x);
		await watch(x, id);
		await say(x, id, 'some words');
		return { id, want: 'idle' };
	},
	// A change of the session itself: its transaction is of several statements with a commit of its own, as sends and creates have none.
	async titled(x) {
		const { id } = await ways.plain(x);
		must(await x.clients.op('update', () => x.clients.c.beta.sessions.update(id, { title: 'a title' })), 'the update', x);
		return { id, want: 'idle' };
	},
	async first(x) {
		const mark = x.clients.mark();
		const s = must(await x.clients.create({ agent: x.stage.scripted.id, environment_id: x.stage.environment.id, initial_events: [message(mark, 'hi')] }),
			'the create', x);
		return { id: s.id, want: 'idle' };
	},
	async tool(x) {
		const id = await session(x);
		await say(x, id, `${bash('echo one')}\n${bash('sleep 0.3; echo two')}\n\n${bash('echo three')}`);
		return { id, want: 'idle' };
	},
	async ask(x) {
		const id = await session(x, 'asking');
		await say(x, id, `${bash('echo asked')}\n\nafter it`);
		const ids = await resting(x, id, 'requires_action');
		must(await x.clients.send(id, ids.map((i) => ({ type: 'user.tool_confirmation', tool_use_id: i, result: 'allow' }))), 'the answer', x);
		return { id, want: 'idle' };
	},
	async interrupt(x) {
		const id = await session(x);
		await say(x, id, bash('sleep 20'));
		await until('the call is listed', async () => (await x.clients.list(id))?.data.some((e) => e.type === 'agent.tool_use'), 30_000);
		must(await x.clients.send(id, [{ type: 'user.interrupt' }]), 'the interrupt', x);
		return { id, want: 'idle' };
	},
	async retry(x) {
		const id = await session(x, 'provider');
		await say(x, id, '!provider {"fault":"status","status":529}\nsome words');
		return { id, want: 'idle' };
	},
	async terminal(x) {
		const id = await session(x, 'provider');
		await say(x, id, '!provider {"fault":"status","status":400,"message":"prompt is too long","times":9}\nsome words');
		return { id, want: 'terminated' };
	},
	async archive(x) {
		const id = await session(x);
		await say(x, id, bash('echo x'));
		await resting(x, id);
		must(await x.clients.op('archive', () => x.clients.c.beta.sessions.archive(id)), 'the archive', x);
		return { id, want: 'terminated' };
	},
	// Looked at without need: a claim finds nothing to do.
	async nothing(x) {
		const id = await session(x);
		await sql(`WITH s AS (UPDATE session SET at_work = true WHERE id = '${id}' RETURNING workspace_id, id) INSERT INTO work (workspace_id, session_id, due_at)
			SELECT workspace_id, id, clock_timestamp() FROM s`);
		return { id, want: 'idle' };
	},
	// Its client comes back at once: the lease is kept after a turn, found by the next one, which its message opens or, where that is longer, is
	// told or, where it is too long for that, read; and given back at last. Not from the start: for a moment after a worker's end the others
	// believe that it is the one to keep the session. And not each time: who comes before the worker has heard that its turn has ended, or after
	// it gave the lease back, is read or claimed. Until it was met.
	async back(x, met = () => true) {
		const id = await session(x), held = `SELECT count(*) FROM work WHERE session_id = '${id}'`;
		const turn = async (text = 'some words') => {
			await say(x, id, text);
			await resting(x, id);
			return (await sql(held))[0][0] !== '0';
		};
		for (let round = 0; round === 0 || (round < 20 && !met()); round++) {
			await until('the lease is kept', () => turn(), 20_000);
			await turn();
			await turn('word '.repeat(1200));
			await turn('word '.repeat(4000));
			await until('nobody has the session', async () => (await sql(held))[0][0] === '0', 15_000);
		}
		return { id, want: 'idle' };
	},
	// The inbox of an idle session moves all the time: the close is refused and the lease given back. That is a race: until it was met.
	async storm(x, met = () => true) {
		const id = await session(x);
		for (let round = 0; round < 20 || (round < 1000 && !met()); round++)
			await Promise.all([1, 2, 3, 4].map((n) => x.clients.op('update', () => x.clients.c.beta.sessions.update(id, { title: `${round} ${n}` }))));
		return { id, want: 'idle' };
	},
	// What the agent put out is a file of the session, whoever dies on the way, and is so once.
	async outputs(x) {
		const id = await session(x);
		await say(x, id, bash('echo x > /mnt/session/outputs/x; echo y > /mnt/session/outputs/y'));
		await resting(x, id);
		const listed = async () => (await x.clients.op('files', () => x.clients.c.beta.files.list({ scope_id: id, betas: ['managed-agents-2026-04-01'] })))?.data ?? [];
		const files = await until('both outputs are published', async () => { const all = await listed(); return all.length >= 2 && all; }, 30_000);
		const names = files.map((f) => f.filename).sort().join();
		if (names !== 'x,y') throw new Error(`published: ${names}`);
		return { id, want: 'idle' };
	},
	// At work while its worker looks for whole minutes, which it does every ten seconds.
	async slow(x, met = () => true) {
		const id = await session(x);
		for (let i = 0; i < 20 && (i === 0 || !met()); i++) {
			await say(x, id, bash('sleep 2'));
			await x.clients.settled(id, 30_000);
		}
		return { id, want: 'idle' };
	},
	// Its calls are put to a judging model first.
	async judged(x) {
		const id = await session(x, 'judged');
		await say(x, id, `${bash('echo one')}\n${bash('echo two')}`);
		return { id, want: 'idle' };
	},
	// Its model's window fills: what was said is summarised.
	async summary(x) {
		const id = await session(x, 'narrow');
		for (let i = 0; i < 12 && !((await x.clients.list(id))?.data ?? []).some((e) => e.type === 'agent.thread_context_compacted'); i++) {
			await say(x, id, Array(200).fill(`w${i}`).join(' '));
			await x.clients.settled(id, 30_000);
		}
		return { id, want: 'idle' };
	},
	// Its work is evaluated against an outcome.
	async graded(x) {
		const id = await session(x, 'provider');
		const rubric = { type: 'text', content: `${x.clients.mark()}\ngrade ${JSON.stringify({ result: 'satisfied', explanation: 'seen' })}` };
		must(await x.clients.send(id, [{ type: 'user.define_outcome', description: bash('echo x'), rubric }]), 'the outcome', x);
		return { id, want: 'idle' };
	},
	// Bytes come into the store, and go from it.
	async files(x) {
		const mine = async () => (await x.clients.op('files', () => x.clients.c.beta.files.list({ limit: 1000 })))?.data ?? [];
		const name = `${x.clients.mark()}.txt`;
		must(await x.clients.op('upload', () => x.clients.c.beta.files.upload({ file: new File([Buffer.alloc(20_000, 'x')], name) })), 'the upload', x);
		const blobs = (await sql(`SELECT blob_id FROM file WHERE filename = '${name}'`)).flat();
		for (const f of (await mine()).filter((v) => v.filename === name)) await x.clients.op('delete file', () => x.clients.c.beta.files.delete(f.id));
		await until('its bytes are gone', async () => (await sql(`SELECT count(*) FROM blob WHERE id IN ('${blobs.join("','")}')`))[0][0] === '0', 30_000);
		return ways.plain(x);
	},
	// A credential is asked about, and refreshed: whoever dies on the way, it is valid in the end.
	async validated(x) {
		const site = await openSite();
		let made = 0;
		site.token = () => {
			const token = `new-${++made}`;
			site.accept(token);
			return { body: { access_token: token, refresh_token: `refresh-${made}` } };
		};
		const { vaults } = x.clients.c.beta;
		const v = must(await x.clients.op('vault', () => vaults.create({ display_name: x.clients.mark() })), 'the vault', x);
		const refresh = { token_endpoint: site.tokenUrl, client_id: 'me', token_endpoint_auth: { type: 'none' }, refresh_token: 'refresh-0' };
		const auth = { type: 'mcp_oauth', mcp_server_url: site.url, access_token: 'old', refresh };
		const cred = must(await x.clients.op('credential', () => vaults.credentials.create(v.id, { auth })), 'the credential', x);
		const ask = () => x.clients.op('validate', () => vaults.credentials.mcpOAuthValidate(cred.id, { vault_id: v.id }));
		await until('the credential is valid', async () => (await ask())?.status === 'valid', 40_000);
		return ways.plain(x);
	},
	// What was published never arrived, all of a turn: the hub reads the log.
	async gap(x) {
		const id = await session(x);
		await watch(x, id);
		await redisFull(async () => {
			await say(x, id, bash('echo x'));
			await resting(x, id);
		});
		return { id, want: 'idle' };
	},
};

const at = (point, states) => Object.entries(states).map(([state, way]) => ({ point: `${point}/${state}`, way }));
const STEPS = { starting: 'plain', replying: 'tool', waking: 'ask', closing: 'plain', yielding: 'retry', ending: 'terminal' };

// Servers that ways have started.
export const over = () => closeAll();

export const points = [
	{ point: 'gateway.request', way: 'plain' },
	{ point: 'gateway.before_commit', way: 'plain' },
	{ point: 'gateway.after_commit', way: 'plain' },
	{ point: 'create.after_commit', way: 'first' },
	{ point: 'archive.after_commit', way: 'archive' },
	{ point: 'gateway.before_reply', way: 'plain' },
	{ point: 'gateway.after_reply', way: 'plain' },
	{ point: 'db.before_run', way: 'plain' },
	{ point: 'db.after_run', way: 'plain' },
	{ point: 'db.before_commit', way: 'titled' },
	{ point: 'db.after_commit', way: 'titled' },
	{ point: 'dbq.before_send', way: 'tool' },
	{ point: 'dbq.after_send', way: 'tool' },
	{ point: 'dbq.before_done', way: 'tool' },
	...at('db.before_run', { 'roost-opener': 'validated' }),
	...at('db.after_run', { 'roost-opener': 'validated' }),
	{ point: 'probe.before_ask', way: 'validated' },
	{ point: 'probe.after_answer', way: 'validated' },
	{ point: 'token.before_exchange', way: 'validated' },
	{ point: 'token.after_exchange', way: 'validated' },
	{ point: 'blob.before_rename', way: 'files' },
	{ point: 'blob.after_rename', way: 'files' },
	{ point: 'blob.before_unlink', way: 'files' },
	{ point: 'blob.after_unlink', way: 'files' },
	{ point: 'bus.before_ring', way: 'plain' },
	{ point: 'bell.before_ring', way: 'back' },
	{ point: 'bell.heard', way: 'back' },
	{ point: 'bus.before_publish', way: 'watched' },
	{ point: 'claim.after', way: 'plain' },
	{ point: 'linger.kept', way: 'back' },
	{ point: 'linger.told', way: 'back' },
	{ point: 'linger.opened', way: 'back' },
	{ point: 'linger.before_read', way: 'back' },
	{ point: 'linger.before_settle', way: 'back' },
	...at('append.before', { ...STEPS, releasing: 'nothing' }),
	...at('append.after', STEPS),
	...at('publish.after', STEPS),
	...at('model.before', { reply: 'tool', judgement: 'judged', summary: 'summary', verdict: 'graded' }),
	...at('model.after', { asking: 'tool', judging: 'judged', summary: 'summary', verdict: 'graded' }),
	...at('turn.enter', { deciding: 'plain', reading: 'tool', asking: 'plain', judging: 'judged', running: 'tool', stopping: 'interrupt', gone: 'plain' }),
	{ point: 'call.before', way: 'tool' },
	...at('call.after', { running: 'tool', stopping: 'interrupt' }),
	{ point: 'release.before', way: 'storm' },
	{ point: 'slice.before', way: 'slow' },
	{ point: 'reap.before', way: 'tool' },
	{ point: 'blame.before', way: 'plain', with: 'model.after kill once' },	// a worker that dies of a session
	{ point: 'beat.before', way: 'tool' },
	{ point: 'drop.before', way: 'archive' },
	{ point: 'outputs.before_rows', way: 'outputs' },
	{ point: 'outputs.after_rows', way: 'outputs' },
	{ point: 'hands.after_collect', way: 'outputs' },
	{ point: 'hands.before_spawn', way: 'tool' },
	{ point: 'hands.before_start', way: 'tool' },
	{ point: 'hands.before_ack', way: 'tool' },
	{ point: 'hands.before_cancel', way: 'interrupt' },
	{ point: 'hands.before_pause', way: 'tool' },
	{ point: 'hands.before_destroy', way: 'archive' },
	{ point: 'hands.after_result', way: 'tool' },
	{ point: 'hands.before_reply', way: 'tool' },
	{ point: 'hub.before_start', way: 'watched' },
	{ point: 'hub.before_fanout', way: 'watched' },
	{ point: 'hub.before_fetch', way: 'gap' },
];
