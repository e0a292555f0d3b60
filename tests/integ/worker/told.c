/* link: tests/env/kept_rig.c tests/env/worker_rig.c tests/env/fake_hands.c */
/*
 * A kept session goes on with what its gateway tells along with the ring (lib/store/told.h), and nothing is read; and whatever has come in
 * between makes its worker read, as without: each message has one turn and one answer, and the totals are those of turns that were read.
 */
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

static int
start(void **state)
{
	static char text[4507] = "hello ";	/* longer than what a send opens a turn with (opened.c) */

	(void)state;
	memset(text + strlen(text), 'x', sizeof(text) - 1 - strlen(text));
	kept_words(text);
	rig_start();
	rig_bell();
	return 0;
}

static void
keep(const char *session)
{
	kept_keep(session, "roost-scripted", kept_leased);
}

static void
stay(const char *session)
{
	kept_stay(session, kept_leased);
}

/* Until a turn has been told. */
static void
told(const char *session)
{
	kept_comes(session, kept_leased, "told");
}

/* A turn that must not be. */
static void
not_told(const char *session)
{
	assert_string_not_equal(kept_turn(session), "told");
}

static void
told_is(const char *session, int want)
{
	assert_int_equal(rig_came(session, "told"), want);
}

/* Many turns; what they leave is what as many turns leave that were read. */
static void
turns(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	AUTO(str) char *all = NULL;

	(void)state;
	keep("sesn_told");
	for (int i = 0; i < 12; i++)
		told("sesn_told");
	told_is("sesn_told", 12);
	kept_answered("sesn_told");
	rig_session("sesn_read", "roost-scripted");
	all = rig_sql("SELECT count(*) FROM event WHERE session_id = 'sesn_told' AND type = 'user.message'");
	for (int i = atoi(all); i > 0; i--)
		kept_read("sesn_read");
	kept_answered("sesn_read");
	told_is("sesn_read", 0);
	kept_same_totals("sesn_told", "sesn_read");
	rig_signal(worker, SIGTERM);
}

/* Whatever writes the row after the turn: it is read, and what it changed is in the next turn. */
static void
changed_before(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	AUTO(str) char *name = NULL;

	(void)state;
	keep("sesn_chg");
	free(rig_sql("UPDATE session SET agent = replace(agent, '\"Bot\"', '\"Other\"') WHERE id = 'sesn_chg'"));
	not_told("sesn_chg");
	name = rig_sql("SELECT body::jsonb->>'agent_name' FROM event WHERE session_id = 'sesn_chg' AND type = 'session.thread_status_running'"
	    " ORDER BY seq DESC LIMIT 1");
	assert_string_equal(name, "Other");
	told("sesn_chg");
	stay("sesn_chg");
	free(rig_sql("UPDATE session SET title = 'New' WHERE id = 'sesn_chg'"));
	not_told("sesn_chg");
	stay("sesn_chg");
	free(rig_sql("UPDATE session SET title = title WHERE id = 'sesn_chg'"));
	not_told("sesn_chg");
	told("sesn_chg");
	told_is("sesn_chg", 2);
	kept_answered("sesn_chg");
	rig_signal(worker, SIGTERM);
}

/* The first of two messages is told; the second's ring is lost, and it is found: under way, or by the look at the leases. */
static void
ring_lost(pid_t worker)
{
	stay("sesn_one");
	kept_put("sesn_one");
	rig_signal(worker, SIGSTOP);
	rig_tell("sesn_one");
	kept_put("sesn_one");
	rig_signal(worker, SIGCONT);
	(void)rig_done("sesn_one");
}

/* Two messages, and the rings in either order, or only one of them; a note comes in between. */
static void
others_between(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	int last;

	(void)state;
	keep("sesn_two");
	kept_put("sesn_two");
	kept_put("sesn_two");	/* its record tells of a row that another send has written: it is read */
	rig_tell("sesn_two");
	(void)rig_done("sesn_two");
	told_is("sesn_two", 0);
	rig_wait("0", "SELECT inbox_events FROM session WHERE id = 'sesn_two'");
	rig_check("sesn_two");

	keep("sesn_one");
	for (int64_t end = clock_mono_ms() + RIG_MS; rig_came("sesn_one", "told") == 0 && clock_mono_ms() < end;)
		ring_lost(worker);
	told_is("sesn_one", 1);
	rig_wait("0idle", "SELECT inbox_events || status FROM session WHERE id = 'sesn_one'");
	rig_check("sesn_one");

	/* a change with its note is put behind the message, and rung before it */
	keep("sesn_note");
	last = rig_last_seq("sesn_note");
	kept_put("sesn_note");
	rig_note();
	rig_send("sesn_note");
	rig_tell("sesn_note");
	rig_settled("sesn_note");
	rig_wait("1 1 1", "SELECT concat_ws(' ', count(*) FILTER (WHERE type = 'session.updated'), count(*) FILTER (WHERE type = 'user.message'),"
	    " count(*) FILTER (WHERE type = 'agent.message')) FROM event WHERE session_id = 'sesn_note' AND seq > %d", last);
	rig_check("sesn_note");
	rig_signal(worker, SIGTERM);
}

