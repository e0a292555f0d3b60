/* link: tests/env/worker_rig.c tests/env/fake_hands.c */
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

#include "../../env/worker_rig.h"
#include "buf.h"
#include "cleanup.h"
#include "clock.h"
#include "xalloc.h"

#define TURN "S:running T:running u.message M:start a.message M:end T:idle s.usage S:idle"
#define SETTINGS "lease_s = 2\nbeat_ms = 300\npoll_ms = 200\nlinger_ms = 60000\n"

static int
start(void **state)
{
	(void)state;
	rig_start();
	rig_bell();
	return 0;
}

/* Longer than what a send opens a turn with (opened.c). */
static void
message(const char *text)
{
	char pad[4501] = "";

	memset(pad, 'x', sizeof(pad) - 1);
	AUTO(str) char *words = xasprintf("%s %s", text, pad);

	rig_message(words);
}

static void
read_turn(const char *session)
{
	message("hello");
	rig_send(session);
	rig_settled(session);
}

static void
put(const char *session)
{
	message("hello");
	assert_true(rig_put(session));
}

static void
told_turn(const char *session)
{
	put(session);
	rig_tell(session);
	rig_settled(session);
}

static bool
is_kept(const char *session)
{
	AUTO(str) char *n = rig_sql("SELECT count(*) FROM work WHERE session_id = '%s' AND lease_owner IS NOT NULL", session);

	return atoi(n) == 1;
}

/* A session that is kept: its client comes back at once, until the machine is quick enough. */
static void
keep(const char *session)
{
	rig_session(session, "roost-scripted");
	for (int tries = 20;; tries--) {
		read_turn(session);
		if (is_kept(session))
			return;
		assert_int_not_equal(tries, 0);
	}
}

/* Once more, if a turn of a busy machine has not been kept. */
static void
stay(const char *session)
{
	for (int tries = 20; !is_kept(session); tries--) {
		assert_int_not_equal(tries, 0);
		read_turn(session);
	}
}

/* Each message has one turn of its own, and one answer. */
static void
all_answered(const char *session)
{
	AUTO(str) char *turns = rig_sql("SELECT count(*) FROM event WHERE session_id = '%s' AND type = 'user.message'", session);
	struct buf want = BUF_INIT(0);

	for (int i = atoi(turns); i > 0; i--)
		buf_printf(&want, "%s%s", TURN, i > 1 ? " " : "");
	rig_same_log(session, 0, want.data);
	buf_free(&want);
	rig_wait("0", "SELECT inbox_events FROM session WHERE id = '%s'", session);
	rig_check(session);
}

/* A turn's line is in the log once its session is settled, or a moment later. */
static void
told_is(const char *session, int want)
{
	for (int64_t end = clock_mono_ms() + 2000; rig_came(session, "told") < want && clock_mono_ms() < end;)
		;
	assert_int_equal(rig_came(session, "told"), want);
}

/* Many turns; what they leave is what as many turns leave that were read. */
static void
turns(void **state)
{
	pid_t worker = rig_worker(SETTINGS);
	AUTO(str) char *read = NULL, *all = NULL;
	int n = 0;

	(void)state;
	keep("sesn_told");
	for (int i = 0; i < 12; i++) {
		bool kept = is_kept("sesn_told");

		told_turn("sesn_told");
		n += kept;
	}
	assert_int_equal(n, 12);
	told_is("sesn_told", n);
	all_answered("sesn_told");
	rig_session("sesn_read", "roost-scripted");
	all = rig_sql("SELECT count(*) FROM event WHERE session_id = 'sesn_told' AND type = 'user.message'");
	for (int i = atoi(all); i > 0; i--)
		read_turn("sesn_read");
	all_answered("sesn_read");
	told_is("sesn_read", 0);
#define TOTALS "SELECT concat_ws(' ', status, last_seq, inbox_seq, inbox_events, inbox_bytes, inbox_wakes, wake_gen, input_tokens, output_tokens," \
    " cache_read_tokens, cache_5m_tokens, cache_1h_tokens, token_nano, unpriced, paused, context_bytes, running_since IS NULL) FROM session WHERE id = '%s'"
	read = rig_sql(TOTALS, "sesn_read");
	rig_wait(read, TOTALS, "sesn_told");
	rig_signal(worker, SIGTERM);
}

