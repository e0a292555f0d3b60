// Two readers of one session while everything between them and the log dies, in turn: a raw one that comes again with Last-Event-ID and
// needs nothing else, and the SDK as the contract says (3.9): open a stream, list, de-duplicate by id. Each sees every event exactly once
// (I15; faults F21, F23, F37, hub and Postgres killed). Runs alone.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { bench, client, log } from '../lib/client.mjs';
import { bash, message, script } from '../lib/script.mjs';
import { healthy, killService, services } from '../lib/service.mjs';
import { assertLog } from '../lib/shape.mjs';
import { Sse } from '../lib/sse.mjs';
import { until } from '../lib/until.mjs';
import { Watch } from '../lib/watch.mjs';

const patient = client({ maxRetries: 8 });
let b;

// Connects again and again, each time with the last id it has seen.
class Resuming {
	events = [];
	connections = 0;
	#now;

	constructor(id) {
		this.path = `/v1/sessions/${id}/events/stream`;
		this.over = this.#run();
	}

	async #run() {
		let last;
		while (!this.closed) {
			try {
				this.#now = await Sse.open(this.path, last === undefined ? {} : { 'last-event-id': last });
			} catch {
				await new Promise((r) => setTimeout(r, 50));
				continue;
			}
			if (this.#now.status === 200) {
				this.connections++;
				if (this.closed) this.#now.close();
				await this.#now.ended;
				last = this.#now.lastId ?? last;
				this.events.push(...this.#now.events);
			} else this.#now.close();
			this.#now = undefined;
		}
	}

	get all() {
		return this.#now?.status === 200 ? [...this.events, ...this.#now.events] : this.events;
	}

	close() {
		this.closed = true;
		this.#now?.close();
		return this.over;
	}
}

// As the SDK's own helpers do.
class Listing {
	events = new Map();
	twice = 0;

	constructor(id) {
		this.id = id;
		this.over = this.#run();
	}

	async #run() {
		while (!this.closed) {
			try {
				this.watch = await Watch.open(patient, this.id);
				if (this.closed) this.watch.close();
				for (const e of await log(patient, this.id)) if (e.processed_at) this.events.set(e.id, e);
				await this.watch.done;
				const ids = this.watch.persisted.map((e) => e.id);
				this.twice += ids.length - new Set(ids).size;
				for (const e of this.watch.persisted) this.events.set(e.id, e);
			} catch {
				await new Promise((r) => setTimeout(r, 50));
			}
		}
	}

	get all() {
		return new Map([...this.events, ...(this.watch?.persisted ?? []).map((e) => [e.id, e])]);
	}

	close() {
		this.closed = true;
		this.watch?.close();
		return this.over;
	}
}

describe('streams that come again', () => {
	before(async () => {
		await healthy();
		b = await bench(patient);
	});

	test('every event once, whatever is killed', async () => {
		const s = await b.session();
		const raw = new Resuming(s.id), sdk = new Listing(s.id);
		await until('both are there', () => raw.connections > 0 && sdk.watch);
		let turns = 0;
		const turn = async () => {
			await patient.beta.sessions.events.send(s.id, { events: [message(script(['some words', bash(`echo ${turns}`)]))] });
			turns++;
		};
		for (const kind of ['stream', 'redis', 'stream', 'nginx', 'postgres', 'stream']) {
			const connections = raw.connections;
			await turn();
			for (const name of services().filter((x) => x === kind || x.startsWith(`${kind}-`))) await killService(name);
			await turn();
			await healthy();
			if (['stream', 'nginx'].includes(kind)) await until('the raw reader has come again', () => raw.connections > connections);
		}
		await until('the session is idle', async () => (await patient.beta.sessions.retrieve(s.id)).status === 'idle', 60_000);
		const listed = await log(patient, s.id);
		assertLog(listed);
		assert.equal(listed.filter((e) => e.type === 'user.message').length, turns);
		await until('the raw reader has everything', () => raw.all.length >= listed.length);
		assert.deepEqual(raw.all, listed, 'in order, each once');
		assert.ok(raw.connections >= 4, `it was cut off several times: ${raw.connections}`);
		await until('the SDK has everything', () => sdk.all.size >= listed.length);
		assert.deepEqual(new Map([...sdk.all].sort()), new Map(listed.map((e) => [e.id, e]).sort()));
		await Promise.all([raw.close(), sdk.close()]);
		assert.equal(sdk.twice, 0, 'none twice on one connection');
	});
});
