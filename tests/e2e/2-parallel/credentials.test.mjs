// Credentials of vaults (contract 2.4, 7). That no reply has a secret is checked of every exchange of this file, refusals included.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { Anthropic, client, collect, unique } from '../lib/client.mjs';
import { newTenant } from '../lib/ctl.mjs';
import { get, post } from '../lib/http.mjs';
import { exactly, refused } from '../lib/sdkerror.mjs';
import { micros } from '../lib/shape.mjs';
import { sql } from '../lib/sql.mjs';

// Every secret of this file has this in it.
const MARK = `S3CR3T${randomBytes(6).toString('hex')}`;
let made = 0;
const secret = () => `${MARK}-${made++}`;

const watched = (options = {}) => client({ ...options,
	fetch: async (url, init) => {
		const res = await fetch(url, init);
		assert.ok(!(await res.clone().text()).includes(MARK), `${init.method} ${url}: the answer has a secret`);
		for (const [, v] of res.headers) assert.ok(!v.includes(MARK));
		return res;
	} });

const c = watched();
const { vaults } = c.beta, { credentials } = vaults;
const vault = async (more = {}) => (await vaults.create({ display_name: unique('vault'), ...more })).id;
const NOBODY = `vcrd_01${'1'.repeat(22)}`;
const later = (days = 1) => new Date(Date.now() + days * 86_400_000).toISOString();

const bearer = (more = {}) => ({ type: 'static_bearer', mcp_server_url: `https://${unique('mcp')}.example.com/sse`, token: secret(), ...more });
const variable = (more = {}) => ({ type: 'environment_variable', secret_name: unique('NAME').replace('-', '_').toUpperCase(), secret_value: secret(),
	networking: { type: 'unrestricted' }, ...more });
const oauth = (more = {}) => ({ type: 'mcp_oauth', mcp_server_url: `https://${unique('mcp')}.example.com/mcp`, access_token: secret(), ...more });
const refresh = (more = {}) => ({ token_endpoint: 'https://auth.example.com/token', client_id: 'client-1', refresh_token: secret(),
	token_endpoint_auth: { type: 'client_secret_basic', client_secret: secret() }, ...more });

const create = (vid, auth, more = {}) => credentials.create(vid, { auth, ...more });
const update = (x, more) => credentials.update(x.id, { vault_id: x.vault_id, ...more });
const read = (x) => credentials.retrieve(x.id, { vault_id: x.vault_id });
const without = (auth, ...keys) => Object.fromEntries(Object.entries(auth).filter(([k]) => !keys.includes(k)));

// What the database has of a credential's secrets: slot, version, and a hash of the box.
const boxes = async (id) => new Map((await sql(`SELECT slot, version, md5(sealed) FROM credential_secret WHERE credential_id = :'id'`, { id }))
	.map(([slot, version, hash]) => [slot, { version: Number(version), hash }]));

