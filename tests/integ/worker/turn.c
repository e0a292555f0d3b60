/* link: tests/env/worker_rig.c tests/env/fake_hands.c */
/*
 * A real roost-worker against a real Postgres and Redis: the canonical orders of contract 3.5 and 3.6 with the scripted model.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../env/worker_rig.h"
#include "cleanup.h"
#include "clock.h"
#include "xalloc.h"

#define OPEN "S:running T:running u.message M:start "
#define CLOSE " T:idle s.usage S:idle"

static int
start(void **state)
{
	(void)state;
	rig_start();
	(void)rig_worker("tool_rounds_max = 3\npoll_ms = 200\n");
	return 0;
}

static void
say(const char *session, const char *text)
{
	rig_message(text);
	rig_send(session);
	rig_settled(session);
}

static void
idle_reason(const char *session, const char *want)
{
	AUTO(str) char *got = rig_sql("SELECT body::jsonb->'stop_reason'->>'type' || ' ' || status FROM session s JOIN event e ON e.session_id = s.id"
	    " AND e.seq = s.last_seq WHERE s.id = '%s'", session);

	assert_string_equal(got, want);
}

static void
plain_turn(void **state)
{
	(void)state;
	rig_session("sesn_plain", "roost-scripted");
	say("sesn_plain", "hello");
	rig_same_log("sesn_plain", 0, OPEN "a.message M:end" CLOSE);
	idle_reason("sesn_plain", "end_turn idle");
	say("sesn_plain", "again");
	rig_same_log("sesn_plain", 9, OPEN "a.message M:end" CLOSE);
	rig_check("sesn_plain");
	assert_int_equal(fake_hands_count(rig_hands, "call", "sesn_plain"), 0);
}

/* No sandbox is asked for where the model was quicker than that: with a turn of each session, until it was. */
static void
no_sandbox(void **state)
{
	int64_t end = clock_mono_ms() + RIG_MS;
	bool asked = true;

	(void)state;
	for (int i = 0; asked && clock_mono_ms() < end; i++) {
		AUTO(str) char *id = xasprintf("sesn_quick%d", i), *next = xasprintf("sesn_next%d", i);

		rig_session(id, "roost-scripted");
		say(id, "hello");
		rig_session(next, "roost-scripted");
		say(next, "bash {\"command\":\"ls\"}");	/* whatever the first one has asked hands for, it has by now */
		asked = fake_hands_count(rig_hands, "provision", id) > 0;
		if (!asked)
			assert_int_equal(fake_hands_count(rig_hands, "pause", id), 0);
	}
	assert_false(asked);
}

static void
parallel_tools(void **state)
{
	AUTO(str) char *results = NULL;

	(void)state;
	rig_session("sesn_par", "roost-scripted");
	say("sesn_par", "Two at once.\nbash {\"command\":\"one\"}\nbash {\"command\":\"two fail\"}\n\nThen \nread {\"file_path\":\"/x\"}");
	rig_same_log("sesn_par", 0, OPEN "a.message a.tool_use a.tool_use M:end a.tool_result a.tool_result M:start a.message a.tool_use M:end"
	    " a.tool_result M:start a.message M:end" CLOSE);
	results = rig_sql("SELECT string_agg(body::jsonb->>'is_error' || ' ' || (body::jsonb->'content'->0->>'text'), '|' ORDER BY seq) FROM event"
	    " WHERE session_id = 'sesn_par' AND type = 'agent.tool_result'");
	assert_string_equal(results, "false ran bash {\"command\":\"one\"}|true ran bash {\"command\":\"two fail\"}|false ran read {\"file_path\":\"/x\"}");
	rig_hands_saw("ack", "sesn_par", 3);
	rig_hands_saw("provision", "sesn_par", 1);
	rig_hands_saw("pause", "sesn_par", 1);
	rig_check("sesn_par");
}

