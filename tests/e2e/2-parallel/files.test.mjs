// Files through the SDK, GA and beta, and below it (contract 1.11, 1.15, 2.6; appendix B 18). What sessions put out: outputs.test.mjs;
// what they mount: resources.test.mjs.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { toFile } from '@anthropic-ai/sdk';
import { Anthropic, BETA, apiKey, bench, client, collect, unique } from '../lib/client.mjs';
import { ctl, newTenant, stateDir } from '../lib/ctl.mjs';
import { Wire, assertError, bad, get, rawRequest, request } from '../lib/http.mjs';
import { call, script } from '../lib/script.mjs';
import { refused } from '../lib/sdkerror.mjs';
import { sql } from '../lib/sql.mjs';
import { until } from '../lib/until.mjs';
import { Watch } from '../lib/watch.mjs';

const c = client();
const lanes = { GA: c.files, beta: c.beta.files };
let dir;

before(async () => { dir = await mkdtemp(path.join(tmpdir(), 'roost-files-')); });
after(() => rm(dir, { recursive: true, force: true }));

const text = async (name, content, type) => toFile(Buffer.from(content), name, type ? { type } : undefined);
const raises = async (promise, name, status, code) => {
	const e = await promise.then(() => assert.fail(`expected ${code}`), (x) => x);
	assert.equal(e.constructor.name, name, e.message);
	assert.ok(e instanceof Anthropic[name]);
	assert.deepEqual([e.status, e.errorCode, e.details.error_code], [status, code, code]);
	assert.equal(e.headers.get('x-should-retry'), 'false');
	return e;
};

// A file that can be downloaded: uploads cannot, what a session puts out can.
async function output(name, content) {
	const b = await bench(c);
	const s = await b.session();
	const w = await Watch.open(c, s.id);
	await w.turn(script(call('write', { file_path: `/mnt/session/outputs/${name}`, content })), { ms: 120_000 });
	w.close();
	return until('the output', async () => (await collect(c.beta.files.list({ scope_id: s.id, betas: [BETA] })))[0]);
}

