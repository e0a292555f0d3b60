/* link: tests/env/gateway_rig.c */
/*
 * One organization's slow requests and everybody else's: whose rows are locked waits with all but one of the threads, the rest of its
 * requests wait without one, bounded, and others are answered as if nothing were the matter. With a running gateway.
 */
#include <poll.h>
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

#define THREADS 4
#define WAITING 6		/* waiting_org_max */
#define ALL (THREADS - 1 + WAITING)
#define SOON_MS 30000		/* half of what a lock is waited for (pg_timeout_ms): who waits for a thread that waits is later */
#define STUCK "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"	/* as it is now, inside a transaction too */

static char agent[ID_MAX], environment[ID_MAX], other_agent[ID_MAX], other_environment[ID_MAX];

static int
start(void **state)
{
	gwr_start("pg_timeout_ms = 60000\nthreads = 4\nwaiting_org_max = 6\n");
	gwr_parts(GWR_A, agent, environment);
	gwr_parts(GWR_C, other_agent, other_environment);
	return 0;
}

/* A change of the agent that is locked; the connection on which its answer comes. */
static int
change(enum gwr_who who, const char *id, const char *text)
{
	const char *body = gwr_fmt("{\"description\":\"%s\"}", text);
	int fd = gwr_begin(who, "POST", gwr_fmt("/v1/agents/%s", id), strlen(body), NULL);

	assert_true(gwr_body(fd, body, strlen(body)));
	assert_true(gwr_body(fd, NULL, 0));
	return fd;
}

static int
answered(int fd)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

	assert_true(gwr_answer(fd, &r));
	return r.status;
}

/* n changes of A's agent, which is locked until let_go(): three have a thread, the others wait. */
static void
hold(int *fd, int n)
{
	free(gwr_sql("BEGIN"));
	free(gwr_sql("SELECT 1 FROM agent WHERE id = '%s' FOR UPDATE", agent));
	for (int i = 0; i < n; i++)
		fd[i] = change(GWR_A, agent, gwr_fmt("%d %lld", i, (long long)clock_mono_us()));
	gwr_wait(gwr_fmt("%d", n < THREADS - 1 ? n : THREADS - 1), STUCK);
}

static void
let_go(void)
{
	free(gwr_sql("COMMIT"));
}

static void
all_answered(const int *fd, int n)
{
	for (int i = 0; i < n; i++)
		assert_int_equal(answered(fd[i]), 200);
}

/* Quick reads go by the connection that all threads share: at most one is made in a second, when one has asked for it. */
static void
until_shared(void)
{
	for (int64_t end = clock_mono_ms() + 20000;;) {
		AUTO(str) char *since = gwr_sql("SELECT clock_timestamp()"), *n = NULL;

		json_decref(gwr_ok(GWR_A, "GET", gwr_fmt("/v1/agents/%s", agent), NULL));
		n = gwr_sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = '" DBSHARE_NAME "' AND query_start >= '%s'", since);
		if (strcmp(n, "1") == 0)
			return;
		assert_true(clock_mono_ms() < end);
	}
}

static void
say(enum gwr_who who, const char *session)
{
	json_decref(gwr_ok(who, "POST", gwr_fmt("/v1/sessions/%s/events", session),
	    "{\"events\":[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"hello\"}]}]}"));
}

static void
others_go_on(void **state)
{
	int fd[ALL], beside;
	int64_t began;

	hold(fd, ALL);
	began = clock_mono_ms();
	for (int i = 0; i < 10; i++) {
		AUTO(json) json_t *list = gwr_ok(GWR_C, "GET", "/v1/agents?limit=5", NULL);
		AUTO(json) json_t *one = gwr_ok(GWR_C, "GET", gwr_fmt("/v1/agents/%s", other_agent), NULL);
		char session[ID_MAX];

		assert_int_equal(answered(change(GWR_C, other_agent, gwr_fmt("%d", i))), 200);
		gwr_session_of(GWR_C, other_agent, other_environment, session);
		say(GWR_C, session);
		json_decref(gwr_ok(GWR_C, "POST", gwr_fmt("/v1/sessions/%s", session), "{\"title\":\"t\"}"));
	}
	assert_true(clock_mono_ms() - began < SOON_MS);
	gwr_wait(gwr_fmt("%d", THREADS - 1), STUCK);		/* and all that time it was so */
	beside = change(GWR_C, other_agent, "beside");
	let_go();
	all_answered(fd, ALL);
	assert_int_equal(answered(beside), 200);
}

