/* link: workers/harness/turn.c workers/harness/outcome.c workers/model/context.c workers/model/filesrc.c workers/harness/arrivals.c workers/harness/batch.c workers/harness/batch_status.c workers/harness/batch_events.c workers/harness/batch_stamp.c workers/harness/policy.c workers/harness/calls.c workers/harness/plan.c workers/harness/plan_reply.c workers/harness/plan_commit.c workers/harness/compact.c workers/harness/recover.c workers/harness/opening.c */
/*
 * The joint of a turn without a database: which events follow in which order, their bytes, and where a turn stands after reading the
 * end of its log.
 */
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "opening.h"
#include "recover.h"
#include "turn_scene.h"

static const char agent_text[] = "{\"name\":\"Bot\",\"model\":{\"id\":\"m\"},\"system\":null,\"tools\":[{\"type\":\"agent_toolset_20260401\","
    "\"default_config\":{\"enabled\":true,\"permission_policy\":{\"type\":\"always_allow\"}},\"configs\":[{\"name\":\"write\",\"enabled\":true,"
    "\"permission_policy\":{\"type\":\"always_ask\"}},{\"name\":\"edit\",\"enabled\":false}]},{\"type\":\"custom\",\"name\":\"weather\","
    "\"description\":\"\",\"input_schema\":{\"type\":\"object\"}}]}";

static void
fresh(const char *status)
{
	scene_begin(status, agent_text);
}

#define AGAIN "session.thread_status_rescheduled session.status_rescheduled"

/* --- orders -------------------------------------------------------------------------------------------------------------------- */

static void
starts(void **state)
{
	(void)state;
	fresh("idle");
	arrive("user.message", "{}", NULL);
	arrive("session.updated", NULL, NULL)->wakes = false;
	expect(TE_START, RELEASE_NO, "session.updated " RUNNING " user.message " START);
	assert_int_equal(b.interval, INTERVAL_OPEN);
	assert_string_equal(b.ev[b.interval_ev].type, "session.status_running");
	assert_int_equal(b.ntaken, 2);
	fresh("idle");
	expect(TE_GIVE_UP, RELEASE_IDLE, "");
	fresh("idle");
	arrive("user.interrupt", NULL, NULL);
	expect(TE_CLOSE, RELEASE_IDLE, "user.interrupt");
	assert_null(b.status);
	fresh("idle");
	arrive("user.interrupt", NULL, NULL);
	arrive("user.message", "{}", NULL);
	expect(TE_START, RELEASE_NO, "user.interrupt " RUNNING " user.message " START);
}

static void
continues(void **state)
{
	(void)state;
	fresh("running");
	call("a", CALL_DONE, false, false);
	call("b", CALL_DONE, false, false);
	arrive("user.message", "{}", NULL);
	expect(TE_START, RELEASE_NO, "agent.tool_result agent.tool_result user.message " START);
	fresh("running");
	expect(TE_CLOSE, RELEASE_IDLE, IDLE);
	assert_int_equal(b.interval, INTERVAL_CLOSE);
	assert_string_equal(b.ev[b.interval_ev].type, "session.status_idle");
	fresh("running");
	t.rounds = 3;
	call("a", CALL_DONE, false, false);
	arrive("user.message", "{}", NULL);
	expect(TE_CLOSE, RELEASE_IDLE, "agent.tool_result session.error " IDLE);
	assert_int_equal(b.ntaken, 1);		/* flushed, not logged */
}

