/* link: tests/env/worker_rig.c tests/env/fake_hands.c */
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

#include "../../env/worker_rig.h"
#include "buf.h"
#include "cleanup.h"
#include "clock.h"
#include "xalloc.h"

#define OPEN "S:running T:running u.message M:start"
#define CLOSE " a.message M:end T:idle s.usage S:idle"
#define TURN OPEN CLOSE
#define SETTINGS "lease_s = 2\nbeat_ms = 300\npoll_ms = 200\nlinger_ms = 60000\n"

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
read_turn(const char *session)
{
	rig_message("hello");
	rig_send(session);
	rig_settled(session);
}

static void
put(const char *session)
{
	rig_message("hello");
	assert_true(rig_put(session));
}

static void
turn(const char *session)
{
	put(session);
	rig_tell(session);
	rig_settled(session);
}

/* Has its worker prepared the next turn, and has nobody written the row since? */
static bool
is_ready(const char *session)
{
	AUTO(str) char *n = rig_sql("SELECT count(*) FROM session s JOIN work w ON w.session_id = s.id WHERE s.id = '%s' AND s.prior = s.xmin"
	    " AND w.lease_owner IS NOT NULL AND w.lease_epoch::text = s.ready[4]", session);

	return atoi(n) == 1;
}

/* A session that is kept: its client comes back at once, until the machine is quick enough. */
static void
keep_as(const char *session, const char *model)
{
	rig_session(session, model);
	for (int tries = 20;; tries--) {
		read_turn(session);
		if (is_ready(session))
			return;
		assert_int_not_equal(tries, 0);
	}
}

static void
keep(const char *session)
{
	keep_as(session, "roost-scripted");
}

/* Once more, if a turn of a busy machine has left it otherwise. */
static void
ready(const char *session)
{
	for (int tries = 20; !is_ready(session); tries--) {
		assert_int_not_equal(tries, 0);
		turn(session);
	}
}

/* A turn's line is in the log once its session is settled, or a moment later. */
static void
came_is(const char *session, const char *how, int want)
{
	for (int64_t end = clock_mono_ms() + 2000; rig_came(session, how) < want && clock_mono_ms() < end;)
		;
	assert_int_equal(rig_came(session, how), want);
}

static void
no_gap(const char *session)
{
	rig_wait("0", "SELECT count(*) FROM meter_gap WHERE session_id = '%s'", session);
}

/* Each message has one turn of its own, and one answer; nobody is blamed. */
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
	rig_wait("0", "SELECT coalesce(sum(attempts), 0) FROM work WHERE session_id = '%s'", session);
	no_gap(session);
	rig_check(session);
}

/* What the send has left, with ids and times put aside: bodies, columns, the row. */
#define EVENTS "string_agg(concat_ws('|', e.type, e.thread_id = s.thread_id, e.role, e.fragment, regexp_replace(regexp_replace(e.body," \
    " 's(evt|thr)_[0-9A-Za-z_]+', 'ID', 'g'), '\"processed_at\":\"[^\"]*\"', 'AT'), e.body LIKE '%%\"' || wire_stamp(e.processed_at) || '\"}'," \
    " us(e.processed_at) - us(s.running_since)), ' ' ORDER BY e.seq) FROM event e JOIN session s ON s.id = e.session_id"
#define ROW "concat_ws(' ', status, last_seq, inbox_seq, inbox_events, inbox_bytes, inbox_wakes, wake_gen, told[1:6], told[7] > 0, context_bytes, paused, at_work," \
    " us(last_at) - us(running_since), us(updated_at) - us(running_since), active_us > 0) FROM session"

