// Content that comes from files (contract 2.3 content blocks, 2.6): what the client sees, and what the model is sent, in both dialects.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { toFile } from '@anthropic-ai/sdk';
import { TOOLSET, client, log, makeAgent, makeEnvironment, unique } from '../lib/client.mjs';
import { stateDir } from '../lib/ctl.mjs';
import { LAB, requests } from '../lib/provider.mjs';
import { call, script, text } from '../lib/script.mjs';
import { refused } from '../lib/sdkerror.mjs';
import { sql } from '../lib/sql.mjs';
import { until } from '../lib/until.mjs';
import { Watch, ofType } from '../lib/watch.mjs';

const c = client();
const NOBODYS = 'file_01' + '1'.repeat(22);
const PNG = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64');
const PDF = Buffer.from('%PDF-1.4\n%nothing\n');
const TICKET = { type: 'custom', name: 'ticket', description: 'Open a ticket.', input_schema: { type: 'object', properties: {} } };
const upload = async (bytes, name) => c.beta.files.upload({ file: await toFile(Buffer.from(bytes), name) });
const image = (f) => ({ type: 'image', source: { type: 'file', file_id: f.id ?? f } });
const document = (f, more = {}) => ({ type: 'document', source: { type: 'file', file_id: f.id ?? f }, ...more });
const send = (content) => ({ type: 'user.message', content });
const benches = {};

before(async () => {
	const environment = await makeEnvironment(c);
	for (const model of Object.values(LAB)) {
		const agent = await makeAgent(c, { model, tools: [TOOLSET, TICKET] });
		benches[model] = { c, session: (more = {}) => c.beta.sessions.create({ agent: agent.id, environment_id: environment.id, ...more }) };
	}
});

// Where the blob store has the bytes of a file.
async function blobOf(f) {
	const [[id]] = await sql('SELECT blob_id FROM file WHERE id = :\'id\'', { id: f.id });
	return path.join(stateDir(), 'blobs', id.slice(0, 2), id);
}

// The content that the model got with this marker, of the last request.
async function sent(marker) {
	const all = await requests(marker);
	const { messages } = all.at(-1).body;
	return messages.flatMap((m) => (Array.isArray(m.content) ? m.content : [{ type: 'text', text: m.content }]).map((b) => ({ role: m.role, ...b })));
}