static void
waits(void **state)
{
	(void)state;
	fresh("running");
	call("a", CALL_WAITING, true, false);
	call("b", CALL_DONE, false, false);
	expect(TE_CLOSE, RELEASE_IDLE, "agent.tool_result " IDLE);
	assert_non_null(strstr(b.ev[1].stem, "\"stop_reason\":{\"type\":\"requires_action\",\"event_ids\":[\"a\"]}"));
	fresh("idle");
	call("a", CALL_WAITING, true, false);
	call("b", CALL_WAITING, false, true);
	arrive("user.custom_tool_result", "{}", "a");
	expect(TE_CLOSE, RELEASE_IDLE, "user.custom_tool_result session.usage session.status_idle");
	assert_non_null(strstr(b.ev[2].stem, "[\"b\"]"));
	assert_int_equal(b.interval, INTERVAL_KEEP);
	fresh("idle");
	call("a", CALL_WAITING, true, false);
	call("b", CALL_WAITING, false, true);
	arrive("user.tool_confirmation", NULL, "b");
	expect(TE_CLOSE, RELEASE_IDLE, "session.usage session.status_idle");	/* b's answer waits for a's */
	assert_non_null(strstr(b.ev[1].stem, "[\"a\"]"));
	assert_int_equal(b.ntaken, 0);
	fresh("idle");
	call("a", CALL_WAITING, true, false);
	expect(TE_GIVE_UP, RELEASE_IDLE, "");
}

static void
wakes(void **state)
{
	const char *ids[4];

	(void)state;
	fresh("idle");
	call("a", CALL_WAITING, true, false);
	call("b", CALL_WAITING, false, true);
	arrive("user.tool_confirmation", NULL, "b")->deny = true;
	arrive("user.custom_tool_result", "{}", "a");
	arrive("user.message", "{}", NULL);
	expect(TE_START, RELEASE_NO, "user.custom_tool_result user.tool_confirmation " RUNNING " agent.tool_result user.message " START);
	assert_int_equal(calls_closed(&t, ids, 4), 2);
	fresh("idle");
	call("a", CALL_WAITING, false, true);
	arrive("user.tool_confirmation", NULL, "a");
	arrive("user.message", "{}", NULL);
	expect(TE_WAKE, RELEASE_NO, "user.tool_confirmation " RUNNING);
	assert_int_equal(calls_closed(&t, ids, 4), 0);
	plan_committed(&t, &b, &p, 3);
	assert_int_equal(t.calls[0].state, CALL_READY);
	assert_int_equal(t.ninbox, 1);
}

static void
interrupts(void **state)
{
	(void)state;
	fresh("running");
	strcpy(t.span_id, "sevt_s");
	arrive("user.message", "{}", NULL);
	arrive("user.interrupt", NULL, NULL);
	expect(TE_CLOSE, RELEASE_NO, END " user.interrupt " IDLE);
	assert_int_equal(b.ntaken, 1);
	assert_int_equal(b.gap_ev, 0);		/* the provider had not begun to answer, as far as anybody knows */
	assert_int_equal(b.span_ev, -1);
	batch_free(&b);
	batch_init(&b, (struct batch_who){ t.thread_id, t.agent->name });
	t.took_known = true;			/* it had */
	t.took = (struct model_usage){ .input = 100, .output = 7 };
	t.context.told_tokens = 90;
	expect(TE_CLOSE, RELEASE_NO, END " user.interrupt " IDLE);
	assert_int_equal(b.gap_ev, -1);
	assert_int_equal(b.span_ev, 0);
	assert_int_equal(b.tokens.output, 7);
	assert_non_null(strstr(b.ev[0].stem, "\"is_error\":true"));
	assert_non_null(strstr(b.ev[0].stem, "\"input_tokens\":100"));
	plan_committed(&t, &b, &p, 9);
	assert_false(t.took_known);
	assert_int_equal(t.context.told_tokens, 90);	/* what it said is not in the context */
	for (int took = 0; took < 2; took++) {		/* the same of an evaluation */
		fresh("running");
		t.outcome.active = t.grading = true;
		t.took_known = took;
		t.took = (struct model_usage){ .input = 100, .output = 7 };
		arrive("user.interrupt", NULL, NULL);
		expect(TE_CLOSE, RELEASE_IDLE, "span.outcome_evaluation_end user.interrupt " IDLE);
		assert_int_equal(b.gap_ev, took ? -1 : 0);
		assert_int_equal(b.span_ev, took ? 0 : -1);
	}
	fresh("idle");
	call("a", CALL_WAITING, true, false);
	call("b", CALL_WAITING, false, true);
	arrive("user.custom_tool_result", "{}", "a");
	arrive("user.interrupt", NULL, NULL);
	expect(TE_CLOSE, RELEASE_IDLE, "user.custom_tool_result agent.tool_result user.interrupt " IDLE);
	assert_non_null(strstr(b.ev[1].stem, CALL_TEXT_INTERRUPTED));
	assert_non_null(strstr(b.ev[3].stem, "\"stop_reason\":{\"type\":\"end_turn\"},\"stop_details\":null"));
	/* an answer to a call that the interrupt has ended is recorded, and the model does not see it */
	fresh("idle");
	arrive("user.custom_tool_result", "{}", "gone");
	expect(TE_CLOSE, RELEASE_IDLE, "user.custom_tool_result");
	assert_null(b.ev[0].fragment);
}

