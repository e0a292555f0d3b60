/*
 * The bus against a real Redis, started by this test in a folder of its own on a unix socket: round trips, a killed and restarted
 * server, a flushed one, a stopped one. Waits for events with deadlines; ends the server it started.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../env/child.h"
#include "bus.h"
#include "busq.h"
#include "busq_tail.h"
#include "clock.h"

#define USER "test"
#define PASS "secret"
#define HELD_US 10000		/* how long busq waits for what follows */
#define SOON_MS 20000		/* the longest a test waits for anything */

static char dir[64];
static pid_t server;
static struct conf conf;
static struct loop *loop;

static struct {
	int ups, downs, entries, packs, unordered;
	struct { char type[32]; int64_t seq; size_t len; } got[64];
} seen;

static redisContext *
admin(void)
{
	redisContext *c = redisConnectUnix(conf.redis_socket);

	if (c && c->err) {
		redisFree(c);
		return NULL;
	}
	return c;
}

static void
start_server(void)
{
	int64_t until = clock_mono_ms() + SOON_MS;
	redisContext *c = NULL;

	server = child_fork(SIGKILL);
	if (server == 0) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, 1);
		execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", conf.redis_socket, "--save", "", "--appendonly", "no",
		    "--dir", dir,
		    "--user", USER, "on", ">" PASS, "~*", "+@all", (char *)NULL);
		_exit(127);
	}
	while (!c && clock_mono_ms() < until) {
		c = admin();
		if (!c)
			usleep(2000);
	}
	assert_non_null(c);
	redisFree(c);
}

static void
stop_server(void)
{
	if (server > 0) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	server = 0;
}

static void
on_entry(void *ctx, const struct busq_field *f, int n)
{
	struct entry_events all;
	struct entry_event ev;

	assert_int_equal(entry_events_read(f, n, &all), 0);
	seen.packs++;
	while (entry_events_next(&all, &ev)) {
		snprintf(seen.got[seen.entries % 64].type, 32, "%s", ev.type);
		seen.got[seen.entries % 64].seq = ev.seq;
		seen.got[seen.entries++ % 64].len = ev.len;
		seen.unordered += ev.seq != seen.entries;
	}
}

static void
on_state(void *ctx, bool up)
{
	if (up)
		seen.ups++;
	else
		seen.downs++;
}

/* Run the loop until *what reaches n. */
static void
until(const int *what, int n)
{
	int64_t end = clock_mono_ms() + SOON_MS;

	while (*what < n && clock_mono_ms() < end)
		loop_once(loop, 50);
	assert_true(*what >= n);
}

static void
round_trip(void **state)
{
	struct bus *b = bus_open(&conf);
	struct busq *q = busq_new(loop, &conf);
	struct busq_tail *t;
	struct err e = ERR_INIT;

	assert_int_equal(bus_ping(b, &e), 0);
	assert_int_equal(bus_publish(b, "sesn_a", "before", 1, "{}", &e), 0);
	memset(&seen, 0, sizeof seen);
	t = busq_tail_new(loop, &conf, BUS_SSE, on_entry, on_state, NULL);
	until(&seen.ups, 1);
	assert_int_equal(seen.entries, 0);
	assert_int_equal(bus_publish(b, "sesn_a", "first", 2, "{}", &e), 0);
	until(&seen.entries, 1);
	assert_string_equal(seen.got[0].type, "first");
	while (!busq_up(q))
		loop_once(loop, 20);
	busq_publish(q, "sesn_a", "event_start", 0, "{\"a\":1}", 7);
	busq_publish(q, "sesn_a", "second", 3, "{}", 2);
	until(&seen.entries, 3);
	assert_int_equal(seen.got[1].len, 7);
	assert_int_equal(seen.got[2].seq, 3);
	assert_int_equal(bus_ring(b, "wrkspc_1", "sesn_a", "wrk-1", &e), 0);
	assert_int_equal(bus_ring(b, "wrkspc_1", "sesn_a", NULL, &e), 0);
	assert_int_equal(busq_dropped(q), 0);
	busq_tail_free(&t);
	busq_free(&q);
	bus_close(&b);
}

static struct busq_tail *
tail_up(void)
{
	struct busq_tail *t;

	memset(&seen, 0, sizeof seen);
	t = busq_tail_new(loop, &conf, BUS_SSE, on_entry, on_state, NULL);
	until(&seen.ups, 1);
	return t;
}

