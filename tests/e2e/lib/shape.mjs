// The order of events as a string, one letter each, and the rules every session log obeys (contract 3.1, 3.4, 3.5).
//
// A turn that calls one tool reads RrU sbeo sme iud (without the blanks):
import assert from 'node:assert/strict';

const LETTER = {
	'session.status_running': 'R', 'session.thread_status_running': 'r',
	'user.message': 'U', 'user.interrupt': 'I', 'user.tool_confirmation': 'C', 'user.custom_tool_result': 'K',
	'span.model_request_start': 's', 'agent.thinking': 't', 'agent.message': 'm',
	'agent.thread_context_compacted': 'z',
	'user.define_outcome': 'O', 'span.outcome_evaluation_start': 'g', 'span.outcome_evaluation_ongoing': 'G', 'span.outcome_evaluation_end': 'v',
	'agent.tool_use': 'b', 'agent.custom_tool_use': 'c', 'span.model_request_end': 'e', 'agent.tool_result': 'o',
	'session.thread_status_idle': 'i', 'session.usage': 'u', 'session.status_idle': 'd',
	'session.error': 'X', 'session.status_rescheduled': 'h', 'session.thread_status_rescheduled': 'H',
	'session.status_terminated': 'T', 'session.thread_status_terminated': 'q',
	'session.updated': 'p', 'session.deleted': 'D',
	'event_start': '(', 'event_delta': '.',
};

export function shape(events) {
	return events.map((e) => LETTER[e.type] ?? `<${e.type}>`).join('');
}

// Without previews.
export function logShape(events) {
	return shape(events.filter((e) => e.id));
}

const STAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;
const ID = /^sevt_01[1-9A-HJ-NP-Za-km-z]{22}$/;

// Microseconds since the epoch, exactly.
export function micros(stamp) {
	assert.match(stamp, STAMP, 'stamps have six digits and Z');
	return BigInt(Date.parse(`${stamp.slice(0, 19)}Z`)) * 1000n + BigInt(stamp.slice(20, 26));
}

// One step: the model's reply and the results of its calls. session.updated may stand anywhere and is left out before matching.
const STEP = '(?:st*m?[bc]*e[oCK]*)';				// an answer may come while other calls still run
const INPUT = '[UICKO]';
const GRADE = '[gG]v?';					// an evaluation that is cut off is taken up again behind the next running pair
const RETRY = `X*(?:hH|Hh)(?:Rr[oUICKO]*|(?=I|v))`;	// an interrupt may end the wait; results of a lost worker's calls come after it
const GOING = `(?:${STEP}z?${INPUT}*|${GRADE}${INPUT}*|${RETRY}|X)*`;
const IDLE = 'iud';
const TURN = `${INPUT}*Rr${INPUT}*o*${INPUT}*${GOING}(?:o*v)?I*${IDLE}`;		// on an idle session, or woken by answers
const CLEARED = `o*v?I+${IDLE}`;					// an interrupt of a wait
const PARTIAL = `[CK]*(?:o*i)?ud`;				// some of the answers; all of them, at a budget's cap
const LOG = new RegExp(`^(?:v?I|${TURN}|${CLEARED}|${PARTIAL})*(?:${INPUT}*Rr${INPUT}*o*${INPUT}*${GOING}(?:st*m?[bc]*)?)?(?:qT|Tq|X?T)?$`);

// Every rule that holds for any log. running: the session may be in the middle of a turn.
export function assertLog(events, { running = false } = {}) {
	const done = events.filter((e) => e.processed_at !== null);
	assert.deepEqual(events.slice(0, done.length), done, 'waiting events stand at the tail of the list');

	const ids = new Set();
	let last = 0n;
	for (const e of events) {
		assert.match(e.id, ID);
		assert.ok(!ids.has(e.id), `event ${e.id} is listed twice`);
		ids.add(e.id);
		if (e.processed_at === null) continue;
		const at = micros(e.processed_at);
		assert.ok(at > last, `stamps rise: ${e.type} ${e.processed_at}`);
		last = at;
	}

	const letters = shape(done).replaceAll('p', '');
	assert.match(letters, LOG, 'order of events (contract 3.5)');
	if (!running) assertClosed(done, letters);
	done.forEach((e, i) => {
		if (e.type === 'session.status_idle') assert.equal(done[i - 1]?.type, 'session.usage', 'usage stands right before idle');
		if (e.type === 'session.status_running') assert.equal(done[i + 1]?.type, 'session.thread_status_running');
	});
	assertSpans(done);
}

// Nothing is left open once the session is idle: each call has exactly one result, or is awaited by name.
function assertClosed(events, letters) {
	const answered = new Map();
	for (const e of events) {
		const of = e.type === 'agent.tool_result' ? e.tool_use_id : e.type === 'user.custom_tool_result' ? e.custom_tool_use_id : null;
		if (of) answered.set(of, (answered.get(of) ?? 0) + 1);
	}
	const idle = events.findLast((e) => e.type === 'session.status_idle');
	const awaited = new Set(idle?.stop_reason.event_ids ?? []);
	for (const e of events) {
		if (e.type !== 'agent.tool_use' && e.type !== 'agent.custom_tool_use') continue;
		const n = answered.get(e.id) ?? 0;
		if (e.type === 'agent.custom_tool_use' && n === 0) continue;	// an interrupt may close it without a result of its own
		assert.ok(n === 1 || (n === 0 && awaited.has(e.id)), `call ${e.id} (${e.name}) has ${n} results in ${letters}`);
	}
}

function assertSpans(events) {
	let open = null;
	for (const e of events) {
		if (e.type === 'span.model_request_start') {
			assert.equal(open, null, 'one model request at a time');
			open = e.id;
		} else if (e.type === 'span.model_request_end') {
			assert.equal(e.model_request_start_id, open, 'a span end names its start');
			open = null;
			for (const k of ['input_tokens', 'output_tokens', 'cache_creation_input_tokens', 'cache_read_input_tokens']) {
				assert.ok(Number.isInteger(e.model_usage[k]) && e.model_usage[k] >= 0, `model_usage.${k}`);
			}
		}
	}
}

// Microseconds that the log says the session ran: from each status_running to the idle, reschedule or termination after it. A
// reschedule without an error before it means that the worker died in between, nobody knows when: `least` ends such an interval at the
// last event before.
export function running(events) {
	let sum = 0n, least = 0n, since = null;
	events.forEach((e, i) => {
		if (e.type === 'session.status_running') since ??= micros(e.processed_at);
		if (since === null || !/^session\.status_(idle|rescheduled|terminated)$/.test(e.type)) return;
		const last = events.slice(0, i).findLast((x) => x.type !== 'session.thread_status_rescheduled');
		const lost = e.type === 'session.status_rescheduled' && last.type !== 'session.error';
		sum += micros(e.processed_at) - since;
		least += micros((lost ? last : e).processed_at) - since;
		since = null;
	});
	return { sum, least };
}

// Seconds charged against the log, to the millisecond.
export function assertActive(events, seconds, what = 'active_seconds') {
	const { sum, least } = running(events);
	const charged = seconds * 1e6;
	assert.ok(charged < Number(sum) + 1000 && charged > Number(least) - 1000,
		`${what}: ${seconds} s charged, ${Number(sum) / 1e6} s in the log${sum === least ? '' : `, at least ${Number(least) / 1e6}`}`);
}
