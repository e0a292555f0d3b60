/* link: tests/env/stream_rig.c gateway/stream/hub.c gateway/stream/hub_live.c gateway/stream/hub_mail.c gateway/stream/hub_round.c gateway/stream/hub_io.c gateway/stream/hub_feed.c gateway/stream/hub_replay.c gateway/stream/hub_share.c gateway/stream/hub_watch.c gateway/stream/hub_preview.c gateway/stream/hub_marks.c gateway/stream/hub_frame.c gateway/stream/door.c gateway/stream/target.c gateway/auth.c gateway/head.c gateway/refusal.c */
/*
 * The stream process's parts, in this program, against a real Postgres and a real Redis: what must reach an open stream, and what must
 * end it. Resuming: replay.c; what may die: faults.c. Waits for events with deadlines.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcgiapp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "clock.h"
#include "door.h"
#include "hub.h"
#include "../../env/stream_rig.h"

#define STREAMS_MAX 40
#define SESSIONS 300		/* more than hub.c compares with the log at a time (PART) */
#define PING_MS 4000		/* far from what comes at once, on the busiest machine */
#define AT_ONCE_MS (PING_MS / 2)

static struct loop *loop;
static struct hub *hub;
static struct doors *doors;
static pthread_t hub_thread;
static int listen_fd;
static char path[200];

/* --- the tests ----------------------------------------------------------------------------------------------------------------- */

static void
refused(const struct sr_ask *a, const char *status, const char *text)
{
	struct sr_client c = sr_ask(a);

	sr_expect_end(&c);
	if (!sr_heard(&c, status) || !sr_heard(&c, text) || !sr_heard(&c, "request-id: req_"))
		fail_msg("%s %s: wanted %s and %s, got %s", a->method, a->path, status, text, c.text.data);
	sr_hang_up(&c);
}

static void
checks_in_order(void **state)
{
	char good[160], other[160], bad[160];
	const struct { struct sr_ask ask; const char *status, *text; } cases[] = {
		{ { "GET",  "/v1/sessions/x/stream", NULL, NULL, NULL, NULL }, "Status: 404", "\"Not found\"" },
		{ { "POST", good, NULL, NULL, NULL, NULL },                    "Status: 405", "Allow: GET" },
		{ { "HEAD", good, "", "", "", NULL },                          "Status: 405", "Allow: GET" },
		{ { "GET",  good, NULL, NULL, NULL, NULL },                    "Status: 401", "Authentication failed" },
		{ { "GET",  good, "nonsense", "", "", NULL },                  "Status: 401", "authentication_error" },
		{ { "GET",  bad, "", NULL, NULL, NULL },                       "Status: 404", "\"not found\"" },
		{ { "GET",  bad, "", "", NULL, NULL },                         "Status: 400", "anthropic-version: header is required" },
		{ { "GET",  bad, "", "", "", NULL },                           "Status: 400", "event_deltas[0]" },
		{ { "GET",  "/v1/sessions/sesn_x/events/stream", "", "", "", NULL }, "Status: 400", "Invalid session ID." },
		{ { "GET",  good, sr_key[1], "", "", NULL },                      "Status: 404", "not_found_error" },	/* another workspace's */
		{ { "GET",  other, "", "", "", NULL },                         "Status: 404", "Thread not found: sthr_01" },
	};

	sr_new_session();
	snprintf(good, sizeof good, "/v1/sessions/%s/events/stream", sr_session);
	snprintf(other, sizeof other, "/v1/sessions/%s/threads/sthr_011111111111111111111111/stream", sr_session);
	snprintf(bad, sizeof bad, "%s?event_deltas[]=bogus", good);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		refused(&cases[i].ask, cases[i].status, cases[i].text);
}

static void
headers_and_ping(void **state)
{
	struct sr_client c;

	sr_new_session();
	snprintf(path, sizeof path, "/v1/sessions/%s/threads/%s/stream", sr_session, sr_thread);
	c = sr_ask(SR_GET(path));
	sr_expect(&c, "Content-Type: text/event-stream\r\n");
	sr_expect(&c, "anthropic-organization-id: org\r\n");
	sr_expect(&c, "anthropic-workspace-id: wrkspc_1\r\n");
	assert_in_range(sr_expect(&c, "event: ping\ndata: {}\n\n"), 0, PING_MS + AT_ONCE_MS);
	sr_hang_up(&c);
}

