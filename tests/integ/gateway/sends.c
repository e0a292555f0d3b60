/* link: tests/env/gateway_rig.c */
/*
 * Messages, which share a connection to Postgres and travel in sets: many at once, each with its own answer; what it is to lose that
 * connection with messages on their way, what one that is stuck does to the others, and a gateway that stops. Each message is there as
 * often as its client was told: once, or not at all. With a running gateway.
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
#include "sendq.h"
#include "xalloc.h"

#define MANY 12
#define SENDS "FROM pg_stat_activity WHERE usename = 'roost_gw' AND application_name = '" SENDQ_NAME "'"
#define HELD "SELECT count(*) > 0 FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND application_name = '" SENDQ_NAME "'"

static char session[MANY][ID_MAX];

static int
start(void **state)
{
	char agent[ID_MAX], environment[ID_MAX];

	gwr_start("pg_timeout_ms = 60000\n");
	gwr_parts(GWR_A, agent, environment);
	for (int i = 0; i < MANY; i++)
		gwr_session_of(GWR_A, agent, environment, session[i]);
	free(gwr_sql("CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = '60s' AS"
	    " $$ BEGIN PERFORM pg_advisory_xact_lock_shared(77); RETURN NEW; END $$"));
	free(gwr_sql("CREATE TRIGGER hold BEFORE INSERT ON inbox FOR EACH ROW WHEN (NEW.stem LIKE '%%hold it%%') EXECUTE FUNCTION hold()"));
	return 0;
}

/* How often a message with this text is in the inbox. */
static int
times(const char *text)
{
	AUTO(str) char *n = gwr_sql("SELECT count(*) FROM inbox WHERE stem LIKE '%%\"%s\"%%'", text);

	return atoi(n);
}

static const char *attempt;	/* which of its call every message says it is; NULL: it does not say */

/* A message, sent; the connection on which its answer comes. */
static int
post(int to, const char *text)
{
	const char *head[] = { "HTTP_AUTHORIZATION", gwr_fmt("Bearer %s", gwr_key(GWR_A)), "HTTP_ANTHROPIC_VERSION", "2026-10-21",
	    "HTTP_ANTHROPIC_BETA", "managed-agents-2026-04-01", "CONTENT_TYPE", "application/json", "HTTP_X_STAINLESS_RETRY_COUNT", attempt, NULL };
	const char *body = gwr_fmt("{\"events\":[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"%s\"}]}]}", text);
	int fd = gwr_begin(GWR_A, "POST", gwr_fmt("/v1/sessions/%s/events", session[to]), strlen(body), attempt ? head : NULL);

	assert_true(gwr_body(fd, body, strlen(body)));
	assert_true(gwr_body(fd, NULL, 0));
	return fd;
}

/* Its answer is this status, and shows it. */
static int
answered(int fd, const char *text)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

	assert_true(gwr_answer(fd, &r));
	assert_true(r.status != 200 || strstr(r.body, gwr_fmt("\"text\":\"%s\"", text)));
	return r.status;
}

/* Messages go by the sending connection: at most one is made in a second, when a message has asked for it. Three in a row, so it is used. */
static void
until_shared(void)
{
	int64_t deadline = clock_mono_ms() + 20000;

	for (int i = 0, used = 0; used < 3; i++) {
		AUTO(str) char *text = xasprintf("warm %d %lld", i, (long long)clock_mono_us());
		AUTO(str) char *since = gwr_sql("SELECT clock_timestamp()");
		AUTO(str) char *n = NULL;

		assert_int_equal(answered(post(i % MANY, text), text), 200);
		n = gwr_sql("SELECT count(*) " SENDS " AND query_start >= '%s'", since);
		used = strcmp(n, "1") == 0 ? used + 1 : 0;
		assert_true(clock_mono_ms() < deadline);
	}
	free(gwr_sql("DELETE FROM inbox"));
	free(gwr_sql("UPDATE session SET inbox_events = 0, inbox_bytes = 0"));
}

static void
at_once(void **state)
{
	until_shared();
	for (int round = 0; round < 30; round++) {
		char text[MANY][40];
		int fd[MANY];

		for (int i = 0; i < MANY; i++) {
			snprintf(text[i], sizeof text[i], "r%d_%d", round, i);
			fd[i] = post((i * 5 + round) % 7, text[i]);	/* several to one session, too */
		}
		for (int i = 0; i < MANY; i++)
			assert_int_equal(answered(fd[i], text[i]), 200);
	}
	gwr_wait("360 360", "SELECT count(*) || ' ' || count(DISTINCT id) FROM inbox");
	gwr_wait("0", "SELECT count(*) FROM session s WHERE inbox_events <> (SELECT count(*) FROM inbox i WHERE i.session_id = s.id)");
	/* there were sets: fewer transactions than messages */
	gwr_wait("t", "SELECT (SELECT count(DISTINCT xmin::text) FROM inbox) < 360");
}

