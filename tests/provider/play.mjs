// What the fake model says: the grammar of the built-in scripted model (step n plays paragraph n of the latest user message), read from
// a conversation in neutral form, and the `!provider {json}` directive that asks for faults and extras.

export const words = (s) => s.split(/\s+/).filter(Boolean).length;

// One word per delta, white space kept: the pieces join to the text.
export const pieces = (s) => s.match(/\s*\S+\s*/g) ?? (s ? [s] : []);

// A line `<offered tool> {...`, or null.
function callLine(line, tools) {
	const m = /^(\S+)[ \t]+(\{.*)$/.exec(line);
	return m && tools.includes(m[1]) ? { name: m[1], input: m[2] } : null;
}

// Takes `!provider {json}` lines out of a text: { text, behaviours }.
export function directives(text) {
	const behaviours = [];
	const kept = text.split('\n').filter((line) => {
		const m = /^\s*!provider\s+(\{.*\})\s*$/.exec(line);
		if (!m) return true;
		behaviours.push(JSON.parse(m[1]));
		return false;
	});
	return { text: kept.join('\n').trim(), behaviours };
}

// What a request to judge a call is answered with, as the scripted model does: the newest line `judge <tool> <answer>` of the user's
// messages, else allow. null: it is no such request.
export function judge({ system, latest }) {
	if (!system?.startsWith('You are the permission check of an AI agent.')) return null;
	const { user_messages, call } = JSON.parse(latest);
	const lines = user_messages.join('\n').split('\n').filter((l) => l.startsWith(`judge ${call.tool} `));
	return { speech: lines.length ? lines.at(-1).slice(`judge ${call.tool} `.length) : 'allow', calls: [] };
}

// conversation: { tools: [name], latest: text of the latest user message, replies: assistant messages since then, model }
// -> { speech, calls: [{ name, input }] }, inputs as text.
export function play({ tools, latest, replies, model }) {
	const lines = latest.split('\n').map((l) => l.trim());
	if (!lines.some((l) => callLine(l, tools))) return { speech: `I am ${model}, a fake model. You said: ${latest}`, calls: [] };
	const paragraphs = [[]];
	for (const l of lines) {
		if (l) paragraphs.at(-1).push(l);
		else if (paragraphs.at(-1).length) paragraphs.push([]);
	}
	if (!paragraphs.at(-1).length) paragraphs.pop();
	const paragraph = paragraphs[replies];
	if (!paragraph) return { speech: 'Done.', calls: [] };
	const calls = paragraph.map((l) => callLine(l, tools)).filter(Boolean);
	return { speech: paragraph.filter((l) => !callLine(l, tools)).join('\n'), calls };
}

export const outputWords = ({ speech, calls }) => words(speech) + calls.reduce((n, c) => n + 1 + words(c.input), 0);

// Cut a tool input into the pieces it is streamed in, between characters.
export function cut(text, size = 7) {
	const all = Array.from(text), out = [];
	for (let i = 0; i < all.length; i += size) out.push(all.slice(i, i + size).join(''));
	return out;
}
