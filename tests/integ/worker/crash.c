/* link: tests/env/worker_rig.c tests/env/fake_hands.c */
/*
 * What a roost-worker leaves behind, and how the next one goes on: kill -9 at each kind of wait, a drain, a stopped process that comes
 * back after its lease, a restart of Postgres. Model failures and interrupts while streaming are here too: they need a slow provider.
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
#include "cleanup.h"
#include "xalloc.h"

#define OPEN "S:running T:running u.message M:start "
#define CLOSE " T:idle s.usage S:idle"
#define AGAIN " T:rescheduled S:rescheduled S:running T:running"
#define SETTINGS "lease_s = 2\nbeat_ms = 300\npoll_ms = 200\nmodel_retries = 2\nmodel_backoff_ms = 20\n"

static pid_t worker;

static int
start(void **state)
{
	(void)state;
	rig_start();
	rig_provider();
	free(rig_sql("INSERT INTO model (id, display_name, context_window, max_output_tokens) VALUES ('mute', 'Mute', 200000, 8192)"));
	free(rig_sql("INSERT INTO model_route VALUES ('mute', 0, 'fake', 'fault-stall')"));
	free(rig_sql("UPDATE catalogue SET generation = generation + 1"));
	worker = rig_worker(SETTINGS);
	return 0;
}

/* The model `mute` says some words and no more until it is told to speak. */
static void
mute_speaks(bool speaks)
{
	free(rig_sql("UPDATE model_route SET upstream = '%s' WHERE model_id = 'mute'", speaks ? "fake-1" : "fault-stall"));
	free(rig_sql("UPDATE catalogue SET generation = generation + 1"));
}

static void
held(const char *session)
{
	rig_message("bash {\"command\":\"hold\"}\n\nDone here.");
	rig_send(session);
	rig_hands_has("call", session, 1);
}

static void
streaming(const char *session, const char *text)
{
	rig_message(text);
	rig_send(session);
	rig_wait("1", "SELECT count(*) FROM event WHERE session_id = '%s' AND type = 'span.model_request_start'", session);
}

static void
retried(void **state)
{
	AUTO(str) char *error = NULL;

	(void)state;
	rig_session("sesn_529", "fake");
	rig_message("!provider {\"fault\":\"status\",\"status\":529,\"times\":2}\nhello");
	rig_send("sesn_529");
	rig_settled("sesn_529");
	rig_same_log("sesn_529", 0, OPEN "M:end s.error T:rescheduled S:rescheduled S:running T:running M:start M:end s.error T:rescheduled S:rescheduled"
	    " S:running T:running M:start a.message M:end" CLOSE);
	error = rig_sql("SELECT string_agg((body::jsonb->'error'->>'type') || ' ' || (body::jsonb->'error'->'retry_status'->>'type'), '|') FROM"
	    " event WHERE session_id = 'sesn_529' AND type = 'session.error'");
	assert_string_equal(error, "model_overloaded_error retrying|model_overloaded_error retrying");
	rig_check("sesn_529");
}

static void
exhausted(void **state)
{
	(void)state;
	rig_session("sesn_exh", "fake");
	rig_message("!provider {\"fault\":\"status\",\"status\":529,\"times\":99}\nhello");
	rig_send("sesn_exh");
	rig_settled("sesn_exh");
	rig_same_log("sesn_exh", 0, OPEN "M:end s.error T:rescheduled S:rescheduled S:running T:running M:start M:end s.error T:rescheduled S:rescheduled"
	    " S:running T:running M:start M:end s.error" CLOSE);
	rig_message("fine now");
	rig_send("sesn_exh");
	rig_settled("sesn_exh");
	rig_wait("idle", "SELECT status FROM session WHERE id = 'sesn_exh'");
	rig_check("sesn_exh");
}

/* Between two attempts a session may be interrupted: it does not wait for the backoff. */
static void
interrupt_backoff(void **state)
{
	(void)state;
	rig_session("sesn_back", "fake");
	rig_message("!provider {\"fault\":\"status\",\"status\":429,\"retry_after\":60,\"times\":99}\nhello");
	rig_send("sesn_back");
	rig_wait("rescheduling", "SELECT status FROM session WHERE id = 'sesn_back'");
	rig_interrupt();
	rig_send("sesn_back");
	rig_settled("sesn_back");
	rig_same_log("sesn_back", 0, OPEN "M:end s.error T:rescheduled S:rescheduled u.interrupt" CLOSE);
	rig_check("sesn_back");
}

