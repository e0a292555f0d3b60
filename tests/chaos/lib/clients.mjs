// The clients of a chaos run: the official SDK with its default retries, raw readers whose every byte is noted, SDK readers whose view is
// compared with the list at the end. They tell the history what was acknowledged and what was seen; they judge only what a caller must
// never get.
import { isDeepStrictEqual } from 'node:util';
import { setTimeout as pause } from 'node:timers/promises';
import { apiKey, baseURL, BETA, VERSION, client } from '../../e2e/lib/client.mjs';

// A seeded generator, so that a run's choices can be repeated (mulberry32).
export function random(seed) {
	let a = seed >>> 0;
	const next = () => {
		a = (a + 0x6d2b79f5) >>> 0;
		let t = a;
		t = Math.imul(t ^ (t >>> 15), t | 1);
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
	return { next, below: (n) => Math.floor(next() * n), chance: (p) => next() < p, pick: (list) => list[Math.floor(next() * list.length)] };
}

export function shuffle(list, rng) {
	const all = [...list];
	for (let i = all.length - 1; i > 0; i--) {
		const j = rng.below(i + 1);
		[all[i], all[j]] = [all[j], all[i]];
	}
	return all;
}

const headers = {
	authorization: `Bearer ${apiKey}`, 'anthropic-version': VERSION, 'anthropic-beta': BETA, accept: 'application/json',
};

// Statuses that a caller may get under faults, or from a race that it has lost. Anything else is a fault of ours, and so is a 500: what is
// away or in doubt is a 503 or 504.
const EXPECTED = new Set([undefined, 400, 404, 409, 429, 502, 503, 504, 529]);

let marks = 0;

export class Clients {
	ops = 0;
	refusals = new Map();		// status -> how often, after the SDK's retries
	wrong = [];			// what no fault excuses
	readers = new Set();
	views = new Set();

	constructor(history, options = {}) {
		this.history = history;
		this.c = client({ maxRetries: 2, timeout: 30_000, ...options });
	}

	mark() { return `mk${++marks}x`; }

	// What these clients did counts, and their streams go on, as ours.
	adopt(other) {
		this.ops += other.ops;
		this.wrong.push(...other.wrong);
		for (const r of other.readers) this.readers.add(r);
		for (const v of other.views) this.views.add(v);
	}

	// One call of the SDK. undefined when it failed in a way that faults and races excuse.
	async op(what, fn) {
		this.ops++;
		try {
			return await fn();
		} catch (e) {
			const { status } = e;
			this.refusals.set(status ?? 'connection', (this.refusals.get(status ?? 'connection') ?? 0) + 1);
			if (!EXPECTED.has(status) || !(status !== undefined || /connection|timed out|terminated|socket|fetch|abort/i.test(`${e.message} ${e.name}`)))
				this.wrong.push(`${what}: ${status} ${e.message}`);
			this.last = e;
			return undefined;
		}
	}

	async send(session, events, marks = []) {
		const got = await this.op('send', () => this.c.beta.sessions.events.send(session, { events }));
		if (got) this.history.ack(session, got.data, marks);
		else this.history.fail(session, marks);
		return got?.data;
	}

	say(session, text) {
		const mark = this.mark();
		return this.send(session, [{ type: 'user.message', content: [{ type: 'text', text: `${mark}\n${text}` }] }], [mark]);
	}

	// No two creates are equal: without a key a retry could be taken for one of an equal call before (gateway/README.md, "What remains").
	async create(equal) {
		const params = { metadata: { mark: this.mark() }, ...equal };
		const marks = (params.initial_events ?? []).map((e) => e.content[0].text.split('\n')[0]);
		const got = await this.op('create', () => this.c.beta.sessions.create(params));
		if (got) this.history.ack(got.id, [], marks);
		return got;
	}

	delete(session) {
		this.history.delete(session);
		return this.op('delete', () => this.c.beta.sessions.delete(session));
	}

	get(session) { return this.op('get', () => this.c.beta.sessions.retrieve(session)); }

	// The whole log by a plain GET, noted byte by byte; its parsed events, or undefined.
	async list(session) {
		this.ops++;
		try {
			const res = await fetch(`${baseURL}/v1/sessions/${session}/events?limit=1000`, { headers, signal: AbortSignal.timeout(20_000) });
			const raw = await res.text();
			if (!res.ok) return undefined;
			this.history.list(session, raw);
			return JSON.parse(raw);
		} catch {
			return undefined;
		}
	}

	// Wait until the session is at rest for its client; the status, or undefined when that does not happen in time.
	async settled(session, ms = 90_000) {
		const end = performance.now() + ms;
		for (let n = 0; performance.now() < end; n++) {
			const s = await this.get(session);
			if (s && ['idle', 'terminated'].includes(s.status)) return s.status;
			if (!s && this.last?.status === 404) return 'gone';
			await pause(n < 5 ? 60 : 200);
		}
		return undefined;
	}

	read(session) {
		const r = new Reader(this, session);
		this.readers.add(r);
		return r;
	}

	view(session) {
		const v = new View(this, session);
		this.views.add(v);
		return v;
	}
}

// A raw subscriber that always comes back: opens the stream, lists, reads on (contract 3.9).
class Reader {
	constructor(clients, session) {
		this.clients = clients;
		this.session = session;
		this.done = this.#run();
	}

	async #run() {
		while (!this.stopping) {
			try {
				if (await this.#once()) return;
			} catch { /* cut: again */ }
			if (this.stopping) return;
			this.sub = undefined;		// what this one lacks the next one lists
			await pause(100);
		}
	}

	// true: nothing more will come
	async #once() {
		const { history } = this.clients;
		this.abort = new AbortController();
		this.clients.ops++;
		const res = await fetch(`${baseURL}/v1/sessions/${this.session}/events/stream`, { headers, signal: this.abort.signal });
		if (res.status === 404) return true;
		if (!res.ok) return false;
		const sub = history.open(this.session);
		this.sub = undefined;
		const listed = await this.clients.list(this.session);
		if (listed) {
			history.base(sub, listed.data.filter((e) => e.processed_at).at(-1)?.id ?? '');
			if (listed.data.some((e) => e.type === 'session.status_terminated')) return true;
		}
		this.sub = sub;
		let rest = '', last;
		const text = new TextDecoder();
		for await (const chunk of res.body) {
			rest += text.decode(chunk, { stream: true });
			for (let i; (i = rest.indexOf('\n\n')) >= 0; rest = rest.slice(i + 2)) {
				const data = rest.slice(0, i).split('\n').find((l) => l.startsWith('data: '))?.slice(6);
				if (!data || !data.startsWith('{"id":')) continue;
				history.event(sub, data);
				last = data;
			}
			if (last?.includes('"type":"session.status_terminated"')) {
				history.end(sub);
				this.ended = true;
			}
			if (this.ended || last?.includes('"type":"session.deleted"')) {
				this.abort.abort();
				return true;
			}
		}
		return false;
	}

	// Everything is quiet: what has not come by now is missing.
	async close() {
		this.stopping = true;
		if (this.sub !== undefined && !this.ended && this.abort && !this.abort.signal.aborted) this.clients.history.end(this.sub);
		this.abort?.abort();
		await this.done;
	}
}

