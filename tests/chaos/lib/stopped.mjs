// F55: roost-egress or roost-vault stands still (SIGSTOP: its socket takes connections, nobody answers). What needs it gets a 503 in bounded
// time; nothing else notices; when it goes on, so does what needs it, without anybody's doing.
import { setTimeout as pause } from 'node:timers/promises';
import { openSite } from '../../e2e/lib/mcp.mjs';
import { PROBE_S, signal, until } from './instance.mjs';
import { ways } from './points.mjs';

const BOUND_MS = PROBE_S * 1000 + 12_000 + 3000;	// probe_s, what a gateway waits beyond it (gateway/probe.c), and what a busy machine adds

async function timed(fn) {
	const began = performance.now();
	const got = await fn().then((value) => ({ value }), (error) => ({ error }));
	return { ...got, ms: performance.now() - began };
}

async function stands(x, service) {
	const { clients } = x, { vaults } = clients.c.beta, site = await openSite();
	site.accept('good');
	const v = await vaults.create({ display_name: clients.mark() });
	const make = (token, n) => vaults.credentials.create(v.id, { auth: { type: 'mcp_oauth', mcp_server_url: `${site.url}?${n}`, access_token: token } });
	const cred = await make('good', 0);
	const ask = (options) => vaults.credentials.mcpOAuthValidate(cred.id, { vault_id: v.id }, options);
	if ((await ask()).status !== 'valid') throw new Error('the credential is not valid to begin with');
	const before = await timed(() => turn(x));
	let others;
	signal(service, 'SIGSTOP');
	try {
		const asked = Array.from({ length: 3 }, () => timed(() => ask({ maxRetries: 0, timeout: 60_000 })));
		await pause(200);
		others = [await timed(() => turn(x)), await timed(() => make('other', 1)), await timed(() => vaults.list({ limit: 1 }))];
		for (const o of others) if (o.error) throw o.error;
		for (const a of await Promise.all(asked)) {
			if (a.error?.status !== 503 || a.error.error?.type !== 'error')
				throw new Error(`a validation while ${service} stands still: ${a.error ? a.error.status ?? a.error : JSON.stringify(a.value)}`);
			if (a.ms > BOUND_MS) throw new Error(`its 503 took ${Math.round(a.ms)} ms`);
			others.push({ ms: a.ms });
		}
	} finally {
		signal(service, 'SIGCONT');
	}
	const after = await timed(() => until('validations work again', async () => (await ask()).status === 'valid', 5000));
	if (after.error) throw after.error;
	if (others[0].ms > 5000 || others[1].ms > 2000) throw new Error(`others waited: a turn ${others[0].ms} ms, a credential ${others[1].ms} ms`);
	const ms = (t) => Math.round(t.ms);
	return `503 after ${ms(others.at(-1))} ms; meanwhile a turn with tools in ${ms(others[0])} ms (before: ${ms(before)}), a new credential in ` +
		`${ms(others[1])} ms; valid again ${ms(after)} ms after it went on`;
}

async function turn(x) {
	const s = await ways.tool(x);
	if ((await x.clients.settled(s.id, 15_000)) !== 'idle') throw new Error('a turn does not end');
}

export const stopped = ['egress', 'vault'].map((service) => ({
	f: 'F55', name: `roost-${service} stands still`, run: (x) => stands(x, service),
}));