/* One more than may hold a thread or wait: one is answered, which is taken out of fd. */
static void
hold_too_many(int fd[ALL + 1])
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
	struct pollfd polls[ALL + 1];
	int which = 0;

	hold(fd, ALL + 1);
	for (int i = 0; i <= ALL; i++)
		polls[i] = (struct pollfd){ .fd = fd[i], .events = POLLIN };
	assert_int_equal(poll(polls, ALL + 1, SOON_MS), 1);
	while (!polls[which].revents)
		which++;
	assert_true(gwr_answer(fd[which], &r));
	assert_int_equal(r.status, 429);
	assert_true(strstr(r.body, "rate_limit_error") && strstr(r.body, "Too many requests of this organization"));
	fd[which] = fd[ALL];
}

/*
 * A read that needs no thread: nothing else of this organization is answered by anything but 429 now. Where Postgres has kept the shared
 * connection waiting for so long that it was given up (dbshare.c), the next one is made within a second, when a read has asked for it.
 */
static void
read_quickly(const char *uri)
{
	AUTO(str) char *what = xstrdup(uri);

	for (int64_t end = clock_mono_ms() + SOON_MS;;) {
		__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

		gwr_send(GWR_A, "GET", what, NULL, 0, NULL, &r);
		if (r.status == 200)
			return;
		assert_int_equal(r.status, 429);
		assert_true(clock_mono_ms() < end);
	}
}

/* What needs no thread, or none for long, is done for the same organization, too. */
static void
quick_ones_go_on(void **state)
{
	char session[ID_MAX];
	int fd[ALL + 1];

	gwr_session_of(GWR_A, agent, environment, session);
	until_shared();
	hold_too_many(fd);
	for (int i = 0; i < 10; i++) {
		read_quickly(gwr_fmt("/v1/agents/%s", agent));
		read_quickly(gwr_fmt("/v1/sessions/%s/events?limit=5", session));
		say(GWR_A, session);
		json_decref(gwr_ok(GWR_A, "POST", "/v1/agents", "{\"name\":\"N\",\"model\":\"roost-scripted\"}"));
	}
	gwr_bad(GWR_A, "GET", "/v1/nowhere", NULL, 404, "not_found_error", "");
	gwr_bad(GWR_A, "GET", "/v1/agents?limit=1", NULL, 429, "rate_limit_error", "Too many requests");
	let_go();
	all_answered(fd, ALL);
}

/* A body stays where it is until its turn. */
static void
bodies_wait(void **state)
{
	AUTO(str) char *long_text = xcalloc(1, 2048), *got = NULL;
	int fd[ALL];

	memset(long_text, 'x', 2000);
	hold(fd, THREADS - 1);
	for (int i = THREADS - 1; i < ALL; i++)
		fd[i] = change(GWR_A, agent, gwr_fmt("last %d %s", i, long_text));
	json_decref(gwr_ok(GWR_C, "GET", "/v1/agents?limit=1", NULL));
	let_go();
	all_answered(fd, ALL);
	got = gwr_sql("SELECT count(*) FROM agent_version WHERE agent_id = '%s' AND body LIKE '%%last %% xxx%%'", agent);
	assert_int_equal(atoi(got), WAITING);
}

static void
too_many_are_refused(void **state)
{
	int fd[ALL + 1];

	hold_too_many(fd);
	gwr_bad(GWR_B, "GET", "/v1/agents?limit=1", NULL, 429, "rate_limit_error", "Too many requests");	/* the same organization's */
	json_decref(gwr_ok(GWR_C, "GET", "/v1/agents?limit=1", NULL));
	let_go();
	all_answered(fd, ALL);
	json_decref(gwr_ok(GWR_B, "GET", "/v1/agents?limit=1", NULL));
}

/* A gateway that is to end answers those first that wait. */
static void
stopping_answers_them(void **state)
{
	int fd[ALL + 1];

	hold_too_many(fd);
	assert_int_equal(kill(gwr_pid(), SIGTERM), 0);
	let_go();
	all_answered(fd, ALL);
	gwr_restart();
	json_decref(gwr_ok(GWR_A, "GET", "/v1/agents?limit=1", NULL));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(others_go_on),
		cmocka_unit_test(quick_ones_go_on),
		cmocka_unit_test(bodies_wait),
		cmocka_unit_test(too_many_are_refused),
		cmocka_unit_test(stopping_answers_them),
	};

	return cmocka_run_group_tests_name("gateway/shares", tests, start, gwr_over);
}