/* Contract D-2: two calls wait, answered one by one. */
static void
partial_answers(void **state)
{
	AUTO(str) char *custom = NULL, *ask = NULL, *waiting = NULL, *text = NULL;
	int seq;

	(void)state;
	rig_session("sesn_ask", "roost-scripted");
	say("sesn_ask", "Both.\nweather {\"city\":\"Bern\"}\nwrite {\"file_path\":\"/a\",\"content\":\"x\"}\n\nThanks.");
	rig_same_log("sesn_ask", 0, OPEN "a.message a.custom_tool_use a.tool_use M:end" CLOSE);
	idle_reason("sesn_ask", "requires_action idle");
	custom = rig_event("sesn_ask", "agent.custom_tool_use", 1);
	ask = rig_event("sesn_ask", "agent.tool_use", 1);
	seq = rig_last_seq("sesn_ask");
	rig_result(custom, "sunny");
	rig_send("sesn_ask");
	rig_settled("sesn_ask");
	rig_same_log("sesn_ask", seq, "u.custom_tool_result s.usage S:idle");
	waiting = rig_sql("SELECT body::jsonb->'stop_reason'->>'event_ids' FROM event WHERE session_id = 'sesn_ask' ORDER BY seq DESC LIMIT 1");
	assert_non_null(strstr(waiting, ask));
	assert_null(strstr(waiting, custom));
	seq = rig_last_seq("sesn_ask");
	rig_confirm(ask, "not there");
	rig_send("sesn_ask");
	rig_settled("sesn_ask");
	rig_same_log("sesn_ask", seq, "u.tool_confirmation S:running T:running a.tool_result M:start a.message M:end" CLOSE);
	text = rig_sql("SELECT body::jsonb->'content'->0->>'text' FROM event WHERE session_id = 'sesn_ask' AND type = 'agent.tool_result'");
	assert_string_equal(text, "Permission to use write has been rejected. Rejection message: not there");
	assert_int_equal(fake_hands_count(rig_hands, "call", "sesn_ask"), 0);
	rig_check("sesn_ask");
}

/* A later call's answer waits until the earlier call is answered. */
static void
answers_in_call_order(void **state)
{
	AUTO(str) char *first = NULL, *second = NULL;
	int seq;

	(void)state;
	rig_session("sesn_ord", "roost-scripted");
	say("sesn_ord", "write {\"file_path\":\"/a\",\"content\":\"x\"}\nwrite {\"file_path\":\"/b\",\"content\":\"y\"}");
	first = rig_event("sesn_ord", "agent.tool_use", 1);
	second = rig_event("sesn_ord", "agent.tool_use", 2);
	seq = rig_last_seq("sesn_ord");
	rig_confirm(second, NULL);
	rig_send("sesn_ord");
	rig_settled("sesn_ord");
	rig_same_log("sesn_ord", seq, "s.usage S:idle");
	rig_wait("1", "SELECT count(*) FROM inbox WHERE session_id = 'sesn_ord'");
	rig_wait("idle", "SELECT wire_status(status, inbox_wakes, at_work) FROM session WHERE id = 'sesn_ord'");
	seq = rig_last_seq("sesn_ord");
	rig_confirm(first, "");
	rig_send("sesn_ord");
	rig_settled("sesn_ord");
	rig_same_log("sesn_ord", seq, "u.tool_confirmation u.tool_confirmation S:running T:running a.tool_result a.tool_result M:start a.message M:end"
	    CLOSE);
	assert_int_equal(fake_hands_count(rig_hands, "call", "sesn_ord"), 1);
	rig_check("sesn_ord");
}

/* A29: allowed calls run while others ask. Confirmed calls run after the running pair. */
static void
mixed_calls(void **state)
{
	AUTO(str) char *ask = NULL;
	int seq;

	(void)state;
	rig_session("sesn_mix", "roost-scripted");
	say("sesn_mix", "write {\"file_path\":\"/a\",\"content\":\"x\"}\nbash {\"command\":\"ls\"}");
	rig_same_log("sesn_mix", 0, OPEN "a.tool_use a.tool_use M:end a.tool_result" CLOSE);
	idle_reason("sesn_mix", "requires_action idle");
	ask = rig_event("sesn_mix", "agent.tool_use", 1);
	seq = rig_last_seq("sesn_mix");
	rig_confirm(ask, NULL);
	rig_send("sesn_mix");
	rig_settled("sesn_mix");
	rig_same_log("sesn_mix", seq, "u.tool_confirmation S:running T:running a.tool_result M:start a.message M:end" CLOSE);
	rig_check("sesn_mix");
}

