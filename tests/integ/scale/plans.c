/*
 * What the named statements cost when the tables are large: 60,000 sessions (SCALE_SESSIONS=1000000 for the full size, some minutes) and
 * one with a log of 100,000 events. Every statement of gateway, hub and worker has a row in plans.def or the test fails. Checked are the
 * plan (no sequential scan of a table that grows, no sort of more than a page) and the buffers touched, against a fixed budget: so the
 * same budget at both sizes shows that cost does not grow. Each call runs with a plan made for its values, as on a connection that has
 * run the statement often (but those marked `replan`), and, where it must not depend on values, with a generic one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "buf.h"
#include "db_stmts.h"
#include "jx.h"
#include "xalloc.h"

#define LONG_LOG "100000"
#define SORT_MAX 4200		/* rows: a page of context_load */

struct call {
	enum db_stmt stmt;
	int budget;
	const char *args;
	bool generic;
};

static const struct call calls[] = {
#define PLAN(stmt, budget, args) { STMT_##stmt, budget, args, false },
#define ANY(stmt, budget, args) { STMT_##stmt, budget, args, true },
#define LEFT(stmt, why)
#include "plans.def"
#undef PLAN
#undef ANY
#undef LEFT
};
static const enum db_stmt left_out[] = {
#define PLAN(stmt, budget, args)
#define ANY(stmt, budget, args)
#define LEFT(stmt, why) STMT_##stmt,
#include "plans.def"
};
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static const struct { char mark; const char *sql; } values[] = {
	{ 'S', "SELECT quote_literal(id) FROM session WHERE id LIKE 'sesn_01%' AND workspace_id = 'wrkspc_big' AND status = 'idle' AND NOT at_work"
	    " AND id > (SELECT id FROM session ORDER BY id OFFSET 5000 LIMIT 1) ORDER BY id LIMIT 1" },
	{ 'D', "SELECT quote_literal(session_id) FROM work WHERE due_at < now() AND lease_owner IS NULL LIMIT 1" },
	{ 'L', "SELECT quote_literal(session_id) FROM work WHERE lease_owner = 'w1' LIMIT 1" },
	{ 'W', "SELECT quote_literal(session_id) FROM action WHERE state = 'open' LIMIT 1" },
	{ 'N', "SELECT us(clock_timestamp())" },
	{ 'B', "SELECT us(created_at) FROM session WHERE id LIKE 'sesn_01%' ORDER BY id DESC OFFSET 60 LIMIT 1" },
	{ 'E', "SELECT us(created_at) FROM session ORDER BY id OFFSET 60 LIMIT 1" },
	{ 'M', "SELECT us(processed_at) FROM event WHERE session_id = 'sesn_long' AND seq = 50000" },
	{ 'A', "SELECT quote_literal(array_agg(id)) FROM (SELECT id FROM session ORDER BY hashtext(id) LIMIT 2000) s" },
	{ 'Z', "SELECT quote_literal(array_agg(0)) FROM generate_series(1, 2000)" },
};
static char *value_of[COUNT(values)];

static char dir[64];
static PGconn *db;

static PGresult *
run(const char *sql)
{
	PGresult *r = PQexec(db, sql);
	ExecStatusType st = PQresultStatus(r);

	if (st != PGRES_TUPLES_OK && st != PGRES_COMMAND_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(db));
	return r;
}

static int
start(void **state)
{
	const char *sessions = getenv("SCALE_SESSIONS");
	AUTO(str) char *up = NULL, *fill = NULL, *dsn = NULL;

	snprintf(dir, sizeof(dir), "/tmp/roost-scale-%d", (int)getpid());
	up = xasprintf("tests/env/postgres start %s", dir);
	fill = xasprintf("psql -q -v ON_ERROR_STOP=1 -v sessions=%s -v events=5 -v long=" LONG_LOG " -h %s -U roost_admin roost"
	    " -f tests/integ/scale/populate.sql", sessions != NULL ? sessions : "60000", dir);
	dsn = xasprintf("host=%s dbname=roost user=roost_admin options='-c jit=off -c enable_seqscan=off'", dir);
	if (system(up) != 0 || system(fill) != 0)
		return -1;
	db = PQconnectdb(dsn);
	if (PQstatus(db) != CONNECTION_OK)
		return -1;
	for (size_t i = 0; i < COUNT(values); i++) {
		AUTO(pgres) PGresult *r = run(values[i].sql);

		value_of[i] = xstrdup(PQgetvalue(r, 0, 0));
	}
	for (int i = 0; i < STMT_COUNT; i++)
		if (db_stmts[i].users & (DB_GW | DB_STREAM | DB_WORKER))
			PQclear(PQprepare(db, db_stmts[i].name, db_stmts[i].sql, 0, NULL));
	return 0;
}

static int
stop(void **state)
{
	AUTO(str) char *down = xasprintf("tests/env/postgres stop %s", dir);

	PQfinish(db);
	for (size_t i = 0; i < COUNT(values); i++)
		free(value_of[i]);
	return system(down);
}