/* Whatever writes the row after the turn: it is read, and what it changed is in the next turn. */
static void
changed_before(void **state)
{
	pid_t worker = rig_worker(SETTINGS);
	AUTO(str) char *name = NULL;

	(void)state;
	keep("sesn_chg");
	free(rig_sql("UPDATE session SET agent = replace(agent, '\"Bot\"', '\"Other\"') WHERE id = 'sesn_chg'"));
	told_turn("sesn_chg");
	told_is("sesn_chg", 0);
	name = rig_sql("SELECT body::jsonb->>'agent_name' FROM event WHERE session_id = 'sesn_chg' AND type = 'session.thread_status_running'"
	    " ORDER BY seq DESC LIMIT 1");
	assert_string_equal(name, "Other");
	stay("sesn_chg");
	told_turn("sesn_chg");
	told_is("sesn_chg", 1);
	stay("sesn_chg");
	free(rig_sql("UPDATE session SET title = 'New' WHERE id = 'sesn_chg'"));
	told_turn("sesn_chg");
	told_is("sesn_chg", 1);
	stay("sesn_chg");
	free(rig_sql("UPDATE session SET title = title WHERE id = 'sesn_chg'"));
	told_turn("sesn_chg");
	told_is("sesn_chg", 1);
	stay("sesn_chg");
	told_turn("sesn_chg");
	told_is("sesn_chg", 2);
	all_answered("sesn_chg");
	rig_signal(worker, SIGTERM);
}

/* Two messages, and the rings in either order, or only one of them; a note comes in between. */
static void
others_between(void **state)
{
	pid_t worker = rig_worker(SETTINGS);
	int last;

	(void)state;
	keep("sesn_two");
	put("sesn_two");
	put("sesn_two");	/* its record tells of a row that another send has written: it is read */
	rig_tell("sesn_two");
	rig_settled("sesn_two");
	told_is("sesn_two", 0);
	rig_wait("0", "SELECT inbox_events FROM session WHERE id = 'sesn_two'");
	rig_check("sesn_two");

	/* the first one is told; the second's ring is lost, and it is found: under way, or by the look at the leases */
	keep("sesn_one");
	put("sesn_one");
	rig_signal(worker, SIGSTOP);
	rig_tell("sesn_one");
	put("sesn_one");
	rig_signal(worker, SIGCONT);
	rig_settled("sesn_one");
	told_is("sesn_one", 1);
	rig_wait("0idle", "SELECT inbox_events || status FROM session WHERE id = 'sesn_one'");
	rig_check("sesn_one");

	/* a change with its note is put behind the message, and rung before it */
	keep("sesn_note");
	last = rig_last_seq("sesn_note");
	put("sesn_note");
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
	pid_t worker = rig_worker(SETTINGS);
	int n;

	(void)state;
	keep("sesn_rep");
	told_turn("sesn_rep");
	n = rig_last_seq("sesn_rep");
	rig_tell("sesn_rep");
	rig_tell("sesn_rep");
	read_turn("sesn_rep");
	told_is("sesn_rep", 1);
	rig_wait("9", "SELECT last_seq - %d FROM session WHERE id = 'sesn_rep'", n);
	all_answered("sesn_rep");
	rig_signal(worker, SIGTERM);
}

/* Another catalogue than the worker's: it reads that too. */
static void
catalogue(void **state)
{
	pid_t worker = rig_worker(SETTINGS);

	(void)state;
	keep("sesn_cat");
	told_turn("sesn_cat");
	told_is("sesn_cat", 1);
	stay("sesn_cat");
	free(rig_sql("UPDATE catalogue SET generation = generation + 1"));
	told_turn("sesn_cat");
	told_is("sesn_cat", 1);
	stay("sesn_cat");
	told_turn("sesn_cat");
	told_is("sesn_cat", 2);
	all_answered("sesn_cat");
	rig_signal(worker, SIGTERM);
}

/* Files, outcomes, a reply that is owed: more than row and inbox would be read. A budget, an archived session: nothing is sent this way. */
static void
more_to_read(void **state)
{
	pid_t worker = rig_worker(SETTINGS);
	int n = 0;

	(void)state;
	keep("sesn_more");
	for (const char *const *set = (const char *const[]){ "resources = '[1]'", "resources = '[]'", "outcomes = true", "outcomes = false", NULL };
	    *set != NULL; set++) {
		stay("sesn_more");
		free(rig_sql("UPDATE session SET %s WHERE id = 'sesn_more'", *set));
		told_turn("sesn_more");		/* the row has been written */
		stay("sesn_more");
		told_turn("sesn_more");
		n += strstr(*set, "[]") != NULL || strstr(*set, "false") != NULL;
		told_is("sesn_more", n);
	}
	all_answered("sesn_more");
	free(rig_sql("UPDATE session SET budget_cents = 100000 WHERE id = 'sesn_more'"));
	message("hello");
	assert_false(rig_put("sesn_more"));
	rig_wait("ok", "SELECT result FROM session_archive('w1', 'sesn_more', '{}', '{}', '{}')");
	message("hello");
	assert_false(rig_put("sesn_more"));
	rig_signal(worker, SIGTERM);
}

