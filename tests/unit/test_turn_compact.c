/* link: workers/harness/turn.c workers/harness/outcome.c workers/model/context.c workers/model/filesrc.c workers/harness/arrivals.c workers/harness/batch.c workers/harness/batch_status.c workers/harness/batch_events.c workers/harness/batch_stamp.c workers/harness/policy.c workers/harness/calls.c workers/harness/plan.c workers/harness/plan_reply.c workers/harness/plan_commit.c workers/harness/compact.c */
/*
 * A context that fills its model's window, at the joint of a turn and without a database: when it is summarised, of what, what waits
 * meanwhile, and what happens when it does not fit even so.
 */
#include <stdlib.h>
#include <string.h>

#include "compact.h"
#include "turn_scene.h"

static const char agent_text[] = "{\"name\":\"Bot\",\"model\":{\"id\":\"m\"},\"system\":null,\"tools\":[]}";

#define WORDS "{\"type\":\"text\",\"text\":\"0123456789012345678901234567890123456789012345678901234567890123456789012345\"}"	/* 26 tokens */
#define COMPACTED "agent.thread_context_compacted"

static void
commit(void)
{
	struct totals before = t.totals;

	batch_stamp(&b, t.last_at_us + 1, &before);
	plan_committed(&t, &b, &p, t.last_seq + b.nev);
	batch_free(&b);
	batch_init(&b, (struct batch_who){ t.thread_id, t.agent->name });
}

/* A turn on a history of n messages and replies, 26 tokens each, and a window of so many tokens. */
static void
history(const char *status, int n, int64_t window)
{
	scene_begin(status, agent_text);
	free(t.agent->system);
	t.agent->system = NULL;	/* what the harness adds would count */
	for (int i = 0; i < n; i++)
		context_add(&t.context, i % 2 ? 'a' : 'u', WORDS);
	t.window = window;
	t.compact_at = window * 85 / 100;
}

static void
summarise(const char *text)
{
	struct model_usage usage = { .input = 100, .output = 7 };

	plan_summary(&t, text, &usage, &b, &p);
	assert_int_equal(p.event, TE_REPLIED);
}

/* Before a new message is read: it waits for the summary and is not part of it. */
static void
compacts_before_message(void **state)
{
	int from, to;

	(void)state;
	history("idle", 10, 280);
	arrive("user.message", WORDS, NULL);
	assert_int_equal(compact_estimate(&t, 0, false), 260);
	assert_int_equal(compact_estimate(&t, 0, true), 286);
	expect(TE_START, RELEASE_NO, RUNNING " " START);
	assert_true(p.compact);
	assert_false(p.owed);
	assert_int_equal(b.ntaken, 0);
	commit();
	t.totals.running_since_us = 1;
	assert_true(t.compacting);
	assert_true(compact_range(&t, &from, &to));
	assert_int_equal(from, 0);
	assert_int_equal(to, 10);
	summarise("All \"that\" was.");
	{
		AUTO(str) char *got = types();

		assert_string_equal(got, END " " COMPACTED);
	}
	assert_int_equal(b.tokens.input, 100);
	assert_null(b.ev[1].fragment);
	assert_non_null(strstr(b.ev[1].private, "All \\\"that\\\" was."));
	assert_null(strstr(b.ev[1].private, "latest message"));
	commit();
	assert_null(strstr(b.ev != NULL ? b.ev[0].stem : "", "All"));
	assert_false(t.compacting);
	assert_int_equal(t.context.n, 1);
	assert_true(t.context.summary);
	assert_int_equal(t.context.told_tokens, 0);
	expect(TE_START, RELEASE_NO, "user.message " START);
	assert_false(p.compact);
	assert_int_equal(b.ntaken, 1);
}

/* Between two requests of a turn: the message that is worked on stays word for word. */
static void
compacts_under_way(void **state)
{
	(void)state;
	history("running", 10, 300);
	context_add(&t.context, 'u', "{\"type\":\"text\",\"text\":\"do it\"}");
	context_add(&t.context, 'a', "{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"write\",\"input\":{}}");
	call("c1", CALL_DONE, false, false);
	expect(TE_START, RELEASE_NO, "agent.tool_result " START);
	assert_true(p.compact && p.owed);
	commit();
	assert_true(t.owed);
	summarise("S");
	assert_non_null(strstr(b.ev[1].private, "latest message, which is being worked on, follows.\"},{\"type\":\"text\",\"text\":\"do it\"}"));
	commit();
	assert_int_equal(t.context.n, 1);
	expect(TE_START, RELEASE_NO, START);
	assert_false(p.compact);
	commit();
	/* a second summary keeps that message, and nothing of the first summary */
	context_add(&t.context, 'a', WORDS);
	t.owed = true;
	summarise("S2");
	assert_null(strstr(b.ev[1].private, "<summary>\\nS\\n"));
	assert_non_null(strstr(b.ev[1].private, "<summary>\\nS2\\n"));
	assert_non_null(strstr(b.ev[1].private, "{\"type\":\"text\",\"text\":\"do it\"}"));
}

