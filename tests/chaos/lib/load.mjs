// The mixed load: actors that live through sessions the way clients do. Every choice comes from the actor's own seed; what faults make of
// it is seen by the history, not here.
import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { BETA, TOOLSET, unique } from '../../e2e/lib/client.mjs';
import { random } from './clients.mjs';

const bash = (command) => `bash ${JSON.stringify({ command })}`;
const weather = (n) => `weather {"city":"Oslo","day":${n}}`;

const WEATHER = {
	type: 'custom', name: 'weather', description: 'The weather.',
	input_schema: { type: 'object', properties: { city: { type: 'string' }, day: { type: 'integer' } } },
};

// Agents and the environment that all actors share.
export async function stage(c) {
	const environment = await c.beta.environments.create({ name: unique('chaos'), config: { type: 'cloud', networking: { type: 'unrestricted' } } });
	const make = (model, tools, system) => c.beta.agents.create({ name: unique('chaos'), model, tools, ...(system ? { system } : {}) });
	const ask = { ...TOOLSET, default_config: { permission_policy: { type: 'always_ask' } } };
	return {
		environment,
		scripted: await make('roost-scripted', [TOOLSET, WEATHER]),
		asking: await make('roost-scripted', [ask, WEATHER]),
		provider: await make('lab-anthropic', [TOOLSET, WEATHER], 'You are a test.'),
		openai: await make('lab-openai', [TOOLSET, WEATHER]),
		judged: await make('roost-scripted', [{ ...TOOLSET, default_config: { permission_policy: { type: 'auto' } } }]),
		narrow: await make('lab-narrow', [TOOLSET]),
	};
}

// What a provider may do to a request, in the message itself (tests/provider/README.md).
const PROVIDER = [
	{ fault: 'status', status: 529 }, { fault: 'status', status: 429, retry_after: 1 }, { fault: 'status', status: 500 },
	{ fault: 'error_event', status: 529 }, { fault: 'truncate' }, { fault: 'reset', after: 2 }, { fault: 'bad_json' }, { fault: 'no_usage' },
	{ fault: 'bad_input' }, { fault: 'cut_off' }, { fault: 'refusal' }, { word_ms: 30 }, { thinking: 'Hm.' }, { cache: { read: 5, write_5m: 7, write_1h: 3 } },
	{ fault: 'stall' }, { fault: 'status', status: 529, times: 9 },
];

// What takes minutes with the times of a real instance.
const SLOW = (p) => p.fault === 'stall' || p.times > 3;

export class Actor {
	// patience: how long a session may take to come to rest, in ms. quick: nothing that needs the short times of `prepare`.
	constructor(clients, stage, seed, { patience = 90_000, quick = false } = {}) {
		this.patience = patience;
		this.provider = quick ? PROVIDER.filter((p) => !SLOW(p)) : PROVIDER;
		this.clients = clients;
		this.stage = stage;
		this.rng = random(seed);
		this.sessions = 0;
		this.turns = 0;
	}

	async run(go) {
		while (go()) {
			try {
				await this.#life(go);
			} catch (e) {
				this.clients.wrong.push(`actor: ${e.stack}`);
			}
		}
	}

	async #life(go) {
		const { rng, clients, stage: s } = this;
		const kind = rng.pick(['scripted', 'scripted', 'asking', 'provider', 'provider', 'openai']);
		const file = rng.chance(0.25) ? await this.#upload() : undefined;
		const first = rng.chance(0.3) ? clients.mark() : undefined;
		const session = await clients.create({
			agent: rng.chance(0.7) ? s[kind].id : { type: 'agent', id: s[kind].id, version: 1 }, environment_id: s.environment.id,
			...(file ? { resources: [{ type: 'file', file_id: file.id, mount_path: 'in.txt' }] } : {}),
			...(first ? { initial_events: [{ type: 'user.message', content: [{ type: 'text', text: `${first}\nhello` }] }] } : {}),
		});
		if (!session) return void await pause(200);
		this.sessions++;
		this.mounted = file?.sha256;
		this.outputs = false;
		if (file && rng.chance(0.5)) await clients.op('delete file', () => clients.c.beta.files.delete(file.id));	// its copy stays
		if (rng.chance(0.5)) clients.read(session.id);
		if (rng.chance(0.3)) clients.view(session.id);
		for (let left = 2 + rng.below(5); left > 0 && go(); left--) {
			if (!await this.#turn(session.id, kind)) return;
			if (rng.chance(0.2)) await clients.list(session.id);
			if (this.mounted) await this.#mount(session.id);
			if (this.outputs && rng.chance(0.5)) await this.#published(session.id);
			if (rng.chance(0.15)) await this.#update(session.id, kind);
		}
		await this.#end(session.id, kind);
	}

	// --- files: what is in them is known, so whoever reads one knows whether it is right ---

