// Is this answer what the instance's own GET /openapi.json says? The second yardstick of check.mjs, beside the SDK's types: what the tables
// of gateway/replies.def describe is held against every real reply, refusal and event.
//
// Reply schemas are published open (a later version may add keys); here they are closed, so that a key that nobody described is found.
// A schema is compiled when it is first needed.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import https from 'node:https';

const require = createRequire(new URL('../e2e/package.json', import.meta.url));
const { default: Ajv } = require('ajv/dist/2020.js');

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

export const doc = await document();

const ajv = new Ajv({ strict: false, allErrors: false, validateFormats: true });
ajv.addFormat('date-time', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
ajv.addFormat('binary', true);

// Every object schema that lists its keys admits no other.
function close(schema) {
	if (Array.isArray(schema)) schema.forEach(close);
	if (!schema || typeof schema !== 'object') return;
	if (schema.properties && schema.additionalProperties === undefined) schema.additionalProperties = false;
	Object.values(schema).forEach(close);
}
const closed = structuredClone(doc);
close(closed.components.schemas);
close(closed.paths);
// Details of a refusal are open by nature, and so is what else an SSE error may say.
delete closed.components.schemas.Error.properties.error.properties.details.additionalProperties;
ajv.addSchema(closed, 'doc');

const templates = Object.keys(doc.paths).map((template) => ({
	template, pattern: new RegExp(`^${template.split(/\{\w+\}/).map((s) => s.replace(/[.*+?^$()[\]\\|]/g, '\\$&')).join('[^/]+')}$`),
}));

// The operation that answers this request: its path template, and its description unless the path has no such method. Literal paths win.
export function operationOf(method, path) {
	const found = templates.filter((t) => t.pattern.test(path)).sort((a, b) => a.template.split('{').length - b.template.split('{').length)[0];
	return found && { template: found.template, operation: doc.paths[found.template][method.toLowerCase()] };
}

const compiled = new Map();
const escape = (s) => encodeURIComponent(s.replaceAll('~', '~0').replaceAll('/', '~1'));

function validatorAt(...pointer) {
	const ref = `doc#/${pointer.map(escape).join('/')}`;
	if (!compiled.has(ref)) compiled.set(ref, ajv.compile({ $ref: ref }));
	return compiled.get(ref);
}

// Why a value is not as described, or undefined. Of alternatives that are told apart by their type, the one that was meant says most.
function wrong(validate, value) {
	if (validate(value)) return undefined;
	const e = validate.errors.filter((x) => x.keyword !== 'const' && x.keyword !== 'oneOf' && x.keyword !== 'anyOf')
		.reduce((a, b) => (!a || b.instancePath.length > a.instancePath.length ? b : a), undefined) ?? validate.errors[0];
	return `openapi.json: ${e.instancePath || 'the body'} ${e.message} ${e.params.additionalProperty ?? ''}`.trim();
}

// A whole answer with a JSON body. Why it is not as described, or undefined; also when it is not for this check to say.
export function misdescribed(method, path, status, body) {
	const at = operationOf(method, path);
	if (status >= 400 && !(at?.template === '/healthz' && status === 503)) return wrong(validatorAt('components', 'schemas', 'Error'), body);
	if (!at?.operation) return `openapi.json: no operation ${method} ${path}`;
	if (!at.operation.responses[200].content['application/json']) return undefined;
	return wrong(validatorAt('paths', at.template, method.toLowerCase(), 'responses', '200', 'content', 'application/json', 'schema'), body);
}

export function misdescribedEvent(body) {
	return wrong(validatorAt('components', 'schemas', 'StreamEvent'), body);
}