describe('files as content', { concurrency: 4 }, () => {
	for (const [dialect, model] of Object.entries(LAB)) {
		test(`${dialect}: an image, a PDF and a text`, async () => {
			const [png, pdf, csv] = await Promise.all([upload(PNG, 'dot.png'), upload(PDF, 'paper.pdf'), upload('a,b\n"1",ü\n', 'table.csv')]);
			const marker = unique('marker');
			const s = await benches[model].session();
			const w = await Watch.open(c, s.id);
			const content = [image(png), document(pdf, { title: 'Paper', context: null }), document(csv), text(`what is this? ${marker}`)];
			const [echo] = await w.send(send(content));
			const shown = [image(png), document(pdf, { title: 'Paper' }), document(csv), content[3]];
			assert.deepEqual(echo.content, shown, 'the echo names the files');
			await w.until('session.status_idle');
			w.close();
			assert.deepEqual((await log(c, s.id)).find((e) => e.type === 'user.message').content, shown, 'so does the log');

			const got = await sent(marker);
			assert.ok(!JSON.stringify(got).includes('"blob"'));
			if (dialect === 'anthropic') {
				assert.deepEqual(got.find((b) => b.type === 'image').source, { type: 'base64', media_type: 'image/png', data: PNG.toString('base64') });
				const [paper, table] = got.filter((b) => b.type === 'document');
				assert.deepEqual([paper.title, paper.source], ['Paper', { type: 'base64', media_type: 'application/pdf', data: PDF.toString('base64') }]);
				assert.deepEqual(table.source, { type: 'text', media_type: 'text/plain', data: 'a,b\n"1",ü\n' });
			} else {
				assert.equal(got.find((b) => b.type === 'image_url').image_url.url, `data:image/png;base64,${PNG.toString('base64')}`);
				assert.deepEqual(got.find((b) => b.type === 'file').file, { filename: 'paper.pdf', file_data: `data:application/pdf;base64,${PDF.toString('base64')}` });
				assert.ok(got.some((b) => b.type === 'text' && b.text === 'a,b\n"1",ü\n'));
			}
		});
	}

	test('in the answer of a custom tool, and in initial events', async () => {
		const png = await upload(PNG, 'dot.png');
		const marker = unique('marker');
		const s = await benches[LAB.anthropic].session({ initial_events: [send([image(png), text(script([`${marker}`, call('ticket', {})]))])] });
		const w = await Watch.open(c, s.id);
		const use = await until('the call', async () => (await log(c, s.id)).find((e) => e.type === 'agent.custom_tool_use'));
		await until('it waits', async () => (await c.beta.sessions.retrieve(s.id)).status === 'idle');
		await w.send({ type: 'user.custom_tool_result', custom_tool_use_id: use.id, content: [text('here'), image(png)] });
		await w.finish();		// its first words and its wait may have been streamed too
		w.close();
		const result = (await sent(marker)).find((b) => b.type === 'tool_result');
		assert.deepEqual(result.content, [text('here'), { type: 'image', source: { type: 'base64', media_type: 'image/png', data: PNG.toString('base64') } }]);
	});

	test('a file whose bytes are gone: the conversation goes on, the model is told', async () => {
		const bytes = Buffer.concat([PNG, randomBytes(16)]);
		const [png, csv] = [await upload(bytes, 'dot.png'), await upload('still here', 'x.csv')];
		const s = await benches[LAB.anthropic].session();
		const w = await Watch.open(c, s.id);
		const marker = unique('marker');
		await w.turn(send([image(png), document(csv), text(marker)]));
		const blob = await blobOf(png);
		assert.ok(readFileSync(blob).equals(bytes));
		await c.beta.files.delete(png.id);
		rmSync(blob, { force: true });		// as the store does some time after the last file with them was deleted
		const turn = await w.turn(send([text(`and now? ${marker}`)]));
		w.close();
		assert.equal(ofType(turn, 'session.error').length, 0);
		const got = await sent(marker);
		assert.ok(got.some((b) => b.type === 'text' && b.text === `[The file dot.png (${png.id}) is no longer available.]`), JSON.stringify(got));
		assert.ok(got.some((b) => b.source?.data === 'still here'));
	});

	for (const [dialect, model] of Object.entries(LAB)) {
		test(`${dialect}: a file that was deleted is not shown again, though a mounted copy lives on`, async () => {
			const csv = await upload(`private ${unique('words')}`, 'x.csv');
			const s = await benches[model].session({ resources: [{ type: 'file', file_id: csv.id }] });
			const w = await Watch.open(c, s.id);
			const marker = unique('marker');
			await w.turn(send([document(csv), text(marker)]));
			assert.match(JSON.stringify(await sent(marker)), /private words/);
			await c.beta.files.delete(csv.id);
			const turn = await w.turn(send([text(script([marker, call('bash', { command: 'cat /mnt/session/uploads/*' })]))]));
			w.close();
			const [first] = await sent(marker);
			assert.ok(!JSON.stringify(first).includes('private'), JSON.stringify(first));
			assert.match(JSON.stringify(await sent(marker)), new RegExp(`The file x.csv \\(${csv.id}\\) is no longer available`));
			assert.match(ofType(turn, 'agent.tool_result')[0].content[0].text, /private words/, 'the copy is');
		});
	}

	test('the system prompt says where files are: outputs always, uploads when there are some', async () => {
		const f = await upload('x', 'x.txt');
		for (const [resources, expected] of [[[], false], [[{ type: 'file', file_id: f.id }], true]]) {
			const marker = unique('marker');
			const s = await benches[LAB.anthropic].session({ resources });
			const w = await Watch.open(c, s.id);
			await w.turn(marker);
			w.close();
			const system = (await requests(marker)).at(-1).body.system.map((b) => b.text).join('');
			assert.match(system, /\/mnt\/session\/outputs/);
			assert.equal(/\/mnt\/session\/uploads/.test(system), expected, system);
			assert.ok(!system.includes(f.id), 'files are not listed');
		}
	});

	test('what is refused', async () => {
		const png = await upload(PNG, 'dot.png');
		const s = await benches[LAB.anthropic].session();
		const wanted = /One or more files not found\. Check that each `file_id` exists and is accessible: file_/;
		await refused(c.beta.sessions.events.send(s.id, { events: [send([image(NOBODYS)])] }), 404, wanted);
		await refused(c.beta.sessions.events.send(s.id, { events: [send([image(png), document(NOBODYS)])] }), 404, wanted);
		await c.beta.files.delete(png.id);
		await refused(c.beta.sessions.events.send(s.id, { events: [send([image(png)])] }), 404, wanted);
		await refused(benches[LAB.anthropic].session({ initial_events: [send([image(png)])] }), 404, wanted);
		assert.deepEqual(await log(c, s.id), []);
	});
});
