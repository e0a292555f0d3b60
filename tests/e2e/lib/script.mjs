// The scripted model's language: a user message of paragraphs; paragraph n is what the model does at step n.

// One call: `bash {"command":"echo hi"}`
export const call = (tool, input) => `${tool} ${JSON.stringify(input)}`;
export const bash = (command, more = {}) => call('bash', { command, ...more });

// Each argument is one step: a string, or a list of lines (several call lines are parallel calls).
export const script = (...steps) => steps.map((s) => (Array.isArray(s) ? s.join('\n') : s)).join('\n\n');

export const text = (t) => ({ type: 'text', text: t });
export const message = (t) => ({ type: 'user.message', content: [text(t)] });
export const interrupt = () => ({ type: 'user.interrupt' });
export const allow = (id) => ({ type: 'user.tool_confirmation', tool_use_id: id, result: 'allow' });
export const deny = (id, why) => ({
	type: 'user.tool_confirmation', tool_use_id: id, result: 'deny', ...(why === undefined ? {} : { deny_message: why }),
});
export const answer = (id, t, more = {}) => ({
	type: 'user.custom_tool_result', custom_tool_use_id: id, content: [text(t)], ...more,
});
