// Waiting with a deadline. Only for what cannot announce itself (a process that comes back, a file on disk): whatever has an event is
// waited for through Watch.
import { setTimeout as pause } from 'node:timers/promises';

export const DEADLINE = Number(process.env.ROOST_TEST_DEADLINE_MS ?? 30_000);

// Calls probe until it returns something truthy, and returns that. A throwing probe counts as "not yet"; its last error is shown.
export async function until(what, probe, ms = DEADLINE) {
	const end = performance.now() + ms;
	let last;
	for (;;) {
		try {
			const got = await probe();
			if (got) return got;
			last = undefined;
		} catch (e) {
			last = e;
		}
		if (performance.now() > end) {
			throw new Error(`not within ${ms} ms: ${what}${last ? ` (last: ${last.message ?? last})` : ''}`);
		}
		await pause(50);
	}
}

// A promise that must settle in time.
export async function within(what, promise, ms = DEADLINE) {
	let timer;
	const late = new Promise((_, reject) => {
		timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
	});
	try {
		return await Promise.race([promise, late]);
	} finally {
		clearTimeout(timer);
	}
}

// For what has to be done while something else runs: fn(seconds) gives that something this long, and returns TOO_LATE when even so it
// was over first (a busy machine); then it is tried again with more.
export const TOO_LATE = Symbol('too late');
export async function meanwhile(fn, tries = [2, 8, 30]) {
	for (const seconds of tries) {
		const got = await fn(seconds);
		if (got !== TOO_LATE) return got;
	}
	throw new Error(`not even ${tries.at(-1)} s were enough`);
}
