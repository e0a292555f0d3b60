/* link: tests/env/kept_rig.c tests/env/worker_rig.c tests/env/fake_hands.c */
/*
 * Sessions whose leases a worker keeps for a moment after a turn: who is kept, what comes for them, their ends, and whoever dies, leaves,
 * stops, has no room or loses Postgres meanwhile. A claim takes a number from lease_epoch, so a lease that has the same epoch after another
 * turn was not claimed again.
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
#include "xalloc.h"

static int
start(void **state)
{
	(void)state;
	rig_start();
	return 0;
}

static char *
epoch_of(const char *session)
{
	return rig_sql("SELECT lease_epoch FROM work WHERE session_id = '%s' AND lease_owner IS NOT NULL", session);
}

#define same_epoch(session, want) do { AUTO(str) char *got_ = epoch_of(session); assert_string_equal(got_, (want)); } while (0)

/* A session that is kept. Its epoch. */
static char *
kept(const char *session)
{
	kept_keep(session, "roost-scripted", kept_leased);
	return epoch_of(session);
}

/* It was kept no longer, and nothing was written about that. */
static void
over(const char *session, int last_seq)
{
	rig_wait("0", "SELECT count(*) FROM work WHERE session_id = '%s'", session);
	rig_wait("idlefalse", "SELECT status || at_work::text FROM session WHERE id = '%s'", session);
	assert_int_equal(rig_last_seq(session), last_seq);
	rig_wait("0", "SELECT count(*) FROM suspect");
}

static void
turns(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	AUTO(str) char *epoch = NULL, *last = NULL;

	(void)state;
	rig_session("sesn_kept", "roost-scripted");
	kept_read("sesn_kept");
	rig_wait("0", "SELECT count(*) FROM work");	/* who has come once is not waited for */
	kept_stay("sesn_kept", kept_leased);
	epoch = epoch_of("sesn_kept");
	rig_wait("idle", "SELECT wire_status(status, inbox_wakes, at_work) FROM session WHERE id = 'sesn_kept'");
	last = rig_sql("SELECT last_value FROM lease_epoch");
	for (int i = 0; i < 5; i++) {
		kept_read("sesn_kept");
		same_epoch("sesn_kept", epoch);
	}
	rig_wait(last, "SELECT last_value FROM lease_epoch");
	kept_answered("sesn_kept");
	rig_check("sesn_kept");

	/* a doorbell that was lost: the worker looks at its leases */
	rig_wait("t", "SELECT session_message('w1', 'sesn_kept', '{sevt_lost}', ARRAY['{\"id\":\"sevt_lost\",\"type\":\"user.message\",\"content\":[]'],"
	    " '{NULL}', 60, 60, 1000, 1000000) = (SELECT max(id) FROM worker)");
	rig_wait("0idle", "SELECT inbox_events || status FROM session WHERE id = 'sesn_kept'");
	rig_check("sesn_kept");
	rig_signal(worker, SIGTERM);
}

/* A tool of the client's own is answered soon. */
static void
custom_tool(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	AUTO(str) char *epoch = NULL, *call = NULL;

	(void)state;
	free(kept("sesn_first"));	/* the worker hears */
	rig_session("sesn_tool", "roost-scripted");
	rig_message("weather {\"city\":\"Bern\"}\n\nThere.");
	rig_send("sesn_tool");
	rig_settled("sesn_tool");
	epoch = epoch_of("sesn_tool");
	assert_string_not_equal(epoch, "");
	call = rig_event("sesn_tool", "agent.custom_tool_use", 1);
	rig_result(call, "sunny");
	rig_send("sesn_tool");
	rig_wait("1", "SELECT count(*) FROM event WHERE session_id = 'sesn_tool' AND type = 'agent.message'");
	rig_settled("sesn_tool");
	same_epoch("sesn_tool", epoch);
	rig_check("sesn_tool");
	rig_signal(worker, SIGTERM);
}

static void
expires(void **state)
{
	pid_t worker = rig_worker(KEPT_LEASE "linger_ms = 1500\n");
	int last;

	(void)state;
	free(kept("sesn_exp"));
	last = rig_last_seq("sesn_exp");
	over("sesn_exp", last);
	kept_read("sesn_exp");
	rig_check("sesn_exp");
	rig_signal(worker, SIGTERM);
}

/* Messages come just when the lease is given back. */
static void
races_with_its_end(void **state)
{
	pid_t worker = rig_worker(KEPT_LEASE "linger_ms = 300\n");
	AUTO(str) char *answered = NULL;

	(void)state;
	rig_session("sesn_race", "roost-scripted");
	for (int i = 0; i < 40; i++) {
		AUTO(str) char *now = rig_sql("SELECT us(clock_timestamp())");

		kept_read("sesn_race");
		if (i % 2 == 1)		/* it is given back between 300 and 550 ms after its turn */
			rig_wait("t", "SELECT us(clock_timestamp()) > %s + 300000 + %d", now, i * 7000);
	}
	rig_wait("40", "SELECT count(*) FROM event WHERE session_id = 'sesn_race' AND type = 'agent.message'");
	rig_check("sesn_race");
	rig_signal(worker, SIGTERM);
}

