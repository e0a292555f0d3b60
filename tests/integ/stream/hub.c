/* link: gateway/stream/hub.c gateway/stream/hub_io.c gateway/stream/hub_feed.c gateway/stream/hub_replay.c gateway/stream/hub_watch.c gateway/stream/hub_preview.c gateway/stream/hub_frame.c gateway/stream/door.c gateway/stream/target.c gateway/auth.c */
/*
 * The stream process against a real Postgres and a real Redis, with this test in nginx's place: it speaks FastCGI to the socket. What
 * must reach an open stream whatever dies, and what must end it. Waits for events with deadlines; ends the servers it started.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcgiapp.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apikey.h"
#include "bus.h"
#include "buf.h"
#include "clock.h"
#include "door.h"
#include "hub.h"
#include "id.h"
#include "xalloc.h"

#define PING_MS 600
#define SOON_MS 3000
#define STREAMS_MAX 40

static char dir[64], session[ID_MAX], thread[ID_MAX], key[2][APIKEY_LEN + 1];
static struct conf conf;
static struct bus *bus;
static PGconn *owner;
static pid_t redis;
static struct loop *loop;
static struct hub *hub;
static struct doors *doors;
static pthread_t hub_thread;
static int listen_fd, last_seq;

/* --- the servers --------------------------------------------------------------------------------------------------------------- */

static void
sql(const char *fmt, ...)
{
	char text[2048];
	va_list ap;
	PGresult *r;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	r = PQexec(owner, text);
	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", text, PQerrorMessage(owner));
	PQclear(r);
}

static void
redis_start(void)
{
	int64_t until = clock_mono_ms() + 5000;
	struct err e = ERR_INIT;

	redis = fork();
	if (redis == 0) {
		dup2(open("/dev/null", O_WRONLY), 1);
		execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", conf.redis_socket, "--save", "", "--appendonly", "no",
		    "--dir", dir, (char *)NULL);
		_exit(127);
	}
	while (bus_ping(bus, &e) < 0 && clock_mono_ms() < until)
		usleep(5000);
	assert_int_equal(bus_ping(bus, &e), 0);
}

static void
redis_kill(void)
{
	kill(redis, SIGKILL);
	waitpid(redis, NULL, 0);
}

/* --- a client in nginx's place ------------------------------------------------------------------------------------------------- */

struct client {
	int fd;
	struct buf raw, text;
	bool ended;			/* END_REQUEST seen */
	bool closed;
};

static void
record(struct buf *b, int type, const char *data, size_t len)
{
	const unsigned char h[8] = { 1, (unsigned char)type, 0, 1, (unsigned char)(len >> 8), (unsigned char)len, 0, 0 };

	buf_put(b, h, sizeof h);
	buf_put(b, data, len);
}

static void
param(struct buf *b, const char *name, const char *value)
{
	size_t n = strlen(value);

	buf_ch(b, (char)strlen(name));
	if (n < 128)
		buf_ch(b, (char)n);
	else {
		buf_ch(b, (char)(0x80 | n >> 24));
		buf_ch(b, (char)(n >> 16));
		buf_ch(b, (char)(n >> 8));
		buf_ch(b, (char)n);
	}
	buf_str(b, name);
	buf_str(b, value);
}

/* What is NULL is left out of the request, what is "" is a good value. */
struct ask { const char *method, *path, *bearer, *beta, *version, *agent; };

#define GET(p) (&(struct ask){ "GET", (p), "", "", "", NULL })

static const char *
value(const char *given, const char *good)
{
	return given && !*given ? good : given;
}

static struct client
ask(const struct ask *a)
{
	static const char begin[8] = { 0, 1 };
	struct client c = { .fd = socket(AF_UNIX, SOCK_STREAM, 0) };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	AUTO(buf) struct buf params = BUF_INIT(0), out = BUF_INIT(0);
	AUTO(str) char *bearer = a->bearer ? xasprintf("Bearer %s", value(a->bearer, key[0])) : NULL;

	snprintf(sa.sun_path, sizeof sa.sun_path, "%s", conf.listen_socket);
	assert_int_equal(connect(c.fd, (struct sockaddr *)&sa, sizeof sa), 0);
	param(&params, "REQUEST_METHOD", a->method);
	param(&params, "REQUEST_URI", a->path);
	if (bearer)
		param(&params, "HTTP_AUTHORIZATION", bearer);
	if (a->beta)
		param(&params, "HTTP_ANTHROPIC_BETA", value(a->beta, "managed-agents-2026-04-01"));
	if (a->version)
		param(&params, "HTTP_ANTHROPIC_VERSION", value(a->version, "2026-10-21"));
	if (a->agent)
		param(&params, "HTTP_USER_AGENT", a->agent);
	record(&out, 1, begin, sizeof begin);
	record(&out, 4, params.data, params.len);
	record(&out, 4, "", 0);
	record(&out, 5, "", 0);
	assert_int_equal(send(c.fd, out.data, out.len, MSG_NOSIGNAL), out.len);
	return c;
}