/* `EXECUTE name(args)` with the marks replaced. The caller frees. */
static char *
execute_text(const struct call *c)
{
	struct buf b = BUF_INIT(0);
	size_t i;

	buf_printf(&b, "EXECUTE %s", db_stmts[c->stmt].name);
	if (c->args[0] == '\0')
		return buf_steal(&b);
	buf_ch(&b, '(');
	for (const char *p = c->args; *p != '\0'; p++) {
		if (*p != '@') {
			buf_ch(&b, *p);
			continue;
		}
		p++;
		for (i = 0; i < COUNT(values) && values[i].mark != *p; i++)
			;
		must(i < COUNT(values));
		buf_str(&b, value_of[i]);
	}
	buf_ch(&b, ')');
	return buf_steal(&b);
}

static bool
grows(const char *relation)
{
	static const char *const names[] = { "session", "event", "event_default", "inbox", "action", "meter_event", "agent_version" };

	for (size_t i = 0; relation != NULL && i < COUNT(names); i++)
		if (strcmp(relation, names[i]) == 0)
			return true;
	return false;
}

/* The first thing wrong below this node; NULL: nothing. */
static const char *
wrong_in(const json_t *node)
{
	const char *type = json_string_value(json_object_get(node, "Node Type"));
	const json_t *children = json_object_get(node, "Plans"), *child;
	size_t i;

	if (strcmp(type, "Seq Scan") == 0 && grows(json_string_value(json_object_get(node, "Relation Name"))))
		return "a sequential scan";
	if (strstr(type, "Sort") != NULL && json_number_value(json_object_get(json_array_get(children, 0), "Actual Rows")) > SORT_MAX)
		return "a sort of many rows";
	json_array_foreach(children, i, child) {
		const char *wrong = wrong_in(child);

		if (wrong != NULL)
			return wrong;
	}
	return NULL;
}

static int
buffers_of(const json_t *node)
{
	return (int)(json_integer_value(json_object_get(node, "Shared Hit Blocks")) +
	    json_integer_value(json_object_get(node, "Shared Read Blocks")));
}

/* Explain one call inside a transaction that is rolled back. Returns whether it is within bounds; prints what it found. */
static bool
check(const struct call *c, const char *mode)
{
	AUTO(str) char *text = execute_text(c), *sql = xasprintf("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) %s", text);
	AUTO(str) char *set = xasprintf("SET LOCAL plan_cache_mode = %s", mode);
	AUTO(json) json_t *doc = NULL;
	const json_t *plan;
	const char *wrong;
	PGresult *r;
	int used;

	PQclear(run("BEGIN"));
	PQclear(run(set));
	r = run(text);		/* fill the catalogue caches, whose reads count too */
	PQclear(r);
	PQclear(run("ROLLBACK"));
	PQclear(run("BEGIN"));
	PQclear(run(set));
	r = run(sql);
	doc = json_loads(PQgetvalue(r, 0, 0), 0, NULL);
	PQclear(r);
	PQclear(run("ROLLBACK"));
	plan = json_object_get(json_array_get(doc, 0), "Plan");
	assert_non_null(plan);
	used = buffers_of(plan);
	wrong = wrong_in(plan);
	if (getenv("SCALE_SHOW") != NULL)
		print_message("%6d of %6d  %8.3f ms  %-18s %s\n", used, c->budget,
		    json_number_value(json_object_get(json_array_get(doc, 0), "Execution Time")), mode, text);
	if (wrong == NULL && used <= c->budget)
		return true;
	print_error("%s, %s: %s, %d buffers of %d\n", text, mode, wrong != NULL ? wrong : "too many buffers", used, c->budget);
	if (getenv("SCALE_SHOW") != NULL) {
		AUTO(str) char *dump = json_dumps(plan, JSON_INDENT(1));

		print_error("%s\n", dump);
	}
	return false;
}

static void
every_statement_is_listed(void **state)
{
	for (int stmt = 0; stmt < STMT_COUNT; stmt++) {
		bool found = !(db_stmts[stmt].users & (DB_GW | DB_STREAM | DB_WORKER));

		for (size_t i = 0; i < COUNT(calls); i++)
			found |= (int)calls[i].stmt == stmt;
		for (size_t i = 0; i < COUNT(left_out); i++)
			found |= (int)left_out[i] == stmt;
		if (!found)
			fail_msg("statement %s has no row in tests/integ/scale/plans.def", db_stmts[stmt].name);
	}
}

static void
made_for_the_values(void **state)
{
	bool ok = true;

	for (size_t i = 0; i < COUNT(calls); i++)
		ok &= check(&calls[i], "force_custom_plan");
	assert_true(ok);
}

static void
generic(void **state)
{
	bool ok = true;

	for (size_t i = 0; i < COUNT(calls); i++)
		if (calls[i].generic)
			ok &= check(&calls[i], "force_generic_plan");
	assert_true(ok);
}

/* As a connection of a running process chooses: after many calls with mixed values. */
static void
after_many_calls(void **state)
{
	bool ok = true;

	for (int round = 0; round < 3; round++)
		for (size_t i = 0; i < COUNT(calls); i++) {
			if (db_stmts[calls[i].stmt].replan)
				continue;
			AUTO(str) char *text = execute_text(&calls[i]);

			PQclear(run("BEGIN"));
			PQclear(run(text));
			PQclear(run("ROLLBACK"));
		}
	for (size_t i = 0; i < COUNT(calls); i++)
		if (!db_stmts[calls[i].stmt].replan)
			ok &= check(&calls[i], "auto");
	assert_true(ok);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_statement_is_listed),
		cmocka_unit_test(made_for_the_values),
		cmocka_unit_test(generic),
		cmocka_unit_test(after_many_calls),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
