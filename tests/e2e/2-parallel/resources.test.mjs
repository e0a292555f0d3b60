// Files attached to a session (contract 2.3, 4.6): the endpoints, the rules, and what the agent sees of them in its sandbox.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { toFile } from '@anthropic-ai/sdk';
import { ABSENT, TOOLSET, bench, client, collect, makeAgent } from '../lib/client.mjs';
import { bash, call, message, script } from '../lib/script.mjs';
import { refused } from '../lib/sdkerror.mjs';
import { until } from '../lib/until.mjs';
import { Watch, calls } from '../lib/watch.mjs';

const c = client();
const ROOT = '/mnt/session/uploads';
const NOBODYS = 'file_01' + '1'.repeat(22);
let b;

const upload = async (text, name = 'data.csv') => c.beta.files.upload({ file: await toFile(Buffer.from(text), name) });
const file = (f, mount_path) => ({ type: 'file', file_id: f.id ?? f, ...(mount_path === undefined ? {} : { mount_path }) });
const resources = (id) => collect(c.beta.sessions.resources.list(id));
const scoped = (id) => collect(c.beta.files.list({ scope_id: id, betas: ['managed-agents-2026-04-01'] }));
const gone = (f) => refused(c.beta.files.retrieveMetadata(f), 404, /not found/i);

async function play(session, ...steps) {
	const w = await Watch.open(c, session.id);
	const turn = await w.turn(script(...steps), { ms: 60_000 });
	w.close();
	return calls(turn);
}

before(async () => { b = await bench(c); });