	async #upload() {
		const { rng, clients } = this;
		const bytes = Buffer.alloc(1 + rng.below(200_000), `${rng.below(1e9)} `);
		const f = await clients.op('upload', () => clients.c.beta.files.upload({ file: new File([bytes], 'in.txt') }));
		if (f && f.size_bytes !== bytes.length) clients.wrong.push(`${f.id} has ${f.size_bytes} of ${bytes.length} bytes`);
		return f && { id: f.id, sha256: createHash('sha256').update(bytes).digest('hex') };
	}

	// What sha256sum said in the sandbox.
	async #mount(session) {
		const listed = await this.clients.list(session);
		for (const e of listed?.data ?? []) {
			const [said] = e.type === 'agent.tool_result' ? e.content[0]?.text.match(/^[0-9a-f]{64}(?=  -\n)/) ?? [] : [];
			if (said && said !== this.mounted) this.clients.wrong.push(`${session}: the mounted file is ${said}, not ${this.mounted}`);
		}
	}

	// An output is named after what it holds.
	async #published(session) {
		const { clients } = this;
		const page = await clients.op('files', () => clients.c.beta.files.list({ scope_id: session, betas: [BETA] }));
		for (const f of (page?.data ?? []).slice(0, 3)) {
			if (!/^o\d+$/.test(f.filename)) continue;
			const text = await clients.op('download', async () => (await clients.c.beta.files.download(f.id)).text());
			if (text !== undefined && text !== `${f.filename}\n`) clients.wrong.push(`${session}: output ${f.filename} holds ${JSON.stringify(text.slice(0, 99))}`);
		}
	}

	#script(kind) {
		const { rng } = this;
		const behave = /provider|openai/.test(kind) && rng.chance(0.4) ? `!provider ${JSON.stringify(rng.pick(this.provider))}\n` : '';
		if (this.mounted && rng.chance(0.4)) return `${behave}${bash('sha256sum < /mnt/session/uploads/in.txt')}`;
		if (rng.chance(0.12)) {
			this.outputs = true;
			const name = `o${rng.below(1e6)}`;
			const out = `/mnt/session/outputs/${name}`;
			return `${behave}${bash(`echo ${name} > ${out}.part; mv ${out}.part ${out}`)}\n\nput out`;	// whole, also when interrupted
		}
		return behave + rng.pick([
			() => 'just words, and some more of them',
			() => 'just words',
			() => bash(`echo ${rng.below(1000)}`),
			() => `${bash('echo one; sleep 0.2')}\n${bash('echo two')}\n\nand then\n${bash('seq 1 200')}`,
			() => `${bash('echo x > /workspace/f')}\n\n${bash('cat /workspace/f; exit 3')}\n\nread {"file_path":"/workspace/f"}`,
			() => `${weather(1)}`,
			() => `${weather(1)}\n${weather(2)}\n\n${bash('echo after')}`,
			() => `${bash('sleep 1')}\n\nslept`,
			() => 'nonsense {"a":1}\nglob {"pattern":"*"}',
		])();
	}

	// A turn and its answers. false: there is no session to go on with.
	async #turn(session, kind) {
		const { rng, clients } = this;
		const sent = await clients.say(session, this.#script(kind));
		this.turns++;
		if (!sent && clients.last?.status === 404) return false;
		if (rng.chance(0.2)) await clients.say(session, 'one more thing');
		if (rng.chance(0.15)) {
			await pause(rng.below(600));
			await clients.send(session, [{ type: 'user.interrupt' }]);
			if (rng.chance(0.3)) await clients.say(session, 'after the interrupt');
		}
		for (let asked = 0; asked < 12; asked++) {
			const status = await clients.settled(session, this.patience);
			if (status === undefined) {
				this.clients.wrong.push(`${session} did not come to rest`);
				return false;
			}
			if (status !== 'idle') return false;
			const idle = await this.#lastIdle(session);
			if (idle?.stop_reason?.type !== 'requires_action') return true;
			await this.#answer(session, idle.stop_reason.event_ids);
		}
		await clients.send(session, [{ type: 'user.interrupt' }]);
		return true;
	}

	async #lastIdle(session) {
		const page = await this.clients.op('list', () => this.clients.c.beta.sessions.events.list(session,
			{ order: 'desc', limit: 1, types: ['session.status_idle'] }));
		return page?.data[0];
	}

	async #answer(session, ids) {
		const { rng, clients } = this;
		const listed = await clients.list(session);
		const kinds = new Map((listed?.data ?? []).map((e) => [e.id, e.type]));
		if (rng.chance(0.1)) return clients.send(session, [{ type: 'user.interrupt' }]);
		const events = ids.map((id) => (kinds.get(id) === 'agent.custom_tool_use' ?
			{ type: 'user.custom_tool_result', custom_tool_use_id: id, content: [{ type: 'text', text: 'rain' }] } :
			{ type: 'user.tool_confirmation', tool_use_id: id, ...(rng.chance(0.7) ? { result: 'allow' } : { result: 'deny', deny_message: 'no' }) }));
		if (rng.chance(0.25)) {			// two clients with the same answer: one wins, or both are told the same
			return Promise.all([clients.send(session, events), clients.send(session, events)]);
		}
		if (rng.chance(0.2)) {			// an answer against an interrupt
			return Promise.all([clients.send(session, events), clients.send(session, [{ type: 'user.interrupt' }])]);
		}
		if (rng.chance(0.3)) {			// one by one
			for (const e of events) await clients.send(session, [e]);
			return undefined;
		}
		return clients.send(session, events);
	}

	async #update(session, kind) {
		const { rng, clients, stage: s } = this;
		await clients.op('update', () => clients.c.beta.sessions.update(session, { title: `t${rng.below(100)}`, metadata: { n: String(rng.below(9)) } }));
		if (rng.chance(0.2)) {
			const agent = await clients.op('agent', () => clients.c.beta.agents.retrieve(s[kind].id));
			if (agent) await clients.op('agent update', () => clients.c.beta.agents.update(agent.id, { version: agent.version, description: `d${rng.below(99)}` }));
		}
	}

	async #end(session, kind) {
		const { rng, clients } = this;
		const way = rng.below(10);
		if (way < 3) {				// archive races a message
			await Promise.all([
				clients.op('archive', () => clients.c.beta.sessions.archive(session)),
				rng.chance(0.4) ? clients.say(session, this.#script(kind)) : undefined,
			]);
		} else if (way < 5) {
			await clients.delete(session);
		}
	}
}