/* Take whole records out of what was read. */
static void
unwrap(struct client *c)
{
	while (c->raw.len >= 8) {
		const unsigned char *h = (const unsigned char *)c->raw.data;
		size_t len = (size_t)h[4] << 8 | h[5], whole = 8 + len + h[6];

		if (c->raw.len < whole)
			return;
		if (h[1] == 6)
			buf_put(&c->text, h + 8, len);
		c->ended = c->ended || h[1] == 3;
		buf_shift(&c->raw, whole);
	}
}

static void
hear(struct client *c, int ms)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };
	char part[65536];
	ssize_t n;

	if (poll(&p, 1, ms) <= 0)
		return;
	n = recv(c->fd, part, sizeof part, 0);
	if (n <= 0) {
		c->closed = true;
		return;
	}
	buf_put(&c->raw, part, (size_t)n);
	unwrap(c);
}

static bool
heard(const struct client *c, const char *what)
{
	return c->text.data && strstr(c->text.data, what);
}

/* Wait until the client has got this text. Returns the milliseconds it took. */
static int64_t
expect(struct client *c, const char *what)
{
	int64_t t0 = clock_mono_ms();

	while (!heard(c, what) && !c->closed && clock_mono_ms() - t0 < SOON_MS)
		hear(c, 50);
	if (!heard(c, what))
		fail_msg("no \"%s\" in \"%.600s\"", what, c->text.data ? c->text.data : "");
	return clock_mono_ms() - t0;
}

static void
expect_end(struct client *c)
{
	int64_t t0 = clock_mono_ms();

	while (!c->closed && clock_mono_ms() - t0 < SOON_MS)
		hear(c, 50);
	assert_true(c->ended);
	assert_true(c->closed);
}

static int
count(const struct client *c, const char *what)
{
	int n = 0;

	for (const char *p = c->text.data; p && (p = strstr(p, what)); p++)
		n++;
	return n;
}

static void
hang_up(struct client *c)
{
	close(c->fd);
	buf_free(&c->raw);
	buf_free(&c->text);
}

static char path[160];

static struct client
open_stream(const char *query)
{
	struct client c;

	snprintf(path, sizeof path, "/v1/sessions/%s/events/stream%s", session, query);
	c = ask(GET(path));
	expect(&c, "Status: 200 OK");
	return c;
}

/* --- a session ----------------------------------------------------------------------------------------------------------------- */

static void
new_session(void)
{
	id_new("sesn_", session);
	id_new("sthr_", thread);
	last_seq = 0;
	sql("INSERT INTO session (id, organization_id, workspace_id, agent_id, agent_version, environment_id, thread_id, agent, last_at,"
	    " created_at, updated_at) VALUES ('%s', 'org', 'wrkspc_1', 'agent_1', 1, 'env_1', '%s', '{}', now(), now(), now())", session, thread);
}

/* Commit an event to the log; its body grows to `size` when that is larger. */
static void
commit(const char *type, int size)
{
	last_seq++;
	sql("INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body) VALUES ('%s', %d, 'sevt_%d', '%s', '%s', now(),"
	    " '{\"id\":\"sevt_%d\",\"type\":\"%s\",\"n\":' || %d || ',\"x\":\"' || repeat('x', %d) || '\"}')", session, last_seq, last_seq,
	    type, thread, last_seq, type, last_seq, size);
	sql("UPDATE session SET last_seq = %d WHERE id = '%s'", last_seq, session);
}

static void
publish(const char *type, int seq, const char *body)
{
	char text[128];
	struct err e = ERR_INIT;

	snprintf(text, sizeof text, "{\"id\":\"sevt_%d\",\"type\":\"%s\",\"n\":%d,\"x\":\"\"}", seq, type, seq);
	assert_int_equal(bus_publish(bus, session, type, seq, body ? body : text, &e), 0);
}

static void
emit(const char *type)
{
	commit(type, 0);
	publish(type, last_seq, NULL);
}

/* --- the tests ----------------------------------------------------------------------------------------------------------------- */

static void
refused(const struct ask *a, const char *status, const char *text)
{
	struct client c = ask(a);

	expect_end(&c);
	if (!heard(&c, status) || !heard(&c, text) || !heard(&c, "request-id: req_"))
		fail_msg("%s %s: wanted %s and %s, got %s", a->method, a->path, status, text, c.text.data);
	hang_up(&c);
}

