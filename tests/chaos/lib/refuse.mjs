// Postgres refuses a few per cent of all statements that write (F16): serialization failures, deadlocks, statements that took too long, by
// triggers on the tables of the hot paths, and some of the serialization failures at the commit, where real ones come. Which of them, a
// sequence and a seed decide.
import { setTimeout as pause } from 'node:timers/promises';
import { sql, until } from './instance.mjs';
import { underLoad } from './rolling.mjs';

const TABLES = ['event', 'inbox', 'work', 'session', 'request_dedupe'];
const STATES = ['40001', '40P01', '57014'];

// Triggers are made and dropped under the load, and must not be in a deadlock with it themselves: one table at a time, again if need be.
const each = (statements) => until('a change of triggers', () => sql(statements.map((s) => `BEGIN; ${s}; COMMIT;`).join(' ')));

// fn runs while percent of the statements (and of the commits that change a session) fail. Returns how often each error was raised.
export async function refusing(fn, { seed = 1, percent = 2, states = STATES } = {}) {
	const counter = (state) => `chaos_${state.toLowerCase()}`;
	await sql(`CREATE SEQUENCE chaos_dice; ${states.map((s) => `CREATE SEQUENCE ${counter(s)};`).join('')}
		CREATE FUNCTION chaos_refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
		DECLARE n bigint := abs(hashint8extended(nextval('chaos_dice'), ${seed}) % ${100 * states.length}); state text;
		BEGIN
			IF n >= ${percent * states.length} THEN RETURN NULL; END IF;
			state := (ARRAY[${states.map((s) => `'${s}'`)}])[n % ${states.length} + 1];
			IF TG_NAME = 'chaos_commit' THEN state := '40001'; END IF;
			PERFORM nextval('chaos_' || lower(state));
			RAISE EXCEPTION 'chaos: %', TG_TABLE_NAME USING ERRCODE = state;
		END $$`);
	try {
		await each([...TABLES.map((t) => `CREATE OR REPLACE TRIGGER chaos_refuse BEFORE INSERT OR UPDATE OR DELETE ON ${t} EXECUTE FUNCTION chaos_refuse()`),
			'DROP TRIGGER IF EXISTS chaos_commit ON session', `CREATE CONSTRAINT TRIGGER chaos_commit AFTER UPDATE ON session
			DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION chaos_refuse()`]);
		await fn();
		return (await sql(states.map((s) => `SELECT '${s}', CASE WHEN is_called THEN last_value ELSE 0 END FROM ${counter(s)}`).join(' UNION ALL ')))
			.map(([s, n]) => `${n} × ${s}`).join(', ');
	} finally {
		await each(['DROP TRIGGER IF EXISTS chaos_commit ON session', ...TABLES.map((t) => `DROP TRIGGER IF EXISTS chaos_refuse ON ${t}`)]);
		await sql(`DROP FUNCTION chaos_refuse; DROP SEQUENCE chaos_dice, ${states.map(counter)}`);
	}
}

// After the SDK's retries no client is told of it; what it took is told by kind.
export async function refused(x, { ms = 5000, ...how } = {}) {
	let raised;
	const what = await underLoad(x, async () => { raised = await refusing(() => pause(ms), how); }, { seed: 8000 });
	return `${raised}; ${what}`;
}