/* The same record again, when the session has gone on: it is no message, but a ring for nothing. */
static void
again(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	int n;

	(void)state;
	keep("sesn_rep");
	told("sesn_rep");
	n = rig_last_seq("sesn_rep");
	rig_tell("sesn_rep");
	rig_tell("sesn_rep");
	kept_read("sesn_rep");
	told_is("sesn_rep", 1);
	rig_wait("9", "SELECT last_seq - %d FROM session WHERE id = 'sesn_rep'", n);
	kept_answered("sesn_rep");
	rig_signal(worker, SIGTERM);
}

/* Another catalogue than the worker's: it reads that too. (It stands still, lest it read it of itself just then.) */
static void
catalogue(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);

	(void)state;
	keep("sesn_cat");
	told("sesn_cat");
	stay("sesn_cat");
	rig_signal(worker, SIGSTOP);
	free(rig_sql("UPDATE catalogue SET generation = generation + 1"));
	kept_put("sesn_cat");
	rig_tell("sesn_cat");
	rig_signal(worker, SIGCONT);
	assert_string_not_equal(rig_done("sesn_cat"), "told");
	told("sesn_cat");
	told_is("sesn_cat", 2);
	kept_answered("sesn_cat");
	rig_signal(worker, SIGTERM);
}

/* Files, outcomes, a reply that is owed: more than row and inbox would be read. A budget, an archived session: nothing is sent this way. */
static void
more_to_read(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);

	(void)state;
	keep("sesn_more");
	for (const char *const *set = (const char *const[]){ "resources = '[1]'", "resources = '[]'", "outcomes = true", "outcomes = false", NULL };
	    *set != NULL; set++) {
		stay("sesn_more");
		free(rig_sql("UPDATE session SET %s WHERE id = 'sesn_more'", *set));
		not_told("sesn_more");		/* the row has been written */
		stay("sesn_more");
		if (strstr(*set, "[]") != NULL || strstr(*set, "false") != NULL)
			told("sesn_more");
		else
			not_told("sesn_more");
	}
	told_is("sesn_more", 2);
	kept_answered("sesn_more");
	free(rig_sql("UPDATE session SET budget_cents = 100000 WHERE id = 'sesn_more'"));
	rig_message("hello");
	assert_false(rig_put("sesn_more"));
	rig_wait("ok", "SELECT result FROM session_archive('w1', 'sesn_more', '{}', '{}', '{}')");
	rig_message("hello");
	assert_false(rig_put("sesn_more"));
	rig_signal(worker, SIGTERM);
}

/* A call waits for the client: no message is taken, and its answer is read. Has the turn that asked for it been told? */
static bool
call_told(const char *session, int k)
{
	AUTO(str) char *call = NULL;
	bool is_told;

	stay(session);
	rig_message("weather {\"city\":\"Bern\"}\n\nThere.");
	assert_true(rig_put(session));
	rig_tell(session);
	is_told = strcmp(rig_done(session), "told") == 0;
	rig_message("hello");
	assert_false(rig_put(session));
	call = rig_event(session, "agent.custom_tool_use", k);
	rig_result(call, "sunny");
	rig_send(session);
	rig_wait("t", "SELECT count(*) = %d FROM event WHERE session_id = '%s' AND type = 'user.custom_tool_result'", k, session);
	assert_string_not_equal(rig_done(session), "told");
	return is_told;
}

/* Then messages are told again. */
static void
calls(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	int64_t end = clock_mono_ms() + RIG_MS;

	(void)state;
	keep("sesn_call");
	for (int k = 1; !call_told("sesn_call", k); k++)
		assert_true(clock_mono_ms() < end);
	told("sesn_call");
	told_is("sesn_call", 2);
	rig_check("sesn_call");
	rig_signal(worker, SIGTERM);
}

