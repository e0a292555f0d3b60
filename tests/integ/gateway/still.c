/* link: tests/env/gateway_rig.c */
/*
 * Postgres stands still (its processes are stopped): every request is answered in bounded time, readiness says what is so also while all
 * threads are held, who comes later does not wait for as long; when it goes on, so does the gateway, nothing is lost or there twice, and no
 * backend is left behind. That commits alone stand still is found out, too. One backend that does is nobody else's trouble. With a running gateway.
 */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../env/gateway_rig.h"
#include "clock.h"
#include "sendq.h"
#include "xalloc.h"

#define TIMEOUT_MS 5000		/* of statements; what waits is given up after 6.5 s */
#define BOUND_MS 30000		/* for an answer, on a busy machine */
#define PIDS 64
#define AGENT "{\"name\":\"%s\",\"model\":\"roost-scripted\"}"
#define HELLO "{\"events\":[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"%s\"}]}]}"
#define OURS "FROM pg_stat_activity WHERE usename = 'roost_gw'"
#define CONNECTIONS 7		/* two threads; reads, sends, writes; readiness; the watch over Postgres */

static char agent[ID_MAX], environment[ID_MAX], session[ID_MAX], events[128], read_uri[128];
static pid_t stopped[PIDS];
static int nstopped;

static int
start(void **state)
{
	gwr_start(gwr_fmt("pg_timeout_ms = %d\n", TIMEOUT_MS));
	gwr_session(GWR_A, agent, environment, session);
	snprintf(events, sizeof events, "/v1/sessions/%s/events", session);
	snprintf(read_uri, sizeof read_uri, "/v1/agents/%s", agent);
	return 0;
}

/* --- Postgres' processes ----------------------------------------------------------------------------------------------------- */

static pid_t
postmaster(void)
{
	FILE *f = fopen(gwr_fmt("%s/data/postmaster.pid", gwr_dir), "r");
	int pid = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &pid), 1);
	fclose(f);
	return pid;
}

static pid_t
parent_of(pid_t pid)
{
	FILE *f = fopen(gwr_fmt("/proc/%d/stat", (int)pid), "r");
	int parent = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%*d (%*[^)]) %*c %d", &parent) != 1)
		parent = 0;
	fclose(f);
	return parent;
}

/* The postmaster first, so that no more are made. */
static void
stand_still(void)
{
	pid_t all = postmaster();
	DIR *proc = opendir("/proc");
	const struct dirent *d;

	assert_non_null(proc);
	nstopped = 0;
	assert_int_equal(kill(all, SIGSTOP), 0);
	stopped[nstopped++] = all;
	while ((d = readdir(proc)) != NULL) {
		pid_t pid = atoi(d->d_name);

		if (pid <= 0 || parent_of(pid) != all)
			continue;
		assert_true(nstopped < PIDS);
		(void)kill(pid, SIGSTOP);
		stopped[nstopped++] = pid;
	}
	closedir(proc);
}

static void
go_on(void)
{
	while (nstopped > 0)
		(void)kill(stopped[--nstopped], SIGCONT);
}

static int
go_on_after(void **state)
{
	(void)state;
	go_on();
	return 0;
}

/* --- requests ---------------------------------------------------------------------------------------------------------------- */

struct call {
	const char *method, *uri, *key, *span;
	char body[256];
	int fd;
};

/* count: which attempt by content alone it is; NULL: it has a key or a span. */
static void
begin(struct call *c, const char *count)
{
	const char *h[16] = { "HTTP_AUTHORIZATION", gwr_fmt("Bearer %s", gwr_key(GWR_A)), "HTTP_ANTHROPIC_VERSION", "2026-10-21",
	    "HTTP_ANTHROPIC_BETA", "managed-agents-2026-04-01", "CONTENT_TYPE", "application/json" };
	int n = 8;

	if (c->key || c->span || count) {
		h[n++] = c->key ? "HTTP_IDEMPOTENCY_KEY" : c->span ? "HTTP_TRACEPARENT" : "HTTP_X_STAINLESS_RETRY_COUNT";
		h[n++] = c->key ? c->key : c->span ? c->span : count;
	}
	h[n] = NULL;
	c->fd = gwr_begin(GWR_A, c->method, c->uri, strlen(c->body), h);
	assert_true(!c->body[0] || gwr_body(c->fd, c->body, strlen(c->body)));
	assert_true(gwr_body(c->fd, NULL, 0));
}

static int
answered(struct call *c)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
	AUTO(str) char *after = NULL;

	assert_true(gwr_answer(c->fd, &r));
	after = gwr_header(&r, "retry-after");
	if (r.status == 503 && !after)
		fail_msg("%s %s: 503 without retry-after", c->method, c->uri);
	return r.status;
}

