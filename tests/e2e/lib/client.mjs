// Clients of the instance under test, and what nearly every test needs first: an environment, an agent, a session.
//
// The instance is named by the variables of its dev.env (ROOST_BASE_URL, ROOST_API_KEY, ..., NODE_EXTRA_CA_CERTS), which must be
// exported before node starts. Requests are never retried by these clients: a test sees what the server answered first.
import { randomBytes } from 'node:crypto';
import Anthropic from '@anthropic-ai/sdk';
import './conform.mjs';

export { Anthropic };

function need(name) {
	const v = process.env[name];
	if (!v) throw new Error(`${name} is not set: source the dev.env of a running instance first (tests/e2e/README.md)`);
	return v;
}

export const baseURL = need('ROOST_BASE_URL').replace(/\/$/, '');
export const apiKey = need('ROOST_API_KEY');
export const adminKey = need('ROOST_ADMIN_KEY');
export const caFile = need('ROOST_CA_FILE');

export const BETA = 'managed-agents-2026-04-01';
export const VERSION = '2026-10-21';
export const MODEL = 'roost-scripted';
export const TOOLSET = { type: 'agent_toolset_20260401' };

export function client(options = {}) {
	return new Anthropic({ apiKey, baseURL, maxRetries: 0, timeout: 60_000, ...options });
}

// A client that notes every HTTP exchange: {method, path, status}.
export function countingClient(options = {}) {
	const hits = [];
	const c = client({
		...options,
		fetch: async (url, init) => {
			const res = await fetch(url, init);
			hits.push({ method: init?.method ?? 'GET', path: new URL(url).pathname, status: res.status });
			return res;
		},
	});
	return { c, hits };
}

// A fetch whose event streams break behind the chunk that holds `text`, the first `times` times; broken() says how often they did.
export function breakingStreams(times, text) {
	let broken = 0;
	const breaking = async (url, init) => {
		const res = await fetch(url, init);
		if (!String(url).includes('/events/stream') || broken >= times) return res;
		const cut = new TransformStream({ transform(chunk, out) {
			out.enqueue(chunk);
			if (Buffer.from(chunk).includes(text)) {
				broken++;
				out.error(new Error('the connection broke'));
			}
		} });
		return new Response(res.body.pipeThrough(cut), { status: res.status, headers: res.headers });
	};
	return { fetch: breaking, broken: () => broken };
}

// Names that no other test, run or file uses.
export function unique(stem) {
	return `${stem}-${randomBytes(5).toString('hex')}`;
}

export function makeEnvironment(c, more = {}) {
	return c.beta.environments.create({
		name: unique('env'), config: { type: 'cloud', networking: { type: 'unrestricted' } }, ...more,
	});
}

export function makeAgent(c, more = {}) {
	return c.beta.agents.create({ name: unique('agent'), model: MODEL, tools: [TOOLSET], ...more });
}

// The usual three of a test file: one environment and one agent for all its sessions.
export async function bench(c = client(), agent = {}) {
	const [environment, made] = await Promise.all([makeEnvironment(c), makeAgent(c, agent)]);
	return {
		c, environment, agent: made,
		session: (more = {}) => c.beta.sessions.create({ agent: made.id, environment_id: environment.id, ...more }),
	};
}

export async function collect(iterable, max = 100_000) {
	const all = [];
	for await (const x of iterable) {
		all.push(x);
		if (all.length > max) throw new Error(`more than ${max} items: the list does not end`);
	}
	return all;
}

// The whole log of a session, oldest first.
export function log(c, sessionId, params = {}) {
	return collect(c.beta.sessions.events.list(sessionId, params));
}

// Ids that nobody has: the right form, no row.
export const ABSENT = {
	agent: 'agent_01' + '1'.repeat(22),
	environment: 'env_01' + '1'.repeat(22),
	session: 'sesn_01' + '1'.repeat(22),
	event: 'sevt_01' + '1'.repeat(22),
};
