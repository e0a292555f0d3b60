/* link: tests/env/kept_rig.c tests/env/worker_rig.c tests/env/fake_hands.c */
/*
 * The send of a message opens the turn of a kept session whose worker has prepared it (workers/harness/opening.h): one turn and one answer
 * for each message whatever becomes of the letter, its worker or its session in between; what the log, the row and the meters hold is what
 * turns leave that were opened by their worker; and a request that nobody has made is no gap.
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
	(void)state;
	rig_start();
	rig_bell();
	rig_provider();
	return 0;
}

static void
keep(const char *session)
{
	kept_keep(session, "roost-scripted", kept_ready);
}

static void
stay(const char *session)
{
	kept_stay(session, kept_ready);
}

/* Until the send of a message has opened its turn, and its letter was in time. */
static void
opened(const char *session)
{
	kept_comes(session, kept_ready, "opened");
}

/* A turn that must not be. */
static void
not_opened(const char *session)
{
	assert_string_not_equal(kept_turn(session), "opened");
}

static void
opened_is(const char *session, int want)
{
	assert_int_equal(rig_came(session, "opened"), want);
}

static void
no_gap(const char *session)
{
	rig_wait("0", "SELECT count(*) FROM meter_gap WHERE session_id = '%s'", session);
}

/* What the send has left, with ids and times put aside: bodies, columns, the row. */
#define EVENTS "string_agg(concat_ws('|', e.type, e.thread_id = s.thread_id, e.role, e.fragment, regexp_replace(regexp_replace(e.body," \
    " 's(evt|thr)_[0-9A-Za-z_]+', 'ID', 'g'), '\"processed_at\":\"[^\"]*\"', 'AT'), e.body LIKE '%%\"' || wire_stamp(e.processed_at) || '\"}'," \
    " us(e.processed_at) - us(s.running_since)), ' ' ORDER BY e.seq) FROM event e JOIN session s ON s.id = e.session_id"
#define ROW "concat_ws(' ', status, last_seq, inbox_seq, inbox_events, inbox_bytes, inbox_wakes, wake_gen, told[1:6], told[7] > 0, context_bytes, paused, at_work," \
    " us(last_at) - us(running_since), us(updated_at) - us(running_since), active_us > 0) FROM session"

/* What it is while the model is silent, some turns into its life. Returns how long its log was before that. */
static int
under_way(const char *session, char **events, char **row, bool by_send, int after)
{
	int last;

	rig_session(session, "fake");
	do {
		(void)kept_turn(session);
		if (by_send)
			stay(session);
		last = rig_last_seq(session);
	} while (last < after);
	rig_message("!provider {\"delay_ms\":600000}\nhello");
	if (by_send) {
		assert_true(rig_put(session));
		rig_tell(session);
	} else {
		rig_send(session);
	}
	rig_wait("4", "SELECT last_seq - %d FROM session WHERE id = '%s'", last, session);
	*events = rig_sql("SELECT " EVENTS " WHERE s.id = '%s' AND seq > %d", session, last);
	*row = rig_sql("SELECT " ROW " WHERE id = '%s'", session);
	return last;
}

/* The row and the events that a send leaves are those that the worker's own append leaves of the same message. */
static void
same_rows(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	char *sent[2], *own[2];
	int last;

	(void)state;
	last = under_way("sesn_rowa", &sent[0], &sent[1], true, 72);
	assert_int_equal(under_way("sesn_rowb", &own[0], &own[1], false, last), last);
	assert_non_null(strstr(sent[0], "session.status_running|"));
	assert_string_equal(sent[0], own[0]);
	assert_non_null(strstr(sent[1], "running "));
	assert_string_equal(sent[1], own[1]);
	for (int i = 0; i < 2; i++) {
		const char *id = i == 0 ? "sesn_rowa" : "sesn_rowb";

		rig_interrupt();
		rig_send(id);
		rig_settled(id);
		rig_check(id);
		free(sent[i]);
		free(own[i]);
	}
	rig_signal(worker, SIGTERM);
}

/* Many turns; what they leave is what as many turns leave that were read. */
static void
turns(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	AUTO(str) char *all = NULL;

	(void)state;
	keep("sesn_many");
	for (int i = 0; i < 12; i++)
		opened("sesn_many");
	opened_is("sesn_many", 12);
	kept_answered("sesn_many");
	rig_session("sesn_read", "roost-scripted");
	all = rig_sql("SELECT count(*) FROM event WHERE session_id = 'sesn_many' AND type = 'user.message'");
	for (int i = atoi(all); i > 0; i--)
		kept_read("sesn_read");
	kept_answered("sesn_read");
	opened_is("sesn_read", 0);
	kept_same_totals("sesn_many", "sesn_read");
	rig_signal(worker, SIGTERM);
}

