// What clients saw, one JSON line each: the input of `roostctl check --history` (ops/roostctl/check_history.c says what the lines mean).
import { createWriteStream } from 'node:fs';

export class History {
	#out;
	#subs = 0;
	constructor(file) {
		this.file = file;
		this.#out = createWriteStream(file, { highWaterMark: 1 << 20 });
	}
	#put(line) { this.#out.write(`${JSON.stringify(line)}\n`); }

	ack(session, events, marks = [], once = false) {
		this.#put({ op: 'ack', session, at: Date.now(), events: events.map((e) => e.id), marks, once });
	}
	fail(session, marks = []) { this.#put({ op: 'fail', session, marks }); }
	delete(session) { this.#put({ op: 'delete', session }); }
	list(session, raw) { this.#put({ op: 'list', session, raw }); }
	open(session) {
		const sub = this.#subs++;
		this.#put({ op: 'open', sub, session });
		return sub;
	}
	base(sub, id) { this.#put({ op: 'base', sub, id }); }
	event(sub, raw) { this.#put({ op: 'event', sub, raw }); }
	end(sub) { this.#put({ op: 'end', sub }); }
	flush() { return new Promise((done) => { this.#out.write('', done); }); }
	close() { return new Promise((done) => { this.#out.end(done); }); }
}