/* What no record holds, and what is none. */
static void
too_long(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	AUTO(str) char *text = xcalloc(1, 20001);

	(void)state;
	keep("sesn_long");
	memset(text, 'x', 20000);
	rig_message(text);
	assert_true(rig_put("sesn_long"));
	rig_tell("sesn_long");
	assert_string_not_equal(rig_done("sesn_long"), "told");
	told("sesn_long");
	kept_answered("sesn_long");
	rig_signal(worker, SIGTERM);
}

/* Its lease is another's while its ring waits: the turn's first append is fenced, and there is one answer. */
static void
fenced(void **state)
{
	pid_t old = rig_worker(KEPT_LONG), worker;

	(void)state;
	keep("sesn_fen");
	rig_signal(old, SIGSTOP);
	kept_put("sesn_fen");
	rig_tell("sesn_fen");
	worker = rig_worker(KEPT_LONG);
	rig_settled("sesn_fen");
	rig_signal(old, SIGCONT);
	rig_wait("2", "SELECT count(*) FROM worker");
	for (int i = 0; i < 4; i++)
		(void)kept_turn("sesn_fen");
	kept_answered("sesn_fen");
	rig_signal(old, SIGTERM);
	rig_signal(worker, SIGTERM);
}

/* Its worker leaves, or dies, with the ring in its queue. */
static void
gone(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);

	(void)state;
	for (int i = 0; i < 2; i++) {
		AUTO(str) char *id = xasprintf("sesn_gone%d", i);

		keep(id);
		rig_signal(worker, SIGSTOP);
		kept_put(id);
		rig_tell(id);
		if (i == 0) {
			rig_signal(worker, SIGKILL);
		} else {
			must(kill(worker, SIGTERM) == 0);	/* it is there when the worker wakes */
			rig_signal(worker, SIGCONT);
			rig_signal(worker, SIGTERM);
		}
		worker = rig_worker(KEPT_LONG);
		rig_settled(id);
		kept_answered(id);
	}
	rig_wait("1", "SELECT count(*) FROM worker");	/* the last one may have had nothing to do yet */
	rig_signal(worker, SIGTERM);
}

/* One turn at a time: what is told waits for room like anything that is due. */
static void
no_room(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG "turns_max = 1\n");

	(void)state;
	keep("sesn_full");
	rig_session("sesn_holds", "roost-scripted");
	rig_message("bash {\"command\":\"hold\"}\n\nDone here.");
	rig_send("sesn_holds");
	rig_hands_has("call", "sesn_holds", 1);
	kept_put("sesn_full");
	rig_tell("sesn_full");
	rig_wait("t", "SELECT lease_owner IS NULL FROM work WHERE session_id = 'sesn_full'");
	fake_hands_release(rig_hands);
	rig_settled("sesn_holds");
	(void)rig_done("sesn_full");
	told_is("sesn_full", 0);
	kept_answered("sesn_full");
	fake_hands_amnesia(rig_hands);
	rig_signal(worker, SIGTERM);
}

/* Postgres goes down hard behind a send and comes back: what was learnt before is not gone by, whatever it proves. */
static void
postgres_restarts(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	AUTO(str) char *cmd = xasprintf("tests/env/postgres halt %s && tests/env/postgres resume %s", rig_dir, rig_dir);

	(void)state;
	keep("sesn_pg");
	kept_put("sesn_pg");
	assert_int_equal(system(cmd), 0);
	rig_wait("t", "SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'roost_worker' AND state = 'idle'");
	rig_tell("sesn_pg");
	(void)rig_done("sesn_pg");
	told_is("sesn_pg", 0);
	kept_answered("sesn_pg");
	rig_signal(worker, SIGTERM);
	rig_wait("0", "SELECT count(*) FROM work WHERE lease_owner IS NOT NULL");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(turns, rig_clear),
		cmocka_unit_test_teardown(changed_before, rig_clear),
		cmocka_unit_test_teardown(others_between, rig_clear),
		cmocka_unit_test_teardown(again, rig_clear),
		cmocka_unit_test_teardown(catalogue, rig_clear),
		cmocka_unit_test_teardown(more_to_read, rig_clear),
		cmocka_unit_test_teardown(calls, rig_clear),
		cmocka_unit_test_teardown(too_long, rig_clear),
		cmocka_unit_test_teardown(fenced, rig_clear),
		cmocka_unit_test_teardown(gone, rig_clear),
		cmocka_unit_test_teardown(no_room, rig_clear),
		cmocka_unit_test_teardown(postgres_restarts, rig_clear),
	};

	return cmocka_run_group_tests_name("worker/told", tests, start, rig_over);
}
