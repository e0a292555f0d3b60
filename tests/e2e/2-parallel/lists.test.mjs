// Paging by hand: `page` begins as null, which the types allow and the SDK sends as an empty value.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BETA, bench, client } from '../lib/client.mjs';
import { refused } from '../lib/sdkerror.mjs';

const c = client();
const { beta } = c;

describe('lists', { concurrency: true }, () => {
	test('page and ids may be null, wherever there is a list', async () => {
		const b = await bench(c);
		const session = await b.session();
		const lists = {
			agents: (q) => beta.agents.list(q), versions: (q) => beta.agents.versions.list(b.agent.id, q), environments: (q) => beta.environments.list(q),
			sessions: (q) => beta.sessions.list(q), events: (q) => beta.sessions.events.list(session.id, q),
			threads: (q) => beta.sessions.threads.list(session.id, q), resources: (q) => beta.sessions.resources.list(session.id, q),
			files: (q) => beta.files.list({ ...q, ids: null }), 'general files': (q) => c.files.list({ ...q, ids: null }),
			'files of a session': (q) => beta.files.list({ ...q, scope_id: session.id, betas: [BETA] }), vaults: (q) => beta.vaults.list(q),
		};
		for (const [name, list] of Object.entries(lists)) {
			const first = await list({ limit: 2, page: null });	// what is in it is not compared: other tests write at the same time
			assert.ok(Array.isArray(first.data) && first.data.length <= 2, name);
			await refused(list({ page: 'page_nonsense' }), 400, /^invalid page cursor$/);
		}
	});

	test('the loop that ends when there is no next page', async () => {
		const b = await bench(c);
		const made = [await b.session(), await b.session(), await b.session()].map((s) => s.id).reverse();
		const seen = [];
		let page = null;
		do {
			const { data, next_page } = await beta.sessions.list({ agent_id: b.agent.id, limit: 1, page });
			seen.push(...data.map((s) => s.id));
			page = next_page;
		} while (page);
		assert.deepEqual(seen, made);
	});
});