static void
checks_in_order(void **state)
{
	char good[160], other[160], bad[160];
	const struct { struct ask ask; const char *status, *text; } cases[] = {
		{ { "GET",  "/v1/sessions/x/stream", NULL, NULL, NULL, NULL }, "Status: 404", "\"Not found\"" },
		{ { "POST", good, NULL, NULL, NULL, NULL },                    "Status: 405", "Allow: GET" },
		{ { "HEAD", good, "", "", "", NULL },                          "Status: 405", "Allow: GET" },
		{ { "GET",  good, NULL, NULL, NULL, NULL },                    "Status: 401", "Authentication failed" },
		{ { "GET",  good, "nonsense", "", "", NULL },                  "Status: 401", "authentication_error" },
		{ { "GET",  bad, "", NULL, NULL, NULL },                       "Status: 404", "\"not found\"" },
		{ { "GET",  bad, "", "", NULL, NULL },                         "Status: 400", "anthropic-version: header is required" },
		{ { "GET",  bad, "", "", "", NULL },                           "Status: 400", "event_deltas[0]" },
		{ { "GET",  "/v1/sessions/sesn_x/events/stream", "", "", "", NULL }, "Status: 400", "Invalid session ID." },
		{ { "GET",  good, key[1], "", "", NULL },                      "Status: 404", "not_found_error" },	/* another workspace's */
		{ { "GET",  other, "", "", "", NULL },                         "Status: 404", "Thread not found: sthr_01" },
	};

	new_session();
	snprintf(good, sizeof good, "/v1/sessions/%s/events/stream", session);
	snprintf(other, sizeof other, "/v1/sessions/%s/threads/sthr_011111111111111111111111/stream", session);
	snprintf(bad, sizeof bad, "%s?event_deltas[]=bogus", good);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		refused(&cases[i].ask, cases[i].status, cases[i].text);
}

static void
headers_and_ping(void **state)
{
	struct client c;

	new_session();
	snprintf(path, sizeof path, "/v1/sessions/%s/threads/%s/stream", session, thread);
	c = ask(GET(path));
	expect(&c, "Content-Type: text/event-stream\r\n");
	expect(&c, "anthropic-organization-id: org\r\n");
	expect(&c, "anthropic-workspace-id: wrkspc_1\r\n");
	assert_in_range(expect(&c, "event: ping\ndata: {}\n\n"), 0, PING_MS + 200);
	hang_up(&c);
}

static void
live_and_gapless(void **state)
{
	struct client c, old;

	new_session();
	commit("before", 0);
	c = open_stream("");
	snprintf(path, sizeof path, "/v1/sessions/%s/events/stream?beta=true", session);
	old = ask(&(struct ask){ "GET", path, "", "", "", "Anthropic/JS 0.86.1" });
	expect(&old, "Status: 200 OK");
	emit("one");
	assert_in_range(expect(&c, "event: one\ndata: {\"id\":\"sevt_2\""), 0, PING_MS / 2);
	expect(&old, "event: message\ndata: {\"id\":\"sevt_2\"");
	commit("two", 0);			/* its publication is lost */
	emit("three");
	publish("one", 2, NULL);		/* and this one comes twice */
	assert_in_range(expect(&c, "event: three\n"), 0, PING_MS / 2);
	expect(&c, "event: two\n");
	assert_int_equal(count(&c, "event: two\n") + count(&c, "event: one\n") + count(&c, "event: three\n"), 3);
	assert_true(strstr(c.text.data, "event: two\n") < strstr(c.text.data, "event: three\n"));
	assert_false(heard(&c, "before"));
	hang_up(&c);
	hang_up(&old);
}

static void
a_lost_publication_arrives(void **state)
{
	struct client c;

	new_session();
	c = open_stream("");
	for (int i = 0; i < 250; i++)		/* more than one read of the log */
		commit("lost", 0);
	assert_in_range(expect(&c, "\"n\":250,"), 0, PING_MS + 400);
	assert_int_equal(count(&c, "event: lost\n"), 250);
	hang_up(&c);
}

static void
large_bodies_come_from_the_log(void **state)
{
	struct client c;

	new_session();
	c = open_stream("");
	commit("large", 300000);
	publish("large", last_seq, "");
	emit("small");
	assert_in_range(expect(&c, "event: small\n"), 0, PING_MS);
	expect(&c, "event: large\n");
	assert_true(c.text.len > 300000);
	hang_up(&c);
}

