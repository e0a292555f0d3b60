// JSON Schemas of every reply, made from the type declarations of the installed SDK by the TypeScript compiler. Nothing of the SDK is
// kept: the result is build output, made anew when the SDK, the compiler or one of our tables changes.
//
// generate() → { $defs: {name: schema}, endpoints: {'METHOD /pattern': {kind: 'json'|'sse'|'bytes', refs: [schema]}}, error, eventTypes, ... }
//
// A type is taken as declared (policy.mjs lists every exception). A union of objects that differ in their `type` becomes a `oneOf` with
// a discriminator, so that an error names the key that is wrong, not every alternative that did not fit. A construct that this file
// does not know is an error, never a silent "anything".
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ENDPOINTS } from './endpoints.mjs';
import * as policy from './policy.mjs';

const e2e = fileURLToPath(new URL('../e2e/', import.meta.url));
export const ts = createRequire(path.join(e2e, 'package.json'))('typescript');

// What is wanted beside the replies of methods: types by name. Replies reach most; these are reached by no method.
const NAMED = ['ErrorResponse', 'ErrorDetails', 'BetaManagedAgentsSessionEvent', 'BetaManagedAgentsSessionEventType'];

const ROOT = path.join(e2e, 'conformance-root.ts');
const SOURCE = `import Anthropic from '@anthropic-ai/sdk';
import type * as shared from '@anthropic-ai/sdk/resources/shared';
import type * as events from '@anthropic-ai/sdk/resources/beta/sessions/events';
export declare const client: Anthropic;
export declare const ErrorResponse: shared.ErrorResponse;
export declare const ErrorDetails: shared.ErrorDetails;
export declare const BetaManagedAgentsSessionEvent: events.BetaManagedAgentsSessionEvent;
export declare const BetaManagedAgentsSessionEventType: events.BetaManagedAgentsSessionEventType;
`;

function program() {
	const options = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext,
		strict: true, skipLibCheck: true, noEmit: true, types: [], lib: ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'] };
	const host = ts.createCompilerHost(options);
	const { getSourceFile, fileExists, readFile } = host;
	host.getSourceFile = (name, ...rest) => (name === ROOT ? ts.createSourceFile(name, SOURCE, ts.ScriptTarget.ES2022) : getSourceFile.call(host, name, ...rest));
	host.fileExists = (name) => name === ROOT || fileExists.call(host, name);
	host.readFile = (name) => (name === ROOT ? SOURCE : readFile.call(host, name));
	return ts.createProgram({ rootNames: [ROOT], options, host });
}

export class Generator {
	constructor() {
		const p = program();
		this.checker = p.getTypeChecker();
		this.root = p.getSourceFile(ROOT);
		this.defs = {};
		this.names = new Map();
	}

	exported(name) {
		const symbol = this.checker.getExportsOfModule(this.checker.getSymbolAtLocation(this.root)).find((s) => s.name === name);
		return this.checker.getTypeOfSymbolAtLocation(symbol, this.root);
	}

	// Of `client.beta.agents.create`, by its name without the client.
	signature(dotted) {
		let type = this.exported('client');
		for (const name of dotted.split('.')) {
			const p = this.checker.getPropertyOfType(type, name);
			if (!p) throw new Error(`the SDK has no ${dotted}: '${name}' is missing`);
			type = this.checker.getTypeOfSymbolAtLocation(p, this.root);
		}
		const signatures = type.getCallSignatures();
		if (signatures.length !== 1) throw new Error(`${dotted} has ${signatures.length} signatures`);
		return signatures[0];
	}

	// The type of a method's result: {kind, type}.
	method(dotted) {
		const promise = this.signature(dotted).getReturnType();
		const name = promise.symbol?.name;
		if (name !== 'APIPromise' && name !== 'PagePromise') throw new Error(`${dotted} returns ${this.checker.typeToString(promise)}`);
		const result = this.checker.getTypeArguments(promise)[0];
		if (result.symbol?.name === 'Response') return { kind: 'bytes' };
		if (result.symbol?.name === 'Stream') return { kind: 'sse', type: this.checker.getTypeArguments(result)[0] };
		return { kind: 'json', type: result };
	}

