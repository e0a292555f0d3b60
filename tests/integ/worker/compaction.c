/* link: tests/env/worker_rig.c tests/env/fake_hands.c */
/*
 * Summaries of long contexts by a real worker: before a request that would not fit, after the provider said so, across a worker's death,
 * and what another worker reads afterwards. Orders and texts of the plain cases are in tests/unit/test_turn_plan.c.
 */
#include <setjmp.h>
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
#include "jx.h"
#include "xalloc.h"

#define SETTINGS "lease_s = 2\nbeat_ms = 300\npoll_ms = 100\n"
#define LONG "hello hello hello hello hello hello hello hello hello hello hello hello hello hello hello hello hello hello hello hello " \
	"hello hello hello hello hello hello hello hello hello hello hello hello hello hello hello hello hello hello hello hello "
#define TURN "S:running T:running u.message M:start a.message M:end T:idle s.usage S:idle"
#define SQUEEZED "S:running T:running M:start M:end a.thread_context_compacted u.message M:start a.message M:end T:idle s.usage S:idle"

static pid_t worker;

static int
start(void **state)
{
	(void)state;
	rig_start();
	rig_provider();
	free(rig_sql("INSERT INTO model (id, display_name, context_window, max_output_tokens) VALUES ('narrow', 'Narrow', 1400, 200),"
	    " ('narrow-fake', 'Narrow', 4000, 200)"));
	free(rig_sql("INSERT INTO model (id, display_name, context_window, max_output_tokens) VALUES ('unwilling', 'Unwilling', 1400, 200)"));
	free(rig_sql("INSERT INTO model_route VALUES ('unwilling', 0, 'fake', 'fault-refusal')"));
	free(rig_sql("INSERT INTO model_route VALUES ('narrow', 0, 'scripted', 'x'), ('narrow-fake', 0, 'fake', 'fake-1')"));
	free(rig_sql("UPDATE catalogue SET generation = generation + 1"));
	worker = rig_worker(SETTINGS);
	return 0;
}

/* One message; the types of what it caused. */
static char *
say(const char *session, const char *text)
{
	int from = rig_last_seq(session);

	rig_message(text);
	rig_send(session);
	rig_settled(session);
	return rig_log(session, from);
}

/* Turns until one is squeezed. */
static void
until_squeezed(const char *session, const char *text)
{
	for (int i = 0; i < 20; i++) {
		AUTO(str) char *got = say(session, text);

		if (strcmp(got, TURN) == 0)
			continue;
		assert_string_equal(got, SQUEEZED);
		return;
	}
	fail_msg("no summary in 20 turns");
}

/* Words that the model was shown in the latest request. */
static int
shown(const char *session)
{
	AUTO(str) char *n = rig_sql("SELECT body::jsonb->'model_usage'->>'input_tokens' FROM event WHERE session_id = '%s' AND type ="
	    " 'span.model_request_end' ORDER BY seq DESC LIMIT 1", session);

	return atoi(n);
}

static void
between_turns(void **state)
{
	AUTO(str) char *body = NULL, *again = NULL;
	int before, after;

	(void)state;
	rig_session("sesn_a", "narrow");
	until_squeezed("sesn_a", LONG);
	before = shown("sesn_a");
	body = rig_sql("SELECT body FROM event WHERE session_id = 'sesn_a' AND type = 'agent.thread_context_compacted'");
	assert_null(strstr(body, "summary"));
	assert_null(strstr(body, "conversation"));
	/* another worker, which has nothing in memory, sees the same context */
	rig_signal(worker, 15);
	worker = rig_worker(SETTINGS);
	again = say("sesn_a", "hi");
	assert_string_equal(again, TURN);
	after = shown("sesn_a");
	assert_in_range(after - before, 1, 120);	/* the reply and "hi" are new */
	rig_check("sesn_a");
}

/* The provider counts otherwise than we do. */
static void
overflow(void **state)
{
	AUTO(str) char *log = NULL;
	int from;

	(void)state;
	rig_session("sesn_o", "fake");
	free(say("sesn_o", "first"));
	from = rig_last_seq("sesn_o");
	rig_message("!provider {\"fault\":\"status\",\"status\":400,\"message\":\"prompt is too long: 300000 tokens > 200000 maximum\"}\nhello");
	rig_send("sesn_o");
	rig_settled("sesn_o");
	log = rig_log("sesn_o", from);
	assert_string_equal(log, "S:running T:running u.message M:start M:end M:start M:end a.thread_context_compacted M:start a.message M:end"
	    " T:idle s.usage S:idle");
	rig_check("sesn_o");
}

/* The summary's request fails, is repeated, and its worker dies: no summary is kept twice, no message is lost. */
static void
worker_dies(void **state)
{
	AUTO(str) char *n = NULL;
	AUTO(buf) struct buf words = BUF_INIT(0);
	int from;

	(void)state;
	rig_session("sesn_k", "narrow-fake");
	for (int i = 0; i < 10; i++) {
		AUTO(str) char *got = say("sesn_k", LONG LONG);

		assert_string_equal(got, TURN);
	}
	for (int i = 0; i < 32; i++)
		buf_str(&words, LONG);
	from = rig_last_seq("sesn_k");
	rig_message(words.data);
	rig_send("sesn_k");
	rig_wait("t", "SELECT max(seq) > %d FROM event WHERE session_id = 'sesn_k'", from);
	rig_signal(worker, 9);
	worker = rig_worker(SETTINGS);
	rig_settled("sesn_k");
	n = rig_sql("SELECT count(*) FILTER (WHERE type = 'user.message') || ' ' || (count(*) FILTER (WHERE type ="
	    " 'agent.thread_context_compacted') > 0) FROM event WHERE session_id = 'sesn_k' AND seq > %d", from);
	assert_string_equal(n, "1 true");
	rig_check("sesn_k");
}

/* A model that refuses to sum up was asked all the same: what it counted is billed, and is no gap. */
static void
no_summary(void **state)
{
	AUTO(str) char *got = NULL, *metered = NULL, *gaps = NULL;

	(void)state;
	rig_session("sesn_n", "unwilling");
	for (int i = 0; i < 20; i++) {
		free(got);
		got = say("sesn_n", LONG);
		if (strstr(got, "s.error") != NULL)
			break;
	}
	assert_string_equal(got, "S:running T:running M:start M:end s.error T:idle s.usage S:idle");
	metered = rig_sql("SELECT e.body LIKE '%%\"is_error\":true%%' AND sum(m.quantity) FILTER (WHERE m.meter = 'tokens.input') > 1000 AND"
	    " sum(m.quantity) FILTER (WHERE m.meter = 'tokens.input') = (e.body::jsonb->'model_usage'->>'input_tokens')::int"
	    " FROM event e JOIN meter_event m USING (session_id, seq) WHERE e.session_id = 'sesn_n' AND e.seq = (SELECT max(seq) FROM event"
	    " WHERE session_id = 'sesn_n' AND type = 'span.model_request_end') GROUP BY e.body");
	assert_string_equal(metered, "t");
	gaps = rig_sql("SELECT count(*) FROM meter_gap WHERE session_id = 'sesn_n'");
	assert_string_equal(gaps, "0");
	rig_check("sesn_n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(between_turns), cmocka_unit_test(overflow), cmocka_unit_test(worker_dies),
		cmocka_unit_test(no_summary),
	};

	return cmocka_run_group_tests_name("worker compaction", tests, start, rig_over);
}