for (const [lane, files] of Object.entries(lanes)) {
	describe(`${lane}: upload`, { concurrency: 4 }, () => {
		test('from a buffer', async () => {
			const f = await files.upload({ file: await text('notes.txt', 'hello', 'text/plain') });
			assert.match(f.id, /^file_01/);
			assert.deepEqual({ ...f, id: 0, created_at: 0 }, { id: 0, created_at: 0, type: 'file', filename: 'notes.txt', mime_type: 'text/plain', size_bytes: 5,
				downloadable: false, expires_at: null, scope: null });
			assert.match(f.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
			assert.deepEqual(await files.retrieveMetadata(f.id), f);
			const gone = await files.delete(f.id);
			assert.deepEqual(gone, { id: f.id, type: 'file_deleted' });
			await refused(files.retrieveMetadata(f.id), 404, /^File not found\.$/);
			await refused(files.delete(f.id), 404, /^File not found\.$/);
		});

		test('from a stream of a path, with an expiry', async () => {
			const file = path.join(dir, `${lane} Übersicht (1) – 東京 🐔.csv`);
			await writeFile(file, 'a,b\n1,2\n');
			const f = await files.upload({ file: createReadStream(file), expires_in_seconds: 7200 });
			assert.equal(f.filename, path.basename(file));
			assert.equal(f.mime_type, 'text/csv', 'by its ending: the client says octet-stream');
			assert.equal(Date.parse(f.expires_at) - Date.parse(f.created_at), 7200_000);
		});

		test('names', async () => {
			const of = async (name, type) => (await files.upload({ file: new File(['x'], name, { type }) })).filename;
			assert.equal(await of('dir/sub/deep.txt'), 'deep.txt');
			assert.equal(await of('C:\\Users\\me\\win.txt'), 'win.txt');
			assert.equal(await of('../../../etc/passwd'), 'passwd');
			assert.equal(await of('', 'application/pdf'), 'unnamed.pdf');
			assert.equal(await of(''), 'unnamed');
			assert.equal(await of('semi;colon=\'quote\'.txt'), 'semi;colon=\'quote\'.txt');
			assert.equal(await of('100%25 real %2e.txt'), '100%25 real %2e.txt');
			assert.equal(await of('🐔'.repeat(255)), '🐔'.repeat(255));
			for (const name of ['a"b.txt', 'a:b', 'a<b', 'a>b', 'a|b', 'a?b', 'a*b', 'a\nb', 'a\tb', '..', 'x'.repeat(256)]) {
				await refused(files.upload({ file: new File(['x'], name) }), 400, /^file: filename: /);
			}
		});

		test('bounds of the expiry', async () => {
			for (const [s, pattern] of [[3599, /greater than or equal to 3600/], [7776001, /less than or equal to 7776000/], [0, /3600/], [3600.5, /integer/]]) {
				await refused(files.upload({ file: await text('a', 'x'), expires_in_seconds: s }), 400, pattern);
			}
			for (const s of [3600, 7776000]) await files.upload({ file: await text('a', 'x'), expires_in_seconds: s });
		});

		test('bytes arrive as they are', async () => {
			const bytes = randomBytes(3_000_000);
			const f = await files.upload({ file: await toFile(bytes, 'random.bin') });
			const [[sha, size]] = await sql('SELECT sha256, b.size_bytes FROM blob b JOIN file f ON f.blob_id = b.id WHERE f.id = :\'id\'', { id: f.id });
			assert.equal(sha, createHash('sha256').update(bytes).digest('hex'));
			assert.equal(Number(size), 3_000_000);
			assert.equal((await files.upload({ file: await toFile(Buffer.alloc(0), 'empty') })).size_bytes, 0);
		});
	});

	describe(`${lane}: download`, { concurrency: 4 }, () => {
		test('equal bytes, type and name', async () => {
			const f = await output(`größe ${lane}.md`, '# Höhe\n');
			assert.equal(f.downloadable, true);
			const res = await files.download(f.id);
			assert.equal(await res.text(), '# Höhe\n');
			assert.equal(res.headers.get('content-type'), 'text/markdown');
			assert.equal(res.headers.get('content-length'), String(f.size_bytes));
			assert.equal(res.headers.get('content-disposition'), `attachment; filename="gr__e ${lane}.md"; filename*=utf-8''gr%C3%B6%C3%9Fe%20${lane}.md`);
			assert.match(res.headers.get('request-id'), /^req_011C/);
			assert.match(res.headers.get('anthropic-workspace-id'), /^wrkspc_/);
			assert.equal(res.headers.get('x-content-type-options'), 'nosniff');
		});

		test('an upload cannot be downloaded', async () => {
			const f = await files.upload({ file: await text('a.txt', 'x') });
			const e = await raises(files.download(f.id), 'FileNotDownloadableError', 400, 'file_not_downloadable');
			assert.equal(e.apiMessage, `File \`${f.id}\` is not downloadable. Only files generated by a tool (for example, the code execution tool) can be downloaded.`);
		});

		test('an expired file says so, wherever it is asked for, and its bytes go', async () => {
			const f = await output('soon.txt', 'x');
			const [[blob]] = await sql('UPDATE file SET expires_at = clock_timestamp() WHERE id = :\'id\' RETURNING blob_id', { id: f.id });
			await raises(files.download(f.id), 'FileExpiredError', 404, 'file_expired');
			await raises(files.retrieveMetadata(f.id), 'FileExpiredError', 404, 'file_expired');
			assert.deepEqual((await files.list({ ids: [f.id] })).data, []);
			await until('the row has no bytes', async () => (await sql('SELECT 1 FROM file WHERE id = :\'id\' AND blob_id IS NULL', { id: f.id })).length, 30_000);
			await raises(files.download(f.id), 'FileExpiredError', 404, 'file_expired');
			assert.match(blob, /^[0-9a-f]{32}$/);
			await files.delete(f.id);
		});
	});
}

describe('lists', { concurrency: 4 }, () => {
	let t, mine, made;

	before(async () => {
		t = await newTenant();
		mine = client({ apiKey: t.apiKey });
		made = [];
		for (let i = 0; i < 5; i++) made.unshift((await mine.files.upload({ file: await text(`${i}.txt`, `${i}`) })).id);
	});

	test('pages walk from the newest to the oldest', async () => {
		for (const files of [mine.files, mine.beta.files]) {
			assert.deepEqual((await collect(files.list({ limit: 2 }))).map((f) => f.id), made);
			assert.deepEqual((await collect(files.list())).map((f) => f.id), made);
		}
		await refused(mine.files.list({ limit: 1001 }), 400, /^limit: /);
		await refused(mine.files.list({ limit: 0 }), 400, /^limit: /);
		await refused(mine.files.list({ page: 'page_x' }), 400, /^invalid page cursor$/);
	});

	test('the older page keys work beside the newer', async () => {
		const ask = async (q) => (await get(`/v1/files?${q}`, { headers: { authorization: `Bearer ${t.apiKey}`, 'anthropic-beta': 'files-api-2025-04-14' } })).json;
		const first = await ask('limit=2');
		assert.deepEqual([first.has_more, first.first_id, first.last_id, first.data.length], [true, made[0], made[1], 2]);
		const second = await ask(`limit=2&after_id=${first.last_id}`);
		assert.deepEqual(second.data.map((f) => f.id), made.slice(2, 4));
		const back = await ask(`limit=2&before_id=${made[3]}`);
		assert.deepEqual([back.data.map((f) => f.id), back.has_more], [made.slice(1, 3), true]);
		const last = await ask(`limit=2&after_id=${made[3]}`);
		assert.deepEqual([last.data.map((f) => f.id), last.has_more, last.next_page], [[made[4]], false, null]);
	});

	test('ids: one page, unknown ones dropped, at most 100, without limit and page', async () => {
		const unknown = `file_01${'1'.repeat(22)}`;
		for (const files of [mine.files, mine.beta.files]) {
			const page = await files.list({ ids: [made[4], unknown, made[1], made[1]] });
			assert.deepEqual([page.data.map((f) => f.id), page.next_page], [[made[1], made[4]], null]);
			await refused(files.list({ ids: [made[0]], limit: 5 }), 400, /^ids: /);
		}
		await refused(mine.files.list({ ids: Array.from({ length: 101 }, (_, i) => `file_${i}`) }), 400, /^ids: at most 100/);
		assert.deepEqual((await mine.files.list({ ids: Array.from({ length: 100 }, (_, i) => `file_${i}`) })).data, []);
		assert.deepEqual((await c.files.list({ ids: made })).data, [], 'another workspace\'s');
	});

	test('scope_id needs the managed-agents beta', async () => {
		const f = await output('scoped.txt', 'x');
		await refused(c.beta.files.list({ scope_id: f.scope.id }), 400, /^scope_id: requires /);
		const page = await c.beta.files.list({ scope_id: f.scope.id, betas: [BETA] });
		assert.deepEqual(page.data.map((x) => x.id), [f.id]);
		await refused(c.beta.files.list({ scope_id: 'session_1', betas: [BETA] }), 400, /^scope_id: /);
		assert.deepEqual((await mine.beta.files.list({ scope_id: f.scope.id, betas: [BETA] })).data, []);
		assert.ok(!(await c.beta.files.list({ limit: 1000 })).data.some((x) => x.id === f.id), 'not among the uploads');
	});

	test('tenancy: nothing of another workspace', async () => {
		for (const files of [c.files, c.beta.files]) {
			await refused(files.retrieveMetadata(made[0]), 404, /^File not found\.$/);
			await refused(files.download(made[0]), 404, /^File not found\.$/);
			await refused(files.delete(made[0]), 404, /^File not found\.$/);
		}
		await refused(c.files.retrieveMetadata('file_x'), 400, /^Invalid file ID\.$/);
		await refused(c.files.list({ workspace_id: t.workspace }), 403);
	});

	test('an unknown beta is refused', async () => {
		await refused(c.beta.files.list({ betas: ['nothing-2020-01-01'] }), 400, /Unexpected value\(s\)/);
	});
});

describe('limits', { concurrency: 4 }, () => {
	test('the organization\'s quota', async () => {
		const [[org]] = await ctl('org', 'create', unique('full'));
		const [[workspace]] = await ctl('-q', 'workspace', 'create', org, unique('full'));
		const [[key]] = await ctl('key', 'create', workspace, unique('full'));
		const full = client({ apiKey: key });
		const f = await full.files.upload({ file: await text('a', 'x') });
		const pretend = (sign) => sql('INSERT INTO file_usage VALUES (:\'org\', :sign * (1099511627776 - 5), :sign)', { org, sign });
		await pretend(1);
		await full.files.upload({ file: await text('a', '1234') });
		await raises(full.files.upload({ file: await text('a', 'x') }), 'StorageQuotaExceededError', 400, 'storage_quota_exceeded');
		await raises(full.beta.files.upload({ file: await text('a', 'x') }), 'StorageQuotaExceededError', 400, 'storage_quota_exceeded');
		await full.files.delete(f.id);
		await full.files.upload({ file: await text('a', 'x') });
		await pretend(-1);
	});

	// The head alone decides: a body of this size is never sent.
	test('refused before the body', async () => {
		const head = (over, auth = true) => rawRequest('POST', '/v1/files', { auth, extra: ['content-type: multipart/form-data; boundary=B', ...over] });
		for (const [lines, auth, status, type, pattern] of [
			[[`content-length: ${524288000 + (2 << 20)}`], true, 413, 'request_too_large', /^Request exceeds the maximum/],
			[['content-length: 1000000'], false, 401, 'authentication_error', /^Authentication failed$/],
			[['transfer-encoding: chunked'], false, 401, 'authentication_error', /^Authentication failed$/],
			[['content-length: 1000000', 'content-encoding: gzip'], true, 400, 'invalid_request_error', /Content-Encoding/],
		]) {
			const w = await Wire.open();
			w.write(head(lines, auth));
			assertError(await w.answer({ ms: 10_000 }), status, type, pattern);
			w.close();
		}
	});

	test('a PUT with a body that never comes holds nobody up', async () => {
		const many = await Promise.all(Array.from({ length: 30 }, async () => {
			const w = await Wire.open();
			w.write(rawRequest('PUT', '/v1/files', { auth: false, extra: ['content-length: 1000000'] }));
			return w;
		}));
		for (const w of many) assertError(await w.answer({ ms: 10_000 }), 405, 'invalid_request_error');
		many.forEach((w) => w.close());
	});
});

const FORM = 'multipart/form-data; boundary=B';
const part = (params, data, more = '') => `--B\r\nContent-Disposition: form-data; ${params}\r\n${more}\r\n${data}\r\n`;
const FILE = part('name="file"; filename="a.txt"', 'hello');
const send = (body, type = FORM) => request('POST', '/v1/files', { body, headers: { 'content-type': type } });

describe('broken uploads', { concurrency: 4 }, () => {
	for (const [what, body, pattern, type] of [
		['no file part', `${part('name="other"', 'x')}--B--`, /^file: Field required$/],
		['two file parts', `${FILE}${FILE}--B--`, /^file: given more than once$/],
		['no closing boundary', FILE, /closing boundary$/],
		['another boundary', `${FILE}--B--`, /closing boundary$/, 'multipart/form-data; boundary=C'],
		['no boundary', `${FILE}--B--`, /has no boundary$/, 'multipart/form-data'],
		['no body', '', /closing boundary$/],
		['JSON in a form', '{"file":"x"}', /closing boundary$/],
		['huge headers', `${part('name="file"', 'x', `X: ${'y'.repeat(9000)}\r\n`)}--B--`, /headers are larger than 8192 bytes$/],
		['many headers', `${part('name="file"', 'x', 'X: y\r\n'.repeat(20))}--B--`, /more than 16 headers$/],
		['many parts', `${part('name="a"', '').repeat(101)}--B--`, /more than 100 parts$/],
		['NUL in a header', `${part('name="file\0"', 'x')}--B--`, /control character$/],
		['base64', `${part('name="file"', 'eA==', 'Content-Transfer-Encoding: base64\r\n')}--B--`, /content-transfer-encoding/],
	]) {
		test(what, async () => bad(await send(body, type), pattern));
	}

	test('not a form', async () => {
		assertError(await send('{}', 'application/json'), 415, 'invalid_request_error', /multipart\/form-data/);
		assertError(await send('hello', 'text/plain'), 415, 'invalid_request_error', /multipart\/form-data/);
	});

	test('unknown parts are ignored, in any order', async () => {
		const r = await send(`preamble\r\n${part('name="x"; filename="other.bin"', 'ignored')}${part('name="expires_in_seconds"', '4000')}${FILE}--B--\r\nepilogue`);
		assert.equal(r.status, 200, r.text);
		assert.equal(r.json.filename, 'a.txt');
		assert.ok(r.json.expires_at);
	});

	test('cut in the middle: no file, and nothing left in the store', async () => {
		const t = await newTenant();
		const tmp = path.join(stateDir(), 'blobs/tmp');
		const before_ = new Set(await readdir(tmp));
		for (const n of [0, 30, FILE.length, FILE.length + 3]) {
			const w = await Wire.open();
			w.write(rawRequest('POST', '/v1/files', { extra: [`content-type: ${FORM}`, 'content-length: 1000000'] }).replace(`Bearer ${apiKey}`, `Bearer ${t.apiKey}`)
				+ `${FILE}${'x'.repeat(100)}`.slice(0, n));
			w.close();
		}
		await until('the store is clean', async () => (await readdir(tmp)).every((f) => before_.has(f) || false) || (await readdir(tmp)).length === 0);
		assert.deepEqual((await client({ apiKey: t.apiKey }).files.list()).data, []);
	});

	test('slow senders do not slow the others', async () => {
		const t = await newTenant();
		const slow = await Promise.all(Array.from({ length: 20 }, async () => {
			const w = await Wire.open();
			w.write(rawRequest('POST', '/v1/files', { extra: [`content-type: ${FORM}`, `content-length: ${FILE.length + 5}`] })
				.replace(`Bearer ${apiKey}`, `Bearer ${t.apiKey}`) + FILE.slice(0, 60));
			return w;
		}));
		await Promise.all(Array.from({ length: 40 }, () => c.beta.agents.list({ limit: 1 })));
		assert.ok(slow.every((w) => !w.ended && w.buffer.length === 0), 'all of them still wait for the rest of their bodies');
		for (const w of slow) w.write(`${FILE.slice(60)}--B--`);
		const answers = await Promise.all(slow.map((w) => w.answer()));
		assert.deepEqual(answers.map((a) => a.status), slow.map(() => 200));
		slow.forEach((w) => w.close());
	});
});

describe('sent again', { concurrency: 4 }, () => {
	test('a retry with another boundary is one file', async () => {
		const t = await newTenant();
		const mine = client({ apiKey: t.apiKey });
		const headers = { 'idempotency-key': unique('key') };
		const first = await mine.files.upload({ file: await text('a.txt', 'hello') }, { headers });
		const second = await mine.files.upload({ file: await text('a.txt', 'hello') }, { headers }).withResponse();
		assert.deepEqual(second.data, first);
		assert.equal(second.response.headers.get('idempotent-replayed'), 'true');
		await refused(mine.files.upload({ file: await text('a.txt', 'other') }, { headers }), 409);
		assert.equal((await mine.files.list()).data.length, 1);
		await mine.files.delete(first.id);
		await mine.files.upload({ file: await text('a.txt', 'hello') }, { headers });
		assert.equal((await mine.files.list()).data.length, 1, 'a deleted file is not shown again');
	});
});

describe('what nginx serves', () => {
	test('a download is whole, whatever part or version of it is asked for', async () => {
		const f = await output('range.txt', '0123456789');
		const r = await get(`/v1/files/${f.id}/content`, { headers: { range: 'bytes=2-5', 'if-modified-since': new Date(Date.now() + 1e6).toUTCString() } });
		assert.deepEqual([r.status, r.text, r.headers['accept-ranges']], [200, '0123456789', undefined]);
	});

	test('the store itself is not served', async () => {
		const [[blob]] = await sql('SELECT id FROM blob LIMIT 1');
		assertError(await get(`/.blob/${blob.slice(0, 2)}/${blob}`), 404, 'not_found_error');
		assertError(await get('/.blob/tmp/'), 404, 'not_found_error');
	});
});
