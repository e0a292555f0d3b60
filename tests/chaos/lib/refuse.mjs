// Postgres refuses a few per cent of all statements that write (F16): serialization failures, deadlocks, statements that took too long, by
// triggers on the tables of the hot paths, and some of the serialization failures at the commit, where real ones come. Which of them, a
// sequence and a seed decide.
import { setTimeout as pause } from 'node:timers/promises';
import { sql } from './instance.mjs';
import { underLoad } from './rolling.mjs';

const TABLES = ['event', 'inbox', 'work', 'session', 'request_dedupe'];
const STATES = ['40001', '40P01', '57014'];

// fn runs while percent of the statements (and of the commits that change a session) fail. Returns how often each error was raised.
export async function refusing(fn, { seed = 1, percent = 2, states = STATES } = {}) {
	const counters = states.map((s) => `CREATE SEQUENCE chaos_${s.toLowerCase()};`).join('');
	const drop = `DROP FUNCTION IF EXISTS chaos_refuse CASCADE; DROP SEQUENCE IF EXISTS chaos_dice, ${states.map((s) => `chaos_${s.toLowerCase()}`)}`;
	await sql(`BEGIN; CREATE SEQUENCE chaos_dice; ${counters}
		CREATE FUNCTION chaos_refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
		DECLARE n bigint := abs(hashint8extended(nextval('chaos_dice'), ${seed}) % ${100 * states.length}); state text;
		BEGIN
			IF n >= ${percent * states.length} THEN RETURN NULL; END IF;
			state := (ARRAY[${states.map((s) => `'${s}'`)}])[n % ${states.length} + 1];
			IF TG_NAME = 'chaos_commit' THEN state := '40001'; END IF;
			PERFORM nextval('chaos_' || lower(state));
			RAISE EXCEPTION 'chaos: %', TG_TABLE_NAME USING ERRCODE = state;
		END $$;
		${TABLES.map((t) => `CREATE TRIGGER chaos_refuse BEFORE INSERT OR UPDATE OR DELETE ON ${t} EXECUTE FUNCTION chaos_refuse();`).join('')}
		CREATE CONSTRAINT TRIGGER chaos_commit AFTER UPDATE ON session DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION chaos_refuse();
		COMMIT`);
	try {
		await fn();
		return (await sql(states.map((s) => `SELECT '${s}', CASE WHEN is_called THEN last_value ELSE 0 END FROM chaos_${s.toLowerCase()}`)
			.join(' UNION ALL '))).map(([s, n]) => `${n} × ${s}`).join(', ');
	} finally {
		await sql(drop);
	}
}

// No client is told of it after the SDK's retries; of what can be repeated here, not even before.
export async function refused(x, { ms = 5000, ...how } = {}) {
	let raised;
	const what = await underLoad(x, async () => { raised = await refusing(() => pause(ms), how); }, { seed: 8000 });
	return `${raised}; ${what}`;
}