static void
failures(void **state)
{
	(void)state;
	fresh("running");
	strcpy(t.span_id, "sevt_s");
	t.failed = t.fail_retry = true;
	strcpy(t.fail_type, "model_overloaded_error");
	t.retries = 1;
	expect(TE_YIELD, RELEASE_RETRY, END " session.error " AGAIN);
	assert_int_equal(p.delay_ms, 200);
	assert_int_equal(b.interval, INTERVAL_CLOSE);
	batch_free(&b);
	batch_init(&b, (struct batch_who){ "sthr_1", "Bot" });
	t.fail_after_ms = 5000;
	plan_next(&t, &limits, &b, &p);
	assert_int_equal(p.delay_ms, 6667);
	batch_free(&b);
	batch_init(&b, (struct batch_who){ "sthr_1", "Bot" });
	t.retries = 2;
	arrive("user.message", "{}", NULL);
	expect(TE_CLOSE, RELEASE_IDLE, END " session.error " IDLE);
	assert_non_null(strstr(b.ev[1].stem, "\"retry_status\":{\"type\":\"exhausted\"}"));
	assert_int_equal(b.ntaken, 1);
	batch_free(&b);
	batch_init(&b, (struct batch_who){ "sthr_1", "Bot" });
	t.fail_retry = false;
	strcpy(t.fail_type, "unknown_error");
	expect(TE_END, RELEASE_DONE, END " session.error session.thread_status_terminated session.status_terminated");
}

/* The reaper has written the span's end and the rescheduled pair; or the lease was given back with the interval open. */
static void
takeovers(void **state)
{
	(void)state;
	fresh("rescheduling");
	t.owed = true;
	expect(TE_START, RELEASE_NO, RUNNING " " START);
	assert_int_equal(b.interval, INTERVAL_OPEN);
	assert_string_equal(b.status, "running");
	fresh("rescheduling");
	call("a", CALL_LOST, false, false);
	expect(TE_WAKE, RELEASE_NO, RUNNING);
	fresh("running");
	strcpy(t.span_id, "sevt_s");
	expect(TE_START, RELEASE_NO, END " " START);
	fresh("rescheduling");			/* the reply was in the log, the idle was not */
	expect(TE_CLOSE, RELEASE_IDLE, IDLE);
	assert_int_equal(b.interval, INTERVAL_KEEP);
}

