// Is this answer what the instance's own GET /openapi.json says? The second yardstick of check.mjs, beside the SDK's types: what the tables
// of gateway/replies.def describe is held against every real reply, refusal and event.
//
// Reply schemas are published open (a later version may add keys); here they are closed, so that a key that nobody described is found.
// tests/e2e/run has them compiled once for all test processes: node described.mjs FOLDER.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import https from 'node:https';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const e2e = fileURLToPath(new URL('../e2e/package.json', import.meta.url));

// Below `fetch`, which is under examination.
function document() {
	const ca = readFileSync(process.env.ROOST_CA_FILE);
	return new Promise((resolve, reject) => {
		https.get(new URL('/openapi.json', process.env.ROOST_BASE_URL), { ca, agent: false }, (res) => {
			let text = '';
			res.setEncoding('utf8').on('data', (d) => { text += d; }).on('end', () => resolve(JSON.parse(text)));
		}).on('error', reject);
	});
}

// Every object schema that lists its keys admits no other.
function close(schema) {
	if (Array.isArray(schema)) schema.forEach(close);
	if (!schema || typeof schema !== 'object') return;
	if (schema.properties && schema.additionalProperties === undefined) schema.additionalProperties = false;
	Object.values(schema).forEach(close);
}

// What answers may be held against: [the validator's name, where its schema stands in the document].
const NAMED = [['Error', ['components', 'schemas', 'Error']], ['StreamEvent', ['components', 'schemas', 'StreamEvent']]];
const replies = (doc) => Object.entries(doc.paths).flatMap(([template, operations]) => Object.entries(operations)
	.filter(([, operation]) => operation.responses?.[200]?.content?.['application/json'])
	.map(([method]) => [`${method} ${template}`, ['paths', template, method, 'responses', '200', 'content', 'application/json', 'schema']]));

function validators(doc) {
	const resolve = createRequire(e2e);
	const Ajv = resolve('ajv/dist/2020.js').default, standalone = resolve('ajv/dist/standalone').default;
	const ajv = new Ajv({ strict: false, allErrors: false, validateFormats: true, code: { source: true, formats: undefined } });
	ajv.addFormat('date-time', '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?Z$');
	ajv.addFormat('binary', true);
	const closed = structuredClone(doc);
	close(closed.components.schemas);
	close(closed.paths);
	// Details of a refusal are open by nature, and so is what else an SSE error may say.
	delete closed.components.schemas.Error.properties.error.properties.details.additionalProperties;
	ajv.addSchema(closed, 'doc');
	const escape = (s) => encodeURIComponent(s.replaceAll('~', '~0').replaceAll('/', '~1'));
	const exported = {};
	[...NAMED, ...replies(doc)].forEach(([name, pointer], i) => {
		ajv.addSchema({ $id: `v${i}`, $ref: `doc#/${pointer.map(escape).join('/')}` });
		exported[`v${i}`] = `v${i}`;
	});
	return `require = require("node:module").createRequire(${JSON.stringify(e2e)});\n${standalone(ajv, exported)}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	const [, , folder] = process.argv;
	const made = await document();
	mkdirSync(folder, { recursive: true });
	writeFileSync(path.join(folder, 'openapi.json'), JSON.stringify(made));
	writeFileSync(path.join(folder, 'validate.cjs'), validators(made));
	process.exit();
}

export const doc = JSON.parse(readFileSync(path.join(process.env.ROOST_DESCRIBED, 'openapi.json'), 'utf8'));
const compiled = require(path.join(process.env.ROOST_DESCRIBED, 'validate.cjs'));
const names = new Map([...NAMED, ...replies(doc)].map(([name], i) => [name, compiled[`v${i}`]]));

const templates = Object.keys(doc.paths).map((template) => ({
	template, pattern: new RegExp(`^${template.split(/\{\w+\}/).map((s) => s.replace(/[.*+?^$()[\]\\|]/g, '\\$&')).join('[^/]+')}$`),
}));

// The operation that answers this request: its path template, and its description unless the path has no such method. Literal paths win.
export function operationOf(method, pathname) {
	const found = templates.filter((t) => t.pattern.test(pathname)).sort((a, b) => a.template.split('{').length - b.template.split('{').length)[0];
	return found && { template: found.template, operation: doc.paths[found.template][method.toLowerCase()] };
}

// Why a value is not as described, or undefined. Of alternatives that are told apart by their type, the one that was meant says most.
function wrong(validate, value) {
	if (validate(value)) return undefined;
	const e = validate.errors.filter((x) => x.keyword !== 'const' && x.keyword !== 'oneOf' && x.keyword !== 'anyOf')
		.reduce((a, b) => (!a || b.instancePath.length > a.instancePath.length ? b : a), undefined) ?? validate.errors[0];
	return `openapi.json: ${e.instancePath || 'the body'} ${e.message} ${e.params.additionalProperty ?? ''}`.trim();
}

// A whole answer with a JSON body. Why it is not as described, or undefined; also when it is not for this check to say.
export function misdescribed(method, pathname, status, body) {
	const at = operationOf(method, pathname);
	if (status >= 400 && !(at?.template === '/healthz' && status === 503)) return wrong(names.get('Error'), body);
	if (!at?.operation) return `openapi.json: no operation ${method} ${pathname}`;
	const validate = names.get(`${method.toLowerCase()} ${at.template}`);
	return validate && wrong(validate, body);
}

export function misdescribedEvent(body) {
	return wrong(names.get('StreamEvent'), body);
}
