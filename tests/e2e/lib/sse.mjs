// A stream read below the SDK: every frame as it came.
import https from 'node:https';
import { readFileSync } from 'node:fs';
import { baseURL, caFile } from './client.mjs';
import { conforms, conformingStream } from './conform.mjs';
import { headers } from './http.mjs';
import { opened } from './open.mjs';
import { DEADLINE } from './until.mjs';

const ca = readFileSync(caFile);

export class Sse {
	static open(path, more = {}, ms = DEADLINE) {
		return new Promise((resolve, reject) => {
			const req = https.get(new URL(path, baseURL), { ca, agent: false, headers: headers({ accept: 'text/event-stream', ...more }) }, (res) => {
				clearTimeout(timer);
				req.off('error', failed);
				try {
					resolve(opened(new Sse(req, res, path)));
				} catch (e) {
					reject(e);
				}
			});
			const timer = setTimeout(() => req.destroy(new Error(`no headers within ${ms} ms`)), ms);
			const failed = (e) => {
				clearTimeout(timer);
				reject(e);
			};
			req.on('error', failed);
		});
	}

	constructor(req, res, path) {
		this.req = req;
		this.res = res;
		this.status = res.statusCode;
		this.headers = res.headers;
		this.raw = '';
		this.rest = '';
		this.frames = [];
		this.mark = 0;
		this.waiters = new Set();
		if (this.status === 200) this.checker = conformingStream('GET', path, this.status, this.headers);
		req.on('error', () => {});
		res.setEncoding('utf8');
		res.on('data', (d) => this.#take(d));
		this.ended = new Promise((resolve) => {
			res.on('close', () => {
				if (!this.checker && this.raw) this.#try(() => conforms({ method: 'GET', path, status: this.status, headers: this.headers, text: this.raw }));
				this.over = true;
				for (const w of [...this.waiters]) w();
				resolve();
			});
			res.on('error', () => {});
		});
	}

	#take(chunk) {
		this.raw += chunk;
		this.rest += chunk.replaceAll('\r\n', '\n');
		for (let i; (i = this.rest.indexOf('\n\n')) >= 0; this.rest = this.rest.slice(i + 2)) {
			const raw = this.rest.slice(0, i);
			const lines = raw.split('\n').filter((l) => l !== '');
			const field = (name) => lines.filter((l) => l.startsWith(`${name}:`)).map((l) => l.slice(name.length + 1).replace(/^ /, '')).join('\n');
			const frame = { raw, lines, id: field('id'), event: field('event'), data: field('data'), comment: lines.every((l) => l.startsWith(':')) };
			this.frames.push(frame);
			if (frame.event) this.#try(() => this.checker?.frame(frame.event, frame.data));
		}
		for (const w of [...this.waiters]) w();
	}

	// What does not conform breaks the stream for whoever waits for it.
	#try(check) {
		try {
			check();
		} catch (e) {
			this.invalid ??= e;
			this.req.destroy();
		}
	}

	// What a client that reconnects says that it has got: the last `id:` of the stream, pings included.
	get lastId() {
		return this.frames.findLast((f) => f.id !== '')?.id;
	}

	// All events that are not pings.
	get events() {
		return this.frames.filter((f) => f.event && f.event !== 'ping').map((f) => JSON.parse(f.data));
	}

	#wait(pred, what, ms) {
		return new Promise((resolve, reject) => {
			const finish = (fn, v) => {
				clearTimeout(timer);
				this.waiters.delete(look);
				fn(v);
			};
			const look = () => {
				if (this.invalid) return finish(reject, this.invalid);
				for (; this.mark < this.frames.length; this.mark++) {
					if (pred(this.frames[this.mark])) return finish(resolve, this.frames[this.mark++]);
				}
				if (this.over) finish(reject, new Error(`stream ended while waiting for ${what}`));
			};
			const timer = setTimeout(() => finish(reject, new Error(`no ${what} within ${ms} ms; had ${this.frames.map((f) => f.event)}`)), ms);
			this.waiters.add(look);
			look();
		});
	}

	// The next frame of this event name.
	until(event, ms = DEADLINE) {
		return this.#wait((f) => f.event === event, event, ms);
	}

	// The next frame whose data has this type, whatever its name.
	untilType(type, ms = DEADLINE) {
		return this.#wait((f) => f.event && f.event !== 'ping' && JSON.parse(f.data).type === type, type, ms);
	}

	pause() {
		this.res.pause();
	}

	close() {
		this.req.destroy();
	}
}
