// Two things at the same moment, many times over, each a row: { f, name, run(x) }. One outcome each, the loser told so (or a no-op), and
// never both or neither. What is asked here is what the race itself decides; everything else about these logs is the checker's business.
import { setTimeout as pause } from 'node:timers/promises';
import { sql, until } from './instance.mjs';

const TIMES = Number(process.env.RACES ?? 24), AT_ONCE = 6;
const bash = (command) => `bash ${JSON.stringify({ command })}`;
const message = (text) => ({ type: 'user.message', content: [{ type: 'text', text }] });
const ofType = (log, type) => log.filter((e) => e.type === type);

// The answer, or the status of the refusal. Anything else is a fault of ours: nothing is broken while races run.
async function ask(fn) {
	try {
		return { ok: await fn() };
	} catch (e) {
		if (![400, 404, 409].includes(e.status)) throw e;
		return { status: e.status, why: e.message };
	}
}

// Runs one(i) TIMES times, some at once; counts what each says came out, for people.
async function many(one) {
	const outcomes = new Map();
	let next = 0;
	await Promise.all(Array.from({ length: AT_ONCE }, async () => {
		while (next < TIMES) {
			const what = await one(next++);
			outcomes.set(what, (outcomes.get(what) ?? 0) + 1);
		}
	}));
	return [...outcomes].sort().map(([what, n]) => `${n} × ${what}`).join(', ');
}

function tools(x) {
	const { c } = x.clients, api = c.beta.sessions;
	return {
		async session(kind = 'scripted', more = {}) {
			return (await api.create({ agent: x.stage[kind].id, environment_id: x.stage.environment.id, ...more })).id;
		},
		send: (id, ...events) => ask(() => api.events.send(id, { events })),
		archive: (id) => ask(() => api.archive(id)),
		del: (id) => ask(() => api.delete(id)),
		rest: async (id) => {
			const status = await x.clients.settled(id, 30_000);
			if (status === undefined) throw new Error(`${id} does not come to rest`);
			return status;
		},
		log: async (id) => {
			const all = [];
			for await (const e of api.events.list(id, { limit: 1000 })) all.push(e);
			return all;
		},
		// The ids that the session waits for.
		async waits(id) {
			await this.rest(id);
			const idle = ofType(await this.log(id), 'session.status_idle').at(-1);
			if (idle?.stop_reason.type !== 'requires_action') throw new Error(`${id} does not wait: ${JSON.stringify(idle)}`);
			return idle.stop_reason.event_ids;
		},
	};
}

function want(ok, what) {
	if (!ok) throw new Error(what);
}

const won = (...answers) => answers.filter((a) => a.ok).length;