/* A partial confirmation that allows is remembered over the idle and runs once, when all are answered. */
static void
confirmed_then_other(void **state)
{
	AUTO(str) char *ask = NULL, *custom = NULL;
	int seq;

	(void)state;
	rig_session("sesn_rem", "roost-scripted");
	say("sesn_rem", "write {\"file_path\":\"/a\",\"content\":\"x\"}\nweather {\"city\":\"Bern\"}");
	ask = rig_event("sesn_rem", "agent.tool_use", 1);
	custom = rig_event("sesn_rem", "agent.custom_tool_use", 1);
	seq = rig_last_seq("sesn_rem");
	rig_confirm(ask, NULL);
	rig_send("sesn_rem");
	rig_settled("sesn_rem");
	rig_same_log("sesn_rem", seq, "u.tool_confirmation s.usage S:idle");
	assert_int_equal(fake_hands_count(rig_hands, "call", "sesn_rem"), 0);
	seq = rig_last_seq("sesn_rem");
	rig_result(custom, "rain");
	rig_message("and hello");
	rig_send("sesn_rem");
	rig_settled("sesn_rem");
	rig_same_log("sesn_rem", seq, "u.custom_tool_result S:running T:running a.tool_result u.message M:start a.message M:end" CLOSE);
	assert_int_equal(fake_hands_count(rig_hands, "call", "sesn_rem"), 1);
	rig_check("sesn_rem");
}

static void
interrupt_waiting(void **state)
{
	int seq;

	(void)state;
	rig_session("sesn_iw", "roost-scripted");
	say("sesn_iw", "write {\"file_path\":\"/a\",\"content\":\"x\"}\nweather {\"city\":\"Bern\"}");
	seq = rig_last_seq("sesn_iw");
	rig_interrupt();
	rig_message("never mind");
	rig_send("sesn_iw");
	rig_settled("sesn_iw");
	rig_same_log("sesn_iw", seq, "a.tool_result a.tool_result u.interrupt" CLOSE " " OPEN "a.message M:end" CLOSE);
	rig_wait("0", "SELECT count(*) FROM action WHERE session_id = 'sesn_iw' AND state <> 'closed'");
	rig_check("sesn_iw");
}

static void
interrupt_idle(void **state)
{
	(void)state;
	rig_session("sesn_ii", "roost-scripted");
	say("sesn_ii", "hello");
	rig_interrupt();
	rig_send("sesn_ii");
	rig_settled("sesn_ii");
	rig_same_log("sesn_ii", 9, "u.interrupt");
	rig_note();
	rig_send("sesn_ii");
	rig_settled("sesn_ii");
	rig_same_log("sesn_ii", 10, "s.updated");
	rig_check("sesn_ii");
}

static void
interrupt_tool(void **state)
{
	AUTO(str) char *text = NULL;

	(void)state;
	rig_session("sesn_it", "roost-scripted");
	rig_message("bash {\"command\":\"hold\"}\nbash {\"command\":\"quick\"}\n\nnever said");
	rig_send("sesn_it");
	rig_hands_has("call", "sesn_it", 2);
	rig_session("sesn_it2", "roost-scripted");
	say("sesn_it2", "bash {\"command\":\"behind\"}");	/* so the quick one's result, which came before, is known */
	rig_interrupt();
	rig_message("next");
	rig_send("sesn_it");
	rig_settled("sesn_it");
	rig_same_log("sesn_it", 0, OPEN "a.tool_use a.tool_use M:end a.tool_result a.tool_result u.interrupt" CLOSE " " OPEN "a.message M:end" CLOSE);
	rig_hands_saw("cancel", "sesn_it", 1);
	text = rig_sql("SELECT body::jsonb->'content'->0->>'text' FROM event WHERE session_id = 'sesn_it' AND type = 'agent.tool_result' ORDER BY seq"
	    " LIMIT 1");
	assert_string_equal(text, "Tool execution was interrupted before completion. Please retry.");
	rig_check("sesn_it");
}