static void
terminal(void **state)
{
	(void)state;
	rig_session("sesn_big", "fake");
	rig_message("!provider {\"fault\":\"status\",\"status\":400,\"message\":\"prompt is too long: 300000 tokens > 200000 maximum\"}\nhello");
	rig_send("sesn_big");
	rig_settled("sesn_big");
	rig_same_log("sesn_big", 0, OPEN "M:end s.error T:terminated S:terminated");
	rig_wait("terminated", "SELECT status FROM session WHERE id = 'sesn_big'");
	rig_check("sesn_big");
}

static void
refusal(void **state)
{
	AUTO(str) char *details = NULL;

	(void)state;
	rig_session("sesn_no", "fake");
	rig_message("!provider {\"fault\":\"refusal\"}\nhello");
	rig_send("sesn_no");
	rig_settled("sesn_no");
	details = rig_sql("SELECT (body::jsonb->'stop_reason'->>'type') || ' ' || (body::jsonb->'stop_details'->>'type') FROM event WHERE"
	    " session_id = 'sesn_no' AND type = 'session.status_idle'");
	assert_string_equal(details, "refusal refusal");
	rig_check("sesn_no");
}

static void
thinking(void **state)
{
	(void)state;
	rig_session("sesn_think", "fake");
	rig_message("!provider {\"thinking\":\"Hm.\"}\nbash {\"command\":\"ls\"}\n\nyes");
	rig_send("sesn_think");
	rig_settled("sesn_think");
	rig_same_log("sesn_think", 0, OPEN "a.thinking a.tool_use M:end a.tool_result M:start a.thinking a.message M:end" CLOSE);
	rig_wait("0", "SELECT count(*) FROM event WHERE session_id = 'sesn_think' AND body LIKE '%%Hm.%%' AND type = 'agent.thinking'");
	rig_wait("2", "SELECT count(*) FROM event WHERE session_id = 'sesn_think' AND private LIKE '%%Hm.%%'");
	rig_check("sesn_think");
}

static void
bad_input(void **state)
{
	(void)state;
	rig_session("sesn_badin", "fake");
	rig_message("!provider {\"fault\":\"bad_input\"}\nbash {\"command\":\"ls\"}\n\nyes");
	rig_send("sesn_badin");
	rig_settled("sesn_badin");
	rig_same_log("sesn_badin", 0, OPEN "a.tool_use M:end a.tool_result M:start a.message M:end" CLOSE);
	rig_wait("{}", "SELECT body::json->>'input' FROM event WHERE session_id = 'sesn_badin' AND type = 'agent.tool_use'");
	rig_wait("true", "SELECT body::json->>'is_error' FROM event WHERE session_id = 'sesn_badin' AND type = 'agent.tool_result'");
	rig_check("sesn_badin");
}

static void
interrupt_streaming(void **state)
{
	(void)state;
	rig_session("sesn_is", "fake");
	streaming("sesn_is", "!provider {\"fault\":\"stall\"}\nhello");
	rig_interrupt();
	rig_message("go on");
	rig_send("sesn_is");
	rig_settled("sesn_is");
	rig_same_log("sesn_is", 0, OPEN "M:end u.interrupt" CLOSE " " OPEN "a.message M:end" CLOSE);
	rig_check("sesn_is");
}

static void
queued_while_streaming(void **state)
{
	(void)state;
	rig_session("sesn_qs", "fake");
	streaming("sesn_qs", "!provider {\"word_ms\":400}\none two three four five six seven");
	rig_message("and this");
	rig_send("sesn_qs");
	rig_settled("sesn_qs");
	rig_same_log("sesn_qs", 0, OPEN "a.message M:end u.message M:start a.message M:end" CLOSE);
	rig_hands_saw("provision", "sesn_qs", 1);	/* a model that takes its time leaves it to the sandbox */
	rig_hands_saw("pause", "sesn_qs", 1);
	rig_check("sesn_qs");
}

