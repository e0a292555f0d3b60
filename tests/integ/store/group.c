/* link: tests/env/pg_rig.c */
/*
 * Group commit against a real Postgres: appends of many sessions share commits, a failing one takes nobody with it, and what was
 * answered is committed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "../../env/pg_rig.h"
#include "dbq.h"
#include "xalloc.h"

#define SESSIONS 200

static struct loop *loop;
static struct dbq *q;
static struct { int ok, failed, answered; } seen;

static int64_t
number(const char *sql)
{
	AUTO(str) char *n = ask("%s", sql);

	return atoll(n);
}

static int
start(void **state)
{
	AUTO(str) char *worker = NULL;

	pgr_start("group");
	worker = pgr_dsn("roost_worker");
	run("INSERT INTO organization (id, name) VALUES ('org', 'Org')");
	run("INSERT INTO workspace (id, organization_id, name) VALUES ('w1', 'org', 'One')");
	run("INSERT INTO session (id, organization_id, workspace_id, agent_id, agent_version, environment_id, thread_id, agent, last_at,"
	    " created_at, updated_at, at_work) SELECT 's' || i, 'org', 'w1', 'a', 1, 'e', 't' || i, '{}', t, t, t, true"
	    " FROM generate_series(0, 199) i, (SELECT clock_timestamp() AS t) x");
	run("INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch) SELECT 'w1', id, now(), 'wk', 1 FROM session");
	loop = loop_new();
	q = dbq_new(loop, worker, DB_WORKER, 5000);
	while (!dbq_ready(q))
		loop_once(loop, 1000);
	return 0;
}

static int
stop(void **state)
{
	dbq_free(&q);
	loop_free(&loop);
	return pgr_stop();
}

/* Each answer of success must be visible to another connection at once: it is called after the commit. */
static void
on_append(void *ctx, const PGresult *r, const struct err *e)
{
	AUTO(str) char *sql = xasprintf("SELECT count(*) FROM event WHERE id = '%s'", (const char *)ctx);

	seen.answered++;
	if (e) {
		assert_int_equal(e->kind, EK_INTERNAL);
		seen.failed++;
	} else {
		assert_true(strncmp(pg_str(r, 0, 0), "{-", 2) != 0);
		assert_int_equal(number(sql), 1);
		seen.ok++;
	}
	free(ctx);
}

static void
append(int session, const char *id, const char *tokens)
{
	AUTO(str) char *name = xasprintf("s%d", session), *ids = xasprintf("{%s}", id), *now = NULL;

	now = xasprintf("%lld", (long long)number("SELECT us(clock_timestamp())"));
	DBQ_RUN(q, STMT_SESSION_APPEND_ONE, on_append, xstrdup(id), name, "1", now, ids, "{agent.message}", "{b}", "{NULL}", "{NULL}", "{NULL}", "{}",
	    NULL, NULL, NULL, tokens, "0", "m", NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, "f", NULL, "0", NULL,
	    "f", NULL, NULL, NULL, "f", "0", "0", NULL);
}

static void
drain(void)
{
	while (dbq_pending(q) > 0)
		loop_once(loop, 1000);
}

/* Commits are counted by transaction ids: one is taken per transaction that wrote. */
static void
one_commit_for_many(void **state)
{
	int64_t before = number("SELECT txid_snapshot_xmax(txid_current_snapshot())"), used;
	int i;

	for (i = 0; i < SESSIONS; i++) {
		AUTO(str) char *id = xasprintf("a%d", i);

		append(i, id, NULL);
	}
	drain();
	used = number("SELECT txid_snapshot_xmax(txid_current_snapshot())") - before;
	assert_int_equal(seen.ok, SESSIONS);
	assert_true(used <= SESSIONS / 4);
}

static void
a_failure_stays_alone(void **state)
{
	int i;

	memset(&seen, 0, sizeof seen);
	for (i = 0; i < SESSIONS; i++) {
		AUTO(str) char *id = xasprintf("b%d", i);

		append(i, id, i % 50 == 7 ? "{nonsense}" : NULL);
	}
	drain();
	assert_int_equal(seen.answered, SESSIONS);
	assert_int_equal(seen.failed, 4);
	assert_int_equal(seen.ok, SESSIONS - 4);
	assert_int_equal(number("SELECT count(*) FROM event WHERE id LIKE 'b%'"), SESSIONS - 4);
	assert_int_equal(number("SELECT count(*) FROM session s WHERE last_seq <> (SELECT count(*) FROM event e WHERE e.session_id = s.id)"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(one_commit_for_many), cmocka_unit_test(a_failure_stays_alone) };

	return cmocka_run_group_tests(tests, start, stop);
}