static struct busq *
writer_up(void)
{
	struct busq *q = busq_new(loop, &conf);

	for (int64_t end = clock_mono_ms() + SOON_MS; !busq_up(q) && clock_mono_ms() < end;)
		loop_once(loop, 20);
	assert_true(busq_up(q));
	return q;
}

/* What a session publishes in one round of the loop is one entry, whoever publishes between; more sessions than there is room for too. */
static void
sessions_share_a_round(void **state)
{
	struct busq_tail *t = tail_up();
	struct busq *q = writer_up();
	char id[16];

	busq_publish(q, "sesn_a", "one", 1, "{}", 2);
	busq_publish(q, "sesn_b", "event_start", 0, "{}", 2);
	busq_publish(q, "sesn_a", "two", 2, "{}", 2);
	busq_publish(q, "sesn_b", "three", 1, "{}", 2);
	until(&seen.entries, 4);
	assert_int_equal(seen.packs, 2);
	assert_string_equal(seen.got[1].type, "two");
	for (int i = 0; i < 40; i++) {
		snprintf(id, sizeof id, "sesn_%d", i);
		busq_publish(q, id, "four", 1, "{}", 2);
	}
	until(&seen.entries, 44);
	assert_int_equal(seen.packs, 42);
	assert_int_equal(busq_dropped(q), 0);
	busq_free(&q);
	busq_tail_free(&t);
}

/* Nothing comes for longer than a read waits: that is no loss, and the tail goes on. */
static void
silence(void **state)
{
	struct busq_tail *t = tail_up();
	struct bus *b = bus_open(&conf);
	struct err e = ERR_INIT;

	for (int64_t end = clock_mono_ms() + 2500; clock_mono_ms() < end;)
		loop_once(loop, 100);
	assert_int_equal(seen.downs, 0);
	assert_int_equal(bus_publish(b, "sesn_a", "after", 1, "{}", &e), 0);
	until(&seen.entries, 1);
	assert_int_equal(seen.ups, 1);
	bus_close(&b);
	busq_tail_free(&t);
}

/* So many that they are read many at a time: all come, in order, and one that comes alone afterwards comes too. */
static void
a_rush(void **state)
{
	struct busq_tail *t = tail_up();
	struct busq *q = writer_up();

	for (int i = 1; i <= 2000; i++) {
		busq_publish(q, "sesn_a", "one", i, "{}", 2);
		loop_once(loop, 0);
	}
	until(&seen.entries, 2000);
	for (int i = 2001; i <= 2003; i++) {
		busq_publish(q, "sesn_a", "alone", i, "{}", 2);
		until(&seen.entries, i);
	}
	assert_int_equal(seen.unordered, 0);
	assert_int_equal(seen.downs, 0);
	busq_free(&q);
	busq_tail_free(&t);
}

/* What is held goes out with what follows, and by itself when nothing does; others do not wait for it. On a busy machine nothing may follow
 * in time: then it is one entry more. */
static void
held(void **state)
{
	struct busq_tail *t = tail_up();
	struct busq *q = writer_up();
	int64_t began = clock_mono_us();
	int late, later;

	busq_publish(q, "sesn_a", "one", 1, "{}", 2);
	busq_hold(q, "sesn_a", true);
	busq_hold(q, "sesn_none", true);
	busq_publish(q, "sesn_b", "other", 1, "{}", 2);
	loop_once(loop, 0);
	late = clock_mono_us() - began >= HELD_US;
	busq_publish(q, "sesn_a", "two", 2, "{}", 2);
	until(&seen.entries, 3);
	assert_in_range(seen.packs, 2, 2 + late);
	if (!late)
		assert_string_equal(seen.got[0].type, "other");
	busq_publish(q, "sesn_a", "three", 3, "{}", 2);
	busq_hold(q, "sesn_a", true);
	until(&seen.entries, 4);
	began = clock_mono_us();
	busq_publish(q, "sesn_a", "event_delta", 0, "{}", 2);
	busq_hold(q, "sesn_a", false);
	busq_publish(q, "sesn_b", "event", 2, "{}", 2);
	busq_hold(q, "sesn_b", false);			/* no: it is committed */
	loop_once(loop, 0);
	later = clock_mono_us() - began >= HELD_US;
	busq_publish(q, "sesn_a", "four", 4, "{}", 2);
	busq_publish(q, "sesn_b", "five", 3, "{}", 2);
	until(&seen.entries, 8);
	assert_in_range(seen.packs, 3 + 3, 3 + 3 + late + later);
	busq_free(&q);
	busq_tail_free(&t);
}