static void
never(void **state)
{
	pid_t worker = rig_worker(KEPT_LEASE "linger_ms = 0\n");

	(void)state;
	rig_session("sesn_never", "roost-scripted");
	for (int i = 0; i < 4; i++) {
		kept_read("sesn_never");
		rig_wait("0", "SELECT count(*) FROM work");
	}
	rig_signal(worker, SIGTERM);
}

static void
drained(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	int last;

	(void)state;
	free(kept("sesn_dra"));
	free(kept("sesn_drb"));
	last = rig_last_seq("sesn_dra");
	rig_signal(worker, SIGTERM);
	over("sesn_dra", last);
	rig_wait("0", "SELECT count(*) FROM work");
	rig_wait("0", "SELECT count(*) FROM worker");	/* it left because it had nothing, not because the drain's patience was over */
}

/* No more than linger_max: who comes then is not kept. */
static void
bounded(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG "linger_max = 2\n");

	(void)state;
	free(kept("sesn_ba"));
	free(kept("sesn_bb"));
	rig_session("sesn_bc", "roost-scripted");
	for (int i = 0; i < 4; i++) {
		kept_read("sesn_bc");
		rig_wait("0", "SELECT count(*) FROM work WHERE session_id = 'sesn_bc'");
	}
	rig_wait("2", "SELECT count(*) FROM work");
	rig_signal(worker, SIGTERM);
}

/* kill -9: nothing is written about those that were only kept; what came for one is answered once. */
static void
killed(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	int last, last_c;

	(void)state;
	free(kept("sesn_ka"));
	free(kept("sesn_kb"));
	free(kept("sesn_kc"));
	last = rig_last_seq("sesn_ka");
	last_c = rig_last_seq("sesn_kc");
	rig_signal(worker, SIGKILL);
	rig_message("and this?");
	rig_send("sesn_kb");
	rig_wait("running", "SELECT wire_status(status, inbox_wakes, at_work) FROM session WHERE id = 'sesn_kb'");
	worker = rig_worker(KEPT_LONG);
	rig_settled("sesn_kb");
	kept_answered("sesn_kb");
	over("sesn_ka", last);
	over("sesn_kc", last_c);
	kept_read("sesn_kc");
	kept_answered("sesn_kc");
	for (const char *const *id = (const char *const[]){ "sesn_ka", "sesn_kb", "sesn_kc", NULL }; *id != NULL; id++)
		rig_check(*id);
	rig_signal(worker, SIGTERM);
}

/* A worker that stood still: its leases are others' when it comes back, and it forgets them. */
static void
stopped(void **state)
{
	pid_t old = rig_worker(KEPT_LONG), worker;
	int last;

	(void)state;
	free(kept("sesn_sa"));
	free(kept("sesn_sb"));
	last = rig_last_seq("sesn_sa");
	rig_signal(old, SIGSTOP);
	rig_message("and this?");
	rig_send("sesn_sb");
	worker = rig_worker(KEPT_LONG);
	rig_settled("sesn_sb");
	over("sesn_sa", last);
	rig_signal(old, SIGCONT);
	rig_wait("2", "SELECT count(*) FROM worker");	/* it knows that it had been declared dead */
	for (int i = 0; i < 3; i++) {
		kept_read("sesn_sa");
		kept_read("sesn_sb");
	}
	kept_answered("sesn_sa");
	rig_check("sesn_sa");
	rig_check("sesn_sb");
	rig_signal(old, SIGTERM);
	rig_signal(worker, SIGTERM);
}

static void
archived_deleted_updated(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	AUTO(str) char *epoch = kept("sesn_upd"), *name = NULL;
	int last = rig_last_seq("sesn_upd");

	(void)state;
	free(kept("sesn_arc"));
	free(kept("sesn_del"));
	rig_wait("ok", "SELECT result FROM session_archive('w1', 'sesn_arc', '{}', '{}', '{}')");
	rig_wait("ok", "SELECT result FROM session_delete('w1', 'sesn_del')");
	rig_wait("1", "SELECT count(*) FROM work");
	/* a changed agent, as sessions.update writes it, with its event */
	free(rig_sql("UPDATE session SET agent = replace(agent, '\"Bot\"', '\"Other\"') WHERE id = 'sesn_upd'"));
	rig_note();
	rig_send("sesn_upd");
	rig_settled("sesn_upd");
	kept_read("sesn_upd");
	rig_same_log("sesn_upd", last, "s.updated " KEPT_TURN);
	name = rig_sql("SELECT body::jsonb->>'agent_name' FROM event WHERE session_id = 'sesn_upd' AND type = 'session.thread_status_running'"
	    " ORDER BY seq DESC LIMIT 1");
	assert_string_equal(name, "Other");
	same_epoch("sesn_upd", epoch);
	rig_check("sesn_upd");
	/* of the others nothing comes back */
	rig_wait("terminatedfalse", "SELECT status || at_work::text FROM session WHERE id = 'sesn_arc'");
	rig_wait("0", "SELECT count(*) FROM event WHERE session_id = 'sesn_del'");
	rig_signal(worker, SIGTERM);
	rig_wait("0", "SELECT count(*) FROM work");
}

