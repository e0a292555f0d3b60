/* link: tests/env/gateway_rig.c */
/*
 * Quick reads, which share a connection to Postgres: what it is to lose it, what a statement that is stuck on it does to the others, and
 * that nobody notices; and that a thread that leads (park.c) can be held up. With a running gateway.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../env/gateway_rig.h"
#include "clock.h"
#include "dbshare.h"
#include "xalloc.h"

#define MANY 12

static char agent[128], environment[128], session[128];

static int
start(void **state)
{
	char a[ID_MAX], v[ID_MAX], s[ID_MAX];

	gwr_start("pg_timeout_ms = 60000\n");
	gwr_session(GWR_A, a, v, s);
	snprintf(agent, sizeof agent, "/v1/agents/%s", a);
	snprintf(environment, sizeof environment, "/v1/environments/%s", v);
	snprintf(session, sizeof session, "/v1/sessions/%s", s);
	return 0;
}

static void
ok(const char *uri)
{
	AUTO(json) json_t *got = gwr_ok(GWR_A, "GET", uri, NULL);

	assert_non_null(got);
}

#define SHARED "FROM pg_stat_activity WHERE usename = 'roost_gw' AND application_name = '" DBSHARE_NAME "'"

/* Reads until the shared connection is there: at most one is made in a second, and a thread's first read is its own. */
static void
until_shared(void)
{
	int64_t deadline = clock_mono_ms() + 20000;

	for (;;) {
		AUTO(str) char *n = NULL;

		ok(agent);
		n = gwr_sql("SELECT count(*) " SHARED);
		if (strcmp(n, "1") == 0)
			return;
		if (clock_mono_ms() > deadline)
			fail_msg("%s shared connections", n);
	}
}

static void
at_once(void **state)
{
	int fd[MANY];

	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < MANY; i++)
			fd[i] = gwr_begin(GWR_A, "GET", i % 3 == 0 ? agent : i % 3 == 1 ? environment : session, 0, NULL);
		for (int i = 0; i < MANY; i++) {
			__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

			assert_true(gwr_body(fd[i], NULL, 0));
		}
		for (int i = 0; i < MANY; i++) {
			__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

			assert_true(gwr_answer(fd[i], &r));
			assert_int_equal(r.status, 200);
			assert_string_equal(jx_str(r.json, "type"), i % 3 == 0 ? "agent" : i % 3 == 1 ? "environment" : "session");
		}
	}
	gwr_bad(GWR_B, "GET", agent, NULL, 404, "not_found_error", "Agent not found.");
	gwr_bad(GWR_A, "GET", gwr_fmt("%s?version=7", agent), NULL, 404, "not_found_error", "Agent version not found.");
}

static void
lost(void **state)
{
	for (int i = 0; i < 3; i++) {
		until_shared();
		free(gwr_sql("SELECT count(pg_terminate_backend(pid)) " SHARED));
		gwr_wait("0", "SELECT count(*) " SHARED);
		ok(agent);
		ok(session);
	}
}

static void
refused(void **state)
{
	free(gwr_sql("REVOKE SELECT ON agent FROM roost_gw"));
	gwr_bad(GWR_A, "GET", agent, NULL, 500, "api_error", "");
	ok(environment);
	free(gwr_sql("GRANT SELECT ON agent TO roost_gw"));
	ok(agent);
}

/* The backend stalls: neither what it has been sent nor what comes later is held up. */
static void
stuck(void **state)
{
	AUTO(str) char *pid = NULL;
	int fd[MANY];

	until_shared();
	pid = gwr_sql("SELECT pid " SHARED);
	assert_int_equal(kill(atoi(pid), SIGSTOP), 0);
	for (int i = 0; i < MANY; i++)
		fd[i] = gwr_begin(GWR_A, "GET", i % 2 ? environment : session, 0, NULL);
	for (int i = 0; i < MANY; i++)
		assert_true(gwr_body(fd[i], NULL, 0));
	for (int i = 0; i < MANY; i++) {
		__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

		assert_true(gwr_answer(fd[i], &r));
		assert_int_equal(r.status, 200);
	}
	for (int i = 0; i < MANY; i++)
		ok(agent);
	(void)kill(atoi(pid), SIGCONT);
	until_shared();
}

/* A peer that stalls inside its request holds up nobody else, even if it is the leader who reads from it. */
static void
stalled(void **state)
{
	for (int i = 0; i < 3; i++) {
		__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
		int fd = gwr_begin(GWR_A, "GET", agent, 0, NULL);	/* and not a word of the body, not even that there is none */

		for (int k = 0; k < MANY; k++)
			ok(environment);
		assert_true(gwr_body(fd, NULL, 0));
		assert_true(gwr_answer(fd, &r));
		assert_int_equal(r.status, 200);
		ok(session);
	}
}

/* A gateway that stops answers what is on its way. */
static void
stopping(void **state)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
	int fd;

	until_shared();
	free(gwr_sql("BEGIN"));
	free(gwr_sql("LOCK TABLE agent IN ACCESS EXCLUSIVE MODE"));
	fd = gwr_begin(GWR_A, "GET", agent, 0, NULL);
	assert_true(gwr_body(fd, NULL, 0));
	gwr_wait("t", "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted");
	assert_int_equal(kill(gwr_pid(), SIGTERM), 0);
	free(gwr_sql("COMMIT"));
	assert_true(gwr_answer(fd, &r));
	assert_int_equal(r.status, 200);
	gwr_restart();
	ok(agent);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(at_once), cmocka_unit_test(lost), cmocka_unit_test(refused), cmocka_unit_test(stuck),
		cmocka_unit_test(stalled), cmocka_unit_test(stopping),
	};

	return cmocka_run_group_tests_name("reads", tests, start, gwr_over);
}