static void
live_and_gapless(void **state)
{
	struct sr_client c, old;

	sr_new_session();
	sr_commit("before", 0);
	c = sr_open_stream("");
	snprintf(path, sizeof path, "/v1/sessions/%s/events/stream?beta=true", sr_session);
	old = sr_ask(&(struct sr_ask){ "GET", path, "", "", "", "Anthropic/JS 0.86.1" });
	sr_expect(&old, "Status: 200 OK");
	sr_emit("one");
	assert_in_range(sr_expect(&c, "event: one\ndata: {\"id\":\"sevt_2\""), 0, AT_ONCE_MS);
	sr_expect(&old, "event: message\ndata: {\"id\":\"sevt_2\"");
	sr_commit("two", 0);			/* its publication is lost */
	sr_emit("three");
	sr_publish("one", 2, NULL);		/* and this one comes twice */
	assert_in_range(sr_expect(&c, "event: three\n"), 0, AT_ONCE_MS);
	sr_expect(&c, "event: two\n");
	assert_int_equal(sr_count(&c, "event: two\n") + sr_count(&c, "event: one\n") + sr_count(&c, "event: three\n"), 3);
	assert_true(strstr(c.text.data, "event: two\n") < strstr(c.text.data, "event: three\n"));
	assert_false(sr_heard(&c, "before"));
	sr_hang_up(&c);
	sr_hang_up(&old);
}

/* Connections that wait for something in Redis: the hub's. */
static int
listening(void)
{
	char command[300], line[100];
	int n = -1;
	FILE *f;

	snprintf(command, sizeof command, "redis-cli -s %s INFO clients", sr_conf.redis_socket);
	f = popen(command, "r");
	assert_non_null(f);
	while (fgets(line, sizeof line, f))
		(void)sscanf(line, "blocked_clients:%d", &n);
	pclose(f);
	return n;
}

static void
until_listening(int want)
{
	for (int64_t end = clock_mono_ms() + SR_SOON_MS; listening() != want;)
		assert_true(clock_mono_ms() < end);
}

/* It begins to read with its first stream, and that one misses nothing, whenever it comes. */
static void
without_streams_it_reads_nothing(void **state)
{
	for (int i = 0; i < 3; i++) {
		struct sr_client c;

		until_listening(0);
		sr_new_session();
		c = sr_open_stream("");
		sr_emit("one");
		assert_in_range(sr_expect(&c, "event: one\n"), 0, AT_ONCE_MS);
		until_listening(1);		/* again: between two reads it is none */
		sr_hang_up(&c);
	}
}

static void
a_lost_publication_arrives(void **state)
{
	struct sr_client c;

	sr_new_session();
	c = sr_open_stream("");
	for (int i = 0; i < 250; i++)		/* more than one read of the log */
		sr_commit("lost", 0);
	assert_in_range(sr_expect(&c, "\"n\":250,"), 0, PING_MS + AT_ONCE_MS);
	assert_int_equal(sr_count(&c, "event: lost\n"), 250);
	sr_hang_up(&c);
}

/* More sessions than are compared with the log at a time: none of them is left out of the round. */
static void
lost_publications_of_many_sessions_arrive(void **state)
{
	const struct conf usual = sr_conf;
	static struct sr_client c[SESSIONS];
	int64_t t0;

	sr_conf.sse_max = sr_conf.sse_max_org = sr_conf.sse_max_key = SESSIONS;
	for (int i = 0; i < SESSIONS; i++) {
		sr_new_session();
		c[i] = sr_open_stream("");
	}
	sr_sql("INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body)"
	    " SELECT id, 1, 'sevt_011111111111111111111111', 'lost', thread_id, now(), '{\"id\":\"sevt_011111111111111111111111\",\"type\":\"lost\"}'"
	    " FROM session WHERE last_seq = 0");
	sr_sql("UPDATE session SET last_seq = 1 WHERE last_seq = 0");
	t0 = clock_mono_ms();
	for (int i = 0; i < SESSIONS; i++) {
		sr_expect(&c[i], "event: lost\n");
		assert_int_equal(sr_count(&c[i], "event: lost\n"), 1);
	}
	assert_in_range(clock_mono_ms() - t0, 0, PING_MS + AT_ONCE_MS);
	for (int i = 0; i < SESSIONS; i++)
		sr_hang_up(&c[i]);
	sr_conf = usual;
}

