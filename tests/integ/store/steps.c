/* link: tests/env/pg_rig.c */
/*
 * Several statements in one round trip: results in order, one transaction, nothing kept when one fails, and an honest answer when the
 * server leaves in the middle.
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

#include "../../env/pg_rig.h"
#include "db.h"
#include "xalloc.h"

static struct db *db;

static int
start(void **state)
{
	AUTO(str) char *dsn = NULL;

	pgr_start("steps");
	dsn = pgr_dsn("roost_gw");
	db = db_open(dsn, DB_GW, 40000);
	run("INSERT INTO organization (id, name) VALUES ('o', 'O')");
	run("INSERT INTO workspace (id, organization_id, name) VALUES ('w', 'o', 'W')");
	return 0;
}

static int
stop(void **state)
{
	db_close(&db);
	return pgr_stop();
}

static const char *const insert_one[] = { "w", "o", "env_1", "one", "{}" }, *const insert_two[] = { "w", "o", "env_2", "two", "{}" };
static const char *const get_one[] = { "w", "env_1" }, *const get_two[] = { "w", "env_2" };

static int
exists(const char *const *key)
{
	AUTO(pgres) PGresult *r = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(db_run(db, STMT_ENVIRONMENT_GET, 2, key, &r, &e), 0);
	return PQntuples(r);
}

static void
in_order(void **state)
{
	AUTO(pgres) PGresult *made = NULL, *read = NULL, *again = NULL;
	const struct db_step first[] = { { STMT_ENVIRONMENT_INSERT, 5, insert_one, &made }, { STMT_ENVIRONMENT_GET, 2, get_one, &read } };
	const struct db_step last[] = { { STMT_ENVIRONMENT_GET, 2, get_one, &again } };
	struct err e = ERR_INIT;

	assert_int_equal(db_run_steps(db, DB_STEPS_BEGIN, first, 2, &e), 0);
	assert_string_equal(pg_str(made, 0, 0), "env_1");
	assert_string_equal(pg_str(read, 0, 0), "env_1");	/* the second statement sees the first one's row */
	assert_int_equal(db_run_steps(db, DB_STEPS_COMMIT, last, 1, &e), 0);
	assert_int_equal(PQntuples(again), 1);
	db_rollback(db);	/* nothing is left to undo */
	assert_int_equal(exists(get_one), 1);
}

static void
all_or_nothing(void **state)
{
	AUTO(pgres) PGresult *made = NULL, *twice = NULL, *never = NULL;
	const struct db_step steps[] = { { STMT_ENVIRONMENT_INSERT, 5, insert_two, &made }, { STMT_ENVIRONMENT_INSERT, 5, insert_two, &twice },
	    { STMT_ENVIRONMENT_GET, 2, get_two, &never } };
	struct err e = ERR_INIT;

	assert_int_equal(db_run_steps(db, DB_STEPS_BEGIN | DB_STEPS_COMMIT, steps, 3, &e), -1);
	assert_int_equal(e.kind, EK_CONFLICT);
	assert_non_null(made);
	assert_null(twice);
	assert_null(never);
	db_rollback(db);
	assert_int_equal(exists(get_two), 0);	/* and the connection is good for more */
}

/* Without DB_STEPS_BEGIN inside an open transaction: it goes on. */
static void
inside(void **state)
{
	const struct db_step one[] = { { STMT_ENVIRONMENT_INSERT, 5, insert_two, NULL } };
	struct err e = ERR_INIT;

	assert_int_equal(db_begin(db, &e), 0);
	assert_int_equal(db_run_steps(db, 0, one, 1, &e), 0);
	db_rollback(db);
	assert_int_equal(exists(get_two), 0);
}

/* The server ends the session while a lock is waited for: before a commit it is a plain failure, with one nobody knows. */
static void
server_leaves(void **state)
{
	const struct db_step wait[] = { { STMT_ENVIRONMENT_PUT, 4, (const char *const[]){ "w", "env_1", "new", "{}" }, NULL } };
	static const struct { int flags; enum err_kind want; } cases[] = {
		{ DB_STEPS_BEGIN, EK_UNAVAILABLE }, { DB_STEPS_BEGIN | DB_STEPS_COMMIT, EK_UNCERTAIN },
	};

	run("BEGIN");
	run("SELECT 1 FROM environment WHERE id = 'env_1' FOR UPDATE");
	for (int i = 0; i < 2; i++) {
		AUTO(str) char *kill_later = xasprintf("psql -q -h %s -U roost_admin roost -c \"DO \\$\\$ BEGIN WHILE NOT EXISTS (SELECT 1 FROM pg_locks "
		    "WHERE NOT granted) LOOP PERFORM pg_sleep(0.005); END LOOP; PERFORM pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted; END "
		    "\\$\\$\" >/dev/null 2>&1 &", pgr_dir);
		struct err e = ERR_INIT;

		must(system(kill_later) == 0);
		assert_int_equal(db_run_steps(db, cases[i].flags, wait, 1, &e), -1);
		assert_int_equal(e.kind, cases[i].want);
		db_rollback(db);
	}
	run("ROLLBACK");
	assert_int_equal(exists(get_one), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order), cmocka_unit_test(all_or_nothing), cmocka_unit_test(inside), cmocka_unit_test(server_leaves),
	};

	return cmocka_run_group_tests_name("steps", tests, start, stop);
}
