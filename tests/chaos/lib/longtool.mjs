// A tool that runs for minutes while one deploy follows the other (F61): every class but hands, whose sandboxes would go with it, is replaced
// again and again; the tool goes on and its result is its own, once.
import { setTimeout as pause } from 'node:timers/promises';
import { runs, until } from './instance.mjs';
import { ops } from './rolling.mjs';

const CLASSES = ['vault', 'egress', 'stream', 'gateway', 'worker', 'nginx', 'redis'];

export async function longTool(x, { ms, every }) {
	const { clients, stage } = x, nap = `${ms / 1000}.061`;
	const s = await until('a session is made', () => clients.create({ agent: stage.scripted.id, environment_id: stage.environment.id }));
	const view = clients.view(s.id);
	await clients.say(s.id, `bash ${JSON.stringify({ command: `sleep ${nap}; echo finished`, timeout_ms: ms + 60_000 })}`);
	await until('the tool runs', () => runs(`sleep ${nap}`));
	const began = performance.now();
	let deploys = 0;
	while (performance.now() - began < ms - 10_000) {
		await ops('restart', CLASSES);
		deploys++;
		await pause(Math.min(every, Math.max(0, ms - (performance.now() - began))));
	}
	const end = await clients.settled(s.id, ms - (performance.now() - began) + 60_000);
	const took = Math.round(performance.now() - began);
	const log = (await until('the list is answered', () => clients.list(s.id))).data;
	const uses = log.filter((e) => e.type === 'agent.tool_use'), results = log.filter((e) => e.type === 'agent.tool_result');
	if (end !== 'idle' || uses.length !== 1 || results.length !== 1 || results[0].is_error || results[0].content[0].text !== 'finished\n')
		throw new Error(`${end} after ${took} ms and ${deploys} deploys: ${JSON.stringify(results)}`);
	if (took < ms || took > ms + 5000) throw new Error(`it took ${took} ms`);
	await until('a stream that was open all the time shows the end', () => view.parts.flat().some((e) => e.type === 'session.status_idle'), 10_000);
	return `${deploys} deploys of ${CLASSES.length} classes; its result ${took - ms} ms after it was due`;
}