describe('resources', { concurrency: 4 }, () => {
	test('attached at creation: shown, copied, mounted read-only', async () => {
		const f = await upload('first,second\n1,2\n');
		const s = await b.session({ resources: [file(f), file(f, '/uploads/deep/er/x.csv'), file(f, 'plain.csv')] });
		assert.deepEqual(s.resources.map((r) => r.mount_path), [`${ROOT}/${f.id}`, `${ROOT}/deep/er/x.csv`, `${ROOT}/plain.csv`]);
		for (const r of s.resources) {
			assert.match(r.id, /^sesrsc_/);
			assert.match(r.file_id, /^file_/);
			assert.notEqual(r.file_id, f.id);
		}
		assert.deepEqual(await resources(s.id), s.resources);
		assert.deepEqual((await c.beta.sessions.retrieve(s.id)).resources, s.resources);
		assert.deepEqual(await c.beta.sessions.resources.retrieve(s.resources[1].id, { session_id: s.id }), s.resources[1]);

		// the session's copies: listed before the first turn, not for download, and independent of the upload
		const copies = await scoped(s.id);
		assert.deepEqual(new Set(copies.map((x) => x.id)), new Set(s.resources.map((r) => r.file_id)));
		for (const x of copies) {
			assert.deepEqual({ name: x.filename, size: x.size_bytes, down: x.downloadable, scope: x.scope },
				{ name: 'data.csv', size: 17, down: false, scope: { type: 'session', id: s.id } });
		}
		await refused(c.beta.files.download(copies[0].id), 400, /is not downloadable/);
		await c.beta.files.delete(f.id);

		const [cat, ls, read, write] = await play(s, bash(`cat ${ROOT}/${f.id}`), bash(`find ${ROOT} -type f | sort`),
			call('read', { file_path: `${ROOT}/deep/er/x.csv` }), bash(`echo x >> ${ROOT}/plain.csv || rm -f ${ROOT}/plain.csv`));
		assert.equal(cat.text, 'first,second\n1,2\n');
		assert.deepEqual(ls.text.trim().split('\n'), s.resources.map((r) => r.mount_path).sort());
		assert.equal(read.text, '1\tfirst,second\n2\t1,2');
		assert.equal(write.error, true);
	});

	test('added and removed while idle: the next turn sees it, in the same sandbox', async () => {
		const [one, two] = [await upload('one'), await upload('two', 'two.txt')];
		const s = await b.session();
		await play(s, bash('echo kept > /workspace/kept'));
		const r = await c.beta.sessions.resources.add(s.id, file(one, 'a.txt'));
		assert.equal(r.mount_path, `${ROOT}/a.txt`);
		let [seen] = await play(s, bash(`cat ${ROOT}/a.txt /workspace/kept`));
		assert.equal(seen.text, 'onekept\n');
		const r2 = await c.beta.sessions.resources.add(s.id, file(two, null));
		assert.equal(r2.mount_path, `${ROOT}/${two.id}`);
		assert.deepEqual(await c.beta.sessions.resources.delete(r.id, { session_id: s.id }), { id: r.id, type: 'session_resource_deleted' });
		await gone(r.file_id);
		[seen] = await play(s, bash(`ls ${ROOT}; cat /workspace/kept`));
		assert.equal(seen.text, `${two.id}\nkept\n`);
		await c.beta.sessions.resources.delete(r2.id, { session_id: s.id });
		[seen] = await play(s, bash(`ls ${ROOT} | wc -l; cat /workspace/kept`));
		assert.equal(seen.text, '0\nkept\n');
		assert.deepEqual(await resources(s.id), []);
		await refused(c.beta.sessions.resources.retrieve(r.id, { session_id: s.id }), 404, /Resource not found/);
		await refused(c.beta.sessions.resources.delete(r.id, { session_id: s.id }), 404, /Resource not found/);
	});

	test('added while it works: there from the next turn on', async () => {
		const f = await upload('late');
		const s = await b.session();
		const w = await Watch.open(c, s.id);
		await w.send(message(script(bash('sleep 1'), 'done')));
		await w.until('agent.tool_use');
		await c.beta.sessions.resources.add(s.id, file(f, 'late'));
		await w.until('session.status_idle');
		w.close();
		const [seen] = await play(s, bash(`cat ${ROOT}/late`));
		assert.equal(seen.text, 'late');
	});

	test('the session takes its copies along', async () => {
		const f = await upload('x');
		const s = await b.session({ resources: [file(f)] });
		const [copy] = await scoped(s.id);
		await c.beta.sessions.delete(s.id);
		await gone(copy.id);
		assert.equal((await c.beta.files.retrieveMetadata(f.id)).id, f.id);
	});

	test('a deleted copy takes its resource along', async () => {
		const f = await upload('x');
		const s = await b.session({ resources: [file(f, 'a'), file(f, 'b')] });
		await c.beta.files.delete(s.resources[0].file_id);
		assert.deepEqual((await c.beta.sessions.retrieve(s.id)).resources, [s.resources[1]]);
	});

	test('pages', async () => {
		const f = await upload('x');
		const s = await b.session({ resources: [...Array(7).keys()].map((i) => file(f, `f${i}`)) });
		const first = await c.beta.sessions.resources.list(s.id, { limit: 3 });
		assert.equal(first.data.length, 3);
		assert.deepEqual(await collect(c.beta.sessions.resources.list(s.id, { limit: 3 })), s.resources);
		const other = await b.session();
		await refused(c.beta.sessions.resources.list(other.id, { page: first.next_page }), 400, /invalid page cursor/);
	});

	test('five hundred, and not one more', async () => {
		const f = await upload('many');
		const list = [...Array(500).keys()].map((i) => file(f, `d${i % 20}/f${i}`));
		const s = await b.session({ resources: list });
		assert.equal(s.resources.length, 500);
		await refused(c.beta.sessions.resources.add(s.id, file(f, 'extra')), 400, /at most 500/);
		await refused(b.session({ resources: [...list, file(f, 'extra')] }), 400, /resources/);
		const [seen] = await play(s, bash(`cat ${ROOT}/*/* | wc -c`));
		assert.equal(seen.text, '2000\n');
	});
});