static void
redis_dies(void **state)
{
	struct client c;

	new_session();
	c = open_stream("");
	emit("one");
	expect(&c, "event: one\n");
	redis_kill();
	commit("two", 0);
	expect(&c, "event: two\n");
	redis_start();
	emit("three");
	expect(&c, "event: three\n");
	hang_up(&c);
}

static void
previews(void **state)
{
	static const char start[] = "{\"type\":\"event_start\",\"event\":{\"type\":\"agent.message\",\"id\":\"sevt_1\"}}";
	static const char delta[] = "{\"type\":\"event_delta\",\"event_id\":\"sevt_1\",\"delta\":{\"type\":\"content_delta\"}}";
	struct client with, without, late;

	new_session();
	with = open_stream("?event_deltas%5B%5D=agent.message");
	without = open_stream("");
	publish("event_start", 0, start);
	expect(&with, "event: event_start\ndata: {\"type\":\"event_start\"");
	late = open_stream("?event_deltas[]=agent.message");
	publish("event_delta", 0, delta);
	emit("agent.message");
	expect(&with, "event: agent.message\n");
	expect(&without, "event: agent.message\n");
	expect(&late, "event: agent.message\n");
	assert_int_equal(count(&with, "event: event_delta\n"), 1);
	assert_int_equal(count(&without, "event: event_"), 0);
	assert_int_equal(count(&late, "event: event_"), 0);
	hang_up(&with);
	hang_up(&without);
	hang_up(&late);
}

static void
ends(void **state)
{
	struct client c;

	new_session();
	c = open_stream("");
	emit("session.status_terminated");
	expect(&c, "event: session.status_terminated\n");
	expect_end(&c);
	hang_up(&c);
	c = open_stream("");			/* of a terminated session: open, silent */
	expect(&c, "event: ping\n");
	sql("DELETE FROM event WHERE session_id = '%s'", session);
	sql("DELETE FROM session WHERE id = '%s'", session);
	expect(&c, "event: session.deleted\ndata: {\"id\":\"sevt_");	/* though its publication was lost */
	expect_end(&c);
	hang_up(&c);
	new_session();
	c = open_stream("");
	publish("session.deleted", 9, "{\"id\":\"sevt_9\",\"type\":\"session.deleted\"}");
	expect(&c, "event: session.deleted\n");
	expect_end(&c);
	hang_up(&c);
}

static void
a_revoked_key_loses_its_streams(void **state)
{
	struct client c;

	new_session();
	c = open_stream("");
	sql("UPDATE api_key SET revoked_at = now() WHERE id = 'apikey_0'");
	expect(&c, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"authentication_error\"");
	expect_end(&c);
	hang_up(&c);
	sql("UPDATE api_key SET revoked_at = NULL WHERE id = 'apikey_0'");
}

static void
commit_large(int n)
{
	for (int i = 0; i < n; i++) {
		commit("large", 100000);
		publish("large", last_seq, "");
	}
}

/* One that never reads is cut, and only that one. */
static void
a_silent_reader_is_cut(void **state)
{
	struct client silent, c;
	struct pollfd p;
	char tail[32];

	new_session();
	silent = open_stream("");
	c = open_stream("");
	commit_large(12);
	snprintf(tail, sizeof tail, "\"n\":%d,", last_seq);
	expect(&c, tail);
	p = (struct pollfd){ .fd = silent.fd };		/* only whether the other end has closed */
	assert_int_equal(poll(&p, 1, 4 * PING_MS), 1);
	assert_true(p.revents & POLLHUP);
	emit("after");
	expect(&c, "event: after\n");
	hang_up(&silent);
	hang_up(&c);
}

/* One that reads late, but reads, gets everything in order, whatever the bound of its queue. */
static void
a_late_reader_gets_everything(void **state)
{
	struct client late, c;
	char tail[32];

	new_session();
	late = open_stream("");
	c = open_stream("");
	commit_large(12);
	snprintf(tail, sizeof tail, "\"n\":%d,", last_seq);
	expect(&c, tail);
	expect(&late, tail);
	assert_int_equal(count(&late, "event: large\n"), 12);
	emit("after");
	expect(&late, "event: after\n");
	hang_up(&late);
	hang_up(&c);
}

static void
full(void **state)
{
	struct client c[STREAMS_MAX], more;
	int64_t until = clock_mono_ms() + SOON_MS;

	new_session();
	for (int i = 0; i < STREAMS_MAX; i++)
		c[i] = open_stream("");
	refused(GET(path), "Status: 503", "retry-after: 1");
	for (int i = 0; i < STREAMS_MAX; i++)
		hang_up(&c[i]);
	do {					/* the hub notices who left */
		more = ask(GET(path));
		hear(&more, SOON_MS);
	} while (!heard(&more, "Status: 200") && clock_mono_ms() < until);
	assert_true(heard(&more, "Status: 200"));
	hang_up(&more);
}