/* What stands in the way of one is told to its client; the others are sent. */
static void
each_its_answer(void **state)
{
	int fd[MANY];

	until_shared();
	free(gwr_sql("UPDATE session SET archived_at = now() WHERE id = '%s'", session[3]));
	free(gwr_sql("UPDATE session SET inbox_events = 100000 WHERE id = '%s'", session[5]));
	for (int i = 0; i < MANY; i++)
		fd[i] = post(i, "each");
	for (int i = 0; i < MANY; i++)
		assert_int_equal(answered(fd[i], "each"), i == 3 ? 400 : i == 5 ? 429 : 200);
	assert_int_equal(times("each"), MANY - 2);
	free(gwr_sql("UPDATE session SET archived_at = NULL, inbox_events = 0"));
	gwr_bad(GWR_C, "POST", gwr_fmt("/v1/sessions/%s/events", session[0]),
	    "{\"events\":[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"not mine\"}]}]}", 404, "not_found_error", "");
}

/* Messages that may be tried again: what they were answered is kept with them, and is all that another attempt gets. */
static void
tried_again(void **state)
{
	int fd[MANY];

	until_shared();
	free(gwr_sql("DELETE FROM request_dedupe"));
	free(gwr_sql("UPDATE session SET archived_at = now() WHERE id = '%s'", session[3]));
	for (int n = 0; n < 3; n++) {
		attempt = n == 0 ? "0" : n == 1 ? "1" : "2";
		for (int i = 0; i < MANY; i++)
			fd[i] = post(i, "try");
		for (int i = 0; i < MANY; i++)
			assert_int_equal(answered(fd[i], "try"), i == 3 ? 400 : 200);
		assert_int_equal(times("try"), MANY - 1);
		gwr_wait("11 11 0 0", "SELECT count(*) || ' ' || count(DISTINCT ident) || ' ' || min(made_by) || ' ' || max(made_by) FROM request_dedupe");
	}
	attempt = NULL;
	gwr_wait("11", "SELECT count(*) FROM request_dedupe d WHERE EXISTS (SELECT FROM inbox i WHERE d.events = i.id || E' -\n')");
	free(gwr_sql("UPDATE session SET archived_at = NULL"));
}

static void
lost_round(int round)
{
	char text[MANY][40];
	int fd[MANY], status;

	until_shared();
	attempt = round % 2 ? "0" : NULL;
	free(gwr_sql("BEGIN"));
	free(gwr_sql("SELECT pg_advisory_xact_lock(77)"));
	for (int i = 0; i < MANY; i++) {
		snprintf(text[i], sizeof text[i], "%s%d_%d", i % 3 == 0 ? "hold it " : "free ", round, i);
		fd[i] = post(i, text[i]);
	}
	gwr_wait("t", HELD);
	free(gwr_sql("SELECT pg_terminate_backend(pid) " SENDS));
	free(gwr_sql("COMMIT"));
	for (int i = 0; i < MANY; i++) {
		status = answered(fd[i], text[i]);
		if (status != 200 && status != 503)
			fail_msg("%d", status);
		assert_int_equal(times(text[i]), status == 200);
	}
	attempt = NULL;
	assert_int_equal(answered(post(0, "again"), "again"), 200);
}

/* The backend is killed with a message on its way and others behind it. */
static void
lost(void **state)
{
	for (int round = 0; round < 6; round++)
		lost_round(round);
}

/* The backend stalls in the middle of a message: that one waits for it, what comes later goes another way. */
static void
stuck(void **state)
{
	AUTO(str) char *pid = NULL;
	int first, fd[MANY];

	until_shared();
	pid = gwr_sql("SELECT pid " SENDS);
	free(gwr_sql("BEGIN"));
	free(gwr_sql("SELECT pg_advisory_xact_lock(77)"));
	first = post(0, "hold it stuck");
	gwr_wait("t", HELD);	/* it is alone: in one set with it the others would wait, too */
	assert_int_equal(kill(atoi(pid), SIGSTOP), 0);
	free(gwr_sql("COMMIT"));
	for (int i = 1; i < MANY; i++)
		fd[i] = post(i, "passing");
	for (int i = 1; i < MANY; i++)
		assert_int_equal(answered(fd[i], "passing"), 200);
	assert_int_equal(times("hold it stuck"), 0);
	(void)kill(atoi(pid), SIGCONT);
	assert_int_equal(answered(first, "hold it stuck"), 200);
	assert_int_equal(times("hold it stuck"), 1);
}

