/* link: tests/env/stream_rig.c */
/*
 * Streams under loss (faults F21-F24, F35, F37, F52, F55, F56 as far as they concern streams): two hubs behind nginx, real Postgres and
 * Redis, each taken away in turn. Every client counts: each event of the log once and in order, over however many connections. A client
 * comes again with the last id that it saw, as the standard's EventSource does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <linux/filter.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "../../env/stream_rig.h"

#define CLIENTS 24
#define HUB_MAX 60
#define ROUND_MS (SR_PING_MS + 10000)		/* within a ping's time, and what a busy machine adds */

static struct sr_client c[CLIENTS];

/* Half of them straight at the hubs, half through nginx. */
static int
place(int i)
{
	return i % 4 < 2 ? i % 2 : -1;
}

static void
open_all(void)
{
	sr_new_session();
	for (int i = 0; i < CLIENTS; i++)
		c[i] = sr_open_at(place(i), -1);
}

/* All have everything, each once and in order; nobody's connection was lost. */
static void
all_have(int64_t seq, int ms)
{
	for (int i = 0; i < CLIENTS; i++)
		sr_expect_seq(&c[i], seq, ms);
}

static void
close_all(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		assert_int_equal(c[i].events, sr_last_seq);
		sr_hang_up(&c[i]);
	}
}

/* Who lost the connection comes again, through nginx or at the hub that is given. Returns how many there were. */
static int
lost_come_again(int hub)
{
	int n = 0;

	for (int i = 0; i < CLIENTS; i++) {
		for (int last = -1; !c[i].closed && last != (int)c[i].text.len;) {
			last = (int)c[i].text.len;
			sr_hear(&c[i], 0);
		}
		if (!c[i].closed)
			continue;
		sr_come_again(&c[i], place(i) < 0 ? -1 : hub);
		n++;
	}
	return n;
}

/* F24, F52: publications lost, doubled and in the wrong order. */
static void
F24_F52_publications_lost_doubled_reordered(void **state)
{
	open_all();
	sr_commit_many("x", 4, 0);
	sr_publish("x", 3, NULL);
	sr_publish("x", 2, NULL);
	sr_publish("x", 2, NULL);
	sr_publish("x", 1, NULL);
	all_have(4, ROUND_MS);
	sr_commit("x", 0);
	all_have(5, ROUND_MS);
	close_all();
}

static void
F21_redis_flushed(void **state)
{
	open_all();
	for (int i = 0; i < 20; i++) {
		sr_emit("x");
		if (i % 5 == 2)
			sr_redis_flush();
	}
	all_have(20, ROUND_MS);
	sr_redis_flush();
	sr_emit("x");
	all_have(21, ROUND_MS);
	close_all();
}

/* Down for several rounds: by polling; then back. */
static void
F22_F23_redis_away_and_back(void **state)
{
	int64_t until;

	open_all();
	sr_emit("x");
	all_have(1, ROUND_MS);
	sr_redis_kill();
	for (until = clock_mono_ms() + 4 * SR_PING_MS; clock_mono_ms() < until;) {
		sr_emit("x");
		all_have(sr_last_seq, ROUND_MS);
	}
	sr_redis_start();
	for (int i = 0; i < 10; i++)
		sr_emit("x");
	all_have(sr_last_seq, ROUND_MS);
	close_all();
}

/* F56: connected, and says nothing. */
static void
F56_redis_mute(void **state)
{
	open_all();
	sr_emit("x");
	all_have(1, ROUND_MS);
	sr_redis_signal(SIGSTOP);
	for (int i = 0; i < 3; i++) {
		sr_commit("x", 0);
		all_have(sr_last_seq, ROUND_MS);
	}
	sr_redis_signal(SIGCONT);
	sr_emit("x");
	all_have(sr_last_seq, ROUND_MS);
	close_all();
}

/* Streams outlive it, pings go on, and all is there soon after it is back. New streams are refused meanwhile, and say so. */
static void
F12_postgres_killed(void **state)
{
	struct sr_client refused;

	open_all();
	sr_emit("x");
	all_have(1, ROUND_MS);
	sr_postgres_kill();
	sr_publish("x", 2, NULL);			/* published before the crash, as it were */
	refused = sr_ask(SR_GET(sr_path("")));
	sr_expect_end(&refused);
	assert_true(sr_heard(&refused, "Status: 503"));
	assert_true(sr_heard(&refused, "retry-after: 1"));
	sr_hang_up(&refused);
	for (int i = 0; i < CLIENTS; i++) {
		int pings = sr_count(&c[i], "event: ping\n");

		for (int64_t until = clock_mono_ms() + SR_SOON_MS; sr_count(&c[i], "event: ping\n") < pings + 2 && clock_mono_ms() < until;)
			sr_hear(&c[i], 50);
		assert_false(c[i].closed);
	}
	sr_postgres_start();
	sr_commit_many("x", 149, 0);
	all_have(150, SR_SOON_MS);		/* the hub tries to connect every two seconds */
	assert_int_equal(lost_come_again(0), 0);
	close_all();
}

