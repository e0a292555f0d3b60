// What README.md shows is what runs: its JavaScript as it stands there, one block after the other, and its catalogue file.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('..', import.meta.url));
const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');
const blocks = (language) => [...readme.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms'))].map((m) => m[1]);

const run = (code) => new Promise((done) => {
	const node = execFile(process.execPath, ['--import', `${here}lib/conform.mjs`, '--input-type=module', '-'], { cwd: here, timeout: 60_000 },
		(error, out, err) => done({ error, out, err }));
	node.stdin.end(code);
});

describe('README', () => {
	test('the examples run, twice', async () => {
		for (let i = 0; i < 2; i++) {
			const { error, out, err } = await run(blocks('js').join('\n'));
			assert.equal(error, null, err);
			assert.match(out, /^session\.status_running$/m);
			assert.match(out, /^agent\.tool_result$/m);
			assert.match(out, /^session\.status_idle$/m);
			assert.match(out, /^lines\.txt 2$/m);
		}
	});

	test('the catalogue file is one', () => {
		const file = blocks('sh').join('\n').match(/<<'EOF'\n(.*?)^EOF$/ms)[1];
		assert.equal(JSON.parse(file).models[0].id, 'priced');
	});
});
