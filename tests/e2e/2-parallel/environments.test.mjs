// Environments (contract 2.2 without the work queue, 1.12).
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ABSENT, Anthropic, client, collect, makeAgent, makeEnvironment, unique } from '../lib/client.mjs';
import { del } from '../lib/http.mjs';
import { exactly, refused } from '../lib/sdkerror.mjs';
import { bash } from '../lib/script.mjs';
import { micros } from '../lib/shape.mjs';
import { Watch } from '../lib/watch.mjs';

const c = client();
const environments = c.beta.environments;
const CLOUD = {
	type: 'cloud', networking: { type: 'unrestricted' }, packages: { type: 'packages', apt: [], cargo: [], gem: [], go: [], npm: [], pip: [] },
};

// The defaults, but for these package lists.
function sameConfig(config, packages = {}) {
	const { packages: { type, ...lists }, ...rest } = config;
	assert.ok(type === undefined || type === 'packages');
	const { packages: { type: _, ...want }, ...restWant } = CLOUD;
	assert.deepEqual({ ...rest, packages: lists }, { ...restWant, packages: { ...want, ...packages } });
}

describe('environments', { concurrency: true }, () => {
	test('create with the least', async () => {
		const name = unique('least');
		const e = await environments.create({ name });
		assert.match(e.id, /^env_01[1-9A-HJ-NP-Za-km-z]{22}$/);
		assert.equal(e.type, 'environment');
		assert.equal(e.name, name);
		assert.ok(e.description === null || e.description === '');
		assert.deepEqual(e.metadata, {});
		assert.equal(e.archived_at, null);
		micros(e.created_at);
		sameConfig(e.config);
		assert.deepEqual(await environments.retrieve(e.id), e);
	});

	test('create with config in all its degrees of omission', async () => {
		for (const config of [null, { type: 'cloud' }, { type: 'cloud', networking: { type: 'unrestricted' } },
			{ type: 'cloud', packages: { pip: [] } }]) {
			sameConfig((await makeEnvironment(c, { config })).config);
		}
	});

	test('limited networking is kept and echoed whole', async () => {
		const e = await makeEnvironment(c, { config: { type: 'cloud', networking: { type: 'limited', allowed_hosts: ['api.example.com'] } } });
		assert.deepEqual(e.config.networking, {
			type: 'limited', allowed_hosts: ['api.example.com'], allow_mcp_servers: false, allow_package_managers: false,
		});
	});

	test('packages: kept per manager, and not without their registries', async () => {
		const e = await makeEnvironment(c, { config: { type: 'cloud', packages: { pip: ['pandas==2.2.0'], apt: null } } });
		sameConfig(e.config, { pip: ['pandas==2.2.0'] });
		const more = await environments.update(e.id, { config: { type: 'cloud', packages: { npm: ['express@4.18.0'] } } });
		sameConfig(more.config, { pip: ['pandas==2.2.0'], npm: ['express@4.18.0'] });
		const limited = (rest) => environments.update(e.id, { config: { type: 'cloud', networking: { type: 'limited', ...rest } } });
		await refused(limited({ allowed_hosts: ['pypi.example'] }), 400, /allow_package_managers/);
		assert.equal((await limited({ allow_package_managers: true })).config.networking.allow_package_managers, true);
		await refused(limited({ allow_package_managers: false }), 400, /allow_package_managers/);
	});

	test('self-hosted: kept as what it is; sessions in it come later', async () => {
		const e = await makeEnvironment(c, { config: { type: 'self_hosted' } });
		assert.deepEqual(e.config, { type: 'self_hosted' });
		assert.deepEqual(await environments.update(e.id, { config: { type: 'self_hosted' } }), e);
		const error = await refused(environments.update(e.id, { config: { type: 'cloud' } }), 400);
		assert.ok(error instanceof Anthropic.Beta.Environments.BetaInvalidConfigTypeChangeError);
		const agent = await makeAgent(c);
		await refused(c.beta.sessions.create({ agent: agent.id, environment_id: e.id }), 400, /self-hosted environments are not supported yet/);
	});

	test('a limited network decides which agents may work in it', async () => {
		const create = (environment, overrides) => c.beta.sessions.create({ environment_id: environment.id,
			agent: { type: 'agent_with_overrides', id: agent.id, ...overrides } });
		const agent = await makeAgent(c);
		const e = await makeEnvironment(c, { config: { type: 'cloud', networking: { type: 'limited', allowed_hosts: ['docs.example.com', '*.example.org'] } } });
		const server = (url) => ({ mcp_servers: [{ type: 'url', name: 'm', url }], tools: [{ type: 'mcp_toolset', mcp_server_name: 'm' }] });
		await refused(create(e, server('https://mcp.example.com/x')), 400, exactly('MCP server host(s) blocked by environment network policy: '
			+ '"m" (mcp.example.com). Add these hosts to the environment\'s allowed_hosts, or set allow_mcp_servers=true.'));
		await refused(create(e, server('https://a.example.org')), 400, /MCP servers are not supported yet/);
		const web = (...hosts) => ({ tools: [{ type: 'agent_toolset_20260401', configs: [{ name: 'web_fetch', allowed_domains: hosts }] }] });
		await refused(create(e, web('docs.example.com', 'other.example.com')), 400, /other\.example\.com/);
		assert.equal((await create(e, web('docs.example.com', 'a.b.example.org'))).environment_id, e.id);
	});

	test('update: omitted stays, null and "" do what the contract says', async () => {
		const e = await makeEnvironment(c, { description: 'd', metadata: { a: '1', b: '2', x: '3' } });
		const renamed = await environments.update(e.id, { name: unique('renamed') });
		assert.equal(renamed.description, 'd');
		assert.deepEqual(renamed.metadata, { a: '1', b: '2', x: '3' });
		const merged = await environments.update(e.id, { metadata: { a: null, b: '', c: '4' } });
		assert.deepEqual(merged.metadata, { c: '4', x: '3' }, 'null and "" delete');
		assert.equal((await environments.update(e.id, { description: null })).description, null);
		assert.equal((await environments.update(e.id, { description: '' })).description, '');
		const limited = await environments.update(e.id, { config: { type: 'cloud', networking: { type: 'limited', allowed_hosts: [] } } });
		assert.equal(limited.config.networking.type, 'limited');
		assert.equal((await environments.update(e.id, { config: { type: 'cloud' } })).config.networking.type, 'limited', 'omitted: kept');
		assert.deepEqual(await environments.retrieve(e.id), { ...await environments.retrieve(e.id), id: e.id, created_at: e.created_at });
	});

	test('the type of config cannot change', async () => {
		const e = await makeEnvironment(c);
		const error = await refused(environments.update(e.id, { config: { type: 'self_hosted' } }), 400);
		assert.ok(error instanceof Anthropic.Beta.Environments.BetaInvalidConfigTypeChangeError);
		assert.deepEqual(await environments.retrieve(e.id), e);
	});

	test('archive: no new sessions, no updates, twice is the same', async () => {
		const [e, agent] = await Promise.all([makeEnvironment(c), makeAgent(c)]);
		const kept = await c.beta.sessions.create({ agent: agent.id, environment_id: e.id });
		const gone = await environments.archive(e.id);
		micros(gone.archived_at);
		assert.deepEqual(await environments.archive(e.id), gone);
		const error = await refused(environments.update(e.id, { name: 'x' }), 400);
		assert.ok(error instanceof Anthropic.Beta.Environments.BetaEnvironmentArchivedError);
		await refused(c.beta.sessions.create({ agent: agent.id, environment_id: e.id }), 400, exactly(`Environment ${e.id} is archived.`));

		const w = await Watch.open(c, kept.id);
		assert.equal((await w.turn(bash('echo still here'))).at(-1).type, 'session.status_idle', 'its sessions go on');
		w.close();
	});

	test('delete', async () => {
		const e = await makeEnvironment(c);
		assert.deepEqual(await environments.delete(e.id), { id: e.id, type: 'environment_deleted' });
		await refused(environments.retrieve(e.id), 404, exactly(`Environment ${e.id} not found.`));
		await refused(environments.delete(e.id), 404);
	});

	test('delete is refused while a session waits for its client, unless forced', async () => {
		const e = await makeEnvironment(c);
		const agent = await makeAgent(c, { tools: [{ type: 'agent_toolset_20260401', default_config: { permission_policy: { type: 'always_ask' } } }] });
		const s = await c.beta.sessions.create({ agent: agent.id, environment_id: e.id });
		const w = await Watch.open(c, s.id);
		const idle = (await w.turn(bash('true'))).at(-1);
		assert.equal(idle.stop_reason.type, 'requires_action');
		const error = await refused(environments.delete(e.id), 409, exactly('Environment has 1 active sessions. Use force=true to delete anyway.'));
		assert.equal(error.headers.get('x-should-retry'), 'false');
		const forced = await del(`/v1/environments/${e.id}?force=true`);
		assert.equal(forced.status, 200, forced.text);
		assert.deepEqual(forced.json, { id: e.id, type: 'environment_deleted' });
		w.close();
	});

	test('list: newest first, one by one, archived only when asked for', async () => {
		const made = [];
		for (let i = 0; i < 3; i++) made.unshift((await makeEnvironment(c)).id);
		await environments.archive(made[1]);
		const walk = async (more) => (await collect(environments.list({ limit: 1, ...more }))).map((e) => e.id).filter((id) => made.includes(id));
		assert.deepEqual(await walk({ limit: 50 }), [made[0], made[2]]);
		assert.deepEqual(await walk({ include_archived: true, limit: 3 }), made);
		await refused(environments.list({ limit: 101 }), 400, /limit/);
	});

	test('refused', async () => {
		const cloud = (more) => ({ config: { type: 'cloud', ...more } });
		const limited = (host) => cloud({ networking: { type: 'limited', allowed_hosts: [host] } });
		for (const [more, pattern] of [
			[{ name: undefined }, /name/],
			[{ name: null }, /name/],
			[{ name: '' }, /name/],
			[{ nope: 1 }, exactly('Failed to parse request body: unknown field "nope"')],
			[{ config: { type: 'moon' } }, /config\.type/],
			[{ config: [] }, /config/],
			[{ scope: 'account' }, /scope/],
			[cloud({ networking: { type: 'limited' }, packages: { pip: ['requests'] } }), /allow_package_managers/],
			[cloud({ networking: { type: 'open' } }), /networking\.type/],
			[limited('https://example.com'), /contains a URL scheme/],
			[limited('example.com:443'), /contains a port/],
			[{ metadata: { k: 'x'.repeat(513) } }, /metadata/],
		]) {
			await refused(makeEnvironment(c, more), 400, pattern);
		}
	});

	test('ids that are absent or malformed', async () => {
		const id = ABSENT.environment;
		await refused(environments.retrieve(id), 404, exactly(`Environment ${id} not found.`));
		await refused(environments.update(id, { name: 'x' }), 404);
		await refused(environments.archive(id), 404);
		await refused(environments.delete(id), 404);
		await refused(environments.retrieve('nonsense'), 400);
		await refused(environments.retrieve(ABSENT.agent), 400);
	});
});
