// What the SDK lets its users send, held against /openapi.json: every parameter of every method that the description has an operation
// for, in all its alternatives, down to the last field. differences() → lines of text, one for each thing that the types allow and the
// description does not; in order. (That the service takes what it describes is openapi.test.mjs's and the bad-input tests' to show.)
import { doc } from './described.mjs';
import { ENDPOINTS } from './endpoints.mjs';
import { Generator, ts } from './schema.mjs';

// Headers, and what the SDK itself consumes.
const HEADERS = new Set(['betas', 'workspace_id', 'anthropic-user-profile-id', 'Anthropic-Worker-ID']);

const resolve = (v) => (v?.$ref ? resolve(v.$ref.slice(2).split('/').reduce((o, k) => o[k], doc)) : v);
const shape = (path) => path.replace(/\{\w+\}/g, '{}');
const parts = (type) => (type.isUnion() ? type.types.flatMap(parts) : [type]);

// The alternatives of a schema.
function schemas(given) {
	const s = resolve(given);
	return (s?.anyOf ?? s?.oneOf)?.flatMap(schemas) ?? (s ? [s] : []);
}
const kinds = (s) => [].concat(s.type ?? (s.enum ?? [s.const]).map((v) => (v === null ? 'null' : v === undefined ? 'object' : typeof v)));
const allows = (all, kind) => all.some((s) => kinds(s).includes(kind));
const empty = (s) => (kinds(s).includes('array') ? schemas(s.items).some(empty) : kinds(s).includes('string') && !s.enum && !s.minLength);
const admits = (s, value) => s.const === value || s.enum?.includes(value) || (s.const === undefined && !s.enum && kinds(s).includes('string'));

class Comparison {
	constructor() {
		this.sdk = new Generator();
		this.found = [];
	}

	type(symbol) {
		return this.sdk.checker.getTypeOfSymbolAtLocation(symbol, this.sdk.root);
	}

	// query: there the SDK writes null as an empty value.
	value(type, schema, path, query = false) {
		const all = schemas(schema), F = ts.TypeFlags;
		const expect = (kind, ok = allows(all, kind)) => ok || this.found.push(`${path}: ${kind}`);
		for (const t of parts(type)) {
			if (t.flags & F.Undefined) continue;
			else if (t.flags & F.Null) expect('null', allows(all, 'null') || (query && all.some(empty)));
			else if (t.isStringLiteral()) expect(`"${t.value}"`, all.some((s) => admits(s, t.value)));
			else if (t.flags & F.StringLike || (t.isIntersection() && t.types.some((x) => x.flags & F.String))) expect('string', all.some((s) => admits(s, undefined)));
			else if (t.flags & F.NumberLike) expect('number', allows(all, 'integer') || allows(all, 'number'));
			else if (t.flags & F.BooleanLike) expect('boolean');
			else if (this.sdk.checker.isArrayType(t)) this.list(t, all, path);
			else this.object(t, all, path);
		}
	}

	list(type, all, path) {
		const list = all.find((s) => kinds(s).includes('array'));
		if (list) this.value(this.sdk.checker.getTypeArguments(type)[0], list.items, `${path}[]`);
		else this.found.push(`${path}: array`);
	}

	object(type, all, path) {
		const members = this.sdk.checker.getPropertiesOfType(type);
		const tag = members.find((m) => /^(type|name)$/.test(m.name) && this.type(m).isStringLiteral());
		const said = tag && this.type(tag).value;
		const mine = all.filter((s) => kinds(s).includes('object') && (!tag || !s.properties || schemas(s.properties[tag.name]).some((x) => admits(x, said))));
		if (!mine.length) this.found.push(`${path}: ${said ? `{${tag.name}: "${said}"}` : 'object'}`);
		const closed = mine.filter((s) => s.properties);
		for (const m of closed.length ? members : []) {
			const field = closed.find((s) => s.properties[m.name]);
			if (!field) this.found.push(`${path}.${m.name}`);
			else this.value(this.type(m), field.properties[m.name], `${path}.${m.name}`);
			if (m.flags & ts.SymbolFlags.Optional && closed.every((s) => s.required?.includes(m.name))) this.found.push(`${path}.${m.name}: may be left out`);
		}
	}

	method(name, operation, dotted) {
		const given = (operation.parameters ?? []).map(resolve), body = resolve(Object.values(operation.requestBody?.content ?? {})[0]?.schema);
		const query = new Map(given.filter((p) => p.in === 'query').map((p) => [p.name.replace(/\[\]$/, ''), p.schema]));
		const elsewhere = new Set([...HEADERS, ...given.filter((p) => p.in === 'path').map((p) => p.name)]);
		const params = this.sdk.signature(dotted).getParameters().find((p) => /^(params|body|query)$/.test(p.name));
		for (const m of params ? parts(this.type(params)).flatMap((t) => this.sdk.checker.getPropertiesOfType(t)) : []) {
			const schema = body?.properties?.[m.name] ?? query.get(m.name), asked = query.has(m.name);
			if (elsewhere.has(m.name)) continue;
			if (!schema) this.found.push(`${name} ${m.name}`);
			else if (resolve(schema).format !== 'binary') this.value(this.type(m), schema, `${name} ${m.name}`, asked);
			if (m.flags & ts.SymbolFlags.Optional && body?.required?.includes(m.name)) this.found.push(`${name} ${m.name}: may be left out`);
		}
	}
}

export function differences() {
	const paths = Object.entries(doc.paths), c = new Comparison();
	let methods = 0;
	for (const e of ENDPOINTS) {
		const operation = paths.find(([p]) => shape(p) === shape(e.pattern))?.[1][e.method.toLowerCase()];
		for (const dotted of operation ? e.sdk : []) c.method(e.name, operation, dotted, ++methods);
	}
	return { methods, found: [...new Set(c.found)] };
}
