/* link: tests/env/worker_rig.c tests/env/fake_hands.c */
/*
 * One worker at work and the rest in reserve: which of several takes a session by its doorbell, as they come, drain, leave, stop, miss
 * hands or fill up. Polls are far apart here, so that what a test sees came by the doorbell. Who is first takes what comes; on a busy
 * machine another may, but only what it has left to the first for as long as the rule says.
 */
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

#include "../../env/worker_rig.h"
#include "cleanup.h"
#include "clock.h"

#define SETTINGS "lease_s = 120\nbeat_ms = 2000\npoll_ms = 60000\n"
#define FRESH_US 6000000	/* three beats: whose row is older stands in nobody's line */
#define LATER_US 15000		/* how long the next in the line leaves a session to the first */

/* Who took which session, and how long it had been due. */
static const char witness[] =
    "CREATE TABLE taken (session_id text PRIMARY KEY, worker text, waited_us bigint);"
    "CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    "  INSERT INTO taken VALUES (NEW.session_id, NEW.lease_owner, us(clock_timestamp()) - us(OLD.due_at)) ON CONFLICT DO NOTHING;"
    "  RETURN NULL;"
    "END $$;"
    "CREATE TRIGGER witness AFTER UPDATE ON work FOR EACH ROW WHEN (OLD.lease_owner IS NULL AND NEW.lease_owner IS NOT NULL)"
    "  EXECUTE FUNCTION witness()";

static int
start(void **state)
{
	(void)state;
	rig_start();
	free(rig_sql("%s", witness));
	return 0;
}

/* A worker that says that it takes sessions. */
static pid_t
begin(const char *settings, char **out_name)
{
	AUTO(str) char *before = rig_sql("SELECT coalesce(max(id), '') FROM worker");
	pid_t pid = rig_worker(settings);

	rig_wait("t", "SELECT max(id) > '%s' AND bool_or(open AND id > '%s') FROM worker", before, before);
	*out_name = rig_sql("SELECT max(id) FROM worker");
	return pid;
}

static void
ring(char id[32], const char *text)
{
	static int n;

	snprintf(id, 32, "sesn_held%d", n++);
	rig_session(id, "roost-scripted");
	rig_message(text);
	rig_send(id);
}

static void
taken(const char *id)
{
	rig_wait("1", "SELECT count(*) FROM taken WHERE session_id = '%s'", id);	/* long before a poll */
}

/* A session whose call is held until the test's end. */
static void
hold(char id[32])
{
	ring(id, "bash {\"command\":\"hold\"}\n\nDone here.");
	taken(id);
}

static bool
is_with(const char *id, const char *worker)
{
	AUTO(str) char *owner = rig_sql("SELECT worker FROM taken WHERE session_id = '%s'", id);

	return strcmp(owner, worker) == 0;
}

static int
held_by(const char *worker)
{
	AUTO(str) char *n = rig_sql("SELECT count(*) FROM work WHERE lease_owner = '%s'", worker);

	return atoi(n);
}

/*
 * This worker is first: n sessions are its own, and what another took meanwhile it had left to it. What has just become true is known to
 * all a moment later, so a session that was taken too soon only begins the count again.
 */
static void
first_is(const char *worker, int n)
{
	int64_t end = clock_mono_ms() + RIG_MS;

	for (int own = 0; own < n;) {
		char id[32];

		hold(id);
		AUTO(str) char *waited = rig_sql("SELECT waited_us FROM taken WHERE session_id = '%s'", id);

		if (is_with(id, worker)) {
			own++;
		} else if (atol(waited) < LATER_US) {
			own = 0;
			(void)usleep(100000);	/* the step of a wait with a deadline */
		}
		if (clock_mono_ms() > end)
			fail_msg("%s is not first: %d of %d, the last one taken after %s us", worker, own, n, waited);
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
	first_is(first, 6);
	rig_signal(a, SIGSTOP);		/* nobody knows yet: the reserve comes for what it leaves */
	first_is(second, 2);
	c = begin(SETTINGS, &third);
	rig_wait("t", "SELECT us(clock_timestamp()) > us(beat_at) + %d FROM worker WHERE id = '%s'", FRESH_US, first);
	first_is(second, 2);		/* it is not waited for any more: the next one is first */
	rig_signal(a, SIGCONT);
	first_is(first, 2);
	end(a, first);
	first_is(second, 2);
	end(b, second);
	end(c, third);
}

static void
without_hands(void **state)
{
	AUTO(str) char *first = NULL, *second = NULL;
	pid_t a = begin("hands_socket = /nowhere/hands.sock\n" SETTINGS, &first), b = begin(SETTINGS, &second);

	(void)state;
	first_is(second, 2);
	end(a, first);
	end(b, second);
}

/* n sessions are this worker's; what another came first for goes back. */
static void
fill(const char *worker, int n)
{
	while (held_by(worker) < n) {
		char id[32];

		hold(id);
		if (is_with(id, worker))
			continue;
		rig_interrupt();
		rig_send(id);
		rig_settled(id);
	}
}

/* Who is above the mark has the next one come to work; when both have little to do for a while, it is in reserve again. */
static void
spreads(void **state)
{
	AUTO(str) char *first = NULL, *second = NULL;
	pid_t a = begin("turns_max = 10\n" SETTINGS, &first), b = begin("turns_max = 10\n" SETTINGS, &second);
	char id[32];

	(void)state;
	fill(first, 8);
	rig_wait("2 2", "SELECT string_agg(spread::text, ' ') FROM worker");
	while (held_by(first) + held_by(second) < 17)
		hold(id);		/* more than one may have: none is left over */
	fake_hands_release(rig_hands);
	rig_wait("0", "SELECT count(*) FROM work");
	rig_wait("1 1", "SELECT string_agg(spread::text, ' ') FROM worker");
	end(a, first);
	end(b, second);
}

/* A full worker does not forget what it had no room for: it comes for it as soon as it has, though it is not idle. */
static void
room_again(void **state)
{
	AUTO(str) char *name = NULL;
	pid_t a = begin("turns_max = 2\n" SETTINGS, &name);
	char one[32], two[32], three[32];

	(void)state;
	hold(one);
	hold(two);
	ring(three, "Done here.");
	rig_interrupt();
	rig_send(two);
	taken(three);
	end(a, name);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(oldest_first, rig_clear),
		cmocka_unit_test_teardown(without_hands, rig_clear),
		cmocka_unit_test_teardown(spreads, rig_clear),
		cmocka_unit_test_teardown(room_again, rig_clear),
	};

	return cmocka_run_group_tests_name("worker/peers", tests, start, rig_over);
}