// What the SDK's stream gives, subscription by subscription.
class View {
	constructor(clients, session) {
		this.clients = clients;
		this.session = session;
		this.parts = [];
		this.done = this.#run();
	}

	async #run() {
		const { c } = this.clients;
		while (!this.stopping) {
			try {
				this.clients.ops++;
				this.stream = await c.beta.sessions.events.stream(this.session, {}, { maxRetries: 0 });
				const part = [];
				this.parts.push(part);
				for await (const e of this.stream) {
					if (e.id) part.push(e);
					if (e.type === 'session.deleted' || e.type === 'session.status_terminated') return;
				}
			} catch (e) {
				if (e.status === 404) return;
			}
			if (!this.stopping) await pause(100);
		}
	}

	async close() {
		this.stopping = true;
		this.stream?.controller.abort();
		await this.done;
	}

	// Differences between what the stream gave and what the list says.
	async compare() {
		const listed = [];
		for await (const e of this.clients.c.beta.sessions.events.list(this.session, {}, { maxRetries: 6 })) listed.push(e);
		const at = new Map(listed.map((e, i) => [e.id, i]));
		const bad = [];
		for (const part of this.parts) {
			let last;
			for (const e of part) {
				const i = at.get(e.id);
				if (i === undefined) bad.push(`${this.session}: ${e.type} ${e.id} was streamed and is not listed`);
				else if (!isDeepStrictEqual(listed[i], e)) bad.push(`${this.session}: ${e.id} streams and lists differently`);
				else if (last !== undefined && i !== last + 1) bad.push(`${this.session}: the SDK's stream jumps from ${last} to ${i}`);
				last = i ?? last;
			}
		}
		return bad;
	}
}
