// Makes the validators for the installed SDK and prints their folder: build/conformance/<key>/{schemas.json,validate.cjs}. The key is
// made from the versions of SDK, compiler and validator and from our tables, so that a second call costs nothing (about 2 s the first time).
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const e2e = path.join(here, '../e2e/');
const out = path.join(here, '../../build/conformance');
const resolve = createRequire(path.join(e2e, 'package.json'));

function key() {
	const h = createHash('sha256');
	for (const file of ['endpoints.mjs', 'policy.mjs', 'schema.mjs', 'build.mjs'].map((f) => path.join(here, f))) h.update(readFileSync(file));
	for (const name of ['@anthropic-ai/sdk', 'typescript', 'ajv']) {
		h.update(JSON.parse(readFileSync(path.join(e2e, 'node_modules', name, 'package.json'), 'utf8')).version);
	}
	return h.digest('hex').slice(0, 16);
}

// One module with a function for each type of reply: loads in some 30 ms, against half a second for compiling in each test process.
function validators(schemas) {
	const Ajv = resolve('ajv').default, standalone = resolve('ajv/dist/standalone').default;
	const ajv = new Ajv({ discriminator: true, strict: true, strictTypes: false, strictRequired: false, verbose: true, code: { source: true } });
	const absolute = (s) => JSON.parse(JSON.stringify(s).replaceAll('"#/$defs/', '"sdk#/$defs/'));
	ajv.addSchema({ $id: 'sdk', $defs: schemas.$defs });
	const exported = {};
	const add = (name, schema) => {
		ajv.addSchema({ ...absolute(schema), $id: name });
		exported[name] = name;
	};
	add('error', { $ref: '#/$defs/Error' });
	let n = 0;
	for (const e of Object.values(schemas.endpoints)) {
		e.validators = e.refs.map((ref) => {
			add(`reply${n}`, ref);
			return `reply${n++}`;
		});
	}
	const anchor = JSON.stringify(path.join(e2e, 'package.json'));
	return `require = require("node:module").createRequire(${anchor});\n${standalone(ajv, exported)}`;
}

export async function build() {
	const dir = path.join(out, key());
	if (existsSync(dir)) return dir;
	const { generate } = await import('./schema.mjs');
	const schemas = generate();
	const code = validators(schemas);
	mkdirSync(out, { recursive: true });
	const tmp = mkdtempSync(path.join(out, 'tmp.'));
	writeFileSync(path.join(tmp, 'schemas.json'), JSON.stringify(schemas, null, '\t'));
	writeFileSync(path.join(tmp, 'validate.cjs'), code);
	try {
		renameSync(tmp, dir);
	} catch (e) {
		rmSync(tmp, { recursive: true });		// another process was first
		if (!existsSync(dir)) throw e;
	}
	return dir;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(await build());