/* What it is while the model answers, some turns into its life. Returns how long its log was before that. */
static int
under_way(const char *session, char **events, char **row, bool opened, int after)
{
	int last;

	keep_as(session, "fake");
	while ((last = rig_last_seq(session)) < after || (opened && !is_ready(session)))
		turn(session);
	rig_message("!provider {\"word_ms\":150}\none two three four five six seven eight nine ten eleven twelve");
	if (opened) {
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
	pid_t worker = rig_worker(SETTINGS);
	char *opened[2], *own[2];
	int last;

	(void)state;
	last = under_way("sesn_rowa", &opened[0], &opened[1], true, 72);
	assert_int_equal(under_way("sesn_rowb", &own[0], &own[1], false, last), last);
	assert_non_null(strstr(opened[0], "session.status_running|"));
	assert_string_equal(opened[0], own[0]);
	assert_non_null(strstr(opened[1], "running "));
	assert_string_equal(opened[1], own[1]);
	rig_settled("sesn_rowa");
	rig_settled("sesn_rowb");
	rig_check("sesn_rowa");
	rig_check("sesn_rowb");
	for (int i = 0; i < 2; i++) {
		free(opened[i]);
		free(own[i]);
	}
	rig_signal(worker, SIGTERM);
}

/* Many turns; what they leave is what as many turns leave that were read. */
static void
turns(void **state)
{
	pid_t worker = rig_worker(SETTINGS);
	AUTO(str) char *read = NULL, *all = NULL;
	int n = 0;

	(void)state;
	keep("sesn_many");
	for (int i = 0; i < 12; i++) {
		n += is_ready("sesn_many");
		turn("sesn_many");
	}
	assert_true(n > 1);
	came_is("sesn_many", "opened", n);
	all_answered("sesn_many");
	rig_session("sesn_read", "roost-scripted");
	all = rig_sql("SELECT count(*) FROM event WHERE session_id = 'sesn_many' AND type = 'user.message'");
	for (int i = atoi(all); i > 0; i--)
		read_turn("sesn_read");
	all_answered("sesn_read");
	came_is("sesn_read", "opened", 0);
#define TOTALS "SELECT concat_ws(' ', status, last_seq, inbox_seq, inbox_events, inbox_bytes, inbox_wakes, wake_gen, input_tokens, output_tokens," \
    " cache_read_tokens, cache_5m_tokens, cache_1h_tokens, token_nano, unpriced, paused, context_bytes, running_since IS NULL) FROM session WHERE id = '%s'"
	read = rig_sql(TOTALS, "sesn_read");
	rig_wait(read, TOTALS, "sesn_many");
	rig_signal(worker, SIGTERM);
}

/* Whatever writes the row after the turn: the send opens nothing, and what was changed is in the next turn. */
static void
changed_before(void **state)
{
	pid_t worker = rig_worker(SETTINGS);
	AUTO(str) char *name = NULL;

	(void)state;
	keep("sesn_chg");
	free(rig_sql("UPDATE session SET agent = replace(agent, '\"Bot\"', '\"Other\"') WHERE id = 'sesn_chg'"));
	assert_false(is_ready("sesn_chg"));
	turn("sesn_chg");
	came_is("sesn_chg", "opened", 0);
	name = rig_sql("SELECT body::jsonb->>'agent_name' FROM event WHERE session_id = 'sesn_chg' AND type = 'session.thread_status_running'"
	    " ORDER BY seq DESC LIMIT 1");
	assert_string_equal(name, "Other");
	ready("sesn_chg");
	turn("sesn_chg");
	came_is("sesn_chg", "opened", 1);
	ready("sesn_chg");
	free(rig_sql("UPDATE session SET title = title WHERE id = 'sesn_chg'"));
	turn("sesn_chg");
	came_is("sesn_chg", "opened", 1);
	ready("sesn_chg");
	turn("sesn_chg");
	came_is("sesn_chg", "opened", 2);
	all_answered("sesn_chg");
	ready("sesn_chg");

	/* what a session has that a turn is not prepared with, even where nothing has written the row */
	rig_signal(worker, SIGSTOP);
	for (const char *const *set = (const char *const[]){ "resources = '[1]'", "resources = '[]', outcomes = true", "outcomes = false, paused = true",
	    "paused = false", NULL }; *set != NULL; set++) {
		bool last = set[1] == NULL;

		free(rig_sql("UPDATE session SET %s, prior = pg_current_xact_id()::xid WHERE id = 'sesn_chg'", *set));
		assert_true(is_ready("sesn_chg"));
		put("sesn_chg");
		rig_wait(last ? "running 0" : "idle 1", "SELECT concat_ws(' ', status, inbox_events) FROM session WHERE id = 'sesn_chg'");
		if (!last)
			free(rig_sql("WITH i AS (DELETE FROM inbox WHERE session_id = 'sesn_chg') UPDATE session SET inbox_events = 0, inbox_bytes = 0,"
			    " inbox_wakes = 0 WHERE id = 'sesn_chg'"));
	}
	rig_signal(worker, SIGCONT);
	rig_settled("sesn_chg");
	all_answered("sesn_chg");
	rig_signal(worker, SIGTERM);
}

/* Its lease is another claim's, or nobody's: what was prepared under it counts no more. */
static void
lease_changed(void **state)
{
	pid_t worker = rig_worker(SETTINGS);

	(void)state;
	keep("sesn_lease");
	rig_signal(worker, SIGSTOP);
	free(rig_sql("UPDATE work SET lease_epoch = lease_epoch + 1 WHERE session_id = 'sesn_lease'"));
	put("sesn_lease");
	rig_wait("idle1", "SELECT status || inbox_events FROM session WHERE id = 'sesn_lease'");
	free(rig_sql("UPDATE work SET lease_epoch = lease_epoch - 1, lease_owner = NULL WHERE session_id = 'sesn_lease'"));
	rig_signal(worker, SIGCONT);
	rig_settled("sesn_lease");
	all_answered("sesn_lease");
	rig_signal(worker, SIGTERM);
}

/* The letter is lost: the worker finds the turn that it has not heard of, and goes on with it. A late one changes nothing. */
static void
letter_lost(void **state)
{
	pid_t worker = rig_worker(SETTINGS);

	(void)state;
	keep("sesn_lost");
	put("sesn_lost");
	rig_settled("sesn_lost");
	came_is("sesn_lost", "opened", 0);
	rig_tell("sesn_lost");
	rig_tell("sesn_lost");
	ready("sesn_lost");
	put("sesn_lost");
	rig_settled("sesn_lost");
	ready("sesn_lost");
	turn("sesn_lost");
	came_is("sesn_lost", "opened", 1);
	all_answered("sesn_lost");
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
	put("sesn_late");
	rig_tell("sesn_late");
	rig_wait("t", "SELECT clock_timestamp() > running_since + interval '1200 ms' FROM session WHERE id = 'sesn_late'");
	rig_signal(worker, SIGCONT);
	rig_settled("sesn_late");
	came_is("sesn_late", "opened", 0);
	all_answered("sesn_late");
	rig_signal(worker, SIGTERM);
}

/* Messages behind the one that opens wait for the turn's end; a note as well. */
static void
others_behind(void **state)
{
	pid_t worker = rig_worker(SETTINGS);
	int last;

	(void)state;
	for (int i = 0; i < 2; i++) {
		AUTO(str) char *id = xasprintf("sesn_two%d", i);

		keep(id);
		last = rig_last_seq(id);
		rig_signal(worker, SIGSTOP);
		put(id);
		if (i == 0)
			rig_tell(id);
		put(id);
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
	pid_t worker = rig_worker(SETTINGS);
	int last;

	(void)state;
	keep("sesn_int");
	last = rig_last_seq("sesn_int");
	rig_signal(worker, SIGSTOP);
	put("sesn_int");
	rig_interrupt();
	rig_send("sesn_int");
	rig_signal(worker, SIGCONT);
	rig_settled("sesn_int");
	rig_same_log("sesn_int", last, OPEN " M:end u.interrupt T:idle s.usage S:idle");
	no_gap("sesn_int");
	rig_check("sesn_int");
	turn("sesn_int");
	rig_signal(worker, SIGTERM);
}

/* It runs: it is neither archived nor deleted, before its worker has heard of it. */
static void
ended_by_client(void **state)
{
	pid_t worker = rig_worker(SETTINGS);

	(void)state;
	keep("sesn_arch");
	rig_signal(worker, SIGSTOP);
	put("sesn_arch");
	rig_wait("running", "SELECT result FROM session_archive('w1', 'sesn_arch', '{}', '{}', '{}')");
	rig_wait("running", "SELECT result FROM session_delete('w1', 'sesn_arch')");
	rig_signal(worker, SIGCONT);
	rig_settled("sesn_arch");
	all_answered("sesn_arch");
	rig_wait("ok", "SELECT result FROM session_archive('w1', 'sesn_arch', '{}', '{}', '{}')");
	rig_message("hello");
	assert_false(rig_put("sesn_arch"));
	rig_signal(worker, SIGTERM);
}

/* Another catalogue than the worker's: it reads that first. */
static void
catalogue(void **state)
{
	pid_t worker = rig_worker(SETTINGS);

	(void)state;
	keep("sesn_cat");
	free(rig_sql("UPDATE catalogue SET generation = generation + 1"));
	turn("sesn_cat");
	came_is("sesn_cat", "opened", 0);
	ready("sesn_cat");
	turn("sesn_cat");
	came_is("sesn_cat", "opened", 1);
	all_answered("sesn_cat");
	rig_signal(worker, SIGTERM);
}

/* A worker that stood still comes back when its lease is another's: it does not ask the model for what lies in its queue. */
static void
fenced(void **state)
{
	pid_t old = rig_worker(SETTINGS), worker;
	int last;

	(void)state;
	keep("sesn_fen");
	last = rig_last_seq("sesn_fen");
	rig_signal(old, SIGSTOP);
	put("sesn_fen");
	rig_tell("sesn_fen");
	worker = rig_worker(SETTINGS);
	rig_settled("sesn_fen");
	rig_signal(old, SIGCONT);
	rig_wait("2", "SELECT count(*) FROM worker");
	rig_same_log("sesn_fen", last, OPEN " M:end T:rescheduled S:rescheduled S:running T:running M:start" CLOSE);
	came_is("sesn_fen", "opened", 0);
	for (int i = 0; i < 4; i++)
		turn("sesn_fen");
	rig_check("sesn_fen");
	rig_signal(old, SIGTERM);
	rig_signal(worker, SIGTERM);
}

/* Its worker dies before it has heard of the turn: nobody is blamed, and nothing is billed beyond the stamps of what its end has left. */
static void
killed(void **state)
{
	pid_t worker = rig_worker(SETTINGS);
	int last;

	(void)state;
	keep("sesn_kill");
	last = rig_last_seq("sesn_kill");
	rig_signal(worker, SIGSTOP);
	rig_wait("t", "SELECT clock_timestamp() > beat_at + interval '400 ms' FROM worker");
	put("sesn_kill");
	rig_tell("sesn_kill");
	rig_signal(worker, SIGKILL);
	worker = rig_worker(SETTINGS);
	rig_settled("sesn_kill");
	rig_same_log("sesn_kill", last, OPEN " M:end T:rescheduled S:rescheduled S:running T:running M:start" CLOSE);
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
	pid_t worker = rig_worker(SETTINGS);
	int last;

	(void)state;
	for (int i = 0; i < 3; i++) {
		AUTO(str) char *id = xasprintf("sesn_drn%d", i);

		keep(id);
		last = rig_last_seq(id);
		rig_signal(worker, SIGSTOP);
		put(id);
		if (i == 0)
			rig_tell(id);
		if (i == 2) {
			rig_interrupt();
			rig_send(id);
		}
		must(kill(worker, SIGTERM) == 0);	/* it is there when the worker wakes */
		rig_signal(worker, SIGCONT);
		rig_signal(worker, SIGTERM);
		worker = rig_worker(SETTINGS);
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

/* One turn at a time leaves no room to be kept for others: none is prepared. Room that is kept is not given to others. */
static void
no_room(void **state)
{
	pid_t worker = rig_worker(SETTINGS "turns_max = 1\n");

	(void)state;
	rig_session("sesn_full", "roost-scripted");
	for (int i = 0; i < 5; i++)
		read_turn("sesn_full");
	assert_false(is_ready("sesn_full"));
	turn("sesn_full");
	came_is("sesn_full", "opened", 0);
	all_answered("sesn_full");
	rig_signal(worker, SIGTERM);

	worker = rig_worker(SETTINGS "turns_max = 4\n");
	keep("sesn_one");
	rig_session("sesn_next", "roost-scripted");
	for (int i = 0; i < 5; i++)
		read_turn("sesn_next");
	assert_true(is_ready("sesn_one"));
	assert_false(is_ready("sesn_next"));
	for (int i = 0; i < 4; i++) {
		AUTO(str) char *id = xasprintf("sesn_holds%d", i);

		rig_session(id, "roost-scripted");
		rig_message("bash {\"command\":\"hold\"}\n\nDone here.");
		rig_send(id);
		if (i < 3)
			rig_hands_has("call", id, 1);
	}
	turn("sesn_one");
	came_is("sesn_one", "opened", 1);
	fake_hands_release(rig_hands);
	for (int i = 0; i < 4; i++) {
		AUTO(str) char *id = xasprintf("sesn_holds%d", i);

		if (i == 3)
			fake_hands_release(rig_hands);
		rig_wait("t", "SELECT count(*) > 0 FROM event WHERE session_id = '%s' AND type = 'agent.tool_use'", id);
	}
	all_answered("sesn_one");
	rig_signal(worker, SIGKILL);
	fake_hands_amnesia(rig_hands);
}

/* What comes behind the opening is seen by a worker, too, that has no room to be told of it with the turn: its inbox is read by itself. */
static void
no_room_behind(void **state)
{
	pid_t worker = rig_worker(SETTINGS "turns_max = 4\n");
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
	assert_true(is_ready("sesn_full2"));
	last = rig_last_seq("sesn_full2");
	rig_signal(worker, SIGSTOP);
	put("sesn_full2");
	put("sesn_full2");
	rig_signal(worker, SIGCONT);
	rig_wait("2 0 idle", "SELECT concat_ws(' ', (SELECT count(*) FROM event WHERE session_id = s.id AND type = 'agent.message' AND seq > %d), inbox_events,"
	    " status) FROM session s WHERE id = 'sesn_full2'", last);
	rig_same_log("sesn_full2", last, OPEN " a.message M:end u.message M:start" CLOSE);
	no_gap("sesn_full2");
	rig_check("sesn_full2");
	rig_signal(worker, SIGKILL);
	fake_hands_amnesia(rig_hands);
}

/* Postgres goes down hard behind a send and comes back: the turn is in the log, and goes on. */
static void
postgres_restarts(void **state)
{
	pid_t worker = rig_worker(SETTINGS);
	AUTO(str) char *cmd = xasprintf("tests/env/postgres halt %s && tests/env/postgres resume %s", rig_dir, rig_dir);
	int last;

	(void)state;
	keep("sesn_pg");
	last = rig_last_seq("sesn_pg");
	rig_signal(worker, SIGSTOP);
	put("sesn_pg");
	assert_int_equal(system(cmd), 0);
	rig_signal(worker, SIGCONT);
	rig_wait("t", "SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'roost_worker' AND state = 'idle'");
	rig_tell("sesn_pg");
	rig_settled("sesn_pg");
	came_is("sesn_pg", "opened", 0);
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
