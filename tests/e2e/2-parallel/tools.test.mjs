// The six sandbox tools as an agent's client sees them (contract 4.3).
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { bench, client } from '../lib/client.mjs';
import { bash, call, script } from '../lib/script.mjs';
import { Watch, calls } from '../lib/watch.mjs';

const c = client();
let b;

// Plays each line as a step of one session and returns the calls' results in order.
async function play(...lines) {
	const w = await Watch.begin(b);
	const turn = await w.turn(script(...lines), { ms: 90_000 });
	w.close();
	const done = calls(turn);
	assert.equal(done.length, lines.length);
	return done;
}
const write = (file_path, content) => call('write', { file_path, content });
const read = (file_path, more = {}) => call('read', { file_path, ...more });
const edit = (file_path, old_string, new_string, more = {}) => call('edit', { file_path, old_string, new_string, ...more });

describe('tools', { concurrency: true }, () => {
	before(async () => { b = await bench(c); });

	test('bash: output, both streams, exit codes', async () => {
		const [ok, both, silent, loud, none] = await play(bash('echo out'), bash('echo out; echo err >&2'), bash('exit 7'), bash('echo why; false'), bash('true'));
		assert.deepEqual([ok.text, ok.error], ['out\n', false]);
		assert.match(both.text, /out\n/);
		assert.match(both.text, /err\n/);
		assert.deepEqual([silent.error, /exit 7/.test(silent.text)], [true, true], silent.text);
		assert.equal(loud.error, true);
		assert.match(loud.text, /why/);
		assert.equal(none.error, false);
	});

	test('bash: one persistent shell', async () => {
		const [, b1, , d] = await play(bash('cd /tmp; export A=1; f() { echo from f; }'), bash('pwd; echo $A; f'), call('bash', { restart: true }), bash('pwd; echo "[$A]"'));
		assert.equal(b1.text, '/tmp\n1\nfrom f\n');
		assert.equal(d.text, '/workspace\n[]\n', 'restart forgets');
	});

	test('bash: starts in /workspace, without stdin, with a bare environment', async () => {
		const [where, input, env] = await play(bash('pwd'), bash('cat; echo end'), bash('env'));
		assert.equal(where.text, '/workspace\n');
		assert.equal(input.text, 'end\n');
		assert.ok(!/KEY|TOKEN|SECRET|PASS|ANTHROPIC|ROOST/i.test(env.text), env.text);
	});

	test('bash: timeout_ms kills, says so, and the next command works', async () => {
		const [late, next] = await play(call('bash', { command: 'echo begun; sleep 60', timeout_ms: 500 }), bash('echo alive'));
		assert.equal(late.error, true);
		assert.match(late.text, /time/i);
		assert.equal(next.text, 'alive\n');
	});

	test('bash: a killed shell comes back', async () => {
		const [, next] = await play(bash('kill -9 $$'), bash('echo back'));
		assert.deepEqual([next.text, next.error], ['back\n', false]);
	});

	test('bash: unfinished quotes, multi-line scripts, here-documents, unicode', async () => {
		const [open, multi, here] = await play(bash('echo "unfinished'), bash('for i in 1 2\ndo\n  echo "n$i"\ndone'), bash('cat <<X\n☂ größe\nX'));
		assert.equal(open.error, true);
		assert.equal(multi.text, 'n1\nn2\n');
		assert.equal(here.text, '☂ größe\n');
	});

	test('bash: bytes that are no text still make a result', async () => {
		const [r] = await play(bash('printf "a\\xff\\xfe\\x00b\\n"'));
		assert.equal(r.error, false);
		assert.match(r.text, /^a.*b\n$/s);
	});

	test('bash: a background process outlives its call but not the session', async () => {
		const [, later] = await play(bash('(sleep 0.3; echo late > /workspace/bg) >/dev/null 2>&1 &'), bash('for i in $(seq 100); do [ -s /workspace/bg ] && break; sleep 0.1; done; cat /workspace/bg'));
		assert.equal(later.text, 'late\n');
	});

	test('write and read', async () => {
		const [w, r, deep, over, again] = await play(write('/workspace/a.txt', 'one\ntwo\nthree\n'), read('/workspace/a.txt'),
			write('/workspace/x/y/z.txt', 'deep'), write('/workspace/a.txt', 'new'), read('/workspace/a.txt'));
		assert.equal(w.error, false);
		assert.match(w.text, /wrote 14 bytes/);
		assert.match(r.text, /1\tone\n.*2\ttwo\n.*3\tthree/s);
		assert.equal(deep.error, false);
		assert.equal(over.error, false);
		assert.match(again.text, /1\tnew/);
	});

	test('read: ranges, absent files, folders, large files', async () => {
		const [, range, tail, absent, folder, , big] = await play(write('/workspace/n', Array.from({ length: 10 }, (_, i) => `line${i + 1}`).join('\n')),
			read('/workspace/n', { view_range: [3, 4] }), read('/workspace/n', { view_range: [9, -1] }), read('/workspace/absent'), read('/workspace'),
			bash('yes 0123456789abcdef | head -c 1000000 > /workspace/big'), read('/workspace/big'));
		assert.match(range.text, /line3\n.*line4/s);
		assert.ok(!/line2|line5/.test(range.text));
		assert.match(tail.text, /line9\n.*line10/s);
		assert.equal(absent.error, true);
		assert.equal(folder.error, true);
		assert.ok(big.text.length <= 300_000, `${big.text.length}`);
	});

	test('edit', async () => {
		const [, one, missing, many, all, r] = await play(write('/workspace/e', 'a b a c'), edit('/workspace/e', 'b', 'B'), edit('/workspace/e', 'zzz', 'y'),
			edit('/workspace/e', 'a', 'A'), edit('/workspace/e', 'a', 'A', { replace_all: true }), read('/workspace/e'));
		assert.equal(one.error, false);
		assert.match(one.text, /edited .*1 replacement/);
		assert.deepEqual([missing.error, /not found/.test(missing.text)], [true, true]);
		assert.deepEqual([many.error, /appears 2 times/.test(many.text)], [true, true]);
		assert.equal(all.error, false);
		assert.match(r.text, /A B A c/);
	});

	test('glob', async () => {
		const [, md, nested, none] = await play(bash('mkdir -p d/e; touch a.md d/b.md d/e/c.md'),
			call('glob', { pattern: '**/*.md', path: '/workspace' }), call('glob', { pattern: 'd/**/*.md' }), call('glob', { pattern: '*.nope' }));
		for (const f of ['a.md', 'b.md', 'c.md']) assert.ok(md.text.includes(f), md.text);
		assert.ok(nested.text.includes('b.md') && !nested.text.includes('a.md'));
		assert.equal(none.error, false);
		assert.match(none.text, /no (matches|files found)/i);
	});

	test('grep', async () => {
		const [, hit, none, badre] = await play(bash('printf "alpha\\nbeta\\ngamma\\n" > g.txt; mkdir h; echo beta two > h/i.txt'),
			call('grep', { pattern: 'beta', path: '/workspace', output_mode: 'content' }), call('grep', { pattern: 'delta', path: '/workspace' }), call('grep', { pattern: '(', path: '/workspace' }));
		assert.equal(hit.error, false);
		assert.match(hit.text, /g\.txt/);
		assert.match(hit.text, /i\.txt/);
		assert.match(none.text, /no matches/i);
		assert.equal(none.error, false);
		assert.equal(badre.error, true);
	});

	test('the tools see one filesystem', async () => {
		const [, sh, , r] = await play(write('/workspace/t', 'by write'), bash('cat /workspace/t; echo by bash >> /workspace/t'), edit('/workspace/t', 'write', 'edit'), read('/workspace/t'));
		assert.equal(sh.text, 'by write');
		assert.match(r.text, /by editby bash/);
	});

	test('links that lead out lead nowhere', async () => {
		const [, r, w] = await play(bash('ln -s /etc/shadow shadow; ln -s / slash; ln -s ../../../../etc/passwd up'), read('/workspace/shadow'), write('/workspace/slash/usr/owned', 'x'));
		assert.equal(r.error, true);
		assert.equal(w.error, true);
	});

	test('inputs that a tool does not take', async () => {
		const bad = await play(call('bash', {}), call('read', { file_path: 7 }), call('write', { file_path: '/workspace/q' }), call('edit', { file_path: '/workspace/q', old_string: '', new_string: 'x' }),
			call('glob', {}), call('grep', { pattern: 'x', nonsense: true }), call('read', { file_path: '/workspace/\u0000' }), call('bash', { command: 'x', timeout_ms: 'soon' }));
		for (const k of bad) assert.ok(k.error, `${k.name} ${JSON.stringify(k.input)}: ${k.text}`);
	});

	test('inputs that are hard to carry: each is answered, and what other sessions run is not disturbed', async () => {
		const w = await Watch.begin(b);
		const other = w.turn(bash('sleep 3; echo undisturbed'), { ms: 60_000 });
		const deep = '['.repeat(5000) + ']'.repeat(5000);
		const hard = await play('read {"file_path":"/workspace/\\u0000"}', 'bash {"command":"echo 1","timeout_ms":99999999999999999999999}', 'bash {"command":"echo 2","x":1e400}',
			`bash {"command":"echo 3","x":${deep}}`, 'bash {"command":"echo \\ud800"}', 'bash {"command":"echo 4","command":"echo 5"}', `bash {"command":"echo ${'6'.repeat(200_000)}"}`, bash('echo fine'));
		assert.equal(hard[0].error, true);
		assert.equal(hard.at(-1).text, 'fine\n');
		for (const k of hard) assert.ok(!/outcome of this tool call is unknown/.test(k.text), `${JSON.stringify(k.input).slice(0, 80)}: ${k.text}`);
		assert.equal(calls(await other)[0].text, 'undisturbed\n');
		w.close();
	});

	test('results beyond 100 000 characters are cut, with the whole in a file', async () => {
		const [r, f] = await play(bash('seq 1 40000'), bash('ls -la /tmp /workspace 2>/dev/null | head -50'));
		assert.ok(r.text.length <= 110_000, `${r.text.length}`);
		assert.match(r.text, /truncated/i);
		assert.match(r.text, /40000/, 'the tail is kept');
		assert.equal(f.error, false);
	});
});