static void
kill_streaming(void **state)
{
	(void)state;
	rig_session("sesn_ks", "mute");
	streaming("sesn_ks", "hello");
	rig_signal(worker, SIGKILL);
	mute_speaks(true);
	worker = rig_worker(SETTINGS);
	rig_settled("sesn_ks");
	rig_same_log("sesn_ks", 0, OPEN "M:end" AGAIN " M:start a.message M:end" CLOSE);
	rig_check("sesn_ks");
}

static void
kill_running_tool(void **state)
{
	(void)state;
	rig_session("sesn_kt", "roost-scripted");
	held("sesn_kt");
	rig_signal(worker, SIGKILL);
	worker = rig_worker(SETTINGS);
	rig_hands_has("result", "sesn_kt", 1);
	fake_hands_release(rig_hands);
	rig_settled("sesn_kt");
	rig_same_log("sesn_kt", 0, OPEN "a.tool_use M:end" AGAIN " a.tool_result M:start a.message M:end" CLOSE);
	rig_wait("released", "SELECT body::jsonb->'content'->0->>'text' FROM event WHERE session_id = 'sesn_kt' AND type = 'agent.tool_result'");
	assert_int_equal(fake_hands_count(rig_hands, "call", "sesn_kt"), 1);
	rig_check("sesn_kt");
	fake_hands_amnesia(rig_hands);
}

/* hands is gone too: the outcome is unknown, the call is not run again. */
static void
kill_with_hands(void **state)
{
	AUTO(str) char *text = NULL;

	(void)state;
	rig_session("sesn_kh", "roost-scripted");
	held("sesn_kh");
	rig_signal(worker, SIGKILL);
	fake_hands_amnesia(rig_hands);
	worker = rig_worker(SETTINGS);
	rig_settled("sesn_kh");
	rig_same_log("sesn_kh", 0, OPEN "a.tool_use M:end" AGAIN " a.tool_result M:start a.message M:end" CLOSE);
	text = rig_sql("SELECT body::jsonb->'content'->0->>'text' FROM event WHERE session_id = 'sesn_kh' AND type = 'agent.tool_result'");
	assert_non_null(strstr(text, "outcome of this tool call is unknown"));
	assert_int_equal(fake_hands_count(rig_hands, "call", "sesn_kh"), 1);
	rig_check("sesn_kh");
}

/* hands dies under a running call and comes back empty. */
static void
hands_restarts(void **state)
{
	AUTO(str) char *path = xasprintf("%s/hands.sock", rig_dir), *text = NULL;

	(void)state;
	rig_session("sesn_hr", "roost-scripted");
	held("sesn_hr");
	fake_hands_stop(&rig_hands);
	rig_hands = fake_hands_start(path);
	rig_settled("sesn_hr");
	rig_same_log("sesn_hr", 0, OPEN "a.tool_use M:end a.tool_result M:start a.message M:end" CLOSE);
	text = rig_sql("SELECT body::jsonb->'content'->0->>'text' FROM event WHERE session_id = 'sesn_hr' AND type = 'agent.tool_result'");
	assert_non_null(strstr(text, "outcome of this tool call is unknown"));
	rig_check("sesn_hr");
}

static void
drain_running_tool(void **state)
{
	(void)state;
	rig_session("sesn_dr", "roost-scripted");
	held("sesn_dr");
	rig_signal(worker, SIGTERM);
	rig_wait("rescheduling", "SELECT status FROM session s JOIN work k ON k.session_id = s.id WHERE s.id = 'sesn_dr' AND lease_owner IS NULL");
	worker = rig_worker(SETTINGS);
	rig_hands_has("result", "sesn_dr", 1);
	fake_hands_release(rig_hands);
	rig_settled("sesn_dr");
	rig_same_log("sesn_dr", 0, OPEN "a.tool_use M:end" AGAIN " a.tool_result M:start a.message M:end" CLOSE);
	assert_int_equal(fake_hands_count(rig_hands, "call", "sesn_dr"), 1);
	rig_check("sesn_dr");
	fake_hands_amnesia(rig_hands);
}

