// What a test file has open: closed when its tests are over, so that a failed test's stream does not keep the process alive.
import { after } from 'node:test';

const open = new Set();

// Something with close(), which must be harmless when called again.
export function opened(x) {
	open.add(x);
	return x;
}

after(() => {
	for (const x of open) x.close();
	open.clear();
});
