// What the database holds, seen from beside the service: a digest of a workspace's rows, to show that a refusal changed nothing.
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { runDir } from './ctl.mjs';
import { until } from './until.mjs';

const run = promisify(execFile);

// One statement as the operator; the first cell.
export async function sql(text) {
	const { stdout } = await run('psql', ['-q', '-At', '-v', 'ON_ERROR_STOP=1', '-h', path.join(runDir(), 'pg'), '-U', 'roost_admin', '-c', text, 'roost'],
		{ cwd: '/', maxBuffer: 16 << 20 });
	return stdout.trim();
}

// Of all rows of this workspace in all tables, except what is remembered of retried requests. First what workers keep for a moment after a
// turn (a lease of an idle session) has to be given back: nobody's request does that.
export async function digest(workspace) {
	await until('no lease is kept', async () => await sql(`SELECT count(*) FROM work WHERE workspace_id = '${workspace}'`) === '0');
	return sql(`SELECT md5(string_agg(query_to_xml(format('SELECT md5(string_agg(t::text, E''\\n'' ORDER BY t::text)) AS h FROM %I t WHERE workspace_id = %L',
		c.relname, '${workspace}'), true, false, '')::text, c.relname ORDER BY c.relname))
		FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.relname NOT IN ('request_dedupe', 'api_key')
		AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'workspace_id')`);
}