static void
overflowed(void)
{
	t.failed = t.fail_long = true;
	t.fail_retry = false;
	strcpy(t.fail_type, "unknown_error");
	strcpy(t.fail_message, "too long");
	strcpy(t.span_id, "sevt_span");
}

/* The provider says that it does not fit. */
static void
overflow(void **state)
{
	int from, to;

	(void)state;
	history("running", 1, 1000000);		/* one message: nothing to summarise */
	overflowed();
	expect(TE_END, RELEASE_DONE, END " session.error session.thread_status_terminated session.status_terminated");
	history("running", 9, 1000000);
	overflowed();
	for (int squeeze = 1; squeeze <= 3; squeeze++) {
		expect(TE_START, RELEASE_NO, END " " START);
		assert_true(p.compact);
		t.rounds = 0;
		commit();
		assert_int_equal(t.squeeze, squeeze);
		assert_true(compact_range(&t, &from, &to));
		assert_int_equal(to, 9);
		assert_int_equal(from, squeeze == 1 ? 6 : 8);	/* 117, 58 and 29 of 234 tokens, from a user's message on */
		overflowed();
	}
	expect(TE_CLOSE, RELEASE_IDLE, END " session.error " IDLE);
	assert_non_null(strstr(b.ev[1].stem, "compaction_limit_reached_error"));
	assert_non_null(strstr(b.ev[1].stem, "exhausted"));
	/* after a summary there is nothing left to do */
	history("running", 0, 1000000);
	context_replace(&t.context, WORDS);
	context_add(&t.context, 'u', WORDS);
	overflowed();
	expect(TE_CLOSE, RELEASE_IDLE, END " session.error " IDLE);
	assert_non_null(strstr(b.ev[1].stem, "compaction_limit_reached_error"));
}

/* A message that does not fit even behind the summary ends the turn; one that fills the window by itself can be left out later. */
static void
compaction_limit(void **state)
{
	char big[4001], *block;
	int from, to;

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	block = xasprintf("{\"type\":\"text\",\"text\":\"%s\"}", big);
	history("running", 0, 500);
	context_replace(&t.context, WORDS);
	arrive("user.message", block, NULL);
	expect(TE_CLOSE, RELEASE_IDLE, "session.error " IDLE);
	assert_non_null(strstr(b.ev[0].stem, "compaction_limit_reached_error"));
	assert_int_equal(b.ntaken, 1);
	history("running", 4, 500);
	context_add(&t.context, 'u', block);
	assert_true(compact_range(&t, &from, &to));
	assert_int_equal(from, 0);
	assert_int_equal(to, 4);
	history("running", 0, 500);
	context_add(&t.context, 'u', block);
	assert_false(compact_range(&t, &from, &to));
	free(block);
}

/* What the model counted goes before any estimate; an image is not its encoding. */
static void
estimates(void **state)
{
	struct buf image = BUF_INIT(0);
	struct model_item item = { .role = 'u' };

	(void)state;
	history("running", 4, 1000);
	t.context.told_tokens = 5000;
	t.context.told_at = t.context.tokens;
	context_add(&t.context, 'u', WORDS);
	assert_int_equal(compact_estimate(&t, 400, false), 5126);
	buf_str(&image, "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"");
	for (int i = 0; i < 100000; i++)
		buf_str(&image, "iVBORw0K");
	buf_str(&image, "\"}}");
	item.blocks = image.data;
	item.len = image.len;
	assert_in_range(model_item_tokens(&item), 1600, 1650);
	buf_free(&image);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compacts_before_message), cmocka_unit_test(compacts_under_way), cmocka_unit_test(overflow),
		cmocka_unit_test(compaction_limit), cmocka_unit_test(estimates),
	};

	return cmocka_run_group_tests_name("turn compaction", tests, NULL, scene_end);
}
