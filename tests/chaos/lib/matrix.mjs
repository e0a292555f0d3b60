// Which failpoint can be come to in which state of a turn is not written down anywhere: the instance says it. Each way is gone once without
// a fault; what processes then came to (FILE.met, lib/base/failpoint.h) are the pairs, each with the first way that led to it. Then each is
// struck. A pair that no way and no load has come to cannot meet; one that only the load came to is told at the end.
import { met } from './failpoints.mjs';
import { points, ways } from './points.mjs';

// The states of a turn (workers/harness/turn.def). Only a worker has them: a pair with another place is a program's.
export const STATES = ['loading', 'deciding', 'reading', 'starting', 'asking', 'judging', 'replying', 'waking', 'running', 'stopping', 'closing', 'yielding',
	'ending', 'releasing', 'gone'];

// In this order: the simplest life that gets there.
export const QUICK = ['plain', 'tool', 'ask', 'interrupt', 'judged', 'retry'];
const LIVES = ['plain', 'tool', 'ask', 'interrupt', 'judged', 'retry', 'terminal', 'nothing', 'back', 'summary', 'graded', 'outputs', 'archive'];

// A state, and the simplest life that comes to it.
const WAY = { loading: 'plain', deciding: 'plain', reading: 'tool', starting: 'plain', asking: 'plain', judging: 'judged', replying: 'tool', waking: 'ask',
	running: 'tool', stopping: 'interrupt', closing: 'plain', yielding: 'retry', ending: 'terminal', releasing: 'nothing', gone: 'plain' };

const inTurn = (pair) => STATES.includes(pair.split('/')[1]);
const apart = (pair) => !pair.startsWith('clock.');

// The ways to try for a pair: the one that led there, that of the point elsewhere, that of the state.
const attempts = (point, way) => {
	const [name, state] = point.split('/');
	return [way, points.find((p) => p.point.split('/')[0] === name)?.way, WAY[state], way].filter(Boolean);
};

// [{ point: 'name/state', ways }]. settled(session) waits until it is at rest, and nobody has it.
export async function discover(x, settled, lives = LIVES) {
	const known = met(), found = [];
	for (const way of lives) {
		await settled(await ways[way](x));
		for (const pair of met()) {
			if (known.has(pair)) continue;
			known.add(pair);
			if (inTurn(pair) && apart(pair)) found.push({ point: pair, ways: attempts(pair, way) });
		}
	}
	return found;
}

// What is struck by name already.
const listed = new Set(points.map((p) => p.point));
export const unlisted = (pairs) => pairs.filter((p) => !listed.has(p.point));

// One part of n, another one each day. DAY=20000: that day's.
export const today = Number(process.env.DAY ?? Math.floor(Date.now() / 86_400_000));
export const part = (pairs, n, day = today) => pairs.filter((_, i) => i % n === day % n);

// Each failpoint in its first state, a quarter of the others; and a quarter of those that stand apart from turns and take long.
const APART = /^(probe|token|blob|slice|hands\.before_(ack|cancel|pause|destroy))/;
export const someOf = (list) => {
	const first = list.filter((p, i) => !APART.test(p.point) && list.findIndex((q) => q.point.split('/')[0] === p.point.split('/')[0]) === i);
	return [...first, ...part(list.filter((p) => !first.includes(p)), 4)];
};

// Pairs that some process has come to and that were not struck.
export const missed = (struck) => [...met()].filter((p) => inTurn(p) && apart(p) && !struck.has(p)).sort();

// Programs that know nothing of turns, struck by a client's message while a worker stands in a state. A worker that waits in a state of its own
// accord (for the model, a tool, the client) is struck there as it is; in the others it is made to stand for a moment.
const CLIENT = ['gateway.request', 'gateway.before_commit', 'gateway.after_commit', 'gateway.before_reply', 'gateway.after_reply', 'db.before_run/roost-gateway',
	'db.after_run/roost-gateway'];
export const fromOutside = STATES.filter((s) => s !== 'loading').flatMap((state) => CLIENT.map((point) => ({ point, state, way: WAY[state] })));