static void
large_bodies_come_from_the_log(void **state)
{
	struct sr_client c;

	sr_new_session();
	c = sr_open_stream("");
	sr_commit("large", 300000);
	sr_publish("large", sr_last_seq, "");
	sr_emit("small");
	assert_in_range(sr_expect(&c, "event: small\n"), 0, AT_ONCE_MS);
	sr_expect(&c, "event: large\n");
	assert_true(c.text.len > 300000);
	sr_hang_up(&c);
}

static void
redis_dies(void **state)
{
	struct sr_client c;

	sr_new_session();
	c = sr_open_stream("");
	sr_emit("one");
	sr_expect(&c, "event: one\n");
	sr_redis_kill();
	sr_commit("two", 0);
	sr_expect(&c, "event: two\n");
	sr_redis_start();
	sr_emit("three");
	sr_expect(&c, "event: three\n");
	sr_hang_up(&c);
}

static void
previews(void **state)
{
	static const char start[] = "{\"type\":\"event_start\",\"event\":{\"type\":\"agent.message\",\"id\":\"sevt_1\"}}";
	static const char delta[] = "{\"type\":\"event_delta\",\"event_id\":\"sevt_1\",\"delta\":{\"type\":\"content_delta\"}}";
	struct sr_client with, without, late;

	sr_new_session();
	with = sr_open_stream("?event_deltas%5B%5D=agent.message");
	without = sr_open_stream("");
	sr_publish("event_start", 0, start);
	sr_expect(&with, "event: event_start\ndata: {\"type\":\"event_start\"");
	late = sr_open_stream("?event_deltas[]=agent.message");
	sr_publish("event_delta", 0, delta);
	sr_emit("agent.message");
	sr_expect(&with, "event: agent.message\n");
	sr_expect(&without, "event: agent.message\n");
	sr_expect(&late, "event: agent.message\n");
	assert_int_equal(sr_count(&with, "event: event_delta\n"), 1);
	assert_int_equal(sr_count(&without, "event: event_"), 0);
	assert_int_equal(sr_count(&late, "event: event_"), 0);
	sr_hang_up(&with);
	sr_hang_up(&without);
	sr_hang_up(&late);
}

/* Wherever a preview was lost, no text follows the hole; nor is any repeated. */
static void
previews_with_holes(void **state)
{
	static const char start[] = "{\"type\":\"event_start\",\"event\":{\"type\":\"agent.message\",\"id\":\"sevt_%d\"}}";
	static const char delta[] = "{\"type\":\"event_delta\",\"event_id\":\"sevt_%d\",\"delta\":{\"n\":%d}}";
	static const struct { const char *number; bool arrives; } deltas[] = {
		{ "a1-8", true }, { "b2-1", false }, { "a1-9", true }, { "a1-9", false }, { "a1-11", false }, { "a1-12", false },
	};
	struct sr_client c;
	char text[128];
	int want = 0;

	sr_new_session();
	c = sr_open_stream("?event_deltas[]=agent.message");
	snprintf(text, sizeof text, start, 1);
	sr_preview("event_start", text, "a1-7");
	for (int i = 0; i < (int)(sizeof deltas / sizeof *deltas); i++) {
		snprintf(text, sizeof text, delta, *deltas[i].number == 'b' ? 2 : 1, i);
		sr_preview("event_delta", text, deltas[i].number);
		want += deltas[i].arrives;
	}
	sr_emit("agent.message");
	sr_expect(&c, "event: agent.message\n");
	assert_int_equal(sr_count(&c, "event: event_delta\n"), want);
	for (int i = 0; i < (int)(sizeof deltas / sizeof *deltas); i++) {
		snprintf(text, sizeof text, "{\"n\":%d}", i);
		assert_int_equal(sr_heard(&c, text), deltas[i].arrives);
	}
	sr_hang_up(&c);
}

