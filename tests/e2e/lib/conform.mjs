// Every answer that a test receives is validated against the SDK's own types (tests/conformance). tests/e2e/run loads this module into
// each test process before anything else, so that there is no way around it: `fetch` is replaced here, which all SDK clients use, also
// those that a test makes itself; http.mjs and sse.mjs, which work below the SDK, call it. An answer that is not valid fails the call
// that received it, and with it the test; swallowed there, it still fails the run.
//
// Without ROOST_CONFORMANCE (the folder that tests/conformance/build.mjs prints) it does nothing: chaos tests share these libraries.
const on = Boolean(process.env.ROOST_CONFORMANCE && process.env.NODE_TEST_CONTEXT);
const { answered, isStream, StreamChecker } = on ? await import('../../conformance/check.mjs') : {};

// Time that validating has taken in this process, for tests that measure.
export const spent = { ms: 0 };

function timed(check) {
	const began = performance.now();
	check();
	spent.ms += performance.now() - began;
}

// A whole answer below the SDK; headers with lower-case names.
export function conforms(exchange) {
	if (on) answered(exchange);
}

// The checker of a stream below the SDK: frame(event, data) throws.
export function conformingStream(method, path, status, headers) {
	return on ? new StreamChecker(method, path, status, headers) : { frame() {} };
}

if (on && !globalThis.fetch.conforming) {
	const real = globalThis.fetch;
	const provider = process.env.ROOST_TEST_PROVIDER;
	const conforming = async (input, init) => {
		const response = await real(input, init);
		const url = new URL(input instanceof Request ? input.url : input);
		if (url.origin === provider || url.protocol === 'data:') return response;	// the SDK asks fetch for `data:,` before an upload
		const method = (init?.method ?? (input instanceof Request ? input.method : 'GET')).toUpperCase();
		const path = url.pathname + url.search;
		const { status } = response;
		const headers = Object.fromEntries(response.headers);
		if (isStream(headers)) {
			const checker = new StreamChecker(method, path, status, headers);
			const look = new TransformStream({ transform(chunk, out) {
				timed(() => checker.bytes(chunk));
				out.enqueue(chunk);
			} });
			return new Response(response.body.pipeThrough(look), { status, headers: response.headers });
		}
		const bytes = status === 200 && !/json/.test(headers['content-type'] ?? '');
		const text = bytes ? undefined : await response.clone().text();
		timed(() => answered({ method, path, status, headers, text }));
		return response;
	};
	conforming.conforming = true;
	globalThis.fetch = conforming;
}