/* Postgres away while clients read the log: they wait, and go on. */
static void
F12_postgres_killed_during_replay(void **state)
{
	struct sr_client r;

	sr_new_session();
	sr_commit_many("x", 30000, 500);
	r = sr_open_at(0, 0);
	r.forget = true;
	sr_expect_seq(&r, 1000, SR_SOON_MS);
	sr_postgres_kill();
	sr_postgres_start();
	for (int64_t until = clock_mono_ms() + 60000; r.last < 30000 && clock_mono_ms() < until; sr_hear(&r, 50))
		if (r.closed)			/* it did not read meanwhile: a slow reader */
			sr_come_again(&r, 0);
	sr_expect_seq(&r, 30000, 0);
	sr_commit("x", 0);
	sr_expect_seq(&r, 30001, SR_SOON_MS);
	assert_int_equal(r.events, 30001);
	sr_hang_up(&r);
}

/* One of two hubs dies: its clients come again at the other, through nginx or straight. */
static void
one_hub_of_two_killed(void **state)
{
	int n;

	open_all();
	for (int i = 0; i < 10; i++)
		sr_emit("x");
	sr_hub_end(1, SIGKILL);
	for (int i = 0; i < 10; i++)
		sr_emit("x");
	for (int i = 0; i < CLIENTS; i++)
		if (place(i) == 1)
			sr_expect_closed(&c[i]);
	n = lost_come_again(0);
	assert_in_range(n, CLIENTS / 4, CLIENTS);
	all_have(20, ROUND_MS);
	sr_emit("x");
	all_have(21, ROUND_MS);
	sr_hub_start(1);
	for (int i = 0; i < CLIENTS; i++)
		if (place(i) == 1) {
			sr_hang_up(&c[i]);
			sr_come_again(&c[i], 1);
		}
	sr_emit("x");
	all_have(22, ROUND_MS);
	close_all();
}

/* SIGTERM: a hint when to come again, a proper end, exit 0; a socket for those who come. */
static void
hubs_restarted(void **state)
{
	open_all();
	for (int hub = 0; hub < SR_HUBS; hub++) {
		int status;

		for (int i = 0; i < 5; i++)
			sr_emit("x");
		status = sr_hub_end(hub, SIGTERM);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		for (int i = 0; i < CLIENTS; i++)
			if (place(i) == hub) {
				sr_expect(&c[i], "retry: ");
				sr_expect_end(&c[i]);
			}
		sr_emit("x");			/* while nobody is there to hear it */
		sr_hub_start(hub);
		assert_in_range(lost_come_again(hub), CLIENTS / 4, CLIENTS);
		all_have(sr_last_seq, ROUND_MS);
	}
	close_all();
}

static void
F37_nginx_reloaded_and_restarted(void **state)
{
	open_all();
	for (int i = 0; i < 5; i++)
		sr_emit("x");
	sr_nginx_reload();
	for (int i = 0; i < 5; i++)
		sr_emit("x");
	for (int i = 0; i < CLIENTS; i++)		/* the old workers end after their second */
		if (place(i) < 0)
			sr_expect_closed(&c[i]);
	assert_int_equal(lost_come_again(0), CLIENTS / 2);
	sr_emit("x");
	all_have(11, ROUND_MS);
	sr_nginx_kill();
	sr_emit("x");
	sr_nginx_start();
	assert_int_equal(lost_come_again(0), CLIENTS / 2);
	sr_emit("x");
	all_have(13, ROUND_MS);
	close_all();
}

/* Who finds a full hub gets the other one. */
static void
full_hub_sends_on(void **state)
{
	struct sr_client all[HUB_MAX], more[8];

	sr_new_session();
	for (int i = 0; i < HUB_MAX; i++)
		all[i] = sr_open_at(0, -1);
	for (int i = 0; i < 8; i++)
		more[i] = sr_ask_at(SR_GET(sr_path("")), -1, NULL);		/* at the first try */
	for (int i = 0; i < 8; i++) {
		sr_expect(&more[i], " 200 OK\r\n");
		sr_expect(&more[i], "event: ping\ndata: {}\n\n");
	}
	sr_emit("x");
	for (int i = 0; i < 8; i++) {
		sr_expect_seq(&more[i], 1, ROUND_MS);
		sr_hang_up(&more[i]);
	}
	for (int i = 0; i < HUB_MAX; i++)
		sr_hang_up(&all[i]);
	for (int64_t n = 0, until = clock_mono_ms() + SR_SOON_MS; n < 1;) {		/* until the hub has noticed that they left */
		struct sr_client again = sr_ask(SR_GET(sr_path("")));

		sr_expect(&again, "\r\n\r\n");
		n += sr_heard(&again, "Status: 200");
		assert_true(clock_mono_ms() < until);
		sr_hang_up(&again);
	}
}