static void
ends(void **state)
{
	struct sr_client c;

	sr_new_session();
	c = sr_open_stream("");
	sr_emit("session.status_terminated");
	sr_expect(&c, "event: session.status_terminated\n");
	sr_expect_end(&c);
	sr_hang_up(&c);
	c = sr_open_stream("");			/* of a terminated session: open, silent */
	sr_expect(&c, "event: ping\n");
	sr_sql("DELETE FROM event WHERE session_id = '%s'", sr_session);
	sr_sql("DELETE FROM session WHERE id = '%s'", sr_session);
	sr_expect(&c, "event: session.deleted\ndata: {\"id\":\"sevt_");	/* though its publication was lost */
	sr_expect_end(&c);
	sr_hang_up(&c);
	sr_new_session();
	c = sr_open_stream("");
	sr_publish("session.deleted", 9, "{\"id\":\"sevt_9\",\"type\":\"session.deleted\"}");
	sr_expect(&c, "event: session.deleted\n");
	sr_expect_end(&c);
	sr_hang_up(&c);
}

static void
a_revoked_key_loses_its_streams(void **state)
{
	struct sr_client c;

	sr_new_session();
	c = sr_open_stream("");
	sr_sql("UPDATE api_key SET revoked_at = now() WHERE id = 'apikey_0'");
	sr_expect(&c, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"authentication_error\"");
	sr_expect_end(&c);
	sr_hang_up(&c);
	sr_sql("UPDATE api_key SET revoked_at = NULL WHERE id = 'apikey_0'");
}

static void
commit_large(int n)
{
	for (int i = 0; i < n; i++) {
		sr_commit("large", 100000);
		sr_publish("large", sr_last_seq, "");
	}
}

/* One that never reads is cut, and only that one. */
static void
a_silent_reader_is_cut(void **state)
{
	struct sr_client silent, c;
	struct pollfd p;
	char tail[32];

	sr_new_session();
	silent = sr_open_stream("");
	c = sr_open_stream("");
	commit_large(12);
	snprintf(tail, sizeof tail, "\"n\":%d,", sr_last_seq);
	sr_expect(&c, tail);
	p = (struct pollfd){ .fd = silent.fd };		/* only whether the other end has closed */
	assert_int_equal(poll(&p, 1, SR_SOON_MS), 1);
	assert_true(p.revents & POLLHUP);
	sr_emit("after");
	sr_expect(&c, "event: after\n");
	sr_hang_up(&silent);
	sr_hang_up(&c);
}

/* One that reads late, but reads, gets everything in order, whatever the bound of its queue. */
static void
a_late_reader_gets_everything(void **state)
{
	struct sr_client late, c;
	char tail[32];

	sr_new_session();
	late = sr_open_stream("");
	c = sr_open_stream("");
	commit_large(12);
	snprintf(tail, sizeof tail, "\"n\":%d,", sr_last_seq);
	sr_expect(&c, tail);
	sr_expect(&late, tail);
	assert_int_equal(sr_count(&late, "event: large\n"), 12);
	sr_emit("after");
	sr_expect(&late, "event: after\n");
	sr_hang_up(&late);
	sr_hang_up(&c);
}

static void
full(void **state)
{
	struct sr_client c[STREAMS_MAX], more;
	int64_t until = clock_mono_ms() + SR_SOON_MS;

	sr_new_session();
	snprintf(path, sizeof path, "%s", sr_path(""));
	for (int i = 0; i < STREAMS_MAX; i++)
		c[i] = sr_open_stream("");
	refused(SR_GET(path), "Status: 503", "retry-after: 1");
	for (int i = 0; i < STREAMS_MAX; i++)
		sr_hang_up(&c[i]);
	do {					/* the hub notices who left */
		more = sr_ask(SR_GET(path));
		sr_hear(&more, SR_SOON_MS);
	} while (!sr_heard(&more, "Status: 200") && clock_mono_ms() < until);
	assert_true(sr_heard(&more, "Status: 200"));
	sr_hang_up(&more);
}