/* What is told at once stands in an entry of its own, before what follows it in the same round. */
static void
at_once(void **state)
{
	struct busq_tail *t = tail_up();
	struct busq *q = writer_up();

	busq_now(q, "sesn_a");				/* nothing yet */
	busq_publish(q, "sesn_a", "start", 1, "{}", 2);
	busq_now(q, "sesn_a");
	busq_hold(q, "sesn_a", true);			/* too late */
	busq_publish(q, "sesn_b", "other", 2, "{}", 2);
	busq_publish(q, "sesn_a", "end", 3, "{}", 2);
	until(&seen.entries, 3);
	assert_int_equal(seen.packs, 3);
	assert_int_equal(seen.unordered, 0);
	busq_free(&q);
	busq_tail_free(&t);
}

static void
acl(const char *rule)
{
	redisContext *c = admin();
	redisReply *r;

	freeReplyObject(redisCommand(c, "AUTH " USER " " PASS));
	r = redisCommand(c, "ACL SETUSER " USER " %s", rule);
	assert_int_equal(r->type, REDIS_REPLY_STATUS);
	freeReplyObject(r);
	redisFree(c);
}

/* A server of before lets nobody use CLIENT: everything works, with its answers. */
static void
answers_cannot_be_refused(void **state)
{
	struct bus *b = bus_open(&conf);
	struct busq_tail *t = tail_up();
	struct busq *q;
	struct err e = ERR_INIT;

	acl("-client");
	q = writer_up();
	for (int i = 0; i < 5; i++) {
		assert_int_equal(bus_ring(b, "wrkspc_1", "sesn_a", NULL, &e), 0);
		assert_int_equal(bus_publish(b, "sesn_a", "direct", i + 1, "{}", &e), 0);
		busq_publish(q, "sesn_b", "one", i + 1, "{}", 2);
		until(&seen.entries, 2 * (i + 1));
	}
	assert_int_equal(bus_ping(b, &e), 0);
	assert_int_equal(busq_dropped(q), 0);
	acl("+client");
	busq_free(&q);
	busq_tail_free(&t);
	bus_close(&b);
}

/* Nobody reads the answers, and still a refusal is heard. */
static void
refusals_are_heard(void **state)
{
	struct busq *q = writer_up();
	int64_t end = clock_mono_ms() + SOON_MS;

	busq_publish(q, "sesn_a", "one", 1, "{}", 2);
	loop_once(loop, 0);
	acl("-xadd");
	while (busq_dropped(q) == 0 && clock_mono_ms() < end) {
		busq_publish(q, "sesn_a", "two", 2, "{}", 2);
		loop_once(loop, 100);
	}
	assert_in_range(busq_dropped(q), 1, 10);	/* few of many: most are not answered */
	acl("+xadd");
	busq_free(&q);
}

/* kill -9 and a new server: clients come back by themselves, the first call after it works, the tail goes on. */
static void
restart(void **state)
{
	struct bus *b = bus_open(&conf);
	struct busq_tail *t;
	struct err e = ERR_INIT;

	memset(&seen, 0, sizeof seen);
	t = busq_tail_new(loop, &conf, BUS_SSE, on_entry, on_state, NULL);
	until(&seen.ups, 1);
	assert_int_equal(bus_ping(b, &e), 0);
	stop_server();
	until(&seen.downs, 1);
	start_server();
	assert_int_equal(bus_publish(b, "sesn_a", "after", 9, "{}", &e), 0);
	until(&seen.entries, 1);
	assert_int_equal(seen.ups, 2);
	assert_string_equal(seen.got[0].type, "after");
	busq_tail_free(&t);
	bus_close(&b);
}