	convert(type, where) {
		const F = ts.TypeFlags;
		if (type.flags & (F.Any | F.Unknown)) return {};
		if (type.flags & F.String) return { type: 'string' };
		if (type.flags & F.Number) return { type: 'number' };
		if (type.flags & F.Boolean) return { type: 'boolean' };
		if (type.flags & F.Null) return { type: 'null' };
		if (type.flags & (F.StringLiteral | F.NumberLiteral)) return { const: type.value };
		if (type.flags & F.BooleanLiteral) return { const: type.intrinsicName === 'true' };
		if (type.flags & F.Union) return this.union(type.types, where);
		if (type.flags & F.Intersection) {
			// `string & {}`: any string, written so that editors offer the known ones.
			if (type.types.some((t) => t.flags & F.String)) return { type: 'string' };
			throw new Error(`${where}: an intersection ${this.checker.typeToString(type)}`);
		}
		if (this.checker.isArrayType(type)) return { type: 'array', items: this.convert(this.checker.getTypeArguments(type)[0], `${where}[]`) };
		if (type.flags & F.Object) return this.object(type, where);
		throw new Error(`${where}: ${this.checker.typeToString(type)} (flags ${type.flags})`);
	}

	union(types, where) {
		const F = ts.TypeFlags;
		const plain = [], objects = [], values = [];
		for (const t of types) {
			if (t.flags & F.Undefined) continue;
			if (t.flags & (F.StringLiteral | F.NumberLiteral | F.BooleanLiteral)) values.push(this.convert(t, where).const);
			else if (t.flags & F.Object && !this.checker.isArrayType(t)) objects.push(this.convert(t, where));
			else plain.push(this.convert(t, where));
		}
		const alternatives = [...plain];
		// Any string covers the literals beside it.
		if (values.length && !plain.some((s) => s.type === 'string' && values.every((v) => typeof v === 'string'))) {
			alternatives.push(values.length === 2 && values.includes(true) && values.includes(false) ? { type: 'boolean' } : { enum: values });
		}
		if (objects.length) alternatives.push(this.choice(objects));
		return alternatives.length === 1 ? alternatives[0] : { anyOf: alternatives };
	}

	// Objects told apart by the constant in their `type` (or error_code).
	choice(refs) {
		if (refs.length === 1) return refs[0];
		for (const tag of ['type', 'error_code']) {
			const tags = refs.map((r) => this.deref(r).properties?.[tag]?.const);
			if (tags.every((t) => typeof t === 'string') && new Set(tags).size === tags.length) {
				return { type: 'object', required: [tag], discriminator: { propertyName: tag }, oneOf: refs };
			}
		}
		return { anyOf: refs };
	}

	deref(schema) {
		return schema.$ref ? this.defs[schema.$ref.slice('#/$defs/'.length)] : schema;
	}

	// A named object type becomes a definition of its own.
	object(type, where) {
		const known = this.names.get(type);
		if (known) return { $ref: `#/$defs/${known}` };
		const name = type.aliasSymbol?.name ?? type.symbol?.name;
		if (!name || name.startsWith('__')) return this.members(type, where);
		if (this.defs[name]) throw new Error(`two types are called ${name}`);
		this.names.set(type, name);
		this.defs[name] = {};
		Object.assign(this.defs[name], this.members(type, name));
		return { $ref: `#/$defs/${name}` };
	}