describe('credentials', { concurrency: true }, () => {
	test('each type: shown whole but for its secrets, unset members absent', async () => {
		const vid = await vault();
		const url = 'https://Example.com/MCP/';
		const cases = [
			[bearer({ mcp_server_url: url }), { type: 'static_bearer', mcp_server_url: url }],
			[oauth({ mcp_server_url: 'https://a.example.com' }), { type: 'mcp_oauth', mcp_server_url: 'https://a.example.com' }],
			[oauth({ mcp_server_url: 'https://b.example.com', expires_at: null, refresh: null }), { type: 'mcp_oauth', mcp_server_url: 'https://b.example.com' }],
			[oauth({ mcp_server_url: 'https://c.example.com', expires_at: '2099-01-02T03:04:05.5+01:00', refresh: refresh({ scope: null, resource: null }) }),
				{ type: 'mcp_oauth', mcp_server_url: 'https://c.example.com', expires_at: '2099-01-02T02:04:05.500000Z', refresh: {
					token_endpoint: 'https://auth.example.com/token', client_id: 'client-1', token_endpoint_auth: { type: 'client_secret_basic' } } }],
			[oauth({ mcp_server_url: 'https://d.example.com', refresh: refresh({ scope: 'read write', resource: 'https://r.example.com',
				token_endpoint_auth: { type: 'none' } }) }),
			{ type: 'mcp_oauth', mcp_server_url: 'https://d.example.com', refresh: { token_endpoint: 'https://auth.example.com/token', client_id: 'client-1',
				scope: 'read write', resource: 'https://r.example.com', token_endpoint_auth: { type: 'none' } } }],
			[variable({ secret_name: 'API_KEY' }), { type: 'environment_variable', secret_name: 'API_KEY', networking: { type: 'unrestricted' },
				injection_location: { header: true, body: true } }],
		];
		for (const [auth, shown] of cases) {
			const x = await create(vid, auth);
			assert.match(x.id, /^vcrd_01[1-9A-HJ-NP-Za-km-z]{22}$/);
			assert.deepEqual(without(x, 'id', 'created_at', 'updated_at'),
				{ type: 'vault_credential', vault_id: vid, auth: shown, display_name: null, metadata: {}, archived_at: null });
			micros(x.created_at);
			assert.deepEqual(await read(x), x);
		}
		assert.equal((await collect(credentials.list(vid))).length, cases.length);
	});

	test('display_name and metadata', async () => {
		const vid = await vault();
		const x = await create(vid, bearer(), { display_name: 'x'.repeat(255), metadata: { a: '1', b: '2' } });
		assert.equal(x.display_name.length, 255);
		assert.equal((await create(vid, bearer(), { display_name: '' })).display_name, null);
		await refused(create(vid, bearer(), { display_name: 'x'.repeat(256) }), 400, /display_name/);
		assert.deepEqual(await update(x, {}), x, 'nothing changes, nothing moves');
		assert.deepEqual(await update(x, { metadata: null }), x);
		const u = await update(x, { display_name: 'short', metadata: { a: null, c: '3' } });
		assert.deepEqual([u.display_name, u.metadata], ['short', { b: '2', c: '3' }]);
		assert.equal((await update(x, { display_name: null })).display_name, null);
		for (const n of ['', 'x'.repeat(256)]) await refused(update(x, { display_name: n }), 400, /display_name/);
		await refused(update(x, { metadata: Object.fromEntries(Array.from({ length: 15 }, (_, i) => [`k${i}`, 'v'])) }), 400, /at most 16 pairs/);
	});

	test('what an update may not name is an unknown field', async () => {
		const vid = await vault();
		const [b, v, o] = await Promise.all([create(vid, bearer()), create(vid, variable()), create(vid, oauth({ refresh: refresh() }))]);
		const unknown = (name) => new RegExp(`unknown field "${name}"`);
		for (const [x, auth, name] of [
			[b, { mcp_server_url: b.auth.mcp_server_url }, 'mcp_server_url'], [v, { secret_name: 'OTHER' }, 'secret_name'],
			[o, { mcp_server_url: 'https://x.example.com' }, 'mcp_server_url'], [o, { refresh: { token_endpoint: 'https://x.example.com' } }, 'token_endpoint'],
			[o, { refresh: { client_id: 'x' } }, 'client_id'], [o, { refresh: { resource: 'x' } }, 'resource'],
		]) await refused(update(x, { auth: { type: x.auth.type, ...auth } }), 400, unknown(name));
		await refused(update(b, { auth: { type: 'mcp_oauth', access_token: secret() } }), 400, /auth\.type: cannot change from "static_bearer" to "mcp_oauth"/);
		await refused(update(o, { auth: { type: 'mcp_oauth', refresh: { token_endpoint_auth: { type: 'none' } } } }), 400, /token_endpoint_auth\.type/);
		for (const x of [b, v, o]) assert.deepEqual(await read(x), x);
	});

	test('one active credential per server or name; archiving frees the key, deleting too', async () => {
		const vid = await vault();
		const same = ['https://h.example.com/mcp', 'https://h.example.com/mcp/', 'https://H.Example.COM/mcp', 'https://h.example.com:443/mcp//'];
		const x = await create(vid, bearer({ mcp_server_url: same[0] }));
		for (const mcp_server_url of same) {
			for (const auth of [bearer({ mcp_server_url }), oauth({ mcp_server_url })]) {
				const e = await refused(create(vid, auth), 409, exactly('A credential already exists for this MCP server URL.'));
				assert.ok(e instanceof Anthropic.ConflictError);
				assert.equal(e.headers.get('x-should-retry'), 'false');
			}
		}
		for (const mcp_server_url of ['https://h.example.com/MCP', 'https://h.example.com/', 'http://h.example.com/mcp', 'https://h.example.com:8443/mcp',
			'https://h.example.com/mcp?x=1']) await create(vid, bearer({ mcp_server_url }));
		const y = await create(vid, variable({ secret_name: 'TOKEN' }));
		await refused(create(vid, variable({ secret_name: 'TOKEN' })), 409, exactly('A credential already exists for this secret name.'));
		await create(vid, variable({ secret_name: 'token' }));
		await create(await vault(), variable({ secret_name: 'TOKEN' }));
		await credentials.archive(x.id, { vault_id: vid });
		const again = await create(vid, bearer({ mcp_server_url: same[1] }));
		assert.notEqual(again.id, x.id);
		await credentials.delete(y.id, { vault_id: vid });
		await create(vid, variable({ secret_name: 'TOKEN' }));
	});

	test('parallel creates of one key: one is made', async () => {
		const vid = await vault();
		const outcomes = await Promise.allSettled(Array.from({ length: 12 }, (_, i) => create(vid, bearer({ mcp_server_url: `https://one.example.com/${'/'.repeat(i)}` }))));
		assert.deepEqual(outcomes.map((o) => o.reason?.status ?? 200).sort(), [200, ...Array(11).fill(409)]);
		assert.equal((await collect(credentials.list(vid))).length, 1);
	});

	test('at most 20 active, in parallel too', async () => {
		const vid = await vault();
		const outcomes = await Promise.allSettled(Array.from({ length: 26 }, () => create(vid, bearer())));
		assert.equal(outcomes.filter((o) => o.status === 'fulfilled').length, 20);
		for (const o of outcomes) if (o.reason) assert.match(`${o.reason.status} ${o.reason.message}`, /^400 .*at most 20 active credentials/s);
		const [first] = (await collect(credentials.list(vid)));
		await credentials.archive(first.id, { vault_id: vid });
		await create(vid, bearer());
		await refused(create(vid, bearer()), 400, /at most 20/);
		assert.equal((await collect(credentials.list(vid, { include_archived: true, limit: 7 }))).length, 21);
	});

	test('expiry lies in the future; kept unless sent, null forgets it', async () => {
		const vid = await vault();
		for (const expires_at of ['2020-01-01T00:00:00Z', new Date(Date.now() - 1000).toISOString()]) {
			await refused(create(vid, oauth({ expires_at })), 400, exactly('auth.expires_at must be in the future.'));
		}
		for (const expires_at of ['tomorrow', '', '2030-01-01', 7]) await refused(create(vid, oauth({ expires_at })), 400, /auth\.expires_at/);
		const x = await create(vid, oauth({ expires_at: later() }));
		const rotated = await update(x, { auth: { type: 'mcp_oauth', access_token: secret() } });
		assert.equal(rotated.auth.expires_at, x.auth.expires_at, 'a new token keeps the old expiry');
		await refused(update(x, { auth: { type: 'mcp_oauth', expires_at: '2020-01-01T00:00:00Z' } }), 400, exactly('auth.expires_at must be in the future.'));
		const moved = await update(x, { auth: { type: 'mcp_oauth', expires_at: later(9) } });
		assert.ok(moved.auth.expires_at > x.auth.expires_at);
		assert.ok(!('expires_at' in (await update(x, { auth: { type: 'mcp_oauth', expires_at: null } })).auth));
	});

	test('the token endpoint\'s way of authenticating stays what it is', async () => {
		const vid = await vault();
		const basic = await create(vid, oauth({ refresh: refresh({ scope: 'a b' }) }));
		const as = (x, token_endpoint_auth, more = {}) => update(x, { auth: { type: 'mcp_oauth', refresh: { token_endpoint_auth, ...more } } });
		const before = await boxes(basic.id);
		assert.deepEqual([...before.keys()].sort(), ['access_token', 'client_secret', 'refresh_token']);
		const u = await as(basic, { type: 'client_secret_post', client_secret: secret() });
		assert.equal(u.auth.refresh.token_endpoint_auth.type, 'client_secret_basic');
		const after = await boxes(basic.id);
		assert.notEqual(after.get('client_secret').hash, before.get('client_secret').hash);
		assert.deepEqual([after.get('access_token'), after.get('refresh_token')], [before.get('access_token'), before.get('refresh_token')]);
		assert.deepEqual(without(await as(basic, { type: 'client_secret_post' }), 'updated_at'), without(u, 'updated_at'));
		const none = await create(vid, oauth({ refresh: refresh({ token_endpoint_auth: { type: 'none' } }) }));
		await refused(as(none, { type: 'client_secret_basic', client_secret: secret() }), 400, /auth\.refresh\.token_endpoint_auth/);
		assert.equal((await as(none, { type: 'client_secret_basic', client_secret: null })).auth.refresh.token_endpoint_auth.type, 'none');
		const bare = await create(vid, oauth());
		await refused(update(bare, { auth: { type: 'mcp_oauth', refresh: { refresh_token: secret() } } }), 400, /auth\.refresh/);
		assert.deepEqual(await update(bare, { auth: { type: 'mcp_oauth', refresh: null } }), bare);
		// the scope: kept, replaced, emptied
		const scope = async (s) => (await update(basic, { auth: { type: 'mcp_oauth', refresh: { scope: s } } })).auth.refresh;
		assert.equal((await scope(null)).scope, 'a b');
		assert.equal((await scope('c')).scope, 'c');
		assert.ok(!('scope' in await scope('')));
		await refused(create(vid, oauth({ refresh: refresh({ token_endpoint_auth: { type: 'client_secret_post' } }) })), 400, /client_secret: value is required/);
		await refused(create(vid, oauth({ refresh: refresh({ token_endpoint_auth: { type: 'none', client_secret: secret() } }) })), 400, /unknown field "client_secret"/);
	});

	test('injection_location: defaults, merge, never both off, never null', async () => {
		const vid = await vault();
		const given = async (injection_location) => (await create(vid, variable({ injection_location }))).auth.injection_location;
		assert.deepEqual(await given(undefined), { header: true, body: true });
		assert.deepEqual(await given({ header: true }), { header: true, body: false });
		assert.deepEqual(await given({ body: true }), { header: false, body: true });
		for (const none of [{}, { header: false }, { header: false, body: false }]) await refused(given(none), 400, /auth\.injection_location: at least one/);
		for (const none of [null, { header: null }, { header: true, body: null }]) await refused(given(none), 400, /omit the field instead/);
		const x = await create(vid, variable({ injection_location: { header: true } }));
		const merge = async (injection_location) => (await update(x, { auth: { type: 'environment_variable', injection_location } })).auth.injection_location;
		assert.deepEqual(await merge({ body: true }), { header: true, body: true });
		assert.deepEqual(await merge({ header: false }), { header: false, body: true });
		assert.deepEqual(await merge({}), { header: false, body: true });
		await refused(merge({ body: false }), 400, /auth\.injection_location: at least one/);
		for (const none of [null, { header: null }]) await refused(merge(none), 400, /omit the field instead/);
		assert.deepEqual((await read(x)).auth.injection_location, { header: false, body: true });
	});

	test('networking: hosts and nothing else, replaced as a whole', async () => {
		const vid = await vault();
		const hosts = (allowed_hosts) => ({ networking: { type: 'limited', allowed_hosts } });
		const good = ['api.example.com', 'API.Example.com', '192.0.2.1', '*.example.com', '*.a.b.example.com', 'localhost', 'my_host.example.com',
			`${'a'.repeat(63)}.example.com`];
		assert.deepEqual((await create(vid, variable(hosts(good)))).auth.networking, hosts(good).networking);
		for (const [entry, pattern] of [
			['https://example.com', /contains a URL scheme/], ['example.com:443', /contains a port/], ['example.com/x', /contains a path/], ['::1', /IPv6/],
			['[2001:db8::1]', /IPv6/], ['*', /wildcard/], ['*.com', /too wide/], ['a.*.example.com', /wildcard/], ['*.*.example.com', /wildcard/],
			['ex ample.com', /not a hostname/], ['256.0.0.1', /not a hostname/], ['1.2.3', /not a hostname/], ['*.2.3', /not a hostname/], ['-a.example.com', /not a hostname/],
			['a..example.com', /not a hostname/], ['example.com.', /not a hostname/], [`${'a'.repeat(64)}.example.com`, /not a hostname/], ['bücher.example', /not a hostname/],
			['', /value is required/], ['a'.repeat(256), /at most 255/],
		]) await refused(create(vid, variable(hosts(['ok.example.com', entry]))), 400, pattern);
		await refused(create(vid, variable(hosts([]))), 400, /at least 1/);
		const sixteen = Array.from({ length: 16 }, (_, i) => `h${i}.example.com`);
		const x = await create(vid, variable(hosts(sixteen)));
		await refused(create(vid, variable(hosts([...sixteen, 'one.more.example.com']))), 400, /at most 16/);
		const replace = async (networking) => (await update(x, { auth: { type: 'environment_variable', networking } })).auth.networking;
		assert.deepEqual(await replace(null), hosts(sixteen).networking);
		assert.deepEqual(await replace(hosts(['b.example.com']).networking), hosts(['b.example.com']).networking);
		assert.deepEqual(await replace({ type: 'unrestricted' }), { type: 'unrestricted' });
		await refused(create(vid, without(variable(), 'networking')), 400, /networking: value is required/);
		await refused(create(vid, variable({ networking: { type: 'unrestricted', allowed_hosts: ['a.example.com'] } })), 400, /unknown field "allowed_hosts"/);
	});

	test('names, URLs and lengths', async () => {
		const vid = await vault();
		for (const secret_name of ['A', '_a1', 'a'.repeat(255)]) await create(vid, variable({ secret_name }));
		for (const secret_name of ['', '1A', 'A-B', 'A B', 'A=B', 'É', 'a'.repeat(256), 'PATH', 'path', 'LD_PRELOAD', 'https_proxy', 'ROOST_X']) {
			await refused(create(vid, variable({ secret_name })), 400, /auth(\.environment_variable)?\.secret_name/);
		}
		const url = (n) => `https://example.com/${'a'.repeat(n - 20)}`;
		await create(vid, bearer({ mcp_server_url: url(2048) }));
		for (const mcp_server_url of ['', 'example.com', 'ftp://example.com', 'https://', 'https://user:pw@example.com', 'https://example.com/#x', 'https://exa mple.com',
			'file:///etc/passwd', url(2049)]) await refused(create(vid, bearer({ mcp_server_url })), 400, /auth\.mcp_server_url/);
		await refused(create(vid, oauth({ refresh: refresh({ token_endpoint: 'javascript:x' }) })), 400, /auth\.refresh\.token_endpoint/);
		// of each secret: one character, the most, one more, none, and what would split a header
		for (const [of, field] of [[(s) => bearer({ token: s }), 'token'], [(s) => oauth({ access_token: s }), 'access_token'], [(s) => variable({ secret_value: s }), 'secret_value'],
			[(s) => oauth({ refresh: refresh({ refresh_token: s }) }), 'refresh_token'],
			[(s) => oauth({ refresh: refresh({ token_endpoint_auth: { type: 'client_secret_post', client_secret: s } }) }), 'client_secret']]) {
			const own = await vault();
			for (const s of ['x', 'é'.repeat(16_384)]) await create(own, of(s));
			for (const s of [MARK + 'x'.repeat(16_385 - MARK.length), '', `${MARK}\r\nx-evil: 1`, `${MARK}\u0000`, null, 7, [MARK], { [MARK]: MARK }]) {
				const e = await refused(create(own, of(s)), 400);
				assert.ok(e.message.includes(field) || /invalid JSON/.test(e.message), e.message);
			}
		}
	});

	test('a body that is no JSON is not quoted', async () => {
		const vid = await vault();
		for (const text of [`{"auth":{"type":"static_bearer","token":"${MARK}\\x"}}`, `{"auth":{"type":"static_bearer","token":"${MARK}\n"}}`, `{"auth":"${MARK}"`,
			`{"auth":${MARK}}`]) {
			const res = await post(`/v1/vaults/${vid}/credentials`, text);
			assert.equal(res.status, 400);
			assert.ok(!res.text.includes(MARK), res.text);
		}
	});

	test('rotation writes a new box of a new version, and nothing else does', async () => {
		const vid = await vault();
		const x = await create(vid, variable());
		const first = await boxes(x.id);
		assert.deepEqual([...first], [['secret_value', { version: 1, hash: first.get('secret_value').hash }]]);
		await update(x, { display_name: 'named', auth: { type: 'environment_variable', secret_value: null, injection_location: { body: false } } });
		assert.deepEqual(await boxes(x.id), first);
		const value = secret();
		for (const version of [2, 3]) {
			const u = await update(x, { auth: { type: 'environment_variable', secret_value: value } });
			assert.ok(u.updated_at > x.updated_at);
			assert.equal((await boxes(x.id)).get('secret_value').version, version);
		}
		const outcomes = await Promise.all(Array.from({ length: 6 }, () => update(x, { auth: { type: 'environment_variable', secret_value: secret() } })));
		assert.equal(outcomes.length, 6);
		assert.equal((await boxes(x.id)).get('secret_value').version, 9);
	});

	test('archive: the secret is gone, the row stays; so with the vault', async () => {
		const vid = await vault();
		const x = await create(vid, variable({ secret_name: 'KEPT' }), { metadata: { a: '1' } });
		const gone = await credentials.archive(x.id, { vault_id: vid });
		micros(gone.archived_at);
		assert.deepEqual(without(gone, 'archived_at', 'updated_at'), without(x, 'archived_at', 'updated_at'));
		assert.deepEqual(await credentials.archive(x.id, { vault_id: vid }), gone);
		assert.equal((await boxes(x.id)).size, 0);
		await refused(update(x, { display_name: 'x' }), 400, exactly('Credential is archived.'));
		assert.deepEqual(await read(x), gone);

		const y = await create(vid, oauth({ refresh: refresh() }));
		const archived = await vaults.archive(vid);
		assert.equal((await read(y)).archived_at, archived.archived_at);
		assert.deepEqual(await read(x), gone, 'one that was archived before keeps its time');
		assert.equal((await boxes(y.id)).size, 0);
		await refused(create(vid, bearer()), 400, exactly('Vault is archived.'));
		await refused(update(y, { auth: { type: 'mcp_oauth', access_token: secret() } }), 400, exactly('Credential is archived.'));
		assert.deepEqual(await collect(credentials.list(vid)), []);
		assert.equal((await collect(credentials.list(vid, { include_archived: true }))).length, 2);
		assert.deepEqual(await credentials.delete(x.id, { vault_id: vid }), { id: x.id, type: 'vault_credential_deleted' });
		await vaults.delete(vid);
		await refused(read(y), 404, exactly(`Vault ${vid} not found.`));
		assert.deepEqual(await sql(`SELECT count(*) FROM credential WHERE vault_id = :'vid'`, { vid }), [['0']]);
	});

	test('archive beside rotations: whoever comes first, no secret is left', async () => {
		const vid = await vault();
		for (let i = 0; i < 4; i++) {
			const x = await create(vid, variable());
			const rotate = () => update(x, { auth: { type: 'environment_variable', secret_value: secret() } });
			const all = await Promise.allSettled([rotate(), rotate(), credentials.archive(x.id, { vault_id: vid }), rotate(), rotate()]);
			for (const o of all) if (o.reason) assert.equal(`${o.reason.status} ${o.reason.error?.error?.message}`, '400 Credential is archived.');
			assert.equal(all[2].status, 'fulfilled');
			assert.equal((await boxes(x.id)).size, 0);
		}
	});

	test('list: newest first, page by page; a cursor is of its vault', async () => {
		const [vid, other] = [await vault(), await vault()];
		const all = [];
		for (let i = 0; i < 5; i++) all.unshift(await create(vid, i % 2 ? bearer() : variable()));
		assert.deepEqual(await collect(credentials.list(vid, { limit: 2 })), all);
		const { next_page } = await credentials.list(vid, { limit: 1 });
		await refused(credentials.list(other, { page: next_page }), 400, exactly('invalid page cursor'));
		assert.deepEqual((await credentials.list(other)).data, []);
		await refused(credentials.list(vid, { limit: 101 }), 400, /limit/);
	});

	test('another workspace finds nothing, nor does another vault', async () => {
		const { apiKey } = await newTenant();
		const foreign = watched({ apiKey }).beta.vaults;
		const own = (await foreign.create({ display_name: 'theirs' })).id;
		const vid = await vault(), x = await create(vid, bearer());
		const before = await boxes(x.id);
		const asks = (api, vault_id, id) => [() => api.retrieve(id, { vault_id }), () => api.update(id, { vault_id, auth: { type: 'static_bearer', token: secret() } }),
			() => api.archive(id, { vault_id }), () => api.delete(id, { vault_id })];
		for (const ask of asks(foreign.credentials, vid, x.id)) await refused(ask(), 404, exactly(`Vault ${vid} not found.`));
		for (const ask of asks(foreign.credentials, own, x.id)) await refused(ask(), 404, exactly(`Credential ${x.id} not found.`));
		for (const ask of asks(credentials, await vault(), x.id)) await refused(ask(), 404, exactly(`Credential ${x.id} not found.`));
		for (const ask of asks(credentials, vid, NOBODY)) await refused(ask(), 404, exactly(`Credential ${NOBODY} not found.`));
		for (const ask of asks(credentials, vid, 'vcrd_x')) await refused(ask(), 400, exactly('Invalid credential ID.'));
		await refused(foreign.credentials.create(vid, { auth: bearer() }), 404, exactly(`Vault ${vid} not found.`));
		await refused(foreign.credentials.list(vid), 404, exactly(`Vault ${vid} not found.`));
		assert.deepEqual(await read(x), x);
		assert.deepEqual(await boxes(x.id), before);
	});

	test('validate: only mcp_oauth, only active; a server that is not there says nothing about the token', async () => {
		const vid = await vault();
		const validate = (x) => credentials.mcpOAuthValidate(x.id, { vault_id: x.vault_id });
		const x = await create(vid, oauth({ mcp_server_url: 'https://nowhere.invalid/mcp', refresh: refresh() }));
		const v = await validate(x);
		assert.deepEqual(without(v, 'validated_at'), { type: 'vault_credential_validation', credential_id: x.id, vault_id: vid, has_refresh_token: true,
			status: 'unknown', mcp_probe: { method: 'initialize', http_response: null }, refresh: null });
		micros(v.validated_at);
		assert.equal((await post(`/v1/vaults/${vid}/credentials/${x.id}/mcp_oauth_validate`, {})).json.status, 'unknown');
		assert.deepEqual(await read(x), x);
		for (const auth of [bearer(), variable()]) await refused(validate(await create(vid, auth)), 400, /^Only mcp_oauth/);
		await credentials.archive(x.id, { vault_id: vid });
		await refused(validate(x), 400, exactly('Credential is archived.'));
		await refused(validate({ id: NOBODY, vault_id: vid }), 404, exactly(`Credential ${NOBODY} not found.`));
		const { apiKey } = await newTenant();
		await refused(watched({ apiKey }).beta.vaults.credentials.mcpOAuthValidate(x.id, { vault_id: vid }), 404, exactly(`Vault ${vid} not found.`));
	});

	test('a repeated create makes one; what is kept of it has no secret', async () => {
		const vid = await vault(), headers = { 'idempotency-key': unique('credential') };
		const auth = bearer();
		const [a, b] = await Promise.all([credentials.create(vid, { auth }, { headers }), credentials.create(vid, { auth }, { headers })]);
		assert.equal(a.id, b.id);
		await refused(credentials.create(vid, { auth: bearer() }, { headers }), 409, /idempotency-key/);
		const rows = await sql(`SELECT d::text FROM request_dedupe d WHERE object = :'id'`, { id: a.id });
		assert.equal(rows.length, 1);
		const gone = await vault(), late = { 'idempotency-key': unique('credential') }, once = { auth: bearer() };
		const x = await credentials.create(gone, once, { headers: late });
		assert.deepEqual(await credentials.create(gone, once, { headers: late }), x);
		await vaults.delete(gone);
		await refused(credentials.create(gone, once, { headers: late }), 404, exactly(`Vault ${gone} not found.`));
		for (const text of rows.flat()) for (const s of [MARK, Buffer.from(auth.token).toString('hex'), Buffer.from(auth.token).toString('base64')]) assert.ok(!text.includes(s));
	});

	test('no table holds a secret as it was sent', async () => {
		const vid = await vault();
		await create(vid, oauth({ refresh: refresh() }));
		const tables = (await sql(`SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND NOT relispartition`)).flat();
		for (const table of tables) {
			const found = await sql(`SELECT count(*) FROM "${table}" t WHERE strpos(t::text, :'mark') > 0 OR strpos(t::text, encode(:'mark', 'hex')) > 0
				OR strpos(t::text, encode(:'mark', 'base64')) > 0`, { mark: MARK });
			assert.deepEqual(found, [['0']], table);
		}
		assert.ok(tables.includes('credential_secret'));
	});

	test('bodies that would not stay in memory are refused before they are written to a disk', async () => {
		const vid = await vault();
		const big = await post(`/v1/vaults/${vid}/credentials`, JSON.stringify({ auth: bearer(), pad: 'x'.repeat(600_000) }));
		assert.equal(big.status, 413);
		assert.equal(big.json.error.type, 'request_too_large');
		assert.equal((await get(`/v1/vaults/${vid}`)).status, 200);
	});
});