/* Whatever writes the row after the turn: the send opens nothing, and what was changed is in the next turn. */
static void
changed_before(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	AUTO(str) char *name = NULL;

	(void)state;
	keep("sesn_chg");
	free(rig_sql("UPDATE session SET agent = replace(agent, '\"Bot\"', '\"Other\"') WHERE id = 'sesn_chg'"));
	assert_false(kept_ready("sesn_chg"));
	not_opened("sesn_chg");
	name = rig_sql("SELECT body::jsonb->>'agent_name' FROM event WHERE session_id = 'sesn_chg' AND type = 'session.thread_status_running'"
	    " ORDER BY seq DESC LIMIT 1");
	assert_string_equal(name, "Other");
	opened("sesn_chg");
	stay("sesn_chg");
	free(rig_sql("UPDATE session SET title = title WHERE id = 'sesn_chg'"));
	not_opened("sesn_chg");
	opened("sesn_chg");
	opened_is("sesn_chg", 2);
	kept_answered("sesn_chg");
	stay("sesn_chg");

	/* what a session has that a turn is not prepared with, even where nothing has written the row */
	rig_signal(worker, SIGSTOP);
	for (const char *const *set = (const char *const[]){ "resources = '[1]'", "resources = '[]', outcomes = true", "outcomes = false, paused = true",
	    "paused = false", NULL }; *set != NULL; set++) {
		bool last = set[1] == NULL;

		free(rig_sql("UPDATE session SET %s, prior = pg_current_xact_id()::xid WHERE id = 'sesn_chg'", *set));
		assert_true(kept_ready("sesn_chg"));
		kept_put("sesn_chg");
		rig_wait(last ? "running 0" : "idle 1", "SELECT concat_ws(' ', status, inbox_events) FROM session WHERE id = 'sesn_chg'");
		if (!last)
			free(rig_sql("WITH i AS (DELETE FROM inbox WHERE session_id = 'sesn_chg') UPDATE session SET inbox_events = 0, inbox_bytes = 0,"
			    " inbox_wakes = 0 WHERE id = 'sesn_chg'"));
	}
	rig_signal(worker, SIGCONT);
	rig_settled("sesn_chg");
	kept_answered("sesn_chg");
	rig_signal(worker, SIGTERM);
}

/* Its lease is another claim's, or nobody's: what was prepared under it counts no more. */
static void
lease_changed(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);

	(void)state;
	keep("sesn_lease");
	rig_signal(worker, SIGSTOP);
	free(rig_sql("UPDATE work SET lease_epoch = lease_epoch + 1 WHERE session_id = 'sesn_lease'"));
	kept_put("sesn_lease");
	rig_wait("idle1", "SELECT status || inbox_events FROM session WHERE id = 'sesn_lease'");
	free(rig_sql("UPDATE work SET lease_epoch = lease_epoch - 1, lease_owner = NULL WHERE session_id = 'sesn_lease'"));
	rig_signal(worker, SIGCONT);
	rig_settled("sesn_lease");
	kept_answered("sesn_lease");
	rig_signal(worker, SIGTERM);
}

/* The letter is lost: the worker finds the turn that it has not heard of, and goes on with it. A late one changes nothing. */
static void
letter_lost(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);

	(void)state;
	keep("sesn_lost");
	kept_put("sesn_lost");
	assert_string_not_equal(rig_done("sesn_lost"), "opened");
	rig_tell("sesn_lost");
	rig_tell("sesn_lost");
	stay("sesn_lost");
	kept_put("sesn_lost");
	assert_string_not_equal(rig_done("sesn_lost"), "opened");
	opened("sesn_lost");
	opened_is("sesn_lost", 1);
	kept_answered("sesn_lost");
	rig_signal(worker, SIGTERM);
}

