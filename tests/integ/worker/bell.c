/* link: tests/env/kept_rig.c tests/env/worker_rig.c tests/env/fake_hands.c */
/*
 * The bell of one machine (lib/bus/bell.h) at a worker: what is sent to a session that it has wakes it without Redis; a ring that it took
 * along into its death is made up for by who reaps it, one that was lost by its next look at its leases; its socket goes when it leaves.
 */
#include <dirent.h>
#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../env/kept_rig.h"
#include "cleanup.h"
#include "clock.h"
#include "xalloc.h"

#define SESSIONS 12
#define SETTINGS "lease_s = 2\nbeat_ms = 300\nlinger_ms = 60000\n"

static int
start(void **state)
{
	(void)state;
	rig_start();
	rig_bell();
	return 0;
}

static const char *
name(int i)
{
	static char text[32];

	snprintf(text, sizeof(text), "sesn_%d", i);
	return text;
}

static void
keep(const char *session)
{
	kept_keep(session, "roost-scripted", kept_leased);
}

static int
sockets(void)
{
	AUTO(str) char *path = xasprintf("%s/bell", rig_dir);
	DIR *d = opendir(path);
	int n = 0;

	assert_non_null(d);
	for (const struct dirent *f = readdir(d); f != NULL; f = readdir(d))
		n += f->d_name[0] != '.';
	closedir(d);
	return n;
}

/*
 * Without the bell each would wait for the worker's next look at its leases, once a second, and would be sent right behind such a look: no two
 * of them within one second. A slow machine makes some of them slow.
 */
static void
woken(void **state)
{
	AUTO(str) char *sock = xasprintf("%s/redis.sock", rig_dir), *away = xasprintf("%s/away.sock", rig_dir);
	redisContext *c = redisConnectUnix(sock);
	pid_t worker = rig_worker(SETTINGS);
	int quick = 0;

	(void)state;
	for (int i = 0; i < SESSIONS; i++)
		keep(name(i));
	assert_int_equal(sockets(), 1);
	assert_int_equal(rename(sock, away), 0);	/* nobody can connect any more */
	freeReplyObject(redisCommand(c, "CLIENT KILL TYPE normal"));
	redisFree(c);
	for (int i = 0; i < SESSIONS; i++) {
		int64_t began = clock_mono_ms();

		kept_read(name(i));
		quick += clock_mono_ms() - began < 500;
	}
	assert_true(quick >= SESSIONS / 3);
	assert_int_equal(rename(away, sock), 0);
	for (int i = 0; i < SESSIONS; i++)
		rig_check(name(i));
	rig_signal(worker, SIGTERM);
	assert_int_equal(sockets(), 0);
}

/* The letter is in its queue when it dies. */
static void
taken_along(void **state)
{
	pid_t worker = rig_worker(SETTINGS);

	(void)state;
	keep("sesn_along");
	rig_signal(worker, SIGSTOP);
	rig_message("hello");
	rig_send("sesn_along");
	rig_signal(worker, SIGKILL);
	assert_int_equal(sockets(), 1);
	rig_message("and again");
	rig_send("sesn_along");		/* nobody listens there any more */
	worker = rig_worker(SETTINGS);
	rig_settled("sesn_along");
	rig_check("sesn_along");
	rig_signal(worker, SIGTERM);
}

/* It goes on after all: what its queue held is heard. */
static void
stood_still(void **state)
{
	pid_t worker = rig_worker(SETTINGS);

	(void)state;
	keep("sesn_still");
	rig_signal(worker, SIGSTOP);
	for (int i = 0; i < 40; i++) {		/* more than a queue holds: the rest goes by Redis */
		rig_message("hello");
		rig_send("sesn_still");
	}
	rig_signal(worker, SIGCONT);
	rig_settled("sesn_still");
	rig_check("sesn_still");
	rig_signal(worker, SIGTERM);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(woken, rig_clear), cmocka_unit_test_teardown(taken_along, rig_clear),
		cmocka_unit_test_teardown(stood_still, rig_clear),
	};

	return cmocka_run_group_tests_name("bell", tests, start, rig_over);
}