/* Which appends set a suspect's attempts back, and which ends of requests leave a gap. */
static void
progress_and_gaps(void **state)
{
	(void)state;
	fresh("idle");
	arrive("user.message", "{}", NULL);
	expect(TE_START, RELEASE_NO, RUNNING " user.message " START);
	assert_false(plan_progress(&b, &p));
	assert_int_equal(b.gap_ev, -1);
	t.attempts = 3;
	plan_committed(&t, &b, &p, 4);
	assert_int_equal(t.attempts, 3);
	fresh("rescheduling");			/* a request that died with its worker, and is made again */
	strcpy(t.span_id, "sevt_s");
	expect(TE_START, RELEASE_NO, END " " RUNNING " " START);
	assert_false(plan_progress(&b, &p));
	assert_int_equal(b.gap_ev, 0);
	fresh("running");
	strcpy(t.span_id, "sevt_s");
	t.failed = t.fail_retry = true;
	strcpy(t.fail_type, "model_overloaded_error");
	expect(TE_YIELD, RELEASE_RETRY, END " session.error " AGAIN);
	assert_false(plan_progress(&b, &p));
	assert_int_equal(b.gap_ev, -1);		/* it failed before the provider began to answer */
	batch_free(&b);
	batch_init(&b, (struct batch_who){ t.thread_id, t.agent->name });
	t.fail_spent = true;
	expect(TE_YIELD, RELEASE_RETRY, END " session.error " AGAIN);
	assert_int_equal(b.gap_ev, 0);
	batch_free(&b);
	batch_init(&b, (struct batch_who){ t.thread_id, t.agent->name });
	t.fail_retry = false;
	t.took_known = true;
	t.took = (struct model_usage){ .input = 1, .output = 2 };
	expect(TE_CLOSE, RELEASE_IDLE, END " session.error " IDLE);
	assert_int_equal(b.gap_ev, -1);		/* it came to nothing, and is paid for */
	assert_int_equal(b.span_ev, 0);
	fresh("running");
	call("a", CALL_DONE, false, false);
	expect(TE_START, RELEASE_NO, "agent.tool_result " START);
	assert_true(plan_progress(&b, &p));
	t.attempts = 3;
	plan_committed(&t, &b, &p, 5);
	assert_int_equal(t.attempts, 0);
	fresh("rescheduling");
	expect(TE_CLOSE, RELEASE_IDLE, IDLE);
	assert_true(plan_progress(&b, &p));
}

static void
drains(void **state)
{
	(void)state;
	fresh("running");
	t.drain = true;
	strcpy(t.span_id, "sevt_s");
	expect(TE_YIELD, RELEASE_RETRY, END " " AGAIN);
	fresh("running");
	t.drain = true;
	call("a", CALL_RUNNING, false, false);
	expect(TE_YIELD, RELEASE_RETRY, AGAIN);
	fresh("idle");
	t.drain = true;
	arrive("user.message", "{}", NULL);
	expect(TE_GIVE_UP, RELEASE_NO, "");
	fresh("running");
	t.drain = true;
	expect(TE_CLOSE, RELEASE_IDLE, IDLE);	/* a turn that is over ends normally */
}

/* --- replies ------------------------------------------------------------------------------------------------------------------- */

static struct model_block
text(const char *s)
{
	return (struct model_block){ .kind = MODEL_TEXT, .text = s };
}

static struct model_block
use(const char *name, const char *input, bool bad)
{
	return (struct model_block){ .kind = MODEL_TOOL_USE, .name = name, .text = input, .bad_input = bad };
}

static void
reply(struct model_block *blocks, int n, enum model_stop stop, bool quiet)
{
	struct model_reply r = { .blocks = blocks, .nblocks = n, .stop = stop, .usage = { .input = 5, .output = 2 } };

	strcpy(t.span_id, "sevt_s");
	plan_reply(&t, &r, NULL, "sevt_m", "", quiet, &b, &p);
}

static void
reply_that_ends(void **state)
{
	struct model_block blocks[] = { text(""), text("Hello"), text("you") };
	AUTO(str) char *got = NULL, *cut = NULL;

	(void)state;
	fresh("running");
	reply(blocks, 3, MODEL_END_TURN, true);
	got = types();
	assert_string_equal(got, "agent.message " END " " IDLE);
	assert_int_equal(p.event, TE_FINISHED);
	assert_int_equal(p.release, RELEASE_IDLE);
	assert_int_equal(p.cut, 2);
	plan_cut(&t, &b, &p);
	cut = types();
	assert_string_equal(cut, "agent.message " END);
	assert_int_equal(p.event, TE_REPLIED);
	assert_int_equal(p.release, RELEASE_NO);
	assert_int_equal(b.interval, INTERVAL_KEEP);
	assert_null(b.status);
	assert_int_equal(b.span_ev, 1);
}