/* A model request that outlasts the drain's patience is cut and repeated by the next worker. */
static void
drain_streaming(void **state)
{
	(void)state;
	mute_speaks(false);
	rig_session("sesn_ds", "mute");
	streaming("sesn_ds", "hello");
	rig_signal(worker, SIGTERM);
	rig_wait("drained", "SELECT cause FROM meter_gap WHERE session_id = 'sesn_ds'");	/* it was cut, and did not die with its worker */
	mute_speaks(true);
	worker = rig_worker(SETTINGS);
	rig_settled("sesn_ds");
	rig_same_log("sesn_ds", 0, OPEN "M:end" AGAIN " M:start a.message M:end" CLOSE);
	rig_check("sesn_ds");
}

/* A worker that was thought dead comes back: it is fenced, and what it did not know has happened once. */
static void
stopped_worker(void **state)
{
	pid_t other;

	(void)state;
	rig_session("sesn_zom", "roost-scripted");
	held("sesn_zom");
	other = worker;
	rig_signal(other, SIGSTOP);
	worker = rig_worker(SETTINGS);
	/* a stopped process still holds its lock: it is dead when its lease has run out */
	rig_hands_has("result", "sesn_zom", 1);
	rig_signal(other, SIGCONT);
	fake_hands_release(rig_hands);
	rig_settled("sesn_zom");
	rig_same_log("sesn_zom", 0, OPEN "a.tool_use M:end" AGAIN " a.tool_result M:start a.message M:end" CLOSE);
	rig_check("sesn_zom");
	fake_hands_amnesia(rig_hands);
	rig_signal(other, SIGTERM);
}

/* A row that somebody holds delays its own session's take-over, nobody else's work. */
static void
reap_does_not_wait(void **state)
{
	(void)state;
	rig_session("sesn_lk", "roost-scripted");
	rig_session("sesn_other", "roost-scripted");
	held("sesn_lk");
	free(rig_sql("BEGIN"));
	free(rig_sql("SELECT 1 FROM session WHERE id = 'sesn_lk' FOR UPDATE"));
	rig_signal(worker, SIGKILL);
	worker = rig_worker(SETTINGS);
	rig_wait("2", "SELECT count(*) FROM worker");	/* the dead one's row stays while it has a session */
	rig_message("hello");
	rig_send("sesn_other");
	rig_settled("sesn_other");
	rig_wait("2", "SELECT count(*) FROM worker");
	free(rig_sql("COMMIT"));
	fake_hands_release(rig_hands);
	rig_settled("sesn_lk");
	rig_same_log("sesn_lk", 0, OPEN "a.tool_use M:end" AGAIN " a.tool_result M:start a.message M:end" CLOSE);
	rig_check("sesn_lk");
	fake_hands_amnesia(rig_hands);
}

static void
postgres_restarts(void **state)
{
	AUTO(str) char *cmd = xasprintf("cd / && setpriv --reuid=postgres --regid=postgres --init-groups -- $(dirname $(find"
	    " /usr/lib/postgresql/*/bin/pg_ctl | sort -V | tail -n 1))/pg_ctl -D %s/data -w -s -m immediate -l %s/log restart", rig_dir, rig_dir);

	(void)state;
	rig_session("sesn_pg", "roost-scripted");
	held("sesn_pg");
	assert_int_equal(system(cmd), 0);
	fake_hands_release(rig_hands);
	free(rig_sql("SELECT 1"));
	rig_settled("sesn_pg");
	rig_same_log("sesn_pg", 0, OPEN "a.tool_use M:end a.tool_result M:start a.message M:end" CLOSE);
	rig_check("sesn_pg");
	fake_hands_amnesia(rig_hands);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(retried), cmocka_unit_test(exhausted), cmocka_unit_test(interrupt_backoff), cmocka_unit_test(terminal),
		cmocka_unit_test(refusal), cmocka_unit_test(thinking), cmocka_unit_test(bad_input), cmocka_unit_test(interrupt_streaming),
		cmocka_unit_test(queued_while_streaming), cmocka_unit_test(kill_streaming), cmocka_unit_test(kill_running_tool),
		cmocka_unit_test(kill_with_hands), cmocka_unit_test(hands_restarts), cmocka_unit_test(drain_running_tool),
		cmocka_unit_test(drain_streaming), cmocka_unit_test(stopped_worker), cmocka_unit_test(reap_does_not_wait),
		cmocka_unit_test(postgres_restarts),
	};

	return cmocka_run_group_tests_name("worker crash", tests, start, rig_over);
}