static void
until_200(struct call *c, const char *count)
{
	int64_t deadline = clock_mono_ms() + BOUND_MS;
	int status;

	do {
		begin(c, count);
		status = answered(c);
		assert_true(status == 200 || status == 503 || status == 409);
	} while (status != 200 && clock_mono_ms() < deadline);
	assert_int_equal(status, 200);
}

/* Readiness says that Postgres is down. */
static void
told(void)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
	int64_t began = clock_mono_ms();
	int fd = gwr_begin(GWR_NOBODY, "GET", "/healthz", 0, NULL);
	const json_t *checks;

	assert_true(gwr_body(fd, NULL, 0));
	assert_true(gwr_answer(fd, &r));
	checks = json_object_get(r.json, "checks");
	if (r.status != 503 || strcmp(jx_str(json_object_get(checks, "postgres"), "status"), "down") != 0)
		fail_msg("readiness %d %s", r.status, r.body);
	if (clock_mono_ms() - began > BOUND_MS)
		fail_msg("readiness took %d ms", (int)(clock_mono_ms() - began));
}

static void
well(void)
{
	for (int64_t deadline = clock_mono_ms() + BOUND_MS;;) {
		__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

		gwr_send(GWR_NOBODY, "GET", "/healthz", NULL, 0, NULL, &r);
		if (r.status == 200)
			return;
		if (clock_mono_ms() > deadline)
			fail_msg("not well: %s", r.body);
	}
}

static bool
logged(const char *what)
{
	return system(gwr_fmt("grep -q '%s' %s/gateway.log", what, gwr_dir)) == 0;
}

static void
until_logged(const char *what)
{
	for (int64_t deadline = clock_mono_ms() + BOUND_MS; !logged(what); (void)usleep(20000))	/* the step of a wait with a deadline */
		if (clock_mono_ms() > deadline)
			fail_msg("%s is not logged", what);
}

static int
times(const char *what)
{
	FILE *f = popen(gwr_fmt("grep -c '%s' %s/gateway.log", what, gwr_dir), "r");
	int n = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &n), 1);
	(void)pclose(f);
	return n;
}

static int
ready_now(void)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

	gwr_send(GWR_NOBODY, "GET", "/healthz", NULL, 0, NULL, &r);
	return r.status;
}

/* How commits wait from now on. */
static void
no_standby(const char *how)
{
	free(gwr_sql("ALTER SYSTEM %s", how));
	free(gwr_sql("SELECT pg_reload_conf()"));
}

/* --- the tests --------------------------------------------------------------------------------------------------------------- */

static void
warm_up(void)
{
	for (int64_t deadline = clock_mono_ms() + BOUND_MS;;) {
		AUTO(str) char *n = NULL;

		free(gwr_sql("SELECT 1"));
		json_decref(gwr_ok(GWR_A, "GET", read_uri, NULL));
		json_decref(gwr_ok(GWR_A, "POST", events, gwr_fmt(HELLO, "warm")));
		n = gwr_sql("SELECT count(*) " OURS " AND application_name IN ('shared', '" SENDQ_NAME "')");
		if (strcmp(n, "2") == 0)
			return;
		if (clock_mono_ms() > deadline)
			fail_msg("%s warm connections", n);
	}
}

#define EACH 4

