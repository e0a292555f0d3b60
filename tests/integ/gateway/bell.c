/* link: tests/env/gateway_rig.c */
/*
 * Whom a gateway rings after a commit, and how: the worker that has the session by its own socket, when it has one here that takes it, and
 * then nobody else; by Redis in every other case. This program is the worker. With a running gateway.
 */
#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../env/gateway_rig.h"
#include "bell.h"
#include "clock.h"
#include "told.h"
#include "xalloc.h"

#define DEADLINE_MS 40000
#define MANY 8

static char dir[64], session[MANY][ID_MAX];
static struct loop *loop;
static struct bell *bell;
static redisContext *redis;
static struct { int n; char last[128]; size_t told_len; char *told; } heard;	/* told: what the record says */

static void
on_ring(void *ctx, const struct bell_ring *r)
{
	(void)ctx;
	struct told t;

	heard.n++;
	snprintf(heard.last, sizeof heard.last, "%s", r->session);
	heard.told_len = r->told_len;
	free(heard.told);
	heard.told = NULL;
	if (told_decode(r->told, r->told_len, &t))
		heard.told = xasprintf("%u %lld %lld %lld %s %s %s", t.prior, (long long)t.wake_gen, (long long)t.inbox_seq, (long long)t.catalogue, t.id,
		    t.stem, t.fragment ? t.fragment : "-");
}

static int
start(void **state)
{
	char agent[ID_MAX], environment[ID_MAX];

	(void)state;
	snprintf(dir, sizeof dir, "/tmp/roost-bell-%d", (int)getpid());
	assert_int_equal(mkdir(dir, 0700), 0);
	gwr_start(gwr_fmt("bell_dir = %s\n", dir));
	gwr_session(GWR_A, agent, environment, session[0]);
	for (int i = 1; i < MANY; i++) {
		AUTO(json) json_t *s = gwr_ok(GWR_A, "POST", "/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", agent, environment));

		snprintf(session[i], sizeof session[i], "%s", jx_str(s, "id"));
	}
	loop = loop_new();
	bell = bell_new(loop, dir, "worker_here", on_ring, NULL);
	redis = redisConnectUnix(gwr_fmt("%s/redis.sock", gwr_dir));
	assert_true(bell && redis && !redis->err);
	return 0;
}

static int
over(void **state)
{
	bell_free(&bell);
	loop_free(&loop);
	redisFree(redis);
	free(heard.told);
	(void)gwr_over(state);
	return rmdir(dir);
}

/* Lease this session to a worker of that name. */
static void
owned(const char *id, const char *owner)
{
	free(gwr_sql("DELETE FROM work WHERE session_id = '%s'", id));
	free(gwr_sql("INSERT INTO work (workspace_id, session_id, due_at, lease_owner) SELECT workspace_id, id, now(), '%s' FROM session WHERE id = '%s'",
	    owner, id));
}

static void
say(const char *id)
{
	AUTO(json) json_t *r = gwr_ok(GWR_A, "POST", gwr_fmt("/v1/sessions/%s/events", id),
	    "{\"events\":[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}]}");

	assert_non_null(r);
}

/* How many rings for this session went through Redis. */
static int
by_redis(const char *id)
{
	redisReply *r = redisCommand(redis, "XRANGE jobs - +");
	int n = 0;

	assert_int_equal(r->type, REDIS_REPLY_ARRAY);
	for (size_t i = 0; i < r->elements; i++)
		for (size_t k = 0; k < r->element[i]->element[1]->elements; k++)
			n += strcmp(r->element[i]->element[1]->element[k]->str, id) == 0;
	freeReplyObject(r);
	return n;
}

static void
await_redis(const char *id, int want)
{
	for (int64_t end = clock_mono_ms() + DEADLINE_MS; by_redis(id) < want; (void)usleep(1000))
		assert_true(clock_mono_ms() < end);
	assert_int_equal(by_redis(id), want);
}

static void
await_bell(int want)
{
	for (int64_t end = clock_mono_ms() + DEADLINE_MS; heard.n < want; loop_once(loop, 100))
		assert_true(clock_mono_ms() < end);
	assert_int_equal(heard.n, want);
}

/* The reply leaves first, then the ring, and nothing by Redis: what follows for nobody goes there, and is alone. */
static void
owner_here(void **state)
{
	int before = heard.n;

	(void)state;
	owned(session[0], "worker_here");
	say(session[0]);
	await_bell(before + 1);
	assert_string_equal(heard.last, session[0]);
	say(session[5]);
	await_redis(session[5], 1);
	assert_int_equal(by_redis(session[0]), 0);
	await_bell(before + 1);
}