/* A key, and an organization, may hold so many streams of a hub and no more; who leaves makes room. */
static void
shares(void **state)
{
	const struct conf usual = sr_conf;
	int64_t until = clock_mono_ms() + SR_SOON_MS;
	struct sr_client one, two, more;

	sr_new_session();
	snprintf(path, sizeof path, "%s", sr_path(""));
	sr_conf.sse_max_key = 2;
	one = sr_open_stream("");
	two = sr_open_stream("");
	refused(SR_GET(path), "Status: 429", "This API key has too many open event streams");
	refused(SR_GET(path), "rate_limit_error", "retry-after: 1");
	refused(&(struct sr_ask){ "GET", path, sr_key[1], "", "", NULL }, "Status: 404", "not_found_error");	/* its own share has room */
	sr_conf.sse_max_org = 2;
	refused(&(struct sr_ask){ "GET", path, sr_key[1], "", "", NULL }, "Status: 429", "This organization has too many open event streams");
	sr_hang_up(&two);
	do {
		more = sr_ask(SR_GET(path));
		sr_hear(&more, SR_SOON_MS);
	} while (!sr_heard(&more, "Status: 200") && clock_mono_ms() < until);
	assert_true(sr_heard(&more, "Status: 200"));
	sr_hang_up(&one);
	sr_hang_up(&more);
	sr_conf = usual;
}

static void
stop_is_clean(void **state)
{
	struct sr_client c;

	sr_new_session();
	c = sr_open_stream("");
	raise(SIGUSR2);
	sr_expect(&c, "retry: ");
	sr_expect_end(&c);
	sr_hang_up(&c);
	pthread_join(hub_thread, NULL);
}

/* --- frame --------------------------------------------------------------------------------------------------------------------- */

static int stop_pipe[2];

static void
on_stop(void *ctx, int fd, uint32_t events)
{
	loop_unwatch(loop, fd);
	doors_shut(doors);
	hub_stop(hub, 2000);
}

static void
on_usr2(int sig)
{
	(void)!write(stop_pipe[1], "x", 1);
}

static void *
hub_main(void *arg)
{
	loop_run(loop);
	return NULL;
}

static int
setup(void **state)
{
	struct err e = ERR_INIT;
	struct auth *auth;

	sr_start(STREAMS_MAX);
	sr_conf.sse_ping_ms = PING_MS;
	assert_int_equal(FCGX_Init(), 0);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, SIG_DFL);		/* libfcgi took it */
	assert_int_equal(pipe(stop_pipe), 0);
	signal(SIGUSR2, on_usr2);
	loop = loop_new();
	loop_watch(loop, stop_pipe[0], 1 /* EPOLLIN */, on_stop, NULL);
	hub = hub_new(loop, &sr_conf);
	auth = auth_open(&sr_conf, &e);
	assert_non_null(auth);
	listen_fd = FCGX_OpenSocket(sr_conf.listen_socket, 100);
	doors = doors_open(&sr_conf, auth, hub, listen_fd);
	return pthread_create(&hub_thread, NULL, hub_main, NULL);
}

static int
teardown(void **state)
{
	hub_free(&hub);
	loop_free(&loop);
	return sr_stop();
}

#define T(test) cmocka_unit_test_teardown(test, sr_clear)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(checks_in_order), T(headers_and_ping), T(live_and_gapless),
		T(without_streams_it_reads_nothing),
		T(a_lost_publication_arrives), T(lost_publications_of_many_sessions_arrive), T(large_bodies_come_from_the_log),
		T(redis_dies), T(previews), T(previews_with_holes), T(ends),
		T(a_revoked_key_loses_its_streams), T(a_silent_reader_is_cut),
		T(a_late_reader_gets_everything), T(full), T(shares),
		T(stop_is_clean),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