/* A session's lock is waited for by its own message only. */
static void
locked(void **state)
{
	int held, fd[MANY];

	until_shared();
	free(gwr_sql("BEGIN"));
	free(gwr_sql("SELECT 1 FROM session WHERE id = '%s' FOR UPDATE", session[0]));
	held = post(0, "held");
	for (int i = 1; i < MANY; i++)
		fd[i] = post(i, "others");
	for (int i = 1; i < MANY; i++)
		assert_int_equal(answered(fd[i], "others"), 200);
	free(gwr_sql("COMMIT"));
	assert_int_equal(answered(held, "held"), 200);
	assert_int_equal(times("held"), 1);
}

/*
 * Both threads have a connection of their own, by which they wait for a session's lock here. One that made its own later, for a sweep between
 * requests, would prepare its statements behind the lock on a table that overtaken() takes.
 */
static void
until_connected(void)
{
	int fd[2];

	free(gwr_sql("BEGIN"));
	free(gwr_sql("SELECT 1 FROM session WHERE id IN ('%s', '%s') FOR UPDATE", session[0], session[1]));
	for (int i = 0; i < 2; i++)
		fd[i] = post(i, "by its thread");
	gwr_wait("2", "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted");
	free(gwr_sql("COMMIT"));
	for (int i = 0; i < 2; i++)
		assert_int_equal(answered(fd[i], "by its thread"), 200);
}

/*
 * A message whose thread had to wait before it could be sent (its key is new here), while another one came to lead and now waits for what
 * happens: it leaves at once all the same. How long it took, in ms.
 */
static int64_t
overtaken(void)
{
	static const char body[] = "{\"events\":[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"not here\"}]}]}";
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
	int64_t since;
	int fd;

	gwr_restart();
	until_shared();
	until_connected();
	free(gwr_sql("BEGIN"));
	free(gwr_sql("LOCK TABLE api_key IN ACCESS EXCLUSIVE MODE"));
	fd = gwr_begin(GWR_B, "POST", gwr_fmt("/v1/sessions/%s/events", session[0]), sizeof body - 1, NULL);
	assert_true(gwr_body(fd, body, sizeof body - 1));
	assert_true(gwr_body(fd, NULL, 0));
	gwr_wait("t", "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted");
	assert_int_equal(answered(post(1, "another"), "another"), 200);
	since = clock_mono_ms();
	free(gwr_sql("COMMIT"));
	assert_true(gwr_answer(fd, &r));
	assert_int_equal(r.status, 404);	/* the session is another workspace's: found out on its way */
	return clock_mono_ms() - since;
}

static void
nobody_waits_for_the_leader(void **state)
{
	int64_t best = INT64_MAX;

	for (int i = 0; i < 3; i++) {
		int64_t ms = overtaken();

		best = ms < best ? ms : best;
	}
	assert_true(best < 200);
}

/* A gateway that stops answers what is on its way. */
static void
stopping(void **state)
{
	int fd[3];

	until_shared();
	free(gwr_sql("BEGIN"));
	free(gwr_sql("SELECT pg_advisory_xact_lock(77)"));
	for (int i = 0; i < 3; i++)
		fd[i] = post(i, "hold it to the end");
	gwr_wait("t", "SELECT count(*) > 0 FROM pg_locks l WHERE NOT granted");
	assert_int_equal(kill(gwr_pid(), SIGTERM), 0);
	free(gwr_sql("COMMIT"));
	for (int i = 0; i < 3; i++)
		assert_int_equal(answered(fd[i], "hold it to the end"), 200);
	assert_int_equal(times("hold it to the end"), 3);
	gwr_restart();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(at_once), cmocka_unit_test(each_its_answer), cmocka_unit_test(tried_again), cmocka_unit_test(lost), cmocka_unit_test(stuck),
		cmocka_unit_test(locked), cmocka_unit_test(nobody_waits_for_the_leader), cmocka_unit_test(stopping),
	};

	return cmocka_run_group_tests_name("sends", tests, start, gwr_over);
}