/* It lies while its worker stands still, not as long as its lease lasts: it is too old to go by, and the turn is read. */
static void
letter_late(void **state)
{
	pid_t worker = rig_worker("lease_s = 30\nbeat_ms = 300\npoll_ms = 200\nlinger_ms = 60000\n");

	(void)state;
	keep("sesn_late");
	rig_signal(worker, SIGSTOP);
	kept_put("sesn_late");
	rig_tell("sesn_late");
	rig_wait("t", "SELECT clock_timestamp() > running_since + interval '1200 ms' FROM session WHERE id = 'sesn_late'");
	rig_signal(worker, SIGCONT);
	assert_string_not_equal(rig_done("sesn_late"), "opened");
	kept_answered("sesn_late");
	rig_signal(worker, SIGTERM);
}

/* Messages behind the one that opens wait for the turn's end; a note as well. */
static void
others_behind(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	int last;

	(void)state;
	for (int i = 0; i < 2; i++) {
		AUTO(str) char *id = xasprintf("sesn_two%d", i);

		keep(id);
		last = rig_last_seq(id);
		rig_signal(worker, SIGSTOP);
		kept_put(id);
		if (i == 0)
			rig_tell(id);
		kept_put(id);
		rig_note();
		rig_send(id);
		rig_signal(worker, SIGCONT);
		rig_wait("1 2 2 0", "SELECT concat_ws(' ', count(*) FILTER (WHERE type = 'session.updated'), count(*) FILTER (WHERE type = 'user.message'),"
		    " count(*) FILTER (WHERE type = 'agent.message'), (SELECT inbox_events FROM session WHERE id = session_id)) FROM event"
		    " WHERE session_id = '%s' AND seq > %d GROUP BY session_id", id, last);
		rig_settled(id);
		no_gap(id);
		rig_check(id);
	}
	rig_signal(worker, SIGTERM);
}

/* An interrupt comes before the worker has heard of the turn: nothing is asked, and nothing is a gap. */
static void
interrupted(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	int last;

	(void)state;
	keep("sesn_int");
	last = rig_last_seq("sesn_int");
	rig_signal(worker, SIGSTOP);
	kept_put("sesn_int");
	rig_interrupt();
	rig_send("sesn_int");
	rig_signal(worker, SIGCONT);
	rig_settled("sesn_int");
	rig_same_log("sesn_int", last, KEPT_OPEN " M:end u.interrupt T:idle s.usage S:idle");
	no_gap("sesn_int");
	rig_check("sesn_int");
	(void)kept_turn("sesn_int");
	rig_signal(worker, SIGTERM);
}

/* It runs: it is neither archived nor deleted, before its worker has heard of it. */
static void
ended_by_client(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);

	(void)state;
	keep("sesn_arch");
	rig_signal(worker, SIGSTOP);
	kept_put("sesn_arch");
	rig_wait("running", "SELECT result FROM session_archive('w1', 'sesn_arch', '{}', '{}', '{}')");
	rig_wait("running", "SELECT result FROM session_delete('w1', 'sesn_arch')");
	rig_signal(worker, SIGCONT);
	rig_settled("sesn_arch");
	kept_answered("sesn_arch");
	rig_wait("ok", "SELECT result FROM session_archive('w1', 'sesn_arch', '{}', '{}', '{}')");
	rig_message("hello");
	assert_false(rig_put("sesn_arch"));
	rig_signal(worker, SIGTERM);
}

/* Another catalogue than the worker's: it reads that first. (It stands still, lest it read it of itself just then.) */
static void
catalogue(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);

	(void)state;
	keep("sesn_cat");
	rig_signal(worker, SIGSTOP);
	free(rig_sql("UPDATE catalogue SET generation = generation + 1"));
	kept_put("sesn_cat");
	rig_tell("sesn_cat");
	rig_signal(worker, SIGCONT);
	assert_string_not_equal(rig_done("sesn_cat"), "opened");
	opened("sesn_cat");
	opened_is("sesn_cat", 1);
	kept_answered("sesn_cat");
	rig_signal(worker, SIGTERM);
}

/* A worker that stood still comes back when its lease is another's: it does not ask the model for what lies in its queue. */
static void
fenced(void **state)
{
	pid_t old = rig_worker(KEPT_LONG), worker;
	int last;

	(void)state;
	keep("sesn_fen");
	last = rig_last_seq("sesn_fen");
	rig_signal(old, SIGSTOP);
	kept_put("sesn_fen");
	rig_tell("sesn_fen");
	worker = rig_worker(KEPT_LONG);
	rig_settled("sesn_fen");
	rig_signal(old, SIGCONT);
	rig_wait("2", "SELECT count(*) FROM worker");
	rig_same_log("sesn_fen", last, KEPT_OPEN " M:end T:rescheduled S:rescheduled S:running T:running M:start" KEPT_CLOSE);
	opened_is("sesn_fen", 0);
	for (int i = 0; i < 4; i++)
		(void)kept_turn("sesn_fen");
	rig_check("sesn_fen");
	rig_signal(old, SIGTERM);
	rig_signal(worker, SIGTERM);
}

