/* link: workers/harness/outcome.c */
/*
 * Outcomes without a turn: where one stands by its events, what a verdict means in which cycle, what the grader is asked and how its
 * answer is read.
 */
#include "outcome.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DEFINED "{\"id\":\"sevt_1\",\"outcome_id\":\"outc_1\",\"description\":\"a \\\"thing\\\"\",\"rubric\":{\"type\":\"text\",\"content\":\"be\\nright\"}," \
	"\"max_iterations\":2,\"processed_at\":\"t\"}"
#define START(n) "{\"id\":\"sevt_s\",\"outcome_id\":\"outc_1\",\"iteration\":" #n "}"
#define END(n, result) "{\"id\":\"sevt_e\",\"iteration\":" #n ",\"result\":\"" result "\",\"explanation\":\"why\"}"

static void
fold(struct outcome *o, const char *type, const char *body)
{
	outcome_fold(o, "sevt_x", type, body);
}

static void
by_its_events(void **state)
{
	struct outcome o = { 0 };

	fold(&o, "user.message", NULL);
	assert_false(o.active);
	fold(&o, OUTCOME_DEFINED, DEFINED);
	assert_true(o.active);
	assert_string_equal(o.id, "outc_1");
	assert_string_equal(o.description, "a \"thing\"");
	assert_string_equal(o.rubric, "be\nright");
	assert_int_equal(o.max, 2);
	fold(&o, OUTCOME_START, START(0));
	assert_string_equal(o.start_id, "sevt_x");
	fold(&o, OUTCOME_ONGOING, START(0));
	assert_string_equal(o.start_id, "sevt_x");
	fold(&o, OUTCOME_END, END(0, "needs_revision"));
	assert_true(o.active);
	assert_int_equal(o.iteration, 1);
	assert_string_equal(o.start_id, "");
	fold(&o, OUTCOME_START, START(1));
	fold(&o, OUTCOME_END, END(1, "max_iterations_reached"));
	assert_false(o.active);
	fold(&o, OUTCOME_DEFINED, DEFINED);
	assert_true(o.active);
	assert_int_equal(o.iteration, 0);
	outcome_clear(&o);
}

/* What is asked of the agent behind each verdict: in the first of two cycles, and in the last. */
static void
what_it_asks(void **state)
{
	static const struct { const char *verdict, *result[2]; bool says[2]; const char *body[2]; } rows[] = {
		{ "needs_revision", { "needs_revision", "max_iterations_reached" }, { true, true }, { END(0, "needs_revision"), END(1, "max_iterations_reached") } },
		{ "satisfied", { "satisfied", "satisfied" }, { false, true }, { END(0, "satisfied"), END(1, "satisfied") } },
		{ "failed", { "failed", "failed" }, { false, false }, { END(0, "failed"), END(1, "failed") } },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int cycle = 0; cycle < 2; cycle++) {
			struct outcome o = { 0 };
			const char *result;
			char *say;

			fold(&o, OUTCOME_DEFINED, DEFINED);
			o.iteration = cycle;
			result = outcome_result(&o, rows[i].verdict);
			assert_string_equal(result, rows[i].result[cycle]);
			say = outcome_feedback(&o, result, "because \"so\"");
			assert_int_equal(say != NULL, rows[i].says[cycle]);
			if (say != NULL)
				assert_non_null(strstr(say, "because \\\"so\\\""));
			assert_int_equal(outcome_asks(&o, OUTCOME_END, rows[i].body[cycle]), rows[i].says[cycle]);
			free(say);
			outcome_clear(&o);
		}
	}
	assert_true(outcome_asks(&(struct outcome){ 0 }, OUTCOME_DEFINED, DEFINED));
	assert_false(outcome_asks(&(struct outcome){ 0 }, OUTCOME_END, END(0, "interrupted")));
	assert_false(outcome_asks(&(struct outcome){ 0 }, "user.message", NULL));
}

static void
the_question(void **state)
{
	static const char *const blocks[] = {
		"{\"type\":\"text\",\"text\":\"the task\"}",
		"{\"type\":\"thinking\",\"thinking\":\"secret\"},{\"type\":\"text\",\"text\":\"I look.\"},{\"type\":\"tool_use\",\"id\":\"x\",\"name\":\"bash\","
		"\"input\":{\"command\":\"ls\"}}",
		"{\"type\":\"tool_result\",\"tool_use_id\":\"x\",\"content\":[{\"type\":\"text\",\"text\":\"file\\u00e9\"},{\"type\":\"image\"}]}",
	};
	struct model_item items[3];
	struct outcome o = { 0 };
	char *all, *few;

	for (int i = 0; i < 3; i++)
		items[i] = (struct model_item){ i == 1 ? 'a' : 'u', blocks[i], strlen(blocks[i]) };
	fold(&o, OUTCOME_DEFINED, DEFINED);
	o.iteration = 1;
	all = outcome_question(&o, items, 3, 1 << 20);
	assert_string_equal(all, "{\"type\":\"text\",\"text\":\"" MODEL_GRADE_OPEN "2. Rubric:\\nbe\\nright\\n\\nThe outcome that was asked for:\\na \\\"thing\\\""
	    "\\n\\nTranscript of the work:\\n\\nTo the agent: \\\"the task\\\"\\n\\nAgent: \\\"I look.\\\"\\n\\nTool call: \\\"bash {\\\\\\\"command\\\\\\\":\\\\\\\"ls\\\\\\\"}\\\"\\n"
	    "\\nTool result: \\\"file\xc3\xa9\\\\n[not text]\\\\n\\\"\\n\"}");
	/* the newest part, and never half a character */
	for (size_t room = 0; room < strlen(all); room++) {
		few = outcome_question(&o, items, 3, room);
		assert_true(strlen(few) < room + 240);
		assert_null(strstr(few, "\xef\xbf\xbd"));
		free(few);
	}
	free(all);
	outcome_clear(&o);
}

static bool
answer(enum model_block_kind kind, const char *name, const char *text, bool bad, const char **result, char **why)
{
	struct model_block b = { .kind = kind, .name = name, .text = text, .bad_input = bad };
	struct model_reply r = { .blocks = &b, .nblocks = 1 };

	return outcome_verdict(&r, result, why);
}

static void
the_verdict(void **state)
{
	const char *result;
	char *why = NULL;

	assert_true(answer(MODEL_TOOL_USE, "grade", "{\"explanation\":\"a\\nb\",\"result\":\"needs_revision\"}", false, &result, &why));
	assert_string_equal(result, "needs_revision");
	assert_string_equal(why, "a\nb");
	free(why);
	assert_true(answer(MODEL_TOOL_USE, "grade", "{\"result\":\"satisfied\"}", false, &result, &why));
	assert_string_equal(why, "");
	free(why);
	assert_false(answer(MODEL_TOOL_USE, "grade", "{\"result\":\"interrupted\"}", false, &result, &why));
	assert_false(answer(MODEL_TOOL_USE, "grade", "{}", true, &result, &why));
	assert_false(answer(MODEL_TOOL_USE, "other", "{\"result\":\"satisfied\"}", false, &result, &why));
	assert_false(answer(MODEL_TEXT, NULL, "satisfied", false, &result, &why));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_its_events), cmocka_unit_test(what_it_asks), cmocka_unit_test(the_question), cmocka_unit_test(the_verdict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