static void
reply_with_calls(void **state)
{
	struct model_block blocks[] = { use("bash", "{\"a\":1.10}", false), use("write", "{}", false), use("weather", "{}", false),
		use("edit", "{}", false), use("rm", "{}", false), use("bash", "{\"cut", true) };
	static const enum call_state want[] = { CALL_READY, CALL_WAITING, CALL_WAITING, CALL_DONE, CALL_DONE, CALL_DONE };

	(void)state;
	fresh("running");
	reply(blocks, 6, MODEL_TOOL_CALLS, true);
	assert_int_equal(p.event, TE_REPLIED);
	assert_int_equal(t.ncalls, 6);
	for (int i = 0; i < 6; i++)
		assert_int_equal(t.calls[i].state, want[i]);
	assert_non_null(strstr(b.ev[0].stem, "\"input\":{\"a\":1.10},\"evaluated_permission\":\"allow\",\"evaluation\":{\"type\":\"always_allow\"}"));
	assert_non_null(strstr(b.ev[1].stem, "\"evaluated_permission\":\"ask\",\"evaluation\":{\"type\":\"always_ask\"}"));
	assert_null(strstr(b.ev[2].stem, "evaluat"));
	assert_string_equal(b.ev[2].type, "agent.custom_tool_use");
	assert_non_null(strstr(b.ev[3].stem, "\"input\":{},\"evaluated_permission\":\"deny\""));
	assert_null(strstr(b.ev[3].stem, "\"evaluation\""));
	assert_string_equal(t.calls[3].content, "Permission to use edit has been denied.");
	assert_string_equal(t.calls[4].content, "There is no tool named rm.");
	assert_non_null(strstr(b.ev[5].stem, "\"input\":{}"));
	assert_true(t.calls[5].is_error);
	assert_int_equal(b.nactions, 2);
	assert_true(b.actions[1].custom);
}

/* Only questions: the wait begins in the same append. When that is refused, denied calls keep their results for later. */
static void
reply_that_asks(void **state)
{
	struct model_block blocks[] = { use("write", "{}", false), use("rm", "{}", false) };
	AUTO(str) char *got = NULL;

	(void)state;
	fresh("running");
	reply(blocks, 2, MODEL_TOOL_CALLS, true);
	got = types();
	assert_string_equal(got, "agent.tool_use agent.tool_use " END " agent.tool_result " IDLE);
	assert_int_equal(p.event, TE_FINISHED);
	plan_cut(&t, &b, &p);
	plan_committed(&t, &b, &p, 3);
	assert_int_equal(t.ncalls, 2);
	assert_int_equal(t.calls[1].state, CALL_DONE);
}

static void
reply_refused(void **state)
{
	struct model_block blocks[] = { text("No."), use("bash", "{}", false) };

	(void)state;
	fresh("running");
	reply(blocks, 2, MODEL_REFUSAL, true);
	assert_int_equal(t.ncalls, 0);
	assert_non_null(strstr(b.ev[2].stem, "\"stop_reason\":{\"type\":\"refusal\"},\"stop_details\":{\"type\":\"refusal\",\"category\":null,"
	    "\"explanation\":null}"));
	assert_int_equal(p.release, RELEASE_IDLE);
	/* a message that waits starts anew */
	fresh("running");
	arrive("user.message", "{}", NULL);
	reply(blocks, 2, MODEL_REFUSAL, false);
	assert_int_equal(p.event, TE_FINISHED);
	assert_int_equal(p.release, RELEASE_NO);
	assert_int_equal(b.ntaken, 0);
	plan_committed(&t, &b, &p, 9);
	batch_free(&b);
	batch_init(&b, (struct batch_who){ t.thread_id, t.agent->name });
	expect(TE_START, RELEASE_NO, RUNNING " user.message " START);
}