static void
stop_is_clean(void **state)
{
	struct client c;

	new_session();
	c = open_stream("");
	raise(SIGUSR2);
	expect(&c, "retry: ");
	expect_end(&c);
	hang_up(&c);
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

static void
put_file(const char *name, const char *text)
{
	AUTO(str) char *p = xasprintf("%s/%s", dir, name);
	FILE *f = fopen(p, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void
make_keys(void)
{
	struct apikey_pepper pepper;
	struct err e = ERR_INIT;
	char public_id[APIKEY_PUBLIC_LEN + 1], hash[APIKEY_HEX];

	assert_int_equal(apikey_pepper_load(conf.pepper_file, &pepper, &e), 0);
	sql("INSERT INTO organization (id, name) VALUES ('org', 'Org')");
	for (int i = 0; i < 2; i++) {
		sql("INSERT INTO workspace (id, organization_id, name) VALUES ('wrkspc_%d', 'org', 'W')", i + 1);
		apikey_new(key[i], public_id);
		apikey_hash(&pepper, key[i], hash);
		sql("INSERT INTO api_key (id, organization_id, workspace_id, name, public_id, secret_hash, hint)"
		    " VALUES ('apikey_%d', 'org', 'wrkspc_%d', 'k', '%s', '%s', '')", i, i + 1, public_id, hash);
	}
}

static void
configure(void)
{
	struct err e = ERR_INIT;
	AUTO(str) char *text = xasprintf("pg_dsn = host=%s/pg dbname=roost user=roost_stream\nredis_socket = %s/redis.sock\n"
	    "redis_timeout_ms = 500\nlisten_socket = %s/stream.sock\nthreads = 2\npepper_file = %s/pepper\nkey_cache_s = 0\n"
	    "sse_ping_ms = %d\nsse_queue_bytes = 65536\nsse_max = %d\n", dir, dir, dir, dir, PING_MS, STREAMS_MAX);
	AUTO(str) char *name = xasprintf("%s/conf", dir);

	put_file("conf", text);
	put_file("pepper", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n");
	if (conf_load(&conf, name, &e) < 0)
		fail_msg("%s", e.pub);
}

static int
setup(void **state)
{
	AUTO(str) char *cmd = NULL, *dsn = NULL;
	struct err e = ERR_INIT;
	struct auth *auth;

	snprintf(dir, sizeof dir, "/tmp/roost-hub-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0755), 0);
	cmd = xasprintf("tests/env/postgres start %s/pg", dir);
	assert_int_equal(system(cmd), 0);
	dsn = xasprintf("host=%s/pg dbname=roost user=roost_admin", dir);
	owner = PQconnectdb(dsn);
	assert_int_equal(PQstatus(owner), CONNECTION_OK);
	configure();
	assert_int_equal(FCGX_Init(), 0);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, SIG_DFL);		/* libfcgi took it */
	assert_int_equal(pipe(stop_pipe), 0);
	signal(SIGUSR2, on_usr2);
	bus = bus_open(&conf);
	redis_start();
	make_keys();
	loop = loop_new();
	loop_watch(loop, stop_pipe[0], 1 /* EPOLLIN */, on_stop, NULL);
	hub = hub_new(loop, &conf);
	auth = auth_open(&conf, &e);
	assert_non_null(auth);
	listen_fd = FCGX_OpenSocket(conf.listen_socket, 100);
	doors = doors_open(&conf, auth, hub, listen_fd);
	return pthread_create(&hub_thread, NULL, hub_main, NULL);
}

static int
teardown(void **state)
{
	AUTO(str) char *cmd = xasprintf("tests/env/postgres stop %s/pg; rm -rf %s", dir, dir);

	hub_free(&hub);
	loop_free(&loop);
	bus_close(&bus);
	PQfinish(owner);
	redis_kill();
	return system(cmd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checks_in_order), cmocka_unit_test(headers_and_ping), cmocka_unit_test(live_and_gapless),
		cmocka_unit_test(a_lost_publication_arrives), cmocka_unit_test(large_bodies_come_from_the_log),
		cmocka_unit_test(redis_dies), cmocka_unit_test(previews), cmocka_unit_test(ends),
		cmocka_unit_test(a_revoked_key_loses_its_streams), cmocka_unit_test(a_silent_reader_is_cut),
		cmocka_unit_test(a_late_reader_gets_everything), cmocka_unit_test(full),
		cmocka_unit_test(stop_is_clean),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
