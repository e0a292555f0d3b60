// The Messages API's side: checks a request the way the real service refuses it, reads it, and writes a reply as events.
import { cut, outputWords, pieces, words } from './play.mjs';

const FIELDS = new Set(['model', 'max_tokens', 'stream', 'system', 'tools', 'messages', 'thinking', 'output_config', 'metadata', 'tool_choice', 'temperature', 'speed', 'inference_geo']);
const blocksOf = (m) => (typeof m.content === 'string' ? [{ type: 'text', text: m.content }] : m.content);

function checkMessage(m, i, previous) {
	const at = `messages.${i}`;
	const blocks = blocksOf(m);
	if (!['user', 'assistant', 'system'].includes(m.role)) return `${at}.role: unknown`;
	if (m.role === 'system' && previous?.role !== 'user') return `${at}: a system message must follow a user message`;
	if (!Array.isArray(blocks) || !blocks.length) return `${at}.content: must not be empty`;
	if (previous && previous.role === m.role) return `${at}: roles must alternate`;
	let other = false;
	for (const [k, b] of blocks.entries()) {
		if (b.type === 'text' && !b.text.trim()) return `${at}.content.${k}: text content blocks must contain non-whitespace text`;
		if (b.type === 'thinking' && !b.signature) return `${at}.content.${k}.thinking.signature: field required`;
		if (b.type === 'tool_result' && other) return `${at}.content.${k}: tool_result blocks must come first`;
		if (b.cache_control && b.type.includes('thinking')) return `${at}.content.${k}: cache_control is not allowed here`;
		other ||= b.type !== 'tool_result';
	}
	const asked = previous?.role === 'assistant' ? blocksOf(previous).filter((b) => b.type === 'tool_use').map((b) => b.id) : [];
	const answered = blocks.filter((b) => b.type === 'tool_result').map((b) => b.tool_use_id);
	if (m.role === 'user') {
		const open = asked.filter((id) => !answered.includes(id));
		if (open.length) return `${at}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after: ${open}`;
		const stray = answered.filter((id) => !asked.includes(id));
		if (stray.length) return `${at}: unexpected \`tool_use_id\` found in \`tool_result\` blocks: ${stray}`;
	}
	return null;
}

