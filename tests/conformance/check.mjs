// Is this answer what the contract promises? Used by tests/e2e/lib/conform.mjs, which sees to it that every answer comes by here.
//
//	answered({method, path, status, headers, text})    throws Invalid; headers: an object with lower-case names
//	new StreamChecker(method, path, status, headers)   .frame(event, data) throws Invalid
//
// What was seen, and what was wrong, is counted and written when the process ends, to one file in ROOST_CONFORMANCE_SEEN; report.mjs adds
// the files up. Nothing here changes or keeps an answer.
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { misdescribed, misdescribedEvent } from './described.mjs';
import { OURS, endpointOf } from './endpoints.mjs';
import { ERROR_TYPE } from './policy.mjs';

const require = createRequire(import.meta.url);
const dir = process.env.ROOST_CONFORMANCE;
const schemas = JSON.parse(readFileSync(path.join(dir, 'schemas.json'), 'utf8'));
const validators = require(path.join(dir, 'validate.cjs'));
const REQUEST_ID = /^req_[0-9A-Za-z]{10,}$/;

export class Invalid extends Error {
	constructor(what, why) {
		super(`${what}: ${why}`);
		this.name = 'Invalid';
		seen.invalid.push(this.message);
	}
}

// For the test of this file: why fn's answer is invalid, undefined when it is not; neither is counted.
export function rehearsed(fn) {
	const before = structuredClone(seen);
	try {
		fn();
		return undefined;
	} catch (e) {
		if (!(e instanceof Invalid)) throw e;
		return e.message;
	} finally {
		Object.assign(seen, before);
	}
}

// --- what was seen ----------------------------------------------------------------------------------------------------------------
const seen = { file: process.argv[1], answers: 0, endpoints: {}, events: {}, stopReasons: {}, sessionErrors: {}, errors: {}, invalid: [] };
const count = (table, key) => { table[key] = (table[key] ?? 0) + 1; };

process.on('exit', () => {
	const to = process.env.ROOST_CONFORMANCE_SEEN;
	if (to && seen.answers) writeFileSync(path.join(to, `${process.pid}.json`), JSON.stringify(seen));
});

function sawEvent(e, how) {
	count(seen.events, `${e.type} ${how}`);
	if (e.stop_reason) count(seen.stopReasons, e.stop_reason.type);
	if (e.type === 'session.error') count(seen.sessionErrors, `${e.error.type} ${e.error.retry_status.type}`);
}

// --- bodies -----------------------------------------------------------------------------------------------------------------------
const pick = (value, pointer) => pointer.split('/').slice(1).reduce((v, k) => v?.[k.replaceAll('~1', '/').replaceAll('~0', '~')], value);

// /data/3/tools/0 as data[3].tools[0]
const dotted = (pointer) => pointer.split('/').slice(1).map((k, i) => (/^\d+$/.test(k) ? `[${k}]` : `${i ? '.' : ''}${k}`)).join('') || 'the body';

function explain(validate, body) {
	// The last error is the summary of its alternatives; the deepest one says most.
	const e = validate.errors.reduce((a, b) => (b.instancePath.length > a.instancePath.length ? b : a));
	const at = e.params.additionalProperty ?? e.params.missingProperty ?? '';
	const value = JSON.stringify(pick(body, e.instancePath));
	return `${dotted(e.instancePath)} ${e.message}${at ? ` (${at})` : ''}: ${value?.slice(0, 400)}`;
}

function validated(what, name, body) {
	const validate = validators[name];
	if (!validate(body)) throw new Invalid(what, explain(validate, body));
}

function parsed(what, text) {
	try {
		return JSON.parse(text);
	} catch (e) {
		throw new Invalid(what, `no JSON (${e.message}): ${text.slice(0, 200)}`);
	}
}

function asDescribed(what, why) {
	if (why) throw new Invalid(what, why);
}

function refused(what, method, pathname, status, headers, text) {
	const body = parsed(what, text);
	validated(what, 'error', body);
	asDescribed(what, misdescribed(method, pathname, status, body));
	const types = [ERROR_TYPE[status] ?? []].flat();
	if (!types.includes(body.error.type)) throw new Invalid(what, `error.type ${body.error.type} with this status`);
	if (body.request_id !== headers['request-id']) throw new Invalid(what, `request_id ${body.request_id} is not the header's`);
	count(seen.errors, [status, body.error.type, body.error.details?.error_code].filter(Boolean).join(' '));
}

const json = (headers) => /^application\/json\b/.test(headers['content-type'] ?? '');