export const races = [
	{ f: 'F45', name: 'an interrupt against the end of a tool: one result, one interrupt, then idle', async run(x) {
		const t = tools(x);
		return many(async (i) => {
			const id = await t.session();
			await t.send(id, message(`${bash('sleep 0.15; echo done')}\n\n${bash('echo next')}`));
			await until('the tool runs', async () => ofType(await t.log(id), 'agent.tool_use').length > 0);
			await pause((i * 29) % 600);
			const a = await t.send(id, { type: 'user.interrupt' });
			want(a.ok, `the interrupt was refused: ${a.why}`);
			await t.rest(id);
			const log = await t.log(id), uses = ofType(log, 'agent.tool_use'), results = ofType(log, 'agent.tool_result');
			want(results.length === uses.length && new Set(results.map((e) => e.tool_use_id)).size === uses.length, `${id}: ${results.length} results of ${uses.length} calls`);
			want(ofType(log, 'user.interrupt').length === 1 && log.findIndex((e) => e.type === 'user.interrupt') > 0, `${id}: the interrupt is not in the log once`);
			return results.some((e) => e.is_error) ? 'interrupted' : 'finished before it';
		});
	} },
	{ f: 'F45', name: 'two clients confirm one call, one allows and one denies: one verdict', async run(x) {
		const t = tools(x);
		return many(async () => {
			const id = await t.session('asking');
			await t.send(id, message(bash('echo asked')));
			const [use] = await t.waits(id);
			const [a, b] = await Promise.all([
				t.send(id, { type: 'user.tool_confirmation', tool_use_id: use, result: 'allow' }),
				t.send(id, { type: 'user.tool_confirmation', tool_use_id: use, result: 'deny', deny_message: 'no' })]);
			want(won(a, b) === 1, `${id}: ${won(a, b)} of two verdicts were taken`);
			await t.rest(id);
			const log = await t.log(id), [said, more] = ofType(log, 'user.tool_confirmation'), results = ofType(log, 'agent.tool_result');
			want(!more && said.result === (a.ok ? 'allow' : 'deny'), `${id}: the log has another verdict than the one that was taken`);
			want(results.length === 1 && Boolean(results[0].is_error) === !a.ok, `${id}: the result is not that of the verdict`);
			return a.ok ? 'allowed' : 'denied';
		});
	} },
	{ f: 'F45', name: 'one confirmation sent twice: it is taken once', async run(x) {
		const t = tools(x);
		return many(async () => {
			const id = await t.session('asking');
			await t.send(id, message(bash('echo asked')));
			const [use] = await t.waits(id), yes = { type: 'user.tool_confirmation', tool_use_id: use, result: 'allow' };
			const both = await Promise.all([t.send(id, yes), t.send(id, yes)]);
			const ids = new Set(both.filter((a) => a.ok).map((a) => a.ok.data[0].id));
			want(ids.size === 1, `${id}: ${ids.size} different answers`);
			await t.rest(id);
			const log = await t.log(id);
			want(ofType(log, 'user.tool_confirmation').length === 1 && ofType(log, 'agent.tool_result').length === 1, `${id}: not once in the log`);
			return won(...both) === 2 ? 'both told the same' : 'the second refused';
		});
	} },
	{ f: 'F45', name: 'two different results of one custom tool: one is the result', async run(x) {
		const t = tools(x);
		return many(async () => {
			const id = await t.session();
			await t.send(id, message('weather {"city":"Bern"}'));
			const [use] = await t.waits(id);
			const answer = (text) => t.send(id, { type: 'user.custom_tool_result', custom_tool_use_id: use, content: [{ type: 'text', text }] });
			const [a, b] = await Promise.all([answer('rain'), answer('sun')]);
			want(won(a, b) === 1, `${id}: ${won(a, b)} of two results were taken`);
			await t.rest(id);
			const [got, more] = ofType(await t.log(id), 'user.custom_tool_result');
			want(!more && got.content[0].text === (a.ok ? 'rain' : 'sun'), `${id}: the log has another result`);
			return a.ok ? 'the first' : 'the second';
		});
	} },
	{ f: 'F45', name: 'a confirmation against an interrupt: the call has one end', async run(x) {
		const t = tools(x);
		return many(async () => {
			const id = await t.session('asking');
			await t.send(id, message(bash('echo asked')));
			const [use] = await t.waits(id);
			const [yes, stop] = await Promise.all([t.send(id, { type: 'user.tool_confirmation', tool_use_id: use, result: 'allow' }),
				t.send(id, { type: 'user.interrupt' })]);
			want(stop.ok, `${id}: the interrupt was refused: ${stop.why}`);
			await t.rest(id);
			const log = await t.log(id);
			want(ofType(log, 'agent.tool_result').length === 1, `${id}: ${ofType(log, 'agent.tool_result').length} results`);
			want(ofType(log, 'user.tool_confirmation').length === (yes.ok ? 1 : 0), `${id}: a refused confirmation is in the log, or a taken one is not`);
			return yes.ok ? 'confirmed first' : 'interrupted first';
		});
	} },
	{ f: 'I3 I14', name: 'a message against the turn\'s end: answered, by this turn or the next', async run(x) {
		const t = tools(x);
		return many(async (i) => {
			const id = await t.session('scripted', { initial_events: [message('first')] });
			await pause(i % 12);
			const second = await t.send(id, message('second'));
			want(second.ok, `${id}: refused: ${second.why}`);
			await t.rest(id);
			const log = await t.log(id), at = log.findIndex((e) => e.id === second.ok.data[0].id);
			want(at > 0 && log.filter((e) => e.id === second.ok.data[0].id).length === 1, `${id}: the message is not in the log once`);
			want(log.slice(at).some((e) => e.type === 'agent.message'), `${id}: it was not answered`);
			want(log.at(-1).type === 'session.status_idle', `${id}: it ends with ${log.at(-1).type}`);
			return `${ofType(log, 'session.status_idle').length} turns`;
		});
	} },
	{ f: 'F46', name: 'an archive against a message: one of them is refused, or the message came first', async run(x) {
		const t = tools(x);
		return many(async () => {
			const id = await t.session();
			const [said, ended] = await Promise.all([t.send(id, message('hello')), t.archive(id)]);
			want(won(said, ended) >= 1, `${id}: both were refused: ${said.why}; ${ended.why}`);
			const status = await t.rest(id), log = await t.log(id);
			want((status === 'terminated') === Boolean(ended.ok), `${id} is ${status}`);
			if (ended.ok) want(log.at(-1).type === 'session.status_terminated', `${id}: ${log.at(-1).type} behind the end`);
			if (said.ok) want(log.some((e) => e.id === said.ok.data[0].id), `${id}: the accepted message is lost`);
			if (said.ok && !ended.ok) want(log.some((e) => e.type === 'agent.message'), `${id}: it was not answered`);
			return ended.ok ? (said.ok ? 'both' : 'archived') : 'the message';
		});
	} },
	{ f: 'F46', name: 'an archive against the end of a turn: refused while it runs, final once it is taken', async run(x) {
		const t = tools(x);
		return many(async (i) => {
			const id = await t.session('scripted', { initial_events: [message('words')] });
			await pause(i % 12);
			const ended = await t.archive(id), status = await t.rest(id), log = await t.log(id);
			want((status === 'terminated') === Boolean(ended.ok), `${id} is ${status}`);
			want(ofType(log, 'agent.message').length === 1, `${id}: ${ofType(log, 'agent.message').length} answers`);
			if (ended.ok) want(log.at(-1).type === 'session.status_terminated', `${id}: ${log.at(-1).type} behind the end`);
			return ended.ok ? 'archived' : 'refused';
		});
	} },
	{ f: 'F46', name: 'two archives: one end', async run(x) {
		const t = tools(x);
		return many(async () => {
			const id = await t.session();
			const both = await Promise.all([t.archive(id), t.archive(id)]);
			want(won(...both) >= 1, `${id}: both were refused`);
			want(ofType(await t.log(id), 'session.status_terminated').length === 1, `${id}: not one end`);
			return `${won(...both)} answered`;
		});
	} },
	{ f: 'F46', name: 'an archive, a delete, an update against a message to a session that its worker has kept: one outcome', async run(x) {
		const t = tools(x), { sessions } = x.clients.c.beta;
		return many(async (i) => {
			const id = await t.session('scripted', { initial_events: [message('first')] });
			for (const words of ['second', 'third']) {
				await t.rest(id);
				want((await t.send(id, message(words))).ok, `${id}: refused`);
			}
			await t.rest(id);
			await pause((i * 97) % 2600);		/* also when the lease is being given back */
			const others = [() => t.archive(id), () => t.del(id), () => ask(() => sessions.update(id, { title: 'other' }))];
			const [said, other] = await Promise.all([t.send(id, message('fourth')), others[i % 3]()]);
			want(won(said, other) >= 1, `${id}: both were refused: ${said.why}; ${other.why}`);
			if (i % 3 === 1 && other.ok) return 'deleted';
			const status = await t.rest(id), log = await t.log(id), at = said.ok ? log.findIndex((e) => e.id === said.ok.data[0].id) : -1;
			want((status === 'terminated') === (i % 3 === 0 && Boolean(other.ok)), `${id} is ${status}`);
			want(!said.ok || at > 0, `${id}: the accepted message is lost`);
			want(ofType(log, 'user.message').length === (said.ok ? 4 : 3), `${id}: ${ofType(log, 'user.message').length} messages`);
			if (said.ok && status === 'idle') want(log.slice(at).some((e) => e.type === 'agent.message'), `${id}: it was not answered`);
			if (i % 3 === 2) want(ofType(log, 'session.updated').length === 1, `${id}: the update is not in the log once`);
			return status === 'idle' ? 'the message' : 'archived';
		});
	} },
	{ f: 'F46 I18', name: 'a delete against a message: nothing rises again', async run(x) {
		const t = tools(x), gone = [];
		const what = await many(async () => {
			const id = await t.session();
			const [said, ended] = await Promise.all([t.send(id, message('hello')), t.del(id)]);
			want(won(said, ended) >= 1, `${id}: both were refused: ${said.why}; ${ended.why}`);
			if (ended.ok) gone.push(id);
			want((await t.rest(id) === 'gone') === Boolean(ended.ok), `${id}: the answer to the delete is not true`);
			return ended.ok ? (said.ok ? 'both' : 'deleted') : 'the message';
		});
		const left = await sql(`SELECT session_id FROM event WHERE session_id IN (${[...gone, ''].map((id) => `'${id}'`)}) UNION ALL
			SELECT session_id FROM inbox WHERE session_id IN (${[...gone, ''].map((id) => `'${id}'`)})`);
		want(left.length === 0, `rows of deleted sessions: ${left.flat()}`);
		return what;
	} },
	{ f: 'F47', name: 'an agent updated while sessions start: each has one version, whole', async run(x) {
		const { c } = x.clients, t = tools(x);
		const agent = await c.beta.agents.create({ name: `race ${Date.now()}`, model: 'roost-scripted', system: 'version 1', description: 'version 1' });
		let version = agent.version, going = true;
		const updating = (async () => {
			while (going) version = (await c.beta.agents.update(agent.id, { version, system: `version ${version + 1}`, description: `version ${version + 1}` })).version;
		})();
		updating.catch(() => undefined);		// heard of below
		const what = await many(async () => {
			const s = await c.beta.sessions.create({ agent: agent.id, environment_id: x.stage.environment.id, initial_events: [message('hello')] });
			const own = `version ${s.agent.version}`;
			want(s.agent.system === own && s.agent.description === own, `${s.id}: version ${s.agent.version} with ${s.agent.system}, ${s.agent.description}`);
			await t.rest(s.id);
			want((await c.beta.sessions.retrieve(s.id)).agent.version === s.agent.version, `${s.id}: its version moved`);
			return 'one version';
		}).finally(() => { going = false; });
		await updating;
		return `${what}, of ${version}`;
	} },
	{ f: 'F8 F32', name: 'all workers want each session: one gets it, the model is asked once', async run(x) {
		const { clients, stage } = x;
		const made = await Promise.all(Array.from({ length: TIMES }, async () => {
			const mark = clients.mark();
			const s = await clients.c.beta.sessions.create({ agent: stage.provider.id, environment_id: stage.environment.id, initial_events: [message(`${mark}\nwords`)] });
			return { id: s.id, mark };
		}));
		for (const m of made) await clients.settled(m.id, 30_000);
		const twice = made.filter((m) => x.asked.get(m.mark) !== 1);
		want(twice.length === 0, `${twice.map((m) => `${m.id}: ${x.asked.get(m.mark)} requests`)}`);
		const owners = await sql('SELECT count(DISTINCT id) FROM worker');
		return `${made.length} sessions, ${owners} workers, one request each`;
	} },
];