	members(type, where) {
		const schema = { type: 'object', properties: {}, required: [], additionalProperties: false };
		for (const p of this.checker.getPropertiesOfType(type)) {
			const declared = p.valueDeclaration ?? p.declarations?.[0];
			// Classes (pages): their methods and what is not public are no data.
			if (p.flags & ts.SymbolFlags.Method || /^(__|#)/.test(p.name)) continue;
			if (ts.getCombinedModifierFlags(declared) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected)) continue;
			schema.properties[p.name] = this.convert(this.checker.getTypeOfSymbolAtLocation(p, this.root), `${where}.${p.name}`);
			if (!(p.flags & ts.SymbolFlags.Optional)) schema.required.push(p.name);
		}
		const index = this.checker.getIndexInfoOfType(type, ts.IndexKind.String);
		if (index) schema.additionalProperties = this.convert(index.type, `${where}[key]`);
		refine(where, schema);
		return schema;
	}
}

// The policy applied to one object type.
function refine(name, schema) {
	const fits = (rule) => (rule.type instanceof RegExp ? rule.type.test(name) : rule.type === name);
	const p = schema.properties;
	for (const x of policy.EXTRA.filter(fits)) p[x.key] = x.schema;
	for (const rule of policy.ALWAYS.filter(fits)) for (const k of rule.keys) if (p[k] && !schema.required.includes(k)) schema.required.push(k);
	for (const rule of policy.NEVER_NULL.filter(fits)) for (const k of rule.keys) if (p[k]) p[k] = narrow(p[k], (s) => s, true);
	for (const rule of policy.NULL_TOO.filter(fits)) for (const k of rule.keys) p[k] = { anyOf: [{ type: 'null' }, p[k]] };
	const tag = p.type?.const;
	const own = policy.ID_NAMES[name] ?? policy.ID_TYPES[tag] ?? (typeof tag === 'string' && tag.includes('.') ? 'sevt' : undefined);
	if (p.id && own) p.id = strings(p.id, policy.id(own));
	for (const [k, s] of Object.entries(p)) {
		if (policy.ID_KEYS[k]) p[k] = strings(s, policy.id(policy.ID_KEYS[k]));
		else if (policy.TIME_KEY.test(k)) p[k] = strings(s, policy.SIX_DIGITS.test(name) ? policy.TIME.six : policy.TIME.any);
		else if (policy.INTEGER.test(k)) p[k] = narrow(s, (x) => (x.type === 'number' ? { type: 'integer', minimum: 0 } : x));
		else if (policy.SECONDS.test(k)) p[k] = narrow(s, (x) => (x.type === 'number' ? { type: 'number', minimum: 0 } : x));
		else if (k === 'amount' && p.currency) p[k] = strings(s, policy.AMOUNT);
	}
	// "" = none of them (contract 3.4).
	if (p.outcome_evaluation_start_id) p.outcome_evaluation_start_id = { anyOf: [{ const: '' }, { type: 'string', pattern: policy.id('sevt') }] };
}

// Rewrites the alternatives of a schema: fn(alternative); noNull drops null.
function narrow(schema, fn, noNull = false) {
	if (schema.anyOf) {
		const left = schema.anyOf.filter((s) => !noNull || s.type !== 'null').map((s) => narrow(s, fn));
		return left.length === 1 ? left[0] : { anyOf: left };
	}
	if (schema.type === 'array') return { ...schema, items: narrow(schema.items, fn) };
	return fn(schema);
}

const strings = (schema, pattern) => narrow(schema, (s) => (s.type === 'string' ? { ...s, pattern } : s));

export function generate() {
	const g = new Generator();
	const endpoints = {};
	for (const e of ENDPOINTS) {
		const replies = e.sdk.map((m) => ({ m, ...g.method(m) }));
		endpoints[e.name] = { kind: replies[0].kind, refs: replies.filter((r) => r.type).map((r) => g.convert(r.type, r.m)) };
	}
	const named = Object.fromEntries(NAMED.map((n) => [n, g.convert(g.exported(n), n)]));
	const tags = (schema) => (schema.oneOf ?? [schema]).map((r) => g.deref(r).properties.type.const);
	const stream = endpoints['GET /v1/sessions/{session}/events/stream'].refs[0];
	return {
		$defs: { ...g.defs, Error: errorSchema(g, named) },
		endpoints,
		// Denominators of the coverage.
		filterable: named.BetaManagedAgentsSessionEventType.enum,
		events: [...new Set([...tags(named.BetaManagedAgentsSessionEvent), ...tags(stream)])].sort(),
		stopReasons: tags(g.defs.BetaManagedAgentsSessionStatusIdleEvent.properties.stop_reason),
		sessionErrors: tags(g.defs.BetaManagedAgentsSessionErrorEvent.properties.error),
	};
}

// {type:"error", error:{type, message, details?}, request_id}: the SDK's objects by error.type, each with the details that the SDK reads
// and its declarations keep apart; the contract's further types and reasons.
function errorSchema(g, named) {
	const reason = { type: 'object', properties: { error_code: { enum: policy.REASONS } }, required: ['error_code'], additionalProperties: false };
	const details = { if: { properties: { error_code: { enum: policy.REASONS } }, required: ['error_code'] }, then: reason, else: named.ErrorDetails };
	const types = g.deref(named.ErrorResponse).properties.error.oneOf.map((r) => g.deref(r).properties.type.const);
	const extra = { conflicting_path: { type: 'string' }, conflicting_memory_id: { type: 'string' } };
	const all = [...new Set([...types, ...Object.values(policy.ERROR_TYPE).flat()])];
	return {
		type: 'object', required: ['type', 'error', 'request_id'], additionalProperties: false,
		properties: {
			type: { const: 'error' },
			request_id: { type: 'string', pattern: '^req_[0-9A-Za-z]{10,}$' },
			error: { type: 'object', required: ['type', 'message'], additionalProperties: false,
				properties: { type: { enum: all }, message: { type: 'string', minLength: 1 }, details, ...extra } },
		},
	};
}
