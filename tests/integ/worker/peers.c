/* link: tests/env/worker_rig.c tests/env/fake_hands.c */
/*
 * One worker at work and the rest in reserve: which of several takes a session by its doorbell, as they come, drain, leave, stop, miss
 * hands or fill up. Polls are far apart here, so that what a test sees came by the doorbell.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../../env/worker_rig.h"
#include "cleanup.h"

#define SETTINGS "lease_s = 30\nbeat_ms = 300\npoll_ms = 60000\n"

static int
start(void **state)
{
	(void)state;
	rig_start();
	return 0;
}

/* A worker that all the others know of: its row is fresh and theirs have been read since. */
static pid_t
begin(const char *settings, char **out_name)
{
	AUTO(str) char *before = rig_sql("SELECT coalesce(max(id), '') FROM worker");
	pid_t pid = rig_worker(settings);

	rig_wait("t", "SELECT max(id) > '%s' AND bool_or(open AND id > '%s') FROM worker", before, before);
	*out_name = rig_sql("SELECT max(id) FROM worker");
	return pid;
}

/* Each worker reads the others' rows once a second: what was true for so long is known to all. */
static void
known(void)
{
	AUTO(str) char *now = rig_sql("SELECT us(clock_timestamp())");

	rig_wait("t", "SELECT us(clock_timestamp()) > %s + 2200000", now);
}

/* A session whose call is held until the test's end. */
static void
hold(void)
{
	static int n;
	char id[32];

	snprintf(id, sizeof(id), "sesn_held%d", n++);
	rig_session(id, "roost-scripted");
	rig_message("bash {\"command\":\"hold\"}\n\nDone here.");
	rig_send(id);
	rig_wait("t", "SELECT count(lease_owner) > 0 FROM work WHERE session_id = '%s'", id);	/* long before a poll */
}

static int
held_by(const char *worker)
{
	AUTO(str) char *n = rig_sql("SELECT count(*) FROM work WHERE lease_owner = '%s'", worker);

	return atoi(n);
}

/* This worker is first: n sessions are its own, but for one in two that a busy machine may have left to the next. */
static void
taken_by(const char *worker, int n)
{
	int before = held_by(worker);

	for (int tries = 2 * n; held_by(worker) < before + n; tries--) {
		assert_int_not_equal(tries, 0);
		hold();
	}
}

static void
end(pid_t worker, const char *name)
{
	fake_hands_release(rig_hands);
	rig_wait("0", "SELECT count(*) FROM work");
	fake_hands_amnesia(rig_hands);
	rig_signal(worker, SIGTERM);
	rig_wait("0", "SELECT count(*) FROM worker WHERE id = '%s'", name);	/* at once: long before its lease is over */
}

static void
oldest_first(void **state)
{
	AUTO(str) char *first = NULL, *second = NULL, *third = NULL;
	pid_t a = begin(SETTINGS, &first), b = begin(SETTINGS, &second), c;

	(void)state;
	known();
	taken_by(first, 6);
	rig_signal(a, SIGSTOP);		/* nobody knows yet: the reserve comes for what it leaves */
	taken_by(second, 2);
	c = begin(SETTINGS, &third);
	known();
	taken_by(second, 2);		/* all know: the next one is first */
	rig_signal(a, SIGCONT);
	known();
	taken_by(first, 2);
	end(a, first);
	taken_by(second, 2);
	end(b, second);
	end(c, third);
}

static void
without_hands(void **state)
{
	AUTO(str) char *first = NULL, *second = NULL;
	pid_t a = begin("hands_socket = /nowhere/hands.sock\n" SETTINGS, &first), b = begin(SETTINGS, &second);

	(void)state;
	known();
	taken_by(second, 2);
	end(a, first);
	end(b, second);
}

/* Who is above the mark has the next one come to work; when both have little to do for a while, it is in reserve again. */
static void
spreads(void **state)
{
	AUTO(str) char *first = NULL, *second = NULL;
	pid_t a = begin("turns_max = 10\n" SETTINGS, &first), b = begin("turns_max = 10\n" SETTINGS, &second);

	(void)state;
	known();
	while (held_by(first) < 8 && held_by(second) < 8)
		hold();
	rig_wait("2 2", "SELECT string_agg(spread::text, ' ') FROM worker");
	while (held_by(first) + held_by(second) < 17)
		hold();			/* more than one may have: none is left over */
	fake_hands_release(rig_hands);
	rig_wait("0", "SELECT count(*) FROM work");
	rig_wait("1 1", "SELECT string_agg(spread::text, ' ') FROM worker");
	end(a, first);
	end(b, second);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(oldest_first),
		cmocka_unit_test(without_hands),
		cmocka_unit_test(spreads),
	};

	return cmocka_run_group_tests_name("worker/peers", tests, start, rig_over);
}