/* Its worker dies before it has heard of the turn: nobody is blamed, and nothing is billed beyond the stamps of what its end has left. */
static void
killed(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	int last;

	(void)state;
	keep("sesn_kill");
	last = rig_last_seq("sesn_kill");
	rig_signal(worker, SIGSTOP);
	rig_wait("t", "SELECT clock_timestamp() > beat_at + interval '400 ms' FROM worker");
	kept_put("sesn_kill");
	rig_tell("sesn_kill");
	rig_signal(worker, SIGKILL);
	worker = rig_worker(KEPT_LONG);
	rig_settled("sesn_kill");
	rig_same_log("sesn_kill", last, KEPT_OPEN " M:end T:rescheduled S:rescheduled S:running T:running M:start" KEPT_CLOSE);
	rig_wait("6", "SELECT us(min(processed_at) FILTER (WHERE type = 'session.status_rescheduled')) - us(min(processed_at)) FROM event WHERE"
	    " session_id = 'sesn_kill' AND seq > %d", last);
	rig_wait("worker_lost", "SELECT string_agg(cause, ' ') FROM meter_gap WHERE session_id = 'sesn_kill'");
	rig_wait("0", "SELECT count(*) FROM suspect");
	rig_check("sesn_kill");
	rig_signal(worker, SIGTERM);
}

/* Its worker leaves before it has heard of the turn: it says so, and the next one makes the request, unless an interrupt has come as well. */
static void
drained(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	int last;

	(void)state;
	for (int i = 0; i < 3; i++) {
		AUTO(str) char *id = xasprintf("sesn_drn%d", i);

		keep(id);
		last = rig_last_seq(id);
		rig_signal(worker, SIGSTOP);
		kept_put(id);
		if (i == 0)
			rig_tell(id);
		if (i == 2) {
			rig_interrupt();
			rig_send(id);
		}
		must(kill(worker, SIGTERM) == 0);	/* it is there when the worker wakes */
		rig_signal(worker, SIGCONT);
		rig_signal(worker, SIGTERM);
		worker = rig_worker(KEPT_LONG);
		rig_settled(id);
		rig_wait(i == 2 ? "1 0 1" : "1 1 0", "SELECT concat_ws(' ', count(*) FILTER (WHERE type = 'user.message'), count(*) FILTER (WHERE type ="
		    " 'agent.message'), count(*) FILTER (WHERE type = 'user.interrupt')) FROM event WHERE session_id = '%s' AND seq > %d", id, last);
		rig_wait("0", "SELECT inbox_events FROM session WHERE id = '%s'", id);
		no_gap(id);
		rig_check(id);
	}
	rig_wait("1", "SELECT count(*) FROM worker");
	rig_signal(worker, SIGTERM);
}

/* Three turns of four, and one session that is kept with its opening: the fourth waits, and the opening has the room. Was it in time? */
static bool
opened_when_full(int round)
{
	bool in_time;

	stay("sesn_one");
	for (int i = 0; i < 4; i++) {
		AUTO(str) char *id = xasprintf("sesn_holds%d_%d", round, i);

		rig_session(id, "roost-scripted");
		rig_message("bash {\"command\":\"hold\"}\n\nDone here.");
		rig_send(id);
		if (i < 3)
			rig_hands_has("call", id, 1);
	}
	in_time = strcmp(kept_turn("sesn_one"), "opened") == 0;
	fake_hands_release(rig_hands);
	for (int i = 0; i < 4; i++) {
		AUTO(str) char *id = xasprintf("sesn_holds%d_%d", round, i);

		rig_wait("t", "SELECT count(*) > 0 FROM event WHERE session_id = '%s' AND type = 'agent.tool_use'", id);
		rig_settled(id);
	}
	fake_hands_amnesia(rig_hands);
	return in_time;
}