describe('what is refused', { concurrency: 4 }, () => {
	const one = async (mount_path) => b.session({ resources: [file(await upload('x'), mount_path)] });

	test('paths', async () => {
		await refused(one('../x'), 400, /^(400 )?.*Invalid file resource: mount path \\?"\.\.\/x\\?" escapes \/uploads\//);
		await refused(one('a/../../x'), 400, /escapes \/uploads\//);
		await refused(one(`${ROOT}/../outputs/x`), 400, /escapes \/uploads\//);
		await refused(one('/'), 400, /does not name a file/);
		await refused(one('a\u0000b'), 400, /./);
		await refused(one('a\nb'), 400, /control characters/);
		await refused(one(`${'x'.repeat(256)}`), 400, /too long/);
		const f = await upload('x');
		for (const [p, q] of [['a', 'a'], ['a', '/uploads/a'], ['a', 'a/b'], ['a/b', 'a'], ['a/b/c', `${ROOT}/a/b`]]) {
			await refused(b.session({ resources: [file(f, p), file(f, q)] }), 400, /Invalid file resource: `mount_path` overlaps another resource: /);
		}
		await b.session({ resources: [file(f, 'a'), file(f, 'ab'), file(f, 'a.b')] });
	});

	test('files that are not there', async () => {
		const wanted = /One or more files not found\. Check that each `file_id` exists and is accessible: file_/;
		await refused(b.session({ resources: [file(NOBODYS)] }), 404, wanted);
		const f = await upload('x');
		const s = await b.session();
		await refused(c.beta.sessions.resources.add(s.id, file(NOBODYS)), 404, wanted);
		await refused(b.session({ resources: [file(f), file(NOBODYS)] }), 404, wanted);
		await c.beta.files.delete(f.id);
		await refused(c.beta.sessions.resources.add(s.id, file(f)), 404, wanted);
		assert.deepEqual(await resources(s.id), []);
		assert.deepEqual(await scoped(s.id), []);
	});

	test('agents that cannot read', async () => {
		const f = await upload('x');
		const wanted = /Missing required tool: file resources require the read tool to be usable \(enabled and not always_deny\) on the session's `agent_toolset`/;
		for (const tools of [[], [{ ...TOOLSET, configs: [{ name: 'read', enabled: false }] }], [{ ...TOOLSET, default_config: { enabled: false } }]]) {
			const agent = await makeAgent(c, { tools });
			const make = (more) => c.beta.sessions.create({ agent: agent.id, environment_id: b.environment.id, ...more });
			await refused(make({ resources: [file(f)] }), 400, wanted);
			const s = await make({ resources: [] });
			await refused(c.beta.sessions.resources.add(s.id, file(f)), 400, wanted);
		}
	});

	test('other kinds, updates, strangers', async () => {
		const f = await upload('x');
		const s = await b.session({ resources: [file(f)] });
		const [r] = s.resources;
		await refused(b.session({ resources: [{ type: 'github_repository', url: 'https://github.com/a/b' }] }), 400, /not supported yet/);
		await refused(b.session({ resources: [{ type: 'memory_store', memory_store_id: 'memstore_01x' }] }), 400, /not supported yet/);
		await refused(b.session({ resources: [{ type: 'ftp' }] }), 400, /resources\[0\]/);
		await refused(c.beta.sessions.resources.update(r.id, { session_id: s.id, authorization_token: 't' }), 400, /github_repository/);
		await refused(c.beta.sessions.resources.retrieve(r.id, { session_id: ABSENT.session }), 404, /Session not found/);
		await refused(c.beta.sessions.resources.list(ABSENT.session), 404, /Session not found/);
		await refused(c.beta.sessions.resources.add(ABSENT.session, file(f)), 404, /Session not found/);
		const other = await b.session();
		await refused(c.beta.sessions.resources.retrieve(r.id, { session_id: other.id }), 404, /Resource not found/);
		await refused(c.beta.sessions.resources.delete(r.id, { session_id: other.id }), 404, /Resource not found/);
		await refused(c.beta.sessions.resources.retrieve('sesrsc_nonsense!', { session_id: s.id }), 400, /Invalid resource ID/);
		assert.deepEqual(await resources(s.id), [r]);
	});

	test('sessions that have ended', async () => {
		const f = await upload('x');
		const s = await b.session({ resources: [file(f)] });
		await c.beta.sessions.archive(s.id);
		await refused(c.beta.sessions.resources.add(s.id, file(f, 'more')), 400, /archived/);
		await refused(c.beta.sessions.resources.delete(s.resources[0].id, { session_id: s.id }), 400, /archived/);
		assert.deepEqual(await resources(s.id), s.resources);
		await until('the archived session shows them', async () => (await c.beta.sessions.retrieve(s.id)).resources.length === 1);
	});
});