// One whole answer; text is undefined when it is bytes that nobody wants to see as text (a download).
export function answered({ method, path: p, status, headers, text }) {
	const pathname = p.split('?')[0];
	const what = `${method} ${p.slice(0, 200)} → ${status}`;
	if (OURS.some((r) => r.test(pathname)) && status !== 404) return;
	seen.answers++;
	if (!REQUEST_ID.test(headers['request-id'] ?? '')) throw new Invalid(what, `request-id header ${headers['request-id']}`);
	const endpoint = endpointOf(method, pathname);
	if (endpoint) count(seen.endpoints, `${endpoint.name} ${Math.floor(status / 100)}xx`);
	if (method === 'HEAD') return;
	if (status >= 400) {
		if (!json(headers)) throw new Invalid(what, `an error as ${headers['content-type']}`);
		refused(what, method, pathname, status, headers, text);
		return;
	}
	if (status !== 200) throw new Invalid(what, 'the contract knows no such status');
	if (!endpoint) throw new Invalid(what, 'there is no such endpoint in tests/conformance/endpoints.mjs');
	const { kind, validators: names } = schemas.endpoints[endpoint.name];
	if (kind !== 'json') {
		if (kind === 'sse') throw new Invalid(what, `a stream as ${headers['content-type']}`);
		return;
	}
	if (!json(headers)) throw new Invalid(what, `content-type ${headers['content-type']}`);
	const body = parsed(what, text);
	for (const name of names) validated(what, name, body);
	asDescribed(what, misdescribed(method, pathname, status, body));
	if (endpoint.group === 'events' || endpoint.group === 'thread events') for (const e of body.data) sawEvent(e, method === 'GET' ? 'listed' : 'echoed');
}

// --- streams ----------------------------------------------------------------------------------------------------------------------
export const isStream = (headers) => /^text\/event-stream\b/.test(headers['content-type'] ?? '');

export class StreamChecker {
	constructor(method, p, status, headers) {
		const endpoint = endpointOf(method, p.split('?')[0]);
		this.what = `${method} ${p.slice(0, 200)} → ${status}`;
		if (!REQUEST_ID.test(headers['request-id'] ?? '')) throw new Invalid(this.what, `request-id header ${headers['request-id']}`);
		const reply = endpoint && schemas.endpoints[endpoint.name];
		if (status !== 200 || reply?.kind !== 'sse') throw new Invalid(this.what, 'an event stream is not what this endpoint answers');
		seen.answers++;
		count(seen.endpoints, `${endpoint.name} 2xx`);
		this.names = reply.validators;
		this.ids = new Set();
		this.previews = new Map();
		this.rest = '';
		this.decoder = new TextDecoder();
	}

	// One frame: the event's name and its data.
	frame(name, data) {
		if (name === 'ping') return;
		const what = `${this.what}, event ${name}`;
		const body = parsed(what, data);
		if (name === 'error') {
			// It breaks a stream whose headers have named the request.
			validated(what, 'error', { request_id: 'req_0000000000', ...body });
			return;
		}
		if (name !== body.type && name !== 'message') throw new Invalid(what, `its data is of type ${body.type}`);
		for (const n of this.names) validated(what, n, body);
		asDescribed(what, misdescribedEvent(body));
		this.#order(what, body);
		sawEvent(body, 'streamed');
	}

	// What holds on one connection (contract 3.9): an event comes once and with a stamp; a preview is opened at most once and before its
	// fragments, these are a prefix of the message, and nothing follows the message.
	#order(what, e) {
		const broken = (why) => { throw new Invalid(what, `${why}: ${JSON.stringify(e).slice(0, 300)}`); };
		if (e.type === 'event_start') {
			if (this.previews.has(e.event.id)) broken('a second event_start');
			if (this.ids.has(e.event.id)) broken('a preview after its event');
			this.previews.set(e.event.id, new Map());
		} else if (e.type === 'event_delta') {
			const texts = this.previews.get(e.event_id);
			if (!texts) broken('a fragment without a start');
			if (this.ids.has(e.event_id)) broken('a fragment after its event');
			const at = e.delta.index ?? 0;
			texts.set(at, (texts.get(at) ?? '') + e.delta.content.text);
		} else {
			if (this.ids.has(e.id)) broken('an event that came before');
			if (e.processed_at === null) broken('an event that is not processed yet');
			this.ids.add(e.id);
			for (const [at, text] of this.previews.get(e.id) ?? []) {
				if (!e.content?.[at]?.text?.startsWith(text)) broken(`not what the fragments of block ${at} began (${text.slice(0, 100)})`);
			}
		}
	}

	// Bytes as they come.
	bytes(chunk) {
		this.rest += this.decoder.decode(chunk, { stream: true }).replaceAll('\r\n', '\n');
		for (let i; (i = this.rest.indexOf('\n\n')) >= 0; this.rest = this.rest.slice(i + 2)) {
			const lines = this.rest.slice(0, i).split('\n');
			const field = (n) => lines.filter((l) => l.startsWith(`${n}:`)).map((l) => l.slice(n.length + 1).replace(/^ /, '')).join('\n');
			if (field('event')) this.frame(field('event'), field('data'));
			else if (field('data')) throw new Invalid(this.what, 'data without an event name: the SDK drops it');
		}
	}
}
