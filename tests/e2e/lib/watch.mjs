// A session's event stream, read in the background through the SDK, with waits that have a deadline.
//
//	const w = await Watch.open(c, session.id);          the server has subscribed us once this returns
//	await w.send(message('hi'));
//	const idle = await w.until('session.status_idle');  looks at what arrived after the last match
//	w.events                                            everything so far, in order of arrival
import assert from 'node:assert/strict';
import { log } from './client.mjs';
import { opened } from './open.mjs';
import { message } from './script.mjs';
import { DEADLINE } from './until.mjs';
import { shape } from './shape.mjs';

export class Watch {
	static async open(c, sessionId, params = {}, options = {}) {
		const stream = await c.beta.sessions.events.stream(sessionId, params, options);
		return opened(new Watch(c, sessionId, stream));
	}

	// A new session of a bench (client.mjs) and its stream.
	static async begin(bench, { create = {}, ...params } = {}) {
		const session = await bench.session(create);
		return Watch.open(bench.c, session.id, params);
	}

	constructor(c, sessionId, stream) {
		this.c = c;
		this.id = sessionId;
		this.stream = stream;
		this.events = [];
		this.mark = 0;
		this.ended = false;
		this.error = undefined;
		this.waiters = new Set();
		this.done = this.#read();
	}

	async #read() {
		try {
			for await (const e of this.stream) {
				this.events.push(e);
				for (const wake of [...this.waiters]) wake();
			}
		} catch (e) {
			if (!this.closed) this.error = e;
		}
		this.ended = true;
		for (const wake of [...this.waiters]) wake();
	}

	// The next event (after the last one matched) of this type, or for which the predicate holds.
	until(want, { ms = DEADLINE, what } = {}) {
		const pred = typeof want === 'function' ? want : (e) => e.type === want;
		const name = what ?? (typeof want === 'function' ? want.toString() : want);
		return new Promise((resolve, reject) => {
			const finish = (fn, v) => {
				clearTimeout(timer);
				this.waiters.delete(look);
				fn(v);
			};
			const fail = (why) => finish(reject, new Error(
				`${this.id}: ${why} while waiting for ${name}; got ${shape(this.events)}: ${this.events.map((e) => e.type).join(' ')}`));
			const look = () => {
				for (; this.mark < this.events.length; this.mark++) {
					if (pred(this.events[this.mark])) return finish(resolve, this.events[this.mark++]);
				}
				if (this.ended) fail(this.error ? `stream broke (${this.error.message})` : 'stream ended');
			};
			const timer = setTimeout(() => fail(`nothing within ${ms} ms`), ms);
			this.waiters.add(look);
			look();
		});
	}

	idle(options) {
		return this.until('session.status_idle', options);
	}

	// The idle that has n user messages before it: the one of a turn that ended while others were on their way is not it.
	idleAfter(n, options) {
		return this.until((e) => e.type === 'session.status_idle' && ofType(this.events.slice(0, this.events.indexOf(e)), 'user.message').length === n,
			{ what: `idle after ${n} messages`, ...options });
	}

	// The idle that ends a turn, whatever it waited for before.
	finish(options) {
		return this.until((e) => e.type === 'session.status_idle' && e.stop_reason.type === 'end_turn', { what: 'the end of the turn', ...options });
	}

	// The stream's own end, as the server makes it.
	async end(ms = DEADLINE) {
		let timer;
		const late = new Promise((_, reject) => {
			timer = setTimeout(() => reject(new Error(`${this.id}: the stream did not end within ${ms} ms`)), ms);
		});
		await Promise.race([this.done, late]).finally(() => clearTimeout(timer));
		if (this.error) throw this.error;
	}

	async send(...events) {
		return (await this.c.beta.sessions.events.send(this.id, { events })).data;
	}

	// Say something and wait for the turn to end; the events of that turn, previews included.
	async turn(text, options) {
		const from = this.events.length;
		await this.send(typeof text === 'string' ? message(text) : text);
		await this.idle(options);
		return this.events.slice(from, this.mark);
	}

	get persisted() {
		return this.events.filter((e) => e.id);
	}

	// What was streamed must be what is listed: same events, same order, same content.
	async assertSameAsLog() {
		const listed = await log(this.c, this.id);
		assert.deepEqual(this.persisted, listed, 'the stream and the list differ');
		return listed;
	}

	close() {
		this.closed = true;
		this.stream.controller.abort();
	}
}


// --- looking into a list of events ---------------------------------------------------------------------------------------------

export const ofType = (events, ...types) => events.filter((e) => types.includes(e.type));

export function one(events, type) {
	const found = ofType(events, type);
	assert.equal(found.length, 1, `expected one ${type}, got ${found.length} in ${shape(events)}`);
	return found[0];
}

export const textOf = (event) => (event.content ?? []).filter((b) => b.type === 'text').map((b) => b.text).join('');

// The result of a call, by the call's event.
export function resultOf(events, use) {
	const found = events.filter((e) => e.type === 'agent.tool_result' && e.tool_use_id === use.id);
	assert.equal(found.length, 1, `expected one result of ${use.id} (${use.name}), got ${found.length}`);
	return found[0];
}

// [{name, input, text, error}] of all built-in calls, in call order.
export function calls(events) {
	return ofType(events, 'agent.tool_use').map((use) => {
		const result = resultOf(events, use);
		return { id: use.id, name: use.name, input: use.input, text: textOf(result), error: result.is_error === true };
	});
}