/* --- bytes --------------------------------------------------------------------------------------------------------------------- */

static void
golden(void **state)
{
	struct model_block blocks[] = { text("Hi \"you\"") };
	const struct totals before = { .active_us = 1500, .running_since_us = 1000000, .tokens = { .input = 10, .output = 1 } };

	(void)state;
	fresh("running");
	reply(blocks, 1, MODEL_END_TURN, true);
	strcpy(b.ev[1].id, "sevt_e");
	batch_stamp(&b, 1700000000000000, &(struct totals){ .running_since_us = 1 });
	batch_stamp(&b, 1000000 + 2000, &before);	/* stamping again replaces the first */
	assert_string_equal(b.ev[0].body, "{\"id\":\"sevt_m\",\"type\":\"agent.message\",\"content\":[{\"type\":\"text\",\"text\":\"Hi \\\"you\\\"\"}],"
	    "\"processed_at\":\"1970-01-01T00:00:01.002000Z\"}");
	assert_string_equal(b.ev[0].fragment, "{\"type\":\"text\",\"text\":\"Hi \\\"you\\\"\"}");
	assert_non_null(strstr(b.ev[1].body, "\"type\":\"span.model_request_end\",\"model_request_start_id\":\"sevt_s\",\"is_error\":false,"
	    "\"model_usage\":{\"input_tokens\":5,\"output_tokens\":2,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,"
	    "\"speed\":null},\"processed_at\":\"1970-01-01T00:00:01.002001Z\"}"));
	assert_non_null(strstr(b.ev[2].body, "\"type\":\"session.thread_status_idle\",\"session_thread_id\":\"sthr_1\",\"agent_name\":\"Bot\","
	    "\"stop_reason\":{\"type\":\"end_turn\"},\"stop_details\":null,\"processed_at\":\"1970-01-01T00:00:01.002002Z\"}"));
	/* 1500 us before + 2004 us up to the idle event's stamp = 3 whole milliseconds */
	assert_non_null(strstr(b.ev[3].body, "\"type\":\"session.usage\",\"usage\":{\"input_tokens\":15,\"output_tokens\":3,"
	    "\"cache_read_input_tokens\":0,"
	    "\"server_tool_use\":{\"web_search_requests\":0,\"web_fetch_requests\":0},\"active_seconds\":0.003}"));
	assert_int_equal(b.after.active_us, 3504);
	assert_int_equal(b.after.running_since_us, 0);
	assert_int_equal(b.after.active_us / 1000 - before.active_us / 1000, 2);
}

static void
tool_bytes(void **state)
{
	(void)state;
	fresh("running");
	batch_tool_result(&b, "sevt_t", "", false);
	batch_stamp(&b, 1, &t.totals);
	assert_non_null(strstr(b.ev[0].body, "\"type\":\"agent.tool_result\",\"tool_use_id\":\"sevt_t\",\"content\":[{\"type\":\"text\",\"text\":"
	    "\"(no output)\"}],\"is_error\":false,\"processed_at\":"));
	assert_string_equal(b.ev[0].fragment, "{\"type\":\"tool_result\",\"tool_use_id\":\"sevt_t\",\"content\":[{\"type\":\"text\",\"text\":"
	    "\"(no output)\"}],\"is_error\":false}");
	assert_int_equal(b.ev[0].role, 'u');
}

/* --- the end of a log ----------------------------------------------------------------------------------------------------------- */

