/*
 * What an upgrade must not break, by what previous/ keeps of the release that instances come from (./renew writes it): its migrations are
 * all there, as they landed; a database of it becomes one of this checkout by `roostctl migrate`, and then has the functions that a new
 * database has, no more; and every statement of it, prepared by the role that uses it, takes and returns there what it did before, from
 * functions and tables that the role may use. Last, the same comparisons report what is broken on purpose.
 *
 * Not seen here: what a function does. tests/chaos/upgrade runs the old programs themselves.
 */
#include "previous/stmts.h"	/* the previous release's enum db_stmt, instead of this checkout's */

#include <dirent.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "buf.h"
#include "db_stmts.h"
#include "xalloc.h"

#define PREVIOUS "tests/integ/upgrade/previous"

static const struct db_stmt_def stmts[] = {
#include "previous/stmts.inc"
};
static const struct { enum db_user user; const char *role; } users[] = {
	{ DB_GW, "roost_gw" }, { DB_STREAM, "roost_stream" }, { DB_WORKER, "roost_worker" }, { DB_VAULT, "roost_vault" },
	{ DB_ADMIN, "roost_admin" }, { DB_MIGRATE, "roost_admin" },
};
#define USERS (sizeof(users) / sizeof(*users))

static char dir[64];
static char commit[64];			/* of the previous release */
static char *was[USERS][STMT_COUNT];	/* the shapes of its statements in its own database */
static bool ready;			/* the database "old" was one of the previous release and is one of this checkout; "roost" is new */

/* Run it with dir as $D. */
static int
shell(const char *command)
{
	setenv("D", dir, 1);
	return system(command);
}

static int
start(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/roost-upgrade-%d", (int)getpid());
	return shell("tests/env/postgres start $D");
}

static int
stop(void **state)
{
	for (size_t u = 0; u < USERS; u++)
		for (int i = 0; i < STMT_COUNT; i++)
			free(was[u][i]);
	return shell("tests/env/postgres stop $D");
}

static PGconn *
connect_to(const char *database, const char *role)
{
	AUTO(str) char *dsn = xasprintf("host=%s dbname=%s user=%s options='-c plan_cache_mode=force_generic_plan'", dir, database, role);
	PGconn *c = PQconnectdb(dsn);

	if (PQstatus(c) != CONNECTION_OK)
		fail_msg("%s", PQerrorMessage(c));
	return c;
}

static PGresult *
query(PGconn *c, const char *sql, const char *param)
{
	PGresult *r = PQexecParams(c, sql, param ? 1 : 0, NULL, &param, NULL, NULL, 0);

	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(c));
	return r;
}

static void
expect_nothing(struct buf *report, const char *advice)
{
	AUTO(str) char *text = buf_steal(report);

	fputs(text, stderr);	/* it may be longer than a message of cmocka's */
	if (*text != '\0')
		fail_msg("%s", advice);
}

static void
expect_told(struct buf *report, const char *const *wanted)
{
	AUTO(str) char *text = buf_steal(report);

	for (; *wanted; wanted++)
		if (!strstr(text, *wanted))
			fail_msg("not reported: %s\n%s", *wanted, text);
}

/* --- migrations --------------------------------------------------------------------------------------------------------------- */

