// Vaults and what they hold (contract 2.4, 7, 1.12).
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { client, collect, unique } from '../lib/client.mjs';
import { newTenant } from '../lib/ctl.mjs';
import { post } from '../lib/http.mjs';
import { exactly, refused } from '../lib/sdkerror.mjs';
import { micros } from '../lib/shape.mjs';

const c = client();
const vaults = c.beta.vaults;
const NOBODY = `vlt_01${'1'.repeat(22)}`;

describe('vaults', { concurrency: true }, () => {
	test('create with the least', async () => {
		const display_name = unique('least');
		const v = await vaults.create({ display_name });
		assert.match(v.id, /^vlt_01[1-9A-HJ-NP-Za-km-z]{22}$/);
		assert.deepEqual({ ...v, id: '', created_at: '', updated_at: '' },
			{ type: 'vault', id: '', display_name, metadata: {}, created_at: '', updated_at: '', archived_at: null });
		micros(v.created_at);
		assert.equal(v.updated_at, v.created_at);
		assert.deepEqual(await vaults.retrieve(v.id), v);
		assert.notEqual((await vaults.create({ display_name })).id, v.id, 'names need not be unique');
	});

	test('limits of the name and of metadata', async () => {
		assert.equal((await vaults.create({ display_name: 'é'.repeat(255) })).display_name.length, 255);
		for (const display_name of ['', 'x'.repeat(256), null, undefined, 7]) await refused(vaults.create({ display_name }), 400, /display_name/);
		const pairs = (n) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`k${i}`, 'v']));
		await vaults.create({ display_name: 'x', metadata: pairs(16) });
		await refused(vaults.create({ display_name: 'x', metadata: pairs(17) }), 400, /metadata/);
		await refused(vaults.create({ display_name: 'x', owner: 'me' }), 400, /unknown field "owner"/);
	});

	test('update: omitted and null stay, metadata merges', async () => {
		const v = await vaults.create({ display_name: 'before', metadata: { a: '1', b: '2' } });
		assert.deepEqual(await vaults.update(v.id, {}), v, 'nothing changes, nothing moves');
		assert.deepEqual(await vaults.update(v.id, { display_name: null, metadata: null }), v);
		const u = await vaults.update(v.id, { display_name: 'after', metadata: { a: null, b: '3', d: '' } });
		assert.deepEqual([u.display_name, u.metadata, u.created_at], ['after', { b: '3', d: '' }, v.created_at]);
		assert.ok(u.updated_at > v.updated_at);
		const many = Object.fromEntries(Array.from({ length: 15 }, (_, i) => [`k${i}`, 'v']));
		await refused(vaults.update(v.id, { metadata: many }), 400, /at most 16 pairs/);
		await refused(vaults.update(v.id, { display_name: '' }), 400, /display_name/);
		assert.deepEqual(await vaults.retrieve(v.id), u);
	});

	test('archive: read-only, twice is once', async () => {
		const v = await vaults.create({ display_name: 'old' });
		const gone = await vaults.archive(v.id);
		micros(gone.archived_at);
		assert.equal(gone.updated_at, gone.archived_at);
		assert.deepEqual(await vaults.archive(v.id), gone);
		assert.deepEqual((await post(`/v1/vaults/${v.id}/archive`, {})).json, gone);
		await refused(vaults.update(v.id, { display_name: 'x' }), 400, exactly('Vault is archived.'));
		assert.deepEqual(await vaults.retrieve(v.id), gone);
	});

	test('delete, archived or not', async () => {
		for (const archived of [false, true]) {
			const v = await vaults.create({ display_name: 'gone' });
			if (archived) await vaults.archive(v.id);
			assert.deepEqual(await vaults.delete(v.id), { id: v.id, type: 'vault_deleted' });
			await refused(vaults.retrieve(v.id), 404, exactly(`Vault ${v.id} not found.`));
			await refused(vaults.delete(v.id), 404);
		}
	});

	test('list: newest first, page by page, archived only when asked for', async () => {
		const { apiKey } = await newTenant();
		const own = client({ apiKey }).beta.vaults;
		const made = [];
		for (let i = 0; i < 5; i++) made.unshift(await own.create({ display_name: `v${i}` }));
		assert.deepEqual(await collect(own.list({ limit: 2 })), made);
		const archived = await own.archive(made[1].id);
		assert.deepEqual(await collect(own.list({ limit: 1 })), made.filter((v) => v.id !== archived.id));
		assert.deepEqual(await collect(own.list({ limit: 3, include_archived: true })), made.map((v) => (v.id === archived.id ? archived : v)));
		assert.equal((await own.list({ limit: 100 })).next_page, null);
		await refused(own.list({ limit: 101 }), 400, /limit/);
		await refused(own.list({ limit: 0 }), 400, /limit/);
		const { next_page } = await own.list({ limit: 1 });
		await refused(vaults.list({ page: next_page }), 400, exactly('invalid page cursor'));
		await refused(client({ apiKey }).beta.environments.list({ page: next_page }), 400, exactly('invalid page cursor'));
	});

	test('another workspace\'s vault is not there', async () => {
		const other = client({ apiKey: (await newTenant()).apiKey }).beta.vaults;
		const v = await vaults.create({ display_name: 'mine' });
		for (const ask of [(id) => other.retrieve(id), (id) => other.update(id, { display_name: 'x' }), (id) => other.archive(id), (id) => other.delete(id)]) {
			await refused(ask(v.id), 404, exactly(`Vault ${v.id} not found.`));
			await refused(ask(NOBODY), 404, exactly(`Vault ${NOBODY} not found.`));
			await refused(ask('vlt_x'), 400, exactly('Invalid vault ID.'));
		}
		assert.deepEqual(await vaults.retrieve(v.id), v);
	});

	test('a repeated create makes one', async () => {
		const { apiKey } = await newTenant();
		const own = client({ apiKey }).beta.vaults, headers = { 'idempotency-key': unique('vault') };
		const [a, b] = await Promise.all([own.create({ display_name: 'once' }, { headers }), own.create({ display_name: 'once' }, { headers })]);
		assert.equal(a.id, b.id);
		assert.equal((await collect(own.list())).length, 1);
		await own.delete(a.id);
		const again = await own.create({ display_name: 'once' }, { headers });
		assert.notEqual(again.id, a.id, 'what was deleted is not shown again');
	});
});