static void
recovers(void **state)
{
	static const struct tail_event crashed[] = {	/* newest first */
		{ "e7", "span.model_request_end", "{\"is_error\":false}" },
		{ "e6", "agent.custom_tool_use", "{\"name\":\"weather\",\"input\":{\"c\":1.10,\"n\":1e999}}" },
		{ "e5", "agent.tool_use", "{\"name\":\"write\",\"input\":{},\"evaluated_permission\":\"ask\"}" },
		{ "e4", "agent.tool_use", "{\"name\":\"bash\",\"input\":{},\"evaluated_permission\":\"allow\"}" },
		{ "e3", "span.model_request_start", "{}" },
		{ "e2", "user.message", "{}" },
		{ "e1", "session.status_idle", "{}" },
		{ "e0", "agent.tool_use", "{\"name\":\"bash\",\"input\":{},\"evaluated_permission\":\"deny\"}" },
	};
	static const struct tail_event partial[] = {
		{ "e5", "session.status_idle", "{}" },
		{ "e4", "user.tool_confirmation", "{\"tool_use_id\":\"e2\",\"result\":\"deny\",\"deny_message\":\"no\"}" },
		{ "e3", "user.tool_confirmation", "{\"tool_use_id\":\"e1\",\"result\":\"allow\"}" },
		{ "e2", "agent.tool_use", "{\"name\":\"write\",\"input\":{},\"evaluated_permission\":\"ask\"}" },
		{ "e1", "agent.tool_use", "{\"name\":\"write\",\"input\":{\"x\":[\"}\\\"\"]},\"evaluated_permission\":\"ask\"}" },
	};
	static const struct tail_event retrying[] = {
		{ "e5", "session.status_rescheduled", "{}" },
		{ "e4", "session.error", "{\"error\":{\"retry_status\":{\"type\":\"retrying\"}}}" },
		{ "e3", "span.model_request_end", "{\"is_error\":true}" },
		{ "e2", "span.model_request_start", "{}" },
		{ "e1", "user.message", "{}" },
	};

	/* at a cap that was raised the turn went on without a message: its request is still owed when it was lost */
	static const struct tail_event resumed[] = {
		{ "e6", "session.status_rescheduled", "{}" },
		{ "e5", "span.model_request_end", "{\"is_error\":true}" },
		{ "e4", "span.model_request_start", "{}" },
		{ "e3", "session.status_running", "{}" },
		{ "e2", "session.status_idle", "{\"stop_reason\":{\"type\":\"budget_reached\"}}" },
		{ "e1", "agent.tool_result", "{\"tool_use_id\":\"x\"}" },
	};
	/* a summary was made in the middle of a turn: the result is still to be read */
	static const struct tail_event summed[] = {
		{ "e5", "agent.thread_context_compacted", "{}" },
		{ "e4", "span.model_request_end", "{\"is_error\":false}" },
		{ "e3", "span.model_request_start", "{}" },
		{ "e2", "agent.tool_result", "{\"tool_use_id\":\"x\"}" },
		{ "e1", "session.status_idle", "{}" },
	};

	(void)state;
	fresh("rescheduling");
	recover_tail(&t, resumed, 6);
	assert_true(t.owed);
	fresh("running");
	recover_tail(&t, summed, 5);
	assert_true(t.owed);
	fresh("running");
	recover_tail(&t, crashed, 8);
	assert_int_equal(t.ncalls, 4);
	assert_int_equal(t.calls[1].state, CALL_LOST);
	assert_int_equal(t.calls[2].state, CALL_WAITING);
	assert_int_equal(t.calls[3].state, CALL_WAITING);
	assert_string_equal(t.calls[3].input, "{\"c\":1.10,\"n\":1e999}");
	assert_false(t.owed);
	assert_int_equal(t.rounds, 1);
	assert_string_equal(t.span_id, "");
	fresh("idle");
	recover_tail(&t, partial, 5);
	assert_int_equal(t.ncalls, 2);
	assert_int_equal(t.calls[0].state, CALL_READY);
	assert_string_equal(t.calls[0].input, "{\"x\":[\"}\\\"\"]}");
	assert_int_equal(t.calls[1].state, CALL_DONE);
	assert_string_equal(t.calls[1].content, "Permission to use write has been rejected. Rejection message: no");
	fresh("rescheduling");
	recover_tail(&t, retrying, 5);
	assert_int_equal(t.retries, 1);
	assert_true(t.owed);
	fresh("running");
	recover_tail(&t, retrying + 3, 2);
	assert_string_equal(t.span_id, "e2");
	assert_true(t.owed);
}

