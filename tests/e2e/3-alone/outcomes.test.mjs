// An evaluation that loses its worker is taken up again by another, with the same start; nothing of the work is done twice (contract 6).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bench, client, unique } from '../lib/client.mjs';
import { LAB, fault, requests } from '../lib/provider.mjs';
import { bash, call } from '../lib/script.mjs';
import { killService, services } from '../lib/service.mjs';
import { assertLog, logShape } from '../lib/shape.mjs';
import { until } from '../lib/until.mjs';
import { Watch, calls, one } from '../lib/watch.mjs';

const c = client();

test('every worker dies during an evaluation', async () => {
	const b = await bench(c, { model: LAB.anthropic });
	const w = await Watch.begin(b);
	const marker = unique('rubric');
	const question = `Evaluation 1. Rubric:\n${marker}`;
	await fault({ delay_ms: 120_000, contains: question });
	await w.send({ type: 'user.define_outcome', description: bash('echo once >> /workspace/f; wc -l < /workspace/f'),
		rubric: { type: 'text', content: `${marker}\n${call('grade', { result: 'satisfied', explanation: 'seen' })}` } });
	const start = await w.until('span.outcome_evaluation_start', { ms: 60_000 });
	await until('the question has been asked', async () => (await requests(marker)).some((r) => JSON.stringify(r.body).includes(JSON.stringify(question).slice(1, -1))));
	await Promise.all(services().filter((s) => s.startsWith('worker')).map(killService));
	await w.idle({ ms: 90_000 });
	const listed = await w.assertSameAsLog();
	assertLog(listed);
	assert.match(logShape(listed), /^RrOsbeosmeg(hH|Hh)RrGviud$/);
	const end = one(listed, 'span.outcome_evaluation_end');
	assert.deepEqual([end.outcome_evaluation_start_id, end.iteration, end.result], [start.id, 0, 'satisfied']);
	assert.equal(calls(listed)[0].text, '1\n');
	const [o] = (await c.beta.sessions.retrieve(w.id)).outcome_evaluations;
	assert.deepEqual([o.result, o.completed_at], ['satisfied', end.processed_at]);
	w.close();
});
