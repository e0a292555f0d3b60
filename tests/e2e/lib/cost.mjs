// What a session has cost, computed here from its events and the catalogue that was applied, in whole numbers (contract 9.1, 9.2).
import { readFileSync } from 'node:fs';
import { ofType } from './watch.mjs';
import { running } from './shape.mjs';

const catalogue = JSON.parse(readFileSync(process.env.ROOST_TEST_CATALOGUE));

// Nano-dollars per token: dollars per million tokens times 1000.
export function rates(model) {
	const table = catalogue.models.find((m) => m.id === model).price.per_million_tokens;
	return Object.fromEntries(Object.entries(table).map(([k, v]) => {
		const [whole, part = ''] = v.split('.');
		return [k, BigInt(whole + part.padEnd(3, '0'))];
	}));
}

// Nano-dollars of a log's model requests. Spans do not tell the two cache classes apart: `hour` says how much of it all was for an hour.
export function tokenNano(events, model, hour = 0) {
	const r = rates(model);
	let nano = 0n, written = 0n;
	for (const { model_usage: u } of ofType(events, 'span.model_request_end')) {
		nano += BigInt(u.input_tokens) * r.input + BigInt(u.output_tokens) * r.output + BigInt(u.cache_read_input_tokens) * (r.cache_read ?? r.input);
		written += BigInt(u.cache_creation_input_tokens);
	}
	return nano + (written - BigInt(hour)) * (r.cache_write_5m ?? r.input) + BigInt(hour) * (r.cache_write_1h ?? r.input);
}

// Ninths of nano-dollars: tokens, and 200 ninths for each whole millisecond of running.
export const exact = (events, model, hour) => tokenNano(events, model, hour) * 9n + (running(events).sum / 1000n) * 200n;

const CENT = 90_000_000n;
export const cents = (ninths) => ({ amount: String((ninths + CENT / 2n) / CENT), currency: 'USD' });

export const budget = (amount) => ({ type: 'limit', max_list_cost: { amount: String(amount), currency: 'USD' } });
