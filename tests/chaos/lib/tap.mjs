// One line of TAP per test, with how long it took; a test that throws has failed, a string that it returns is told.
let passed = 0, failed = 0;

export async function test(name, fn) {
	const began = performance.now();
	let more, problem;
	try {
		more = await fn();
		passed++;
	} catch (e) {
		failed++;
		problem = e.stack;
	}
	const ms = Math.round(performance.now() - began);
	console.log(`${problem ? 'not ok' : 'ok'} ${passed + failed} - ${name} (${ms} ms)${typeof more === 'string' && more ? ` # ${more}` : ''}`);
	if (problem) console.log(problem.replace(/^/gm, '# '));
}

export function skip(name, why) {
	console.log(`ok ${++passed + failed} - ${name} # SKIP ${why}`);
}

// The end of the program.
export function finish() {
	console.log(`${passed} passed, ${failed} failed`);
	process.exit(failed > 0 ? 1 : 0);
}
