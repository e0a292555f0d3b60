// Budgets and judged calls while workers die (must show 3 and 4 under faults): every cent stays accounted for, a cap is never passed by more
// than one request, what was paused goes on, and every call that is in the log has one verdict.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { bench, client, log } from '../lib/client.mjs';
import { budget, cents, rates } from '../lib/cost.mjs';
import { ctl } from '../lib/ctl.mjs';
import { allow, bash, message, script } from '../lib/script.mjs';
import { healthy, killService, services } from '../lib/service.mjs';
import { assertLog } from '../lib/shape.mjs';
import { until } from '../lib/until.mjs';
import { ofType } from '../lib/watch.mjs';

const c = client({ maxRetries: 8 });
const AUTO = { type: 'agent_toolset_20260401', default_config: { permission_policy: { type: 'auto' } } };
const STEPS = 6, SESSIONS = 10, KILLS = 12;

// Session cost from what GET tells of tokens and running time: the judge's words are in it, which no span tells of.
const expected = (u) => cents(BigInt(u.output_tokens) * rates('lab-cents').output * 9n + BigInt(Math.round(u.active_seconds * 1000)) * 200n);

// Raise the cap by three cents at each pause until the turn is over. A reply that spends the last cent leaves none for its judge: then the
// client is asked, and says yes. Returns how often it was raised.
async function pay(id) {
	for (let cap = 3, raised = 0; ;) {
		const last = await until('the session rests', async () => {
			const s = await c.beta.sessions.retrieve(id);
			if (s.status !== 'idle') return null;
			const event = (await log(c, id, { types: ['session.status_idle', 'session.updated', 'user.tool_confirmation'] })).at(-1);
			return event?.type === 'session.status_idle' ? event : null;
		}, 120_000);
		if (last.stop_reason.type === 'requires_action') {
			await c.beta.sessions.events.send(id, { events: last.stop_reason.event_ids.map(allow) }).catch((e) => assert.match(e.message, /already been answered/));
			continue;
		}
		if (last.stop_reason.type !== 'budget_reached') return { last, raised };
		const { usage } = await c.beta.sessions.retrieve(id);
		assert.ok(BigInt(usage.list_cost.amount) <= BigInt(cap + 2), `${usage.list_cost.amount} cents at a cap of ${cap}`);
		cap += 3;
		raised++;
		await c.beta.sessions.update(id, { budget: budget(cap) });
	}
}

describe('money while workers die', () => {
	test('budgets and judged calls', async () => {
		await healthy();
		const b = await bench(c, { model: 'lab-cents', tools: [AUTO] });
		const text = script(...Array.from({ length: STEPS }, (_, i) => bash(`echo ${i}`)));
		const made = await Promise.all(Array.from({ length: SESSIONS }, () => b.session({ budget: budget(3), initial_events: [message(text)] })));
		let killing = true;
		const killer = (async () => {
			for (let i = 0; i < KILLS && killing; i++) {
				const workers = services().filter((s) => s.startsWith('worker-'));
				await killService(workers[i % workers.length]);
				await pause(300 + 97 * (i % 7));	// at other moments each time
			}
		})();
		const paid = await Promise.all(made.map((s) => pay(s.id)));
		killing = false;
		await killer;

		for (const [i, { last, raised }] of paid.entries()) {
			const [s, events] = [await c.beta.sessions.retrieve(made[i].id), await log(c, made[i].id)];
			assert.equal(last.stop_reason.type, 'end_turn');
			assert.ok(raised > 0);
			assertLog(events);
			const uses = ofType(events, 'agent.tool_use');
			assert.ok(uses.length >= STEPS);
			for (const u of uses) assert.ok(['allow', 'ask'].includes(u.evaluation.evaluated_permission.type));
			assert.deepEqual(s.usage.list_cost, expected(s.usage));
			assert.deepEqual(ofType(events, 'session.usage').at(-1).usage.list_cost, s.usage.list_cost);
			assert.equal((await ctl('check', '--session', s.id)).length > 0, true);	// fails when a promise is broken
		}
	});
});
