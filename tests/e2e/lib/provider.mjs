// The fake model provider that tests/e2e/run started (tests/provider), and the models of catalogue.json that lead to it.
import assert from 'node:assert/strict';

export const providerURL = process.env.ROOST_TEST_PROVIDER;
assert.ok(providerURL, 'these tests need the fake provider that tests/e2e/run starts');

export const LAB = { anthropic: 'lab-anthropic', openai: 'lab-openai' };

// A line of a user message that makes the provider behave (tests/provider/README.md).
export const provider = (behaviour) => `!provider ${JSON.stringify(behaviour)}`;

// The requests it got whose text contains this, oldest first.
export async function requests(marker) {
	const all = await (await fetch(`${providerURL}/control/requests`)).json();
	return all.filter((r) => JSON.stringify(r.body ?? '').includes(marker));
}

// Behave like this for the next request that matches (times, dialect, model, contains).
export async function fault(behaviour) {
	await fetch(`${providerURL}/control/fault`, { method: 'POST', body: JSON.stringify(behaviour) });
}
