// What a model may be asked for: effort, speed, geography (contract 2.1), as the catalogue says it; passed on, priced and told.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MODEL, bench, client, log, makeAgent, makeEnvironment, unique } from '../lib/client.mjs';
import { requests } from '../lib/provider.mjs';
import { refused } from '../lib/sdkerror.mjs';
import { Watch, one } from '../lib/watch.mjs';

const c = client();
const agents = c.beta.agents;
const QUICK = 'lab-quick', PLAIN = 'lab-plain';

describe('what a model may be asked for', { concurrency: true }, () => {
	test('an effort that it has, its usual one, none at all', async () => {
		assert.deepEqual((await makeAgent(c, { model: QUICK })).model, { id: QUICK, speed: 'standard', effort: { type: 'medium' } });
		assert.deepEqual((await makeAgent(c, { model: { id: QUICK, effort: { type: 'low' } } })).model.effort, { type: 'low' });
		assert.deepEqual((await makeAgent(c, { model: PLAIN })).model, { id: PLAIN, speed: 'standard' });
		await refused(makeAgent(c, { model: { id: QUICK, effort: 'high' } }), 400, /^model\.effort: "high" is not supported by this model$/);
		await refused(makeAgent(c, { model: { id: PLAIN, effort: 'low' } }), 400, /^model\.effort: "low" is not supported/);
		assert.deepEqual((await makeAgent(c, { model: { id: MODEL, effort: 'max' } })).model.effort, { type: 'max' }, 'nothing is known: any');
	});

	test('a speed and a geography that it has', async () => {
		const fast = { id: QUICK, effort: 'low', speed: 'fast', inference_geo: 'us' };
		assert.deepEqual((await makeAgent(c, { model: fast })).model, { ...fast, effort: { type: 'low' } });
		await refused(makeAgent(c, { model: { id: PLAIN, speed: 'fast' } }), 400, /^model\.speed: "fast" is not supported by this model$/);
		await refused(makeAgent(c, { model: { id: MODEL, inference_geo: 'us' } }), 400, /^model\.inference_geo: "us" is not supported/);
		await refused(makeAgent(c, { model: { id: QUICK, inference_geo: 'moon' } }), 400, /^model\.inference_geo: "moon" is not supported/);
	});

	test('updates and overrides follow the same rules', async () => {
		const a = await makeAgent(c, { model: { id: QUICK, effort: 'low', speed: 'fast', inference_geo: 'us' } });
		assert.deepEqual((await agents.update(a.id, { model: QUICK })).model, { id: QUICK, speed: 'standard', effort: { type: 'low' } }, 'only effort is kept');
		assert.deepEqual((await agents.update(a.id, { model: { id: QUICK, effort: null } })).model.effort, { type: 'medium' });
		assert.ok(!('effort' in (await agents.update(a.id, { model: PLAIN })).model));
		await refused(agents.update(a.id, { model: { id: PLAIN, effort: 'low' } }), 400, /^model\.effort: /);
		const environment = await makeEnvironment(c);
		const overridden = (model) => c.beta.sessions.create({ environment_id: environment.id, agent: { type: 'agent_with_overrides', id: a.id, model } });
		assert.deepEqual((await overridden({ id: QUICK, effort: 'low', speed: 'fast' })).agent.model, { id: QUICK, speed: 'fast', effort: { type: 'medium' } });
		await refused(overridden({ id: PLAIN, speed: 'fast' }), 400, /^model\.speed: /);
	});

	test('the provider is asked for it, its price is the fast one\'s, and the span tells', async () => {
		const b = await bench(c, { model: { id: QUICK, effort: 'low', speed: 'fast', inference_geo: 'us' }, tools: [] });
		const plain = await bench(c, { model: QUICK, tools: [] });
		const cost = [];
		for (const [which, speed] of [[b, 'fast'], [plain, null]]) {
			const marker = unique('marker');
			const w = await Watch.begin(which);
			const turn = await w.turn(marker);
			const { model_usage: u } = one(turn, 'span.model_request_end');
			assert.equal(u.speed, speed);
			const [sent] = await requests(marker);
			assert.equal(sent.body.speed, speed ?? undefined);
			assert.equal(sent.body.inference_geo, speed ? 'us' : undefined);
			assert.equal(sent.headers['anthropic-beta'], speed ? 'fast-mode-2026-02-01' : undefined);
			assert.deepEqual(sent.body.output_config, { effort: speed ? 'low' : 'medium' });
			const { usage } = await c.beta.sessions.retrieve(w.id);
			cost.push(Number(usage.list_cost.amount) / (u.input_tokens + u.output_tokens));
			assert.equal((await log(c, w.id)).filter((e) => e.type === 'session.error').length, 0);
			w.close();
		}
		assert.ok(Math.abs(cost[0] / 1.1 - 1) < 0.01 && Math.abs(cost[1] / 0.1 - 1) < 0.1, `cents a token: ${cost}`);
	});
});
