// Agents and their versions (contract 2.1, 1.9, 1.12, 1.13).
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ABSENT, Anthropic, MODEL, TOOLSET, client, collect, countingClient, makeAgent, makeEnvironment, unique } from '../lib/client.mjs';
import { containing, exactly, refused } from '../lib/sdkerror.mjs';
import { micros } from '../lib/shape.mjs';

const c = client();
const agents = c.beta.agents;
const ALLOW = { type: 'always_allow' };
const CUSTOM = { type: 'custom', name: 'lookup', description: 'Look something up.', input_schema: { type: 'object', properties: { q: { type: 'string' } }, required: ['q'] } };
const KEYS = ['archived_at', 'created_at', 'description', 'execution_identity', 'id', 'mcp_servers', 'metadata', 'model', 'multiagent', 'name',
	'skills', 'system', 'tools', 'type', 'updated_at', 'version'];

describe('agents', { concurrency: 16 }, () => {
	test('create with the least: every key is there, with its default', async () => {
		const a = await agents.create({ name: 'x', model: MODEL });
		assert.deepEqual(Object.keys(a).sort(), KEYS);
		assert.match(a.id, /^agent_01[1-9A-HJ-NP-Za-km-z]{22}$/);
		micros(a.created_at);
		const { id, created_at, updated_at, model, ...rest } = a;
		assert.equal(created_at, updated_at);
		assert.deepEqual(rest, {
			type: 'agent', name: 'x', description: null, system: null, tools: [], mcp_servers: [], skills: [], multiagent: null,
			execution_identity: { type: 'service_account' }, metadata: {}, version: 1, archived_at: null,
		});
		assert.equal(model.id, MODEL);
		assert.equal(model.speed, 'standard');
		assert.match(model.effort.type, /^(low|medium|high|xhigh|max)$/);
		assert.ok(!('inference_geo' in model));
		assert.deepEqual(await agents.retrieve(id), a);
	});

	test('create with everything: echoed resolved', async () => {
		const a = await agents.create({
			name: 'Ünïcode ☂ \u202eRTL', model: { id: MODEL, effort: 'low' }, description: 'what it does', system: 'be brief',
			metadata: { team: 'a', empty: '' },
			tools: [{ ...TOOLSET, configs: [{ name: 'bash', permission_policy: { type: 'always_ask' } }, { name: 'glob', enabled: false }] }, CUSTOM],
		});
		assert.equal(a.name, 'Ünïcode ☂ \u202eRTL');
		assert.deepEqual(a.model.effort, { type: 'low' });
		assert.deepEqual(a.metadata, { team: 'a', empty: '' });
		assert.deepEqual(a.tools, [{
			...TOOLSET, default_config: { enabled: true, permission_policy: ALLOW },
			configs: [
				{ type: 'bash', name: 'bash', enabled: true, permission_policy: { type: 'always_ask' } },
				{ type: 'glob', name: 'glob', enabled: false, permission_policy: ALLOW },
			],
		}, CUSTOM]);
	});

	test('the toolset\'s default_config governs what configs leave open', async () => {
		const a = await makeAgent(c, { tools: [{
			...TOOLSET, default_config: { enabled: false, permission_policy: { type: 'always_ask' } },
			configs: [{ name: 'read', enabled: true }, { name: 'bash', permission_policy: ALLOW }],
		}] });
		assert.deepEqual(a.tools[0].default_config, { enabled: false, permission_policy: { type: 'always_ask' } });
		assert.deepEqual(a.tools[0].configs, [
			{ type: 'read', name: 'read', enabled: true, permission_policy: { type: 'always_ask' } },
			{ type: 'bash', name: 'bash', enabled: false, permission_policy: ALLOW },
		]);
	});

	test('a bare toolset has configs [] and an allowing default', async () => {
		const a = await makeAgent(c);
		assert.deepEqual(a.tools, [{ ...TOOLSET, default_config: { enabled: true, permission_policy: ALLOW }, configs: [] }]);
	});

	test('web tools are echoed with all keys that may be null', async () => {
		const a = await makeAgent(c, { tools: [{ ...TOOLSET, configs: [
			{ name: 'web_search', allowed_domains: ['example.com'] }, { name: 'web_fetch', enabled: false },
		] }] });
		const [search, fetch] = a.tools[0].configs;
		assert.deepEqual(search, {
			type: 'web_search', name: 'web_search', enabled: true, permission_policy: ALLOW,
			allowed_domains: ['example.com'], user_location: null,
		});
		assert.deepEqual(fetch, {
			type: 'web_fetch', name: 'web_fetch', enabled: false, permission_policy: ALLOW,
			max_content_tokens: null, url_sources: null,
		});
	});

	test('MCP toolsets ask by default and go with their servers', async () => {
		const ASK = { type: 'always_ask' }, AUTO = { type: 'auto' };
		const servers = [{ type: 'url', name: 'docs', url: 'https://mcp.example.com/docs' }, { type: 'url', name: 'crm', url: 'https://crm.example.com' }];
		const a = await makeAgent(c, { mcp_servers: servers, tools: [
			{ type: 'mcp_toolset', mcp_server_name: 'crm' },
			{ type: 'mcp_toolset', mcp_server_name: 'docs', default_config: { permission_policy: AUTO, enabled: false }, configs: [
				{ name: 'search', enabled: true }, { name: 'delete_all', permission_policy: ASK }] },
		] });
		assert.deepEqual(a.mcp_servers, servers);
		assert.deepEqual(a.tools, [
			{ type: 'mcp_toolset', mcp_server_name: 'crm', default_config: { enabled: true, permission_policy: ASK }, configs: [] },
			{ type: 'mcp_toolset', mcp_server_name: 'docs', default_config: { enabled: false, permission_policy: AUTO }, configs: [
				{ name: 'search', enabled: true, permission_policy: AUTO }, { name: 'delete_all', enabled: false, permission_policy: ASK }] },
		]);
		assert.deepEqual(await agents.update(a.id, { tools: a.tools, mcp_servers: a.mcp_servers }), a, 'what is shown may be sent back');
		const off = await agents.update(a.id, { tools: null, mcp_servers: null });
		assert.deepEqual([off.version, off.tools, off.mcp_servers], [2, [], []]);
		assert.deepEqual((await agents.retrieve(a.id, { version: 1 })).tools, a.tools);
	});

	test('an execution identity is kept, replaced and reset', async () => {
		const role = { type: 'aws_role', role_arn: 'arn:aws:iam::123456789012:role/my-agent-runner' };
		const a = await makeAgent(c, { execution_identity: role });
		assert.deepEqual(a.execution_identity, role);
		assert.deepEqual((await agents.update(a.id, { name: 'other' })).execution_identity, role);
		assert.deepEqual((await agents.update(a.id, { execution_identity: null })).execution_identity, { type: 'service_account' });
		assert.deepEqual((await agents.update(a.id, { execution_identity: { type: 'service_account' } })).version, 3, 'no change, no version');
	});

	test('update makes a version; old ones stay readable; versions list newest first', async () => {
		const v1 = await makeAgent(c, { description: 'first', system: 's1', metadata: { a: '1', b: '2' } });
		const v2 = await agents.update(v1.id, { version: 1, name: 'second', metadata: { a: null, c: '3' } });
		assert.equal(v2.version, 2);
		assert.equal(v2.name, 'second');
		assert.equal(v2.description, 'first');
		assert.equal(v2.system, 's1');
		assert.deepEqual(v2.metadata, { b: '2', c: '3' });
		assert.equal(v2.created_at, v1.created_at);
		assert.ok(micros(v2.updated_at) > micros(v1.updated_at));
		assert.deepEqual(v2.tools, v1.tools);

		const v3 = await agents.update(v1.id, { description: null, system: '', tools: null });
		assert.equal(v3.version, 3);
		assert.equal(v3.description, null);
		assert.equal(v3.system, null);
		assert.deepEqual(v3.tools, []);

		assert.deepEqual(await agents.retrieve(v1.id), v3);
		assert.equal((await agents.retrieve(v1.id, { version: 1 })).name, v1.name);
		assert.equal((await agents.retrieve(v1.id, { version: 2 })).name, 'second');
		const listed = await collect(agents.versions.list(v1.id, { limit: 1 }));
		assert.deepEqual(listed.map((a) => a.version), [3, 2, 1]);
		await refused(agents.retrieve(v1.id, { version: 4 }), 404, exactly('Agent version not found.'));
		await refused(agents.retrieve(v1.id, { version: 0 }), 400, /version/);
	});

	test('an update that changes nothing makes no version', async () => {
		const a = await makeAgent(c, { description: 'd', metadata: { k: 'v' } });
		assert.deepEqual(await agents.update(a.id, { version: 1 }), a);
		assert.deepEqual(await agents.update(a.id, { name: a.name, description: 'd', metadata: { k: 'v', gone: null }, tools: [TOOLSET] }), a);
		assert.deepEqual(await agents.update(a.id, { metadata: null }), a);
		assert.equal((await collect(agents.versions.list(a.id))).length, 1);
	});

	test('a stale version is a conflict that the SDK does not retry', async () => {
		const a = await makeAgent(c);
		await agents.update(a.id, { name: 'moved on' });
		const { c: counting, hits } = countingClient({ maxRetries: 2 });
		const e = await refused(counting.beta.agents.update(a.id, { version: 1, name: 'late' }), 409,
			exactly('Concurrent modification detected. Please fetch the latest version and retry.'));
		assert.ok(e instanceof Anthropic.ConflictError);
		assert.equal(e.headers.get('x-should-retry'), 'false');
		assert.equal(hits.length, 1, 'exactly one request');
		await refused(agents.update(a.id, { version: 1, name: 'moved on' }), 409);
		assert.equal((await agents.retrieve(a.id)).version, 2, 'nothing was consumed');
	});

	test('of two racing updates of one version exactly one wins', async () => {
		const a = await makeAgent(c);
		const all = await Promise.allSettled(Array.from({ length: 6 }, (_, i) => agents.update(a.id, { version: 1, name: `racer ${i}` })));
		const won = all.filter((r) => r.status === 'fulfilled');
		assert.equal(won.length, 1);
		for (const r of all) if (r.status === 'rejected') assert.equal(r.reason.status, 409);
		const now = await agents.retrieve(a.id);
		assert.deepEqual(now, won[0].value);
		assert.equal(now.version, 2);
	});

	test('the model is replaced as a whole, except effort', async () => {
		const a = await agents.create({ name: 'm', model: { id: MODEL, effort: 'high', speed: 'standard' } });
		const same = await agents.update(a.id, { model: { id: MODEL }, name: 'n' });
		assert.deepEqual(same.model.effort, { type: 'high' }, 'same id, effort omitted: kept');
		const set = await agents.update(a.id, { model: { id: MODEL, effort: { type: 'low' } } });
		assert.deepEqual(set.model.effort, { type: 'low' });
	});

	test('what is not clearable', async () => {
		const a = await makeAgent(c);
		for (const patch of [{ name: null }, { name: '' }, { model: null }]) {
			await refused(agents.update(a.id, patch), 400, new RegExp(Object.keys(patch)[0]));
		}
		assert.deepEqual(await agents.retrieve(a.id), a);
	});

	test('list: newest first, walked one by one, stable under inserts', async () => {
		const mine = [];
		for (let i = 0; i < 5; i++) mine.unshift(await makeAgent(c, { name: unique(`walk${i}`) }));
		const since = { 'created_at[gte]': mine.at(-1).created_at };
		const seen = [];
		let extra;
		for await (const a of agents.list({ ...since, limit: 1 })) {
			seen.push(a.id);
			extra ??= await makeAgent(c, { name: unique('inserted') });
		}
		assert.deepEqual(seen.filter((id) => mine.some((a) => a.id === id)), mine.map((a) => a.id), 'each once, newest first');
		assert.ok(!seen.includes(extra.id) || seen[0] === extra.id, 'what was inserted meanwhile does not come late');
		assert.equal(new Set(seen).size, seen.length, 'nothing twice');
	});

	test('list: filters by creation', async () => {
		const [a, b] = [await makeAgent(c), await makeAgent(c)];
		const from = await collect(agents.list({ 'created_at[gte]': a.created_at, 'created_at[lte]': a.created_at }));
		assert.ok(from.some((x) => x.id === a.id));
		assert.ok(!from.some((x) => x.id === b.id));
		const none = await agents.list({ 'created_at[gte]': '9999-01-01T00:00:00Z' });
		assert.deepEqual(none.data, []);
		assert.equal(none.next_page, null);
		await refused(agents.list({ 'created_at[gte]': 'yesterday' }), 400, /created_at/);
	});

	test('list: the latest version of each', async () => {
		const a = await makeAgent(c);
		const v2 = await agents.update(a.id, { name: unique('v2') });
		const found = (await collect(agents.list({ 'created_at[gte]': a.created_at }))).filter((x) => x.id === a.id);
		assert.deepEqual(found, [v2]);
	});

	test('list: limits and cursors that are not ours', async () => {
		for (const limit of [0, -1, 101, 1e9]) await refused(agents.list({ limit }), 400, /limit/);
		await refused(agents.list({ page: 'page_forged' }), 400, exactly('invalid page cursor'));
	});

	test('archive: read-only for good, hidden from lists, twice is the same', async () => {
		const a = await makeAgent(c);
		await agents.update(a.id, { name: 'v2' });
		const gone = await agents.archive(a.id);
		micros(gone.archived_at);
		assert.deepEqual(await agents.archive(a.id), gone);
		assert.deepEqual(await agents.retrieve(a.id), gone);
		assert.equal((await agents.retrieve(a.id, { version: 1 })).archived_at, gone.archived_at);
		await refused(agents.update(a.id, { name: 'v3' }), 400, exactly('Cannot modify archived agent'));
		const listed = async (more) => (await collect(agents.list({ 'created_at[gte]': a.created_at, 'created_at[lte]': a.created_at, ...more })))
			.some((x) => x.id === a.id);
		assert.equal(await listed(), false);
		assert.equal(await listed({ include_archived: true }), true);
		const environment = await makeEnvironment(c);
		await refused(c.beta.sessions.create({ agent: a.id, environment_id: environment.id }), 400,
			exactly(`agent ${a.id} is archived and cannot be used to create a session`));
	});

	test('ids that are absent, malformed or of another kind', async () => {
		await refused(agents.retrieve(ABSENT.agent), 404, exactly('Agent not found.'));
		await refused(agents.update(ABSENT.agent, { name: 'x' }), 404, exactly('Agent not found.'));
		await refused(agents.archive(ABSENT.agent), 404, exactly('Agent not found.'));
		await refused(agents.versions.list(ABSENT.agent), 404, exactly('Agent not found.'));
		for (const id of ['nonsense', ABSENT.session, 'agent_', `${ABSENT.agent}x`, 'agent_01%00', 'agent_01☂']) {
			await refused(agents.retrieve(id), 400, exactly('Invalid agent ID.'));
		}
	});

	const long = (n) => 'é'.repeat(n);
	const object = { type: 'object' };
	const rejected = [
		['name missing', { name: undefined }, /name/],
		['name empty', { name: '' }, /name/],
		['name too long', { name: long(257) }, /name/],
		['name of another type', { name: 7 }, /name/],
		['description too long', { description: long(2049) }, /description/],
		['system too long', { system: long(100_001) }, /system/],
		['model missing', { model: undefined }, /model/],
		['model null', { model: null }, /model/],
		['effort unknown', { model: { id: MODEL, effort: 'extreme' } }, /effort/],
		['unknown key', { nme: 'x' }, exactly('Failed to parse request body: unknown field "nme"')],
		['unknown key deep down', { tools: [{ ...TOOLSET, extra: 1 }] }, /unknown field "(tools\[0\]\.)?extra"/],
		['forbidden key', { organization_id: 'x' }, /unknown field "organization_id"/],
		['version at create', { version: 3 }, /unknown field "version"/],
		['unknown tool type', { tools: [{ type: 'hammer' }] }, /tools\[0\]\.type/],
		['unknown built-in', { tools: [{ ...TOOLSET, configs: [{ name: 'find' }] }] },
			/^Failed to parse request: tools\[0\]\.configs\[0\]\.name: "find" is not a valid value; expected one of/],
		['two toolsets', { tools: [TOOLSET, TOOLSET] },
			exactly('tools.1.agent_toolset_20260401: duplicate entry; at most one agent_toolset_20260401 is allowed')],
		['a built-in configured twice', { tools: [{ ...TOOLSET, configs: [{ name: 'bash' }, { name: 'bash' }] }] }, /bash/],
		['custom tool named like a built-in', { tools: [{ ...CUSTOM, name: 'bash' }] }, /name/],
		['custom tool named like an MCP tool', { tools: [{ ...CUSTOM, name: 'mcp__x' }] }, /name/],
		['custom tool name of odd characters', { tools: [{ ...CUSTOM, name: 'look up' }] }, /name/],
		['custom tool name too long', { tools: [{ ...CUSTOM, name: 'x'.repeat(129) }] }, /name/],
		['two custom tools of one name', { tools: [CUSTOM, CUSTOM] }, /lookup/],
		['custom tool without description', { tools: [{ ...CUSTOM, description: '' }] }, /description/],
		['custom schema not an object', { tools: [{ ...CUSTOM, input_schema: { type: 'string' } }] }, /input_schema/],
		['custom schema with $ref', { tools: [{ ...CUSTOM, input_schema: { ...object, properties: { a: { items: { $ref: '#' } } } } }] }, /\$ref/],
		['custom schema with oneOf on top', { tools: [{ ...CUSTOM, input_schema: { ...object, oneOf: [] } }] }, /oneOf/],
		['custom schema with an odd property', { tools: [{ ...CUSTOM, input_schema: { ...object, properties: { 'a b': {} } } }] }, /propert/],
		['policy unknown', { tools: [{ ...TOOLSET, default_config: { permission_policy: { type: 'never' } } }] }, /permission_policy/],
		['17 pairs of metadata', { metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, 'v'])) }, /metadata/],
		['metadata key too long', { metadata: { [long(65)]: 'v' } }, /metadata/],
		['metadata key empty', { metadata: { '': 'v' } }, /metadata/],
		['metadata value too long', { metadata: { k: long(513) } }, /metadata/],
		['metadata value not a string', { metadata: { k: 1 } }, /metadata/],
		['an MCP server without toolset', { mcp_servers: [{ type: 'url', name: 'm', url: 'https://mcp.example.com' }] },
			exactly('mcp_servers [m] declared but no mcp_toolset in tools references them')],
		['a toolset without MCP server', { tools: [TOOLSET, { type: 'mcp_toolset', mcp_server_name: 'm' }] },
			exactly('tools.1.mcp_toolset: references server "m" which is not defined in mcp_servers')],
		['two toolsets of one MCP server', { mcp_servers: [{ type: 'url', name: 'm', url: 'https://mcp.example.com' }],
			tools: [{ type: 'mcp_toolset', mcp_server_name: 'm' }, { type: 'mcp_toolset', mcp_server_name: 'm' }] },
			exactly('tools.1.mcp_toolset: duplicate entry for server "m"; each MCP server may have at most one mcp_toolset')],
		['21 MCP servers', { mcp_servers: Array.from({ length: 21 }, (_, i) => ({ type: 'url', name: `m${i}`, url: 'https://mcp.example.com' })) }, /mcp_servers/],
		['257 tools', { tools: Array.from({ length: 249 }, (_, i) => ({ ...CUSTOM, name: `t${i}` })).concat(TOOLSET) }, /at most 256 tools/],
		['a role that is none', { execution_identity: { type: 'aws_role', role_arn: 'arn:aws:s3:::x' } }, /execution_identity\.role_arn/],
		['no domain at all', { tools: [{ ...TOOLSET, configs: [{ name: 'web_fetch', allowed_domains: [] }] }] },
			containing('allowed_domains: Empty list of domains is ambiguous. Provide at least one domain or null.')],
		['an address as domain', { tools: [{ ...TOOLSET, configs: [{ name: 'web_fetch', allowed_domains: ['192.0.2.1'] }] }] },
			containing('allowed_domains.0: IP addresses are not supported; ')],
		['a country that is none', { tools: [{ ...TOOLSET, configs: [{ name: 'web_search', user_location: { type: 'approximate', country: 'XX' } }] }] },
			containing('user_location.country: not a country the search provider supports')],
		['web_fetch from nowhere', { tools: [{ ...TOOLSET, configs: [{ name: 'web_fetch',
			url_sources: { client_tool_results: 'none', server_tool_results: { type: 'none' }, user_input: 'none' } }] }] }, /url_sources/],
		['a skill nobody has', { skills: [{ type: 'anthropic', skill_id: 'xlsx' }] },
			exactly('Agent has invalid configuration: `skill_id` `xlsx` version `latest` not found')],
		['multiagent', { multiagent: { type: 'coordinator', agents: [{ type: 'self' }] } }, /not supported yet/],
		['both web lists', { tools: [{ ...TOOLSET, configs: [{ name: 'web_search', allowed_domains: ['a.com'], blocked_domains: ['b.com'] }] }] },
			containing('Only one of allowed_domains or blocked_domains may be set.')],
	];
	for (const [what, more, pattern] of rejected) {
		test(`refused: ${what}`, async () => {
			await refused(agents.create({ name: 'x', model: MODEL, ...more }), 400, pattern);
		});
	}

	test('at the limit is still right', async () => {
		const a = await agents.create({
			name: long(256), model: MODEL, description: long(2048), system: long(100_000), skills: [], mcp_servers: [], multiagent: null,
			metadata: Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`${i}`.padEnd(64, 'k'), long(512)])),
			tools: [{ ...CUSTOM, name: 'x'.repeat(128) }],
		});
		assert.equal(a.system.length, 100_000);
		assert.deepEqual(await agents.retrieve(a.id), a);
	});
});