export function check(body, headers) {
	if (headers['anthropic-version'] !== '2023-06-01') return 'anthropic-version: header is required';
	for (const k of Object.keys(body)) if (!FIELDS.has(k)) return `${k}: Extra inputs are not permitted`;
	if (!Number.isInteger(body.max_tokens) || body.max_tokens < 1) return 'max_tokens: Field required';
	if (body.stream !== true) return 'stream: this server only streams';
	if (!Array.isArray(body.messages) || !body.messages.length) return 'messages: at least one message is required';
	if (body.messages[0].role !== 'user') return 'messages.0.role: first message must use the "user" role';
	const marks = (JSON.stringify(body).match(/"cache_control":\{"type":"ephemeral"/g) ?? []).length;
	if (marks > 4) return `A maximum of 4 blocks with cache_control may be provided. Found ${marks}.`;
	for (const t of body.tools ?? []) if (t.input_schema?.type !== 'object') return `tools: ${t.name}: input_schema must be an object schema`;
	for (const [i, m] of body.messages.entries()) {
		const bad = checkMessage(m, i, body.messages[i - 1]);
		if (bad) return bad;
	}
	return ['user', 'system'].includes(body.messages.at(-1).role) ? null : 'messages: the last message must be the user\'s';
}

const resultText = (b) => (typeof b.content === 'string' ? b.content : (b.content ?? []).map((x) => x.text ?? '').join('\n'));

function blockWords(b) {
	if (b.type === 'text') return words(b.text);
	if (b.type === 'tool_use') return words(JSON.stringify(b.input));
	return b.type === 'tool_result' ? words(resultText(b)) : 0;
}

export function read(body) {
	const system = typeof body.system === 'string' ? body.system : (body.system ?? []).map((b) => b.text).join('\n');
	let latest = '', replies = 0;
	for (const m of body.messages) {
		const texts = m.role === 'user' ? blocksOf(m).filter((b) => b.type !== 'tool_result') : [];
		if (m.role === 'assistant') replies++;
		else if (texts.length) { latest = texts.filter((b) => b.type === 'text').at(-1)?.text ?? ''; replies = 0; }
	}
	return {
		model: body.model, system, latest, replies, tools: (body.tools ?? []).map((t) => t.name),
		input: words(system) + body.messages.flatMap(blocksOf).reduce((n, b) => n + blockWords(b), 0),
	};
}

const event = (type, more) => `event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`;

// The events of a reply, each a text. `how`: thinking, redacted, signature, cache, no_usage, cut_off, refusal, bad_input, usage.
export function* write({ speech, calls }, conversation, how, id) {
	const usage = {
		input_tokens: conversation.input, output_tokens: 1,
		cache_read_input_tokens: how.cache?.read ?? 0,
		cache_creation_input_tokens: (how.cache?.write_5m ?? 0) + (how.cache?.write_1h ?? 0),
		...(how.cache ? { cache_creation: { ephemeral_5m_input_tokens: how.cache.write_5m ?? 0, ephemeral_1h_input_tokens: how.cache.write_1h ?? 0 } } : {}),
		...how.usage,
	};
	const noUsage = how.fault === 'no_usage';
	let index = 0;
	yield event('message_start', {
		message: { id, type: 'message', role: 'assistant', model: conversation.model, content: [], stop_reason: null, stop_sequence: null, ...(noUsage ? {} : { usage }) },
	});
	yield event('ping', {});
	if (how.thinking) {
		yield event('content_block_start', { index, content_block: { type: 'thinking', thinking: '', signature: '' } });
		for (const p of pieces(how.thinking)) yield event('content_block_delta', { index, delta: { type: 'thinking_delta', thinking: p } });
		yield event('content_block_delta', { index, delta: { type: 'signature_delta', signature: how.signature ?? 'c2lnbmF0dXJl' } });
		yield event('content_block_stop', { index: index++ });
	}
	if (how.redacted) {
		yield event('content_block_start', { index, content_block: { type: 'redacted_thinking', data: 'cmVkYWN0ZWQ=' } });
		yield event('content_block_stop', { index: index++ });
	}
	if (speech) {
		yield event('content_block_start', { index, content_block: { type: 'text', text: '' } });
		for (const p of pieces(speech)) yield event('content_block_delta', { index, delta: { type: 'text_delta', text: p } });
		yield event('content_block_stop', { index: index++ });
	}
	for (const [i, c] of calls.entries()) {
		const input = how.fault === 'bad_input' ? c.input.slice(0, -1) : c.input;
		const all = cut(input), sent = how.fault === 'cut_off' && i === calls.length - 1 ? all.slice(0, 1) : all;
		yield event('content_block_start', { index, content_block: { type: 'tool_use', id: `toolu_${id}_${i}`, name: c.name, input: {} } });
		yield event('content_block_delta', { index, delta: { type: 'input_json_delta', partial_json: '' } });
		for (const p of sent) yield event('content_block_delta', { index, delta: { type: 'input_json_delta', partial_json: p } });
		yield event('content_block_stop', { index: index++ });
	}
	const reason = how.fault === 'refusal' ? 'refusal' : how.fault === 'cut_off' ? 'max_tokens' : how.stop ?? (calls.length ? 'tool_use' : 'end_turn');
	yield event('message_delta', {
		delta: { stop_reason: reason, stop_sequence: null, ...(how.stop_details ? { stop_details: how.stop_details } : {}) },
		...(noUsage ? {} : { usage: { output_tokens: outputWords({ speech, calls }), ...(how.usage ?? {}) } }),
	});
	yield event('message_stop', {});
}

const TYPES = { 400: 'invalid_request_error', 401: 'authentication_error', 402: 'billing_error', 403: 'permission_error', 404: 'not_found_error', 413: 'request_too_large', 429: 'rate_limit_error', 500: 'api_error', 503: 'api_error', 504: 'timeout_error', 529: 'overloaded_error' };
export const error = (status, message) => ({ type: 'error', error: { type: TYPES[status] ?? 'api_error', message } });
export const errorEvent = (status, message) => `event: error\ndata: ${JSON.stringify(error(status, message))}\n\n`;