/* The sha256 of a file in hex; "" when there is none. */
static void
hash_of(const char *folder, const char *name, char out[65])
{
	AUTO(str) char *path = xasprintf("%s/%s", folder, name);
	unsigned char chunk[4096], sum[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state st;
	FILE *f = fopen(path, "re");
	size_t n;

	out[0] = '\0';
	if (!f)
		return;
	crypto_hash_sha256_init(&st);
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		crypto_hash_sha256_update(&st, chunk, n);
	fclose(f);
	crypto_hash_sha256_final(&st, sum);
	sodium_bin2hex(out, 65, sum, sizeof(sum));
}

/* One line for each migration of the folder that is not what landed, or would run on new instances in another order than on old ones. */
static void
migrations_differ(const char *folder, struct buf *report)
{
	FILE *f = fopen(PREVIOUS "/release", "re");
	char line[512], hash[65], name[128], is[65], last[128] = "";
	AUTO(buf) struct buf landed = BUF_INIT(0);
	const struct dirent *de;
	DIR *d = opendir(folder);

	assert_non_null(f);
	assert_non_null(d);
	while (fgets(line, sizeof(line), f)) {
		if (line[0] == '#' || sscanf(line, "commit %63s", commit) == 1)
			continue;
		assert_int_equal(sscanf(line, "%64s %127s", hash, name), 2);
		hash_of(folder, name, is);
		if (strcmp(hash, is) != 0)
			buf_printf(report, "%s/%s: %s\n", folder, name, *is ? "is not what landed" : "has landed and is gone");
		buf_printf(&landed, "/%s/", name);
		snprintf(last, sizeof(last), "%s", name);
	}
	fclose(f);
	while ((de = readdir(d))) {
		AUTO(str) char *mark = xasprintf("/%s/", de->d_name);

		if (de->d_name[0] != '.' && !strstr(landed.data, mark) && strncmp(de->d_name, last, 4) <= 0)
			buf_printf(report, "%s/%s: is new and has a number below %.4s, the last that landed\n", folder, de->d_name, last);
	}
	closedir(d);
}

static void
landed_migrations_stay(void **state)
{
	struct buf report = BUF_INIT(0);
	AUTO(str) char *advice = NULL;

	migrations_differ("sql/migrations", &report);
	advice = xasprintf("Instances have applied them: bring them back (git checkout %.10s -- sql/migrations); what changes is a new one.", commit);
	expect_nothing(&report, advice);
}

static void
changed_migrations_are_seen(void **state)
{
	static const char *const wanted[] = { "/0001_base.sql: is not what landed", "/0060_private_columns.sql: has landed and is gone",
		"/0199_late.sql: is new", NULL };
	AUTO(str) char *folder = xasprintf("%s/changed", dir);
	struct buf report = BUF_INIT(0);

	assert_int_equal(shell("cp -r sql/migrations $D/changed && rm $D/changed/0060_private_columns.sql && echo >>$D/changed/0001_base.sql &&"
	    " touch $D/changed/0199_late.sql $D/changed/9999_next.sql"), 0);
	migrations_differ(folder, &report);
	expect_told(&report, wanted);
}

/* --- functions ---------------------------------------------------------------------------------------------------------------- */

/* All that sql/functions may make: name and text, with who may use it. */
#define MADE "SELECT p.oid::regprocedure::text AS name, md5(pg_get_functiondef(p.oid) || " \
	     "     coalesce((SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(p.proacl) a), '')) AS hash" \
	     "  FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f'" \
	     " UNION ALL SELECT 'trigger ' || t.tgname || ' of ' || t.tgrelid::regclass, md5(pg_get_triggerdef(t.oid))" \
	     "  FROM pg_trigger t WHERE NOT t.tgisinternal AND t.tgparentid = 0" \
	     " UNION ALL SELECT 'view ' || c.oid::regclass, md5(pg_get_viewdef(c.oid) || coalesce(c.relacl::text, ''))" \
	     "  FROM pg_class c WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace"

/* One line for each function, trigger or view in which an upgraded database is not like a new one. */
static void
functions_differ(const char *upgraded, struct buf *report)
{
	PGconn *u = connect_to(upgraded, "roost_admin"), *n = connect_to("roost", "roost_admin");
	AUTO(pgres) PGresult *theirs = query(u, "SELECT json_object_agg(name, hash) FROM (" MADE ") m", NULL);
	AUTO(pgres) PGresult *odd = query(n, "SELECT coalesce(n.name, u.key), CASE"
	    " WHEN n.name IS NULL THEN 'is left over from the previous release: drop it with a migration' WHEN u.key IS NULL THEN 'is only in a new database' ELSE 'is not what it is in a new database' END"
	    " FROM (" MADE ") n FULL JOIN json_each_text($1) u ON u.key = n.name WHERE n.hash IS DISTINCT FROM u.value ORDER BY 1",
	    PQgetvalue(theirs, 0, 0));

	for (int i = 0; i < PQntuples(odd); i++)
		buf_printf(report, "%s: %s\n", PQgetvalue(odd, i, 0), PQgetvalue(odd, i, 1));
	PQfinish(u);
	PQfinish(n);
}

/* --- statements --------------------------------------------------------------------------------------------------------------- */

/* "takes text, bigint[]; gives id text, seq bigint"; or "fails: " and why. The caller frees. EXPLAIN checks what the role may use. */
static char *
shape(PGconn *c, const struct db_stmt_def *s, bool owner)
{
	AUTO(pgres) PGresult *made = PQprepare(c, s->name, s->sql, 0, NULL), *d = NULL, *types = NULL, *plan = NULL;
	AUTO(buf) struct buf oids = BUF_INIT(0), explain = BUF_INIT(0);
	struct buf out = BUF_INIT(0);
	int n;

	if (PQresultStatus(made) != PGRES_COMMAND_OK)
		return xasprintf("fails: %s", PQresultErrorField(made, PG_DIAG_MESSAGE_PRIMARY));
	d = PQdescribePrepared(c, s->name);
	n = PQnparams(d);
	buf_str(&oids, "{0");
	for (int i = 0; i < n + PQnfields(d); i++)
		buf_printf(&oids, ",%u", i < n ? PQparamtype(d, i) : PQftype(d, i - n));
	buf_str(&oids, "}");
	types = query(c, "SELECT format_type(o, NULL) FROM unnest($1::oid[]) WITH ORDINALITY u(o, n) ORDER BY n OFFSET 1", oids.data);
	buf_printf(&explain, "EXPLAIN EXECUTE %s", s->name);
	for (int i = 0; i < n + PQnfields(d); i++)
		if (i < n) {
			buf_printf(&out, "%s%s", i ? ", " : "takes ", PQgetvalue(types, i, 0));
			buf_printf(&explain, "%s", i ? ", NULL" : "(NULL");
		} else
			buf_printf(&out, "%s%s %s", i > n ? ", " : i ? "; gives " : "gives ", PQfname(d, i - n), PQgetvalue(types, i, 0));
	if (owner)
		return buf_steal(&out);
	buf_str(&explain, n ? ")" : "");
	plan = PQexec(c, explain.data);
	if (PQresultStatus(plan) == PGRES_TUPLES_OK)
		return buf_steal(&out);
	buf_free(&out);
	return xasprintf("fails: %s", PQresultErrorField(plan, PG_DIAG_MESSAGE_PRIMARY));
}

/* The shapes of all statements there; or, with a report, one line for each that is not what it was. */
static void
shapes(const char *database, struct buf *report)
{
	for (size_t u = 0; u < USERS; u++) {
		PGconn *c = connect_to(database, users[u].role);

		for (int i = 0; i < STMT_COUNT; i++) {
			AUTO(str) char *is = NULL;

			if (!(stmts[i].users & (int)users[u].user))
				continue;
			is = shape(c, &stmts[i], strcmp(users[u].role, "roost_admin") == 0);
			if (!report)
				was[u][i] = steal(is);
			else if (strcmp(was[u][i], is) != 0)
				buf_printf(report, "%s, %s: %s; was: %s\n", users[u].role, stmts[i].name, is, was[u][i]);
		}
		PQfinish(c);
	}
}

/* --- the upgrade -------------------------------------------------------------------------------------------------------------- */

static int
migrate(const char *folder)
{
	AUTO(str) char *command = NULL;
	const char *out = getenv("OUT");

	command = xasprintf("%s/bin/roostctl -q -c $D/roostctl.conf migrate %s", out ? out : "build/release", folder);
	return shell(command);
}

static void
a_database_is_upgraded(void **state)
{
	assert_int_equal(shell("psql -q -v ON_ERROR_STOP=1 -h $D -U roost_admin roost -c 'CREATE DATABASE old' &&"
	    " psql -q -v ON_ERROR_STOP=1 -h $D -U roost_admin old -f sql/setup/database.sql &&"
	    " echo pg_dsn = host=$D dbname=old user=roost_admin >$D/roostctl.conf && mkdir -p $D/previous/migrations &&"
	    " cp -r " PREVIOUS "/functions $D/previous/ && awk '/^[0-9a-f]+ / { print \"sql/migrations/\" $2 }' " PREVIOUS "/release |"
	    " xargs cp -t $D/previous/migrations"), 0);
	if (migrate("$D/previous") != 0)
		fail_msg("sql/migrations up to the previous release (%s) and its own functions do not make its database", commit);
	shapes("old", NULL);
	for (size_t u = 0; u < USERS; u++)
		for (int i = 0; i < STMT_COUNT; i++)
			if (was[u][i] && strncmp(was[u][i], "fails", 5) == 0)
				fail_msg("%s, %s, in its own release: %s", users[u].role, stmts[i].name, was[u][i]);
	if (migrate("sql") != 0)
		fail_msg("A database of the previous release (%s) cannot be upgraded to this sql/. A function with other arguments is another one"
		    " beside the old (grants then name the arguments); with other columns it needs another name: sql/README.md.", commit);
	ready = true;
}

static void
it_is_like_a_new_one(void **state)
{
	struct buf report = BUF_INIT(0);

	if (!ready)
		skip();
	functions_differ("old", &report);
	expect_nothing(&report, "An upgraded database has to be like a new one.");
}

static void
old_statements_work(void **state)
{
	struct buf report = BUF_INIT(0);
	AUTO(str) char *advice = xasprintf("The previous release (%s) goes on with these statements on this schema, during an upgrade and after a"
	    " rollback. Keep what it calls beside what is new until the release after (sql/README.md).", commit);

	if (!ready)
		skip();
	shapes("old", &report);
	expect_nothing(&report, advice);
}

static void
broken_calls_are_seen(void **state)
{
	static const char *const fails[] = { "roost_gw, session_delete: fails: permission denied for function session_delete; was: takes text, text",
		"roost_worker, session_release: takes text, bigint, bigint; gives session_release text; was: takes text, bigint, bigint; gives",
		"roost_worker, worker_leave: fails: function worker_leave(unknown) does not exist; was: takes text; gives",
		"roost_gw, session_archive: fails: function session_archive(unknown, unknown, text[], text[], text[]) is not unique; was: ",
		"roost_worker, sandbox_drops: fails: permission denied for table sandbox_drop; was: gives session_id text",
		"roost_worker, sandbox_dropped: fails: permission denied for table sandbox_drop; was: takes text", NULL };
	static const char *const differ[] = { "session_delete(text,text): is not what it is in a new database",
		"session_release(text,bigint,bigint): is not what it is", "worker_leave(text): is only in a new database",
		"worker_leave(text,integer): is left over from the previous release",
		"session_archive(text,text,text[],text[],text[],integer): is left over from the previous release", NULL };
	struct buf report = BUF_INIT(0);

	if (!ready)
		skip();
	assert_int_equal(shell("psql -q -v ON_ERROR_STOP=1 -h $D -U roost_admin roost -c 'CREATE DATABASE broken TEMPLATE old' &&"
	    " psql -q -v ON_ERROR_STOP=1 -h $D -U roost_admin broken"
	    " -c 'REVOKE EXECUTE ON FUNCTION session_delete FROM roost_gw'"
	    " -c 'DROP FUNCTION session_release; CREATE FUNCTION session_release(text, bigint, bigint) RETURNS text LANGUAGE sql RETURN $1'"
	    " -c 'DROP FUNCTION worker_leave; CREATE FUNCTION worker_leave(text, int) RETURNS void LANGUAGE sql AS $$$$'"
	    " -c 'CREATE FUNCTION session_archive(text, text, text[], text[], text[], int DEFAULT 0) RETURNS int LANGUAGE sql RETURN 1'"
	    " -c 'REVOKE ALL ON sandbox_drop FROM roost_worker'"), 0);
	shapes("broken", &report);
	expect_told(&report, fails);
	functions_differ("broken", &report);
	expect_told(&report, differ);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(landed_migrations_stay),
		cmocka_unit_test(changed_migrations_are_seen),
		cmocka_unit_test(a_database_is_upgraded),
		cmocka_unit_test(it_is_like_a_new_one),
		cmocka_unit_test(old_statements_work),
		cmocka_unit_test(broken_calls_are_seen),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