/* F35: a client that says nothing any more, not even that it is gone, holds no descriptor for long once something is to be sent. */
static void
F35_who_vanished_is_dropped(void **state)
{
	struct sr_client gone, live;
	struct pollfd p;

	sr_new_session();
	gone = sr_open_at(0, -1);
	live = sr_open_at(0, -1);
	for (int i = 0; i < 8; i++) {
		sr_commit("x", 100000);
		sr_publish("x", sr_last_seq, "");
	}
	sr_expect_seq(&live, 8, SR_SOON_MS);
	p = (struct pollfd){ .fd = gone.fd };
	assert_int_equal(poll(&p, 1, SR_SOON_MS), 1);
	assert_true(p.revents & POLLHUP);
	sr_hang_up(&gone);
	sr_hang_up(&live);
}

/*
 * F35: the same behind nginx and TCP, with nothing but pings to be sent. The client's kernel throws away whatever comes for it, and so
 * acknowledges nothing: to the server that is a machine without power. nginx then closes its connection to the hub.
 */
static void
F35_who_vanished_from_the_network_is_dropped(void **state)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	const struct sock_fprog drop = { 1, &nothing };
	struct sr_client gone, live;
	int64_t began;

	sr_new_session();
	live = sr_open_at(SR_NGINX_TCP, -1);
	gone = sr_open_at(SR_NGINX_TCP, -1);
	assert_true(sr_nginx_holds(&gone));
	began = clock_mono_ms();
	assert_int_equal(setsockopt(gone.fd, SOL_SOCKET, SO_ATTACH_FILTER, &drop, sizeof drop), 0);
	while (sr_nginx_holds(&gone) && clock_mono_ms() < began + SR_PING_MS + SR_SILENCE_MS + SR_SOON_MS)
		(void)poll(NULL, 0, 20);
	print_message("# given up after %lld ms\n", (long long)(clock_mono_ms() - began));
	assert_in_range(clock_mono_ms() - began, SR_SILENCE_MS - 100, SR_PING_MS + SR_SILENCE_MS + SR_SOON_MS);	/* not a quarter of an hour */
	assert_true(sr_nginx_holds(&live));
	sr_emit("x");
	sr_expect_seq(&live, 1, ROUND_MS);
	sr_hang_up(&gone);
	sr_hang_up(&live);
}

/* F55: a hub that stands still and goes on. */
static void
F55_hub_stopped_and_continued(void **state)
{
	open_all();
	sr_emit("x");
	all_have(1, ROUND_MS);
	kill(sr_hub[0], SIGSTOP);
	for (int i = 0; i < 300; i++)
		sr_emit("x");
	for (int i = 0; i < CLIENTS; i++)
		if (place(i) == 1)
			sr_expect_seq(&c[i], 301, ROUND_MS);
	kill(sr_hub[0], SIGCONT);
	all_have(301, ROUND_MS);
	close_all();
}

/* Everything at once, many times: one event each time, one thing that dies each time. */
static void
each_in_turn_while_events_come(void **state)
{
	open_all();
	for (int round = 0; round < 12; round++) {
		for (int i = 0; i < 10; i++)
			sr_emit("x");
		switch (round % 6) {
		case 0:
			sr_redis_kill();
			break;
		case 1:
			sr_redis_start();
			break;
		case 2:
			sr_hub_end(round > 6, SIGKILL);
			sr_hub_start(round > 6);
			break;
		case 3:
			sr_redis_flush();
			break;
		case 4:
			sr_nginx_kill();
			sr_nginx_start();
			break;
		case 5:
			sr_postgres_kill();
			sr_postgres_start();
			break;
		}
		for (int i = 0; i < 10; i++)
			sr_emit("x");
		(void)lost_come_again(round % 2);
	}
	for (int64_t until = clock_mono_ms() + 2 * SR_SOON_MS; clock_mono_ms() < until;) {
		bool all = true;

		(void)lost_come_again(0);
		for (int i = 0; i < CLIENTS; i++)
			all = all && c[i].last == sr_last_seq;
		if (all)
			break;
		sr_hear(&c[0], 20);
	}
	all_have(sr_last_seq, ROUND_MS);
	close_all();
}

static int
setup(void **state)
{
	sr_start(HUB_MAX);
	sr_hub_start(0);
	sr_hub_start(1);
	sr_nginx_start();
	return 0;
}

static int
teardown(void **state)
{
	return sr_stop();
}

#define T(test) cmocka_unit_test_teardown(test, sr_clear)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(F24_F52_publications_lost_doubled_reordered), T(F21_redis_flushed),
		T(F22_F23_redis_away_and_back), T(F56_redis_mute), T(one_hub_of_two_killed),
		T(hubs_restarted), T(full_hub_sends_on), T(F37_nginx_reloaded_and_restarted),
		T(F35_who_vanished_is_dropped), T(F35_who_vanished_from_the_network_is_dropped), T(F55_hub_stopped_and_continued),
		T(F12_postgres_killed), T(F12_postgres_killed_during_replay),
		T(each_in_turn_while_events_come),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