/* A turn that lasts until hands lets go of its call. */
static void
hold_in(const char *session)
{
	rig_message("bash {\"command\":\"hold\"}\n\nDone here.");
	rig_send(session);
	rig_hands_has("call", session, 1);
}

static void
hold(const char *session)
{
	rig_session(session, "roost-scripted");
	hold_in(session);
}

/* Two turns at a time: what comes for a kept session waits for room like anything that is due. */
static void
no_room(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG "turns_max = 2\n");

	(void)state;
	free(kept("sesn_full"));
	hold("sesn_holds");
	hold("sesn_holds2");
	rig_message("hello");
	rig_send("sesn_full");
	rig_wait("t", "SELECT lease_owner IS NULL FROM work WHERE session_id = 'sesn_full'");
	fake_hands_release(rig_hands);
	rig_settled("sesn_full");
	rig_settled("sesn_holds");
	rig_settled("sesn_holds2");
	kept_answered("sesn_full");
	rig_check("sesn_full");
	fake_hands_amnesia(rig_hands);
	rig_signal(worker, SIGTERM);
}

/* hands was lost with a call that an interrupt then ended: it may still be at it, and only a later epoch would end it. */
static void
stray_call(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	AUTO(str) char *path = xasprintf("%s/hands.sock", rig_dir);

	(void)state;
	free(kept("sesn_stray"));
	hold_in("sesn_stray");
	fake_hands_stop(&rig_hands);
	rig_interrupt();
	rig_send("sesn_stray");
	rig_settled("sesn_stray");
	rig_wait("0", "SELECT count(*) FROM work");
	rig_check("sesn_stray");
	rig_hands = fake_hands_start(path);
	rig_signal(worker, SIGTERM);
}

/* More than a light session may have: it is claimed as a heavy one. */
static void
too_large(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG "turn_bytes = 1048576\n");
	AUTO(str) char *epoch = kept("sesn_large"), *last = rig_sql("SELECT last_value FROM lease_epoch"), *text = xcalloc(1, 200001);

	(void)state;
	same_epoch("sesn_large", epoch);
	memset(text, 'x', 200000);
	rig_message(text);
	rig_send("sesn_large");
	rig_settled("sesn_large");
	kept_answered("sesn_large");
	rig_wait("t", "SELECT last_value > %s FROM lease_epoch", last);
	rig_check("sesn_large");
	rig_signal(worker, SIGTERM);
}

/* Postgres goes down hard and comes back: the lease is on disk, the worker still has it. */
static void
postgres_restarts(void **state)
{
	pid_t worker = rig_worker(KEPT_LONG);
	AUTO(str) char *cmd = xasprintf("tests/env/postgres halt %s && tests/env/postgres resume %s", rig_dir, rig_dir);
	int last;

	(void)state;
	free(kept("sesn_pg"));
	free(kept("sesn_pg2"));
	last = rig_last_seq("sesn_pg2");
	assert_int_equal(system(cmd), 0);
	rig_wait("t", "SELECT session_message('w1', 'sesn_pg', '{sevt_pg}', ARRAY['{\"id\":\"sevt_pg\",\"type\":\"user.message\",\"content\":[]'],"
	    " '{NULL}', 60, 60, 1000, 1000000) IS NOT NULL");
	rig_settled("sesn_pg");
	kept_answered("sesn_pg");
	rig_check("sesn_pg");
	rig_signal(worker, SIGTERM);
	rig_wait("0", "SELECT count(*) FROM work WHERE lease_owner IS NOT NULL");
	assert_int_equal(rig_last_seq("sesn_pg2"), last);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(turns, rig_clear),
		cmocka_unit_test_teardown(custom_tool, rig_clear),
		cmocka_unit_test_teardown(expires, rig_clear),
		cmocka_unit_test_teardown(races_with_its_end, rig_clear),
		cmocka_unit_test_teardown(never, rig_clear),
		cmocka_unit_test_teardown(drained, rig_clear),
		cmocka_unit_test_teardown(bounded, rig_clear),
		cmocka_unit_test_teardown(killed, rig_clear),
		cmocka_unit_test_teardown(stopped, rig_clear),
		cmocka_unit_test_teardown(archived_deleted_updated, rig_clear),
		cmocka_unit_test_teardown(no_room, rig_clear),
		cmocka_unit_test_teardown(stray_call, rig_clear),
		cmocka_unit_test_teardown(too_large, rig_clear),
		cmocka_unit_test_teardown(postgres_restarts, rig_clear),
	};

	return cmocka_run_group_tests_name("worker/linger", tests, start, rig_over);
}
