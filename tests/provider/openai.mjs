// The Chat Completions side, with the quirks of the servers that speak like it.
import { cut, outputWords, pieces, words } from './play.mjs';

const textOf = (content) => (typeof content === 'string' ? content : (content ?? []).filter((p) => p.type === 'text').map((p) => p.text).join('\n\n'));

// Messages sent one after the other arrive as one text, joined by blank lines. A directive is the last line of its message, so what
// follows one is a later message.
const lastMessage = (text) => text.split(/^\s*!provider\s+\{.*\}[ \t]*\n\n/m).at(-1);

export function check(body) {
	if (!Array.isArray(body.messages) || !body.messages.length) return 'messages: must not be empty';
	if (body.stream !== true) return 'stream: this server only streams';
	if (body.max_tokens !== undefined && body.max_completion_tokens !== undefined) return 'max_tokens and max_completion_tokens exclude each other';
	let open = [];
	for (const [i, m] of body.messages.entries()) {
		if (!['system', 'user', 'assistant', 'tool'].includes(m.role)) return `messages[${i}].role: unknown`;
		if (m.role === 'tool') {
			if (!open.includes(m.tool_call_id)) return `messages[${i}].tool_call_id: ${m.tool_call_id} does not answer a call`;
			open = open.filter((id) => id !== m.tool_call_id);
			continue;
		}
		if (open.length) return `messages[${i}]: tool calls without an answer: ${open}`;
		if (m.role === 'assistant' && m.content === null && !m.tool_calls) return `messages[${i}].content: required`;
		open = (m.tool_calls ?? []).map((c) => c.id);
		for (const c of m.tool_calls ?? []) {
			if (c.type !== 'function' || typeof c.function.arguments !== 'string') return `messages[${i}].tool_calls: malformed`;
			JSON.parse(c.function.arguments);
		}
	}
	return open.length ? `tool calls without an answer: ${open}` : null;
}

export function read(body) {
	let latest = '', replies = 0, input = 0, system = '';
	for (const m of body.messages) {
		input += words(textOf(m.content)) + (m.tool_calls ?? []).reduce((n, c) => n + words(c.function.arguments), 0);
		if (m.role === 'system' && !system) system = textOf(m.content);
		if (m.role === 'assistant') replies++;
		if (m.role === 'user') { latest = lastMessage(textOf(m.content)); replies = 0; }
	}
	return { model: body.model, system, latest, replies, input, tools: (body.tools ?? []).map((t) => t.function.name), wantsUsage: !!body.stream_options?.include_usage };
}

function usageOf(conversation, reply, how) {
	const cached = how.cache?.read ?? 0;
	return {
		prompt_tokens: conversation.input + cached, completion_tokens: outputWords(reply), total_tokens: conversation.input + cached + outputWords(reply),
		...(cached ? { prompt_tokens_details: { cached_tokens: cached } } : {}), ...how.usage,
	};
}

// quirks: no_done, no_index, same_index, repeat_ids, args_object, empty_chunk, usage_inline, no_reason, name_late.
export function* write({ speech, calls }, conversation, how, id) {
	const quirks = how.quirks ?? [];
	const chunk = (choices, more = {}) => `data: ${JSON.stringify({ id, object: 'chat.completion.chunk', created: 1, model: conversation.model, choices, ...more })}\n\n`;
	const delta = (d, reason = null, more = {}) => chunk([{ index: 0, delta: d, finish_reason: reason }], more);
	const usage = usageOf(conversation, { speech, calls }, how);
	if (quirks.includes('empty_chunk')) yield chunk([]);
	yield delta({ role: 'assistant', content: '' });
	yield ': a comment\n\n';
	for (const p of how.thinking ? pieces(how.thinking) : []) yield delta({ reasoning_content: p });
	for (const p of pieces(speech)) yield delta({ content: p });
	for (const [i, c] of calls.entries()) {
		const input = how.fault === 'bad_input' ? c.input.slice(0, -1) : c.input;
		const index = quirks.includes('no_index') ? {} : { index: quirks.includes('same_index') ? 0 : i };
		const ident = { id: `call_${id}_${i}`, type: 'function' };
		if (quirks.includes('args_object')) {
			yield delta({ tool_calls: [{ ...index, ...ident, function: { name: c.name, arguments: '@@' } }] }).replace('"@@"', c.input);
			continue;
		}
		yield delta({ tool_calls: [{ ...index, ...ident, function: { name: c.name, arguments: '' } }] });
		const all = cut(input), sent = how.fault === 'cut_off' && i === calls.length - 1 ? all.slice(0, 1) : all;
		for (const p of sent) yield delta({ tool_calls: [{ ...index, ...(quirks.includes('repeat_ids') ? ident : {}), function: { arguments: p } }] });
	}
	const reason = how.fault === 'refusal' ? 'content_filter' : how.fault === 'cut_off' ? 'length' : how.stop ?? (calls.length ? 'tool_calls' : 'stop');
	const tells = how.fault !== 'no_usage' && conversation.wantsUsage;
	if (!quirks.includes('no_reason')) yield delta({}, reason, tells && quirks.includes('usage_inline') ? { usage } : {});
	if (tells && !quirks.includes('usage_inline')) yield chunk([], { usage });
	if (!quirks.includes('no_done')) yield 'data: [DONE]\n\n';
}

const CODES = { 401: 'invalid_api_key', 429: 'rate_limit_exceeded' };
export const error = (status, message) => ({ error: { message, type: status >= 500 ? 'server_error' : 'invalid_request_error', param: null, code: CODES[status] ?? null } });
export const errorEvent = (status, message) => `data: ${JSON.stringify({ error: { message, code: status } })}\n\n`;