/* The one message of a send rides along, as it stands in the inbox; two do not. */
static void
told_here(void **state)
{
	AUTO(str) char *prior = NULL, *row = NULL;
	AUTO(json) json_t *r = NULL;
	int before = heard.n;

	(void)state;
	owned(session[1], "worker_here");
	prior = gwr_sql("SELECT xmin FROM session WHERE id = '%s'", session[1]);
	say(session[1]);
	await_bell(before + 1);
	row = gwr_sql("SELECT concat_ws(' ', '%s', wake_gen, i.inbox_seq, (SELECT generation FROM catalogue), i.id, stem, fragment)"
	    " FROM inbox i JOIN session s ON s.id = i.session_id WHERE s.id = '%s' ORDER BY i.inbox_seq DESC LIMIT 1", prior, session[1]);
	assert_non_null(heard.told);
	assert_string_equal(heard.told, row);
	r = gwr_ok(GWR_A, "POST", gwr_fmt("/v1/sessions/%s/events", session[1]),
	    "{\"events\":[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]},"
	    "{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"y\"}]}]}");
	assert_non_null(r);
	await_bell(before + 2);
	assert_int_equal(heard.told_len, 0);
}

static void
owner_nobody(void **state)
{
	(void)state;
	say(session[1]);
	await_redis(session[1], 1);
	await_bell(heard.n);
}

static void
owner_elsewhere(void **state)
{
	(void)state;
	owned(session[1], "worker_elsewhere");
	say(session[1]);
	await_redis(session[1], 2);
	owned(session[1], "../worker_here");	/* no name of ours */
	say(session[1]);
	await_redis(session[1], 3);
}

/* A worker that was killed leaves its socket. */
static void
owner_dead(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	snprintf(sa.sun_path, sizeof sa.sun_path, "%s/worker_dead", dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	close(fd);
	owned(session[2], "worker_dead");
	say(session[2]);
	await_redis(session[2], 1);
	unlink(sa.sun_path);
}

/*
 * A worker that stands still: its queue is full at some time, and then it is rung by Redis. Nothing is lost, no request waits for it. How many
 * were on their way when the first had gone by Redis is not known: all that follow go there until it hears again.
 */
static void
owner_stopped(void **state)
{
	int before = heard.n, sent = 0, late;

	(void)state;
	owned(session[3], "worker_here");
	for (int64_t end = clock_mono_ms() + DEADLINE_MS; by_redis(session[3]) == 0; sent++) {
		assert_true(clock_mono_ms() < end);
		say(session[3]);
	}
	for (int i = 0; i < 3; i++, sent++)
		say(session[3]);
	for (int64_t end = clock_mono_ms() + DEADLINE_MS; by_redis(session[3]) < 4; (void)usleep(1000))	/* the step of a wait with a deadline */
		assert_true(clock_mono_ms() < end);
	for (int64_t end = clock_mono_ms() + DEADLINE_MS; heard.n - before + by_redis(session[3]) < sent; loop_once(loop, 10))
		assert_true(clock_mono_ms() < end);
	late = by_redis(session[3]);
	assert_int_equal(heard.n - before + late, sent);
	say(session[3]);
	await_bell(before + sent - late + 1);
	assert_int_equal(by_redis(session[3]), late);
}

/* Several at once, for both: each is rung for, by one way. */
static void
together(void **state)
{
	const char body[] = "{\"events\":[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}]}";
	int fd[MANY], before = heard.n, redis_before[MANY];

	(void)state;
	for (int i = 0; i < MANY; i++)
		redis_before[i] = by_redis(session[i]);
	for (int round = 1; round <= 20; round++) {
		for (int i = 0; i < MANY; i++)
			owned(session[i], i % 2 ? "worker_here" : "worker_elsewhere");
		for (int i = 0; i < MANY; i++) {
			fd[i] = gwr_begin(GWR_A, "POST", gwr_fmt("/v1/sessions/%s/events", session[i]), sizeof body - 1, NULL);
			assert_true(gwr_body(fd[i], body, sizeof body - 1) && gwr_body(fd[i], NULL, 0));
		}
		for (int i = 0; i < MANY; i++) {
			__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

			assert_true(gwr_answer(fd[i], &r));
			assert_int_equal(r.status, 200);
		}
		await_bell(before + round * MANY / 2);
		for (int i = 0; i < MANY; i++)
			await_redis(session[i], redis_before[i] + (i % 2 ? 0 : round));
	}
}

static void
without_redis(void **state)
{
	int before = heard.n;

	(void)state;
	owned(session[4], "worker_here");
	gwr_stop_redis();
	say(session[4]);
	await_bell(before + 1);
	owned(session[4], "worker_elsewhere");
	say(session[4]);		/* nobody is rung: it is no failure of the request */
	gwr_wait("t", gwr_fmt("SELECT count(*) >= 2 FROM inbox WHERE session_id = '%s'", session[4]));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(owner_here), cmocka_unit_test(owner_nobody), cmocka_unit_test(owner_elsewhere), cmocka_unit_test(owner_dead),
		cmocka_unit_test(owner_stopped), cmocka_unit_test(together), cmocka_unit_test(without_redis), cmocka_unit_test(told_here),
	};

	return cmocka_run_group_tests_name("bell", tests, start, over);
}