/* A message sent while a tool runs joins behind its result; a custom tool's answer may come before the idle. */
static void
joining(void **state)
{
	AUTO(str) char *custom = NULL;

	(void)state;
	rig_session("sesn_join", "roost-scripted");
	rig_message("bash {\"command\":\"hold\"}\nweather {\"city\":\"Bern\"}\n\nlater");
	rig_send("sesn_join");
	rig_hands_has("call", "sesn_join", 1);
	custom = rig_event("sesn_join", "agent.custom_tool_use", 1);
	rig_result(custom, "snow");
	rig_message("hello too");
	rig_note();
	rig_send("sesn_join");
	fake_hands_release(rig_hands);
	rig_settled("sesn_join");
	rig_same_log("sesn_join", 0, OPEN "a.tool_use a.custom_tool_use M:end u.custom_tool_result a.tool_result s.updated u.message M:start a.message"
	    " M:end" CLOSE);
	rig_check("sesn_join");
}

static void
round_cap(void **state)
{
	(void)state;
	rig_session("sesn_cap", "roost-scripted");
	say("sesn_cap", "bash {\"command\":\"1\"}\n\nbash {\"command\":\"2\"}\n\nbash {\"command\":\"3\"}\n\nbash {\"command\":\"4\"}");
	rig_same_log("sesn_cap", 0, OPEN "a.tool_use M:end a.tool_result M:start a.tool_use M:end a.tool_result M:start a.tool_use M:end a.tool_result"
	    " s.error" CLOSE);
	idle_reason("sesn_cap", "retries_exhausted idle");
	rig_check("sesn_cap");
}

/* Inputs that hands could not read end as error results here, and nobody else's calls with them. */
static void
hard_inputs(void **state)
{
	(void)state;
	rig_session("sesn_hard", "roost-scripted");
	say("sesn_hard", "bash {\"command\":\"a\\u0000\"}\nbash {\"command\":\"b\",\"x\":1e400}\nbash {\"x\":1,\"x\":2}\nbash {\"command\":1.10}");
	rig_same_log("sesn_hard", 0, OPEN "a.tool_use a.tool_use a.tool_use a.tool_use M:end a.tool_result a.tool_result a.tool_result a.tool_result"
	    " M:start a.message M:end" CLOSE);
	rig_wait("3", "SELECT count(*) FROM event WHERE session_id = 'sesn_hard' AND body LIKE '%%Invalid tool input%%'");
	assert_int_equal(fake_hands_count(rig_hands, "call", "sesn_hard"), 1);	/* no rig_check: jsonb does not take the NUL either */
}

static void
unknown_model(void **state)
{
	(void)state;
	rig_session("sesn_um", "roost-scripted");
	free(rig_sql("UPDATE session SET agent = replace(agent, 'roost-scripted', 'gone-1') WHERE id = 'sesn_um'"));
	free(rig_sql("INSERT INTO provider (name, dialect, base_url) VALUES ('real', 'openai', 'http://127.0.0.1:1')"));
	free(rig_sql("UPDATE catalogue SET generation = generation + 1"));
	say("sesn_um", "hello");
	rig_same_log("sesn_um", 0, OPEN "M:end s.error" CLOSE);
	idle_reason("sesn_um", "retries_exhausted idle");
	rig_check("sesn_um");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_turn), cmocka_unit_test(no_sandbox), cmocka_unit_test(parallel_tools), cmocka_unit_test(partial_answers),
		cmocka_unit_test(answers_in_call_order), cmocka_unit_test(mixed_calls), cmocka_unit_test(confirmed_then_other),
		cmocka_unit_test(interrupt_waiting), cmocka_unit_test(interrupt_idle), cmocka_unit_test(interrupt_tool), cmocka_unit_test(joining),
		cmocka_unit_test(round_cap), cmocka_unit_test(hard_inputs), cmocka_unit_test(unknown_model),
	};

	return cmocka_run_group_tests_name("worker turn", tests, start, rig_over);
}