/* What is prepared for a message is what the joint makes of it when it has come. */
static void
prepared(void **state)
{
	struct opening *o;
	struct batch own;
	struct plan made;
	struct turn before;

	(void)state;
	fresh("idle");
	o = opening_new(b.who, 41);
	assert_string_equal(opening_texts(o)[3], "41");
	arrive("user.message", "{}", NULL);
	expect(TE_START, RELEASE_NO, RUNNING " user.message " START);
	for (int i = 0; i < 3; i++)
		assert_int_equal(strlen(opening_texts(o)[i]), strlen(b.ev[i < 2 ? i : 3].stem));
	assert_non_null(strstr(opening_texts(o)[2], opening_span(o)));
	opening_take(o, b.who, &t.inbox[0], &own, &made);
	assert_int_equal(own.nev, b.nev);
	batch_stamp(&own, 2000000, &t.totals);
	batch_stamp(&b, 2000000, &t.totals);
	for (int i = 0; i < b.nev; i++) {
		assert_string_equal(own.ev[i].type, b.ev[i].type);
		assert_int_equal(own.ev[i].role, b.ev[i].role);
		assert_string_equal(own.ev[i].body + 7 + strlen(own.ev[i].id), b.ev[i].body + 7 + strlen(b.ev[i].id));	/* behind {"id":" and the id */
		assert_true(own.ev[i].at_us == b.ev[i].at_us);
	}
	assert_string_equal(own.status, b.status);
	assert_true(own.interval == b.interval && own.interval_ev == b.interval_ev && own.ntaken == b.ntaken && own.taken_bytes == b.taken_bytes);
	assert_true(own.span_ev == b.span_ev && own.gap_ev == b.gap_ev && own.after.running_since_us == b.after.running_since_us);
	assert_true(made.event == p.event && made.release == p.release && made.cut == p.cut && made.compact == p.compact);
	assert_string_equal(made.span_id, opening_span(o));
	before = t;
	plan_committed(&t, &own, &made, 5);
	assert_true(t.ninbox == 0 && t.rounds == 1 && !t.owed && strcmp(t.status, "running") == 0 && t.context.n == before.context.n + 1);
	assert_string_equal(t.span_id, own.ev[3].id);
	batch_free(&own);
	opening_free(&o);

	/* nobody has made the request: its end costs nothing, whatever it was cut off by */
	for (int unasked = 0; unasked < 2; unasked++) {
		fresh("running");
		strcpy(t.span_id, "sevt_span");
		t.unasked = unasked;
		arrive("user.interrupt", NULL, NULL);
		expect(TE_CLOSE, RELEASE_IDLE, END " user.interrupt " IDLE);
		assert_int_equal(b.gap_ev, unasked ? -1 : 0);
		plan_committed(&t, &b, &p, 9);
		assert_false(t.unasked);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts), cmocka_unit_test(continues), cmocka_unit_test(waits), cmocka_unit_test(wakes),
		cmocka_unit_test(interrupts), cmocka_unit_test(failures), cmocka_unit_test(takeovers), cmocka_unit_test(progress_and_gaps),
		cmocka_unit_test(drains), cmocka_unit_test(reply_that_ends), cmocka_unit_test(reply_with_calls), cmocka_unit_test(reply_that_asks),
		cmocka_unit_test(reply_refused), cmocka_unit_test(golden), cmocka_unit_test(tool_bytes), cmocka_unit_test(recovers),
		cmocka_unit_test(prepared), cmocka_unit_test(golden), cmocka_unit_test(tool_bytes), cmocka_unit_test(recovers),
	};

	return cmocka_run_group_tests_name("turn plan", tests, NULL, scene_end);
}