/* One turn at a time leaves no room to be kept for others: none is prepared. Room that is kept is not given to others. */
static void
no_room(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG "turns_max = 1\n");
	int64_t end = clock_mono_ms() + RIG_MS;

	(void)state;
	rig_session("sesn_full", "roost-scripted");
	for (int i = 0; i < 5; i++)
		kept_read("sesn_full");
	assert_false(kept_ready("sesn_full"));
	not_opened("sesn_full");
	kept_answered("sesn_full");
	rig_signal(worker, SIGTERM);

	worker = rig_worker(KEPT_LONG "turns_max = 4\n");
	keep("sesn_one");
	rig_session("sesn_next", "roost-scripted");
	for (int i = 0; i < 5; i++)
		kept_read("sesn_next");
	assert_true(kept_ready("sesn_one"));
	assert_false(kept_ready("sesn_next"));
	for (int round = 0; !opened_when_full(round); round++)
		assert_true(clock_mono_ms() < end);
	kept_answered("sesn_one");
	rig_signal(worker, SIGTERM);
}

/* What comes behind the opening is seen by a worker, too, that has no room to be told of it with the turn: its inbox is read by itself. */
static void
no_room_behind(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG "turns_max = 4\n");
	int last;

	(void)state;
	keep("sesn_full2");
	for (int i = 0; i < 3; i++) {
		AUTO(str) char *id = xasprintf("sesn_busy%d", i);

		rig_session(id, "roost-scripted");
		rig_message("bash {\"command\":\"hold\"}\n\nDone here.");
		rig_send(id);
		rig_hands_has("call", id, 1);
	}
	assert_true(kept_ready("sesn_full2"));
	last = rig_last_seq("sesn_full2");
	rig_signal(worker, SIGSTOP);
	kept_put("sesn_full2");
	kept_put("sesn_full2");
	rig_signal(worker, SIGCONT);
	rig_wait("2 0 idle", "SELECT concat_ws(' ', (SELECT count(*) FROM event WHERE session_id = s.id AND type = 'agent.message' AND seq > %d), inbox_events,"
	    " status) FROM session s WHERE id = 'sesn_full2'", last);
	rig_same_log("sesn_full2", last, KEPT_OPEN " a.message M:end u.message M:start" KEPT_CLOSE);
	no_gap("sesn_full2");
	rig_check("sesn_full2");
	rig_signal(worker, SIGKILL);
	fake_hands_amnesia(rig_hands);
}

/* Postgres goes down hard behind a send and comes back: the turn is in the log, and goes on. */
static void
postgres_restarts(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	AUTO(str) char *cmd = xasprintf("tests/env/postgres halt %s && tests/env/postgres resume %s", rig_dir, rig_dir);
	int last;

	(void)state;
	keep("sesn_pg");
	last = rig_last_seq("sesn_pg");
	rig_signal(worker, SIGSTOP);
	kept_put("sesn_pg");
	assert_int_equal(system(cmd), 0);
	rig_signal(worker, SIGCONT);
	rig_wait("t", "SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'roost_worker' AND state = 'idle'");
	rig_tell("sesn_pg");
	assert_string_not_equal(rig_done("sesn_pg"), "opened");
	rig_wait("1 1", "SELECT concat_ws(' ', count(*) FILTER (WHERE type = 'user.message'), count(*) FILTER (WHERE type = 'agent.message'))"
	    " FROM event WHERE session_id = 'sesn_pg' AND seq > %d", last);
	rig_check("sesn_pg");
	rig_signal(worker, SIGTERM);

}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(same_rows, rig_clear),
		cmocka_unit_test_teardown(turns, rig_clear),
		cmocka_unit_test_teardown(changed_before, rig_clear),
		cmocka_unit_test_teardown(lease_changed, rig_clear),
		cmocka_unit_test_teardown(letter_lost, rig_clear),
		cmocka_unit_test_teardown(letter_late, rig_clear),
		cmocka_unit_test_teardown(others_behind, rig_clear),
		cmocka_unit_test_teardown(interrupted, rig_clear),
		cmocka_unit_test_teardown(ended_by_client, rig_clear),
		cmocka_unit_test_teardown(catalogue, rig_clear),
		cmocka_unit_test_teardown(fenced, rig_clear),
		cmocka_unit_test_teardown(killed, rig_clear),
		cmocka_unit_test_teardown(drained, rig_clear),
		cmocka_unit_test_teardown(no_room, rig_clear),
		cmocka_unit_test_teardown(no_room_behind, rig_clear),
		cmocka_unit_test_teardown(postgres_restarts, rig_clear),
	};

	return cmocka_run_group_tests_name("worker/opened", tests, start, rig_over);
}