static void
standstill(void **state)
{
	static const char *const spans[EACH] = { "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-01",
	    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203333-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203334-01" };
	struct call calls[4 * EACH] = { 0 }, late = { .method = "GET", .uri = read_uri };
	char keys[EACH][16];
	int64_t began, since;

	warm_up();
	for (int i = 0; i < EACH; i++) {
		struct call *c = &calls[4 * i];

		snprintf(keys[i], sizeof keys[i], "still-%d", i);
		c[0] = (struct call){ .method = "POST", .uri = events };
		snprintf(c[0].body, sizeof c[0].body, HELLO, gwr_fmt("still %d plain", i));
		c[1] = (struct call){ .method = "POST", .uri = "/v1/agents", .key = keys[i] };
		snprintf(c[1].body, sizeof c[1].body, AGENT, gwr_fmt("still %d key", i));
		c[2] = (struct call){ .method = "POST", .uri = events, .span = spans[i] };
		snprintf(c[2].body, sizeof c[2].body, HELLO, gwr_fmt("still %d span", i));
		c[3] = (struct call){ .method = "GET", .uri = read_uri };
	}
	stand_still();
	began = clock_mono_ms();
	for (int i = 0; i < 4 * EACH; i++)
		begin(&calls[i], "0");
	for (int i = 0; i < 3; i++)
		told();
	until_logged("postgres_stands_still");
	since = clock_mono_ms();
	begin(&late, NULL);
	assert_int_equal(answered(&late), 503);
	told();
	print_message("# known after %d ms; refused within %d ms\n", (int)(since - began), (int)(clock_mono_ms() - since));
	for (int i = 0; i < 4 * EACH; i++)
		assert_int_equal(answered(&calls[i]), 503);
	assert_true(clock_mono_ms() - began < BOUND_MS);
	told();
	since = clock_mono_ms();
	go_on();
	well();
	until_200(&late, NULL);
	print_message("# well %d ms after it went on\n", (int)(clock_mono_ms() - since));
	for (int i = 0; i < 4 * EACH; i++)
		until_200(&calls[i], "1");
	assert_true(logged("postgres_goes_on"));
}

/* What was given up has had one effect together with its retry. */
static void
once_each(void **state)
{
	for (int i = 0; i < EACH; i++) {
		AUTO(str) char *agents = gwr_sql("SELECT count(*) FROM agent WHERE name = 'still %d key'", i);
		AUTO(str) char *plain = gwr_sql("SELECT count(*) FROM inbox WHERE stem LIKE '%%still %d plain%%'", i);
		AUTO(str) char *span = gwr_sql("SELECT count(*) FROM inbox WHERE stem LIKE '%%still %d span%%'", i);

		assert_string_equal(agents, "1");
		assert_string_equal(plain, "1");
		assert_string_equal(span, "1");
	}
}

static void
none_left(void **state)
{
	gwr_wait("t", gwr_fmt("SELECT count(*) <= %d " OURS, CONNECTIONS));
}

/* No commit gets through, and those of readiness keep its row: that Postgres stands still is found out all the same. */
static void
commits_alone(void **state)
{
	struct call send = { .method = "POST", .uri = events, .key = "commits" }, late = { .method = "GET", .uri = read_uri };
	int before = times("postgres_stands_still");
	int64_t deadline = clock_mono_ms() + BOUND_MS;

	warm_up();
	no_standby("SET synchronous_standby_names = 'nobody'");
	while (ready_now() == 200)
		assert_true(clock_mono_ms() < deadline);
	snprintf(send.body, sizeof send.body, HELLO, "commits");
	begin(&send, NULL);
	for (deadline += BOUND_MS; times("postgres_stands_still") == before; assert_int_not_equal(ready_now(), 200))
		if (clock_mono_ms() > deadline)
			fail_msg("nobody has found out");
	begin(&late, NULL);
	assert_int_equal(answered(&late), 503);
	assert_int_equal(answered(&send), 503);
	no_standby("RESET synchronous_standby_names");
	well();
	until_200(&send, NULL);
	gwr_wait("1", "SELECT count(*) FROM inbox WHERE stem LIKE '%commits%'");
}

static int
standby_after(void **state)
{
	(void)state;
	no_standby("RESET synchronous_standby_names");
	return 0;
}

/* The backend of the sends alone: what it has is uncertain, nothing else waits. */
static void
one_backend(void **state)
{
	struct call send = { .method = "POST", .uri = events }, other = { .method = "GET", .uri = read_uri };
	AUTO(str) char *pid = NULL;

	warm_up();
	pid = gwr_sql("SELECT pid " OURS " AND application_name = '" SENDQ_NAME "'");
	stopped[nstopped++] = atoi(pid);
	assert_int_equal(kill(stopped[0], SIGSTOP), 0);
	snprintf(send.body, sizeof send.body, HELLO, "alone");
	begin(&send, "0");
	for (int i = 0; i < 10; i++) {
		begin(&other, NULL);
		assert_int_equal(answered(&other), 200);
	}
	assert_int_equal(answered(&send), 503);
	begin(&other, NULL);
	assert_int_equal(answered(&other), 200);
	go_on();
	gwr_wait("1", "SELECT count(*) FROM inbox WHERE stem LIKE '%alone%'");
	until_200(&send, "1");
	gwr_wait("1", "SELECT count(*) FROM inbox WHERE stem LIKE '%alone%'");
	gwr_wait("t", gwr_fmt("SELECT count(*) <= %d " OURS, CONNECTIONS));
}

/* A gateway that is told to stop meanwhile ends, and leaves nothing. */
static void
stopping(void **state)
{
	struct call c = { .method = "GET", .uri = read_uri };

	stand_still();
	begin(&c, NULL);
	told();
	gwr_restart();
	go_on();
	well();
	gwr_wait("t", gwr_fmt("SELECT count(*) <= %d " OURS, CONNECTIONS));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(standstill, go_on_after), cmocka_unit_test(once_each), cmocka_unit_test(none_left),
		cmocka_unit_test_teardown(commits_alone, standby_after),
		cmocka_unit_test_teardown(one_backend, go_on_after), cmocka_unit_test_teardown(stopping, go_on_after),
	};

	return cmocka_run_group_tests_name("still", tests, start, gwr_over);
}