/* Ids went backwards (here: the old ones were from the future): the loss is reported and the new entries are read. */
static void
flushed(void **state)
{
	redisContext *c = admin();
	struct busq_tail *t;

	freeReplyObject(redisCommand(c, "AUTH " USER " " PASS));
	freeReplyObject(redisCommand(c, "XADD sse:0 99999999999999-0 s a t x q 1 p {}"));
	memset(&seen, 0, sizeof seen);
	t = busq_tail_new(loop, &conf, BUS_SSE, on_entry, on_state, NULL);
	until(&seen.ups, 1);
	freeReplyObject(redisCommand(c, "FLUSHALL"));
	freeReplyObject(redisCommand(c, "XADD sse:0 * s a t new q 1 p {}"));
	until(&seen.entries, 1);
	assert_int_equal(seen.downs, 1);
	assert_int_equal(seen.ups, 2);
	assert_string_equal(seen.got[0].type, "new");
	busq_tail_free(&t);
	redisFree(c);
}

/* A server that hangs costs one timeout, then the back-off makes calls fail at once. */
static void
hung_server_is_bounded(void **state)
{
	struct bus *b = bus_open(&conf);
	struct err e = ERR_INIT;
	int64_t t0, t1, patience = conf.redis_timeout_ms;

	conf.redis_timeout_ms = 20;
	for (t0 = clock_mono_ms(); bus_ping(b, &e) < 0; usleep(5000))
		assert_in_range(clock_mono_ms() - t0, 0, SOON_MS);
	kill(server, SIGSTOP);
	t0 = clock_mono_ms();
	assert_int_equal(bus_ping(b, &e), -1);
	t1 = clock_mono_ms();
	assert_in_range(t1 - t0, conf.redis_timeout_ms - 5, SOON_MS / 2);
	for (int i = 0; i < 1000; i++)		/* with a timeout each it would be twice as long as this may take */
		assert_int_equal(bus_ring(b, "wrkspc_1", "sesn_a", NULL, &e), -1);
	assert_in_range(clock_mono_ms() - t1, 0, 1000 * conf.redis_timeout_ms / 2);
	assert_int_equal(e.kind, EK_UNAVAILABLE);
	kill(server, SIGCONT);
	for (t0 = clock_mono_ms(); bus_ping(b, &e) < 0; usleep(5000))
		assert_in_range(clock_mono_ms() - t0, 0, SOON_MS);
	bus_close(&b);
	conf.redis_timeout_ms = patience;
}

static void
wrong_password(void **state)
{
	struct conf wrong = conf;
	struct bus *b;
	struct err e = ERR_INIT;

	snprintf(wrong.redis_pass_file, sizeof wrong.redis_pass_file, "%s/none", dir);
	b = bus_open(&wrong);
	assert_int_equal(bus_ping(b, &e), -1);
	assert_int_equal(e.kind, EK_UNAVAILABLE);
	assert_null(strstr(e.pub, "none"));
	bus_close(&b);
}

static int
setup(void **state)
{
	struct err e = ERR_INIT;
	char path[128];
	FILE *f;

	signal(SIGPIPE, SIG_IGN);
	snprintf(dir, sizeof dir, "/tmp/roost-bus-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof path, "%s/conf", dir);
	if (!(f = fopen(path, "w")))
		return -1;
	fprintf(f, "redis_socket = %s/redis.sock\nredis_user = " USER "\nredis_pass_file = %s/pass\nredis_timeout_ms = 2000\n", dir, dir);
	fclose(f);
	snprintf(path, sizeof path, "%s/pass", dir);
	if (!(f = fopen(path, "w")))
		return -1;
	fprintf(f, PASS "\n");
	fclose(f);
	snprintf(path, sizeof path, "%s/conf", dir);
	if (conf_load(&conf, path, &e) < 0)
		return -1;
	loop = loop_new();
	start_server();
	return 0;
}

static int
teardown(void **state)
{
	char path[128];

	stop_server();
	loop_free(&loop);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, (const char *const[]){ "conf", "pass", "redis.sock" }[i]);
		unlink(path);
	}
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(sessions_share_a_round),
		cmocka_unit_test(silence),
		cmocka_unit_test(a_rush),
		cmocka_unit_test(held),
		cmocka_unit_test(at_once),
		cmocka_unit_test(answers_cannot_be_refused),
		cmocka_unit_test(refusals_are_heard),
		cmocka_unit_test(restart),
		cmocka_unit_test(flushed),
		cmocka_unit_test(hung_server_is_bounded),
		cmocka_unit_test(wrong_password),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
