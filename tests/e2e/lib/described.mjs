// Values made from schemas of GET /openapi.json.
import { doc } from '../../conformance/described.mjs';

export { doc };
export const resolve = (v) => (v?.$ref ? resolve(v.$ref.slice(2).split('/').reduce((o, k) => o[k], doc)) : v);

// The smallest value that a schema admits.
export function sample(given) {
	const s = resolve(given);
	if (s.const !== undefined) return s.const;
	if (s.enum) return s.enum[0];
	const any = s.anyOf ?? s.oneOf;
	if (any) return sample(any[0]);
	switch (s.type) {
	case 'string':
		return s.format === 'date-time' ? '2026-11-20T00:00:00Z' : 'a'.repeat(Math.max(1, s.minLength ?? 1));
	case 'integer':
	case 'number':
		return s.default ?? s.minimum ?? 1;
	case 'boolean':
		return false;
	case 'array':
		return Array.from({ length: s.minItems ?? 0 }, () => sample(s.items));
	default:
		return Object.fromEntries((s.required ?? []).map((k) => [k, sample(s.properties[k])]));
	}
}