/* A call waits for the client: no message is taken, and its answer is read. Then messages are told again. */
static void
calls(void **state)
{
	pid_t worker = rig_worker(SETTINGS);
	AUTO(str) char *call = NULL;

	(void)state;
	keep("sesn_call");
	message("weather {\"city\":\"Bern\"}\n\nThere.");
	assert_true(rig_put("sesn_call"));
	rig_tell("sesn_call");
	rig_settled("sesn_call");
	told_is("sesn_call", 1);
	message("hello");
	assert_false(rig_put("sesn_call"));
	call = rig_event("sesn_call", "agent.custom_tool_use", 1);
	rig_result(call, "sunny");
	rig_send("sesn_call");
	rig_wait("t", "SELECT count(*) = 1 FROM event WHERE session_id = 'sesn_call' AND type = 'user.custom_tool_result'");
	rig_settled("sesn_call");
	told_is("sesn_call", 1);
	told_turn("sesn_call");
	told_is("sesn_call", 2);
	rig_check("sesn_call");
	rig_signal(worker, SIGTERM);
}

/* What no record holds, and what is none. */
static void
too_long(void **state)
{
	pid_t worker = rig_worker(SETTINGS);
	AUTO(str) char *text = xcalloc(1, 20001);

	(void)state;
	keep("sesn_long");
	memset(text, 'x', 20000);
	rig_message(text);
	assert_true(rig_put("sesn_long"));
	rig_tell("sesn_long");
	rig_settled("sesn_long");
	told_is("sesn_long", 0);
	told_turn("sesn_long");
	told_is("sesn_long", 1);
	all_answered("sesn_long");
	rig_signal(worker, SIGTERM);
}

/* Its lease is another's while its ring waits: the turn's first append is fenced, and there is one answer. */
static void
fenced(void **state)
{
	pid_t old = rig_worker(SETTINGS), worker;

	(void)state;
	keep("sesn_fen");
	rig_signal(old, SIGSTOP);
	put("sesn_fen");
	rig_tell("sesn_fen");
	worker = rig_worker(SETTINGS);
	rig_settled("sesn_fen");
	rig_signal(old, SIGCONT);
	rig_wait("2", "SELECT count(*) FROM worker");
	for (int i = 0; i < 4; i++)
		told_turn("sesn_fen");
	all_answered("sesn_fen");
	rig_signal(old, SIGTERM);
	rig_signal(worker, SIGTERM);
}

/* Its worker leaves, or dies, with the ring in its queue. */
static void
gone(void **state)
{
	pid_t worker = rig_worker(SETTINGS);

	(void)state;
	for (int i = 0; i < 2; i++) {
		AUTO(str) char *id = xasprintf("sesn_gone%d", i);

		keep(id);
		rig_signal(worker, SIGSTOP);
		put(id);
		rig_tell(id);
		if (i == 0) {
			rig_signal(worker, SIGKILL);
		} else {
			must(kill(worker, SIGTERM) == 0);	/* it is there when the worker wakes */
			rig_signal(worker, SIGCONT);
			rig_signal(worker, SIGTERM);
		}
		worker = rig_worker(SETTINGS);
		rig_settled(id);
		all_answered(id);
	}
	rig_wait("1", "SELECT count(*) FROM worker");	/* the last one may have had nothing to do yet */
	rig_signal(worker, SIGTERM);
}

/* One turn at a time: what is told waits for room like anything that is due. */
static void
no_room(void **state)
{
	pid_t worker = rig_worker(SETTINGS "turns_max = 1\n");

	(void)state;
	keep("sesn_full");
	rig_session("sesn_holds", "roost-scripted");
	rig_message("bash {\"command\":\"hold\"}\n\nDone here.");
	rig_send("sesn_holds");
	rig_hands_has("call", "sesn_holds", 1);
	put("sesn_full");
	rig_tell("sesn_full");
	rig_wait("t", "SELECT lease_owner IS NULL FROM work WHERE session_id = 'sesn_full'");
	fake_hands_release(rig_hands);
	rig_settled("sesn_full");
	rig_settled("sesn_holds");
	told_is("sesn_full", 0);
	all_answered("sesn_full");
	fake_hands_amnesia(rig_hands);
	rig_signal(worker, SIGTERM);
}

/* Postgres goes down hard behind a send and comes back: what was learnt before is not gone by, whatever it proves. */
static void
postgres_restarts(void **state)
{
	pid_t worker = rig_worker(SETTINGS);
	AUTO(str) char *cmd = xasprintf("tests/env/postgres halt %s && tests/env/postgres resume %s", rig_dir, rig_dir);

	(void)state;
	keep("sesn_pg");
	put("sesn_pg");
	assert_int_equal(system(cmd), 0);
	rig_wait("t", "SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'roost_worker' AND state = 'idle'");
	rig_tell("sesn_pg");
	rig_settled("sesn_pg");
	told_is("sesn_pg", 0);
	all_answered("sesn_pg");
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
