/* link: workers/model/scripted.c workers/model/reply.c workers/model/context.c workers/model/filesrc.c */
/* The scripted model's grammar: what a context makes it say, and that it says it a word at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "jw.h"
#include "model_probe.h"
#include "reply.h"
#include "scripted.h"

static const struct model_tool tools[] = { { "bash", "", "{}" }, { "bash2", "", "{}" }, { "read", "", "{}" } };

static void
ended(void *ctx, int rc)
{
	assert_int_equal(rc, 0);
	reply_done(ctx, "");
}

/* Play the context; the line the probe wrote, owned by the caller. */
static char *
play(const struct model_request *rq, int *out_deltas)
{
	struct probe p = { .open = -1 };
	struct loop *loop = loop_new();
	struct script_play *sp;
	struct script s;
	struct reply r;

	reply_init(&r, 1 << 20, &probe_events, &p);
	script_make(&s, rq);
	sp = script_start(loop, &s, &r, ended, &r);
	assert_int_equal(p.deltas + p.ends, 0);
	while (!p.ends)
		loop_once(loop, 100);
	script_stop(&sp);
	script_free(&s);
	reply_free(&r);
	loop_free(&loop);
	if (out_deltas)
		*out_deltas = p.deltas;
	return p.told.data;
}

static const struct {
	const char *message;
	int replies;		/* assistant replies behind it, each with a tool result */
	const char *model, *told;
	int deltas;
} cases[] = {
	{ "hello there", 0, "roost-scripted", "T0<I am roost-scripted, the scripted model built into Roost. You said: hello there> | end_turn *", 13 },
	{ "hello", 0, "claude-x", "T0<I am the scripted model built into Roost, standing in for claude-x. You said: hello> | end_turn *", 15 },
	{ "a\n\nb\n\nc", 0, "roost-scripted", "T0<I am roost-scripted, the scripted model built into Roost. You said: a\n\nb\n\nc> *", -1 },
	{ "bash is a shell", 0, "roost-scripted", "T0<I am roost-scripted, *", -1 },
	{ "web {\"not\":\"offered\"}", 0, "roost-scripted", "T0<I am roost-scripted, *", -1 },
	{ "bash {\"c\":1}", 0, "m", "| tool_calls [tool bash {\"c\":1}] u=2/2/0/0/0", 0 },
	{ "bash {\"c\":1}", 1, "m", "T0<Done.> | end_turn [text Done.] u=4/1/0/0/0", 1 },
	{ "bash2 {}\nread\t{ \"p\" : 1.50 } ", 0, "m", "| tool_calls [tool bash2 {}] [tool read { \"p\" : 1.50 }] u=8/8/0/0/0", 0 },
	{ "Look  here:\nbash {}\nand there\nread {}\n\nthen say", 0, "m",
	  "T0<Look  here:\nand there> | tool_calls [text Look  here:\nand there] [tool bash {}] [tool read {}] u=10/8/0/0/0", 4 },
	{ "Look  here:\nbash {}\nand there\nread {}\n\nthen say", 1, "m", "T0<then say> | end_turn *", 2 },
	{ "Look  here:\nbash {}\nand there\nread {}\n\nthen say", 2, "m", "T0<Done.> | end_turn *", 1 },
	{ "\n\n \nbash {}\n \t\n\n\nread {}\r\n\r\nlast", 0, "m", "| tool_calls [tool bash {}] *", 0 },
	{ "\n\n \nbash {}\n \t\n\n\nread {}\r\n\r\nlast", 1, "m", "| tool_calls [tool read {}] *", 0 },
	{ "\n\n \nbash {}\n \t\n\n\nread {}\r\n\r\nlast", 2, "m", "T0<last> | end_turn *", 1 },
	{ "bash {broken", 0, "m", "| tool_calls [tool bash {}!] *", 0 },
	{ "bash {} x", 0, "m", "| tool_calls [tool bash {}!] *", 0 },
	{ "bash{}", 0, "m", "T0<I am the scripted *", -1 },
	{ "read {\"n\":123456789012345678901234567890}", 0, "m", "| tool_calls [tool read {\"n\":123456789012345678901234567890}] *", 0 },
	{ "", 0, "m", "T0<I am the scripted model *", -1 },
};

static void
text_block(struct buf *out, const char *text)
{
	buf_str(out, "{\"type\":\"text\",\"text\":");
	jw_quote(out, text, strlen(text));
	buf_ch(out, '}');
}

static void
test_grammar(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		static const char use[] = "{\"type\":\"tool_use\",\"id\":\"1\",\"name\":\"bash\",\"input\":{}}";
		static const char result[] = "{\"type\":\"tool_result\",\"tool_use_id\":\"1\",\"content\":[{\"type\":\"text\",\"text\":\"r\"}]}";
		AUTO(buf) struct buf block = { 0 };
		AUTO(str) char *told = NULL;
		struct model_item items[8];
		struct model_request rq = { .model_id = cases[i].model, .items = items, .tools = tools, .ntools = 3 };
		size_t n = strlen(cases[i].told);
		int deltas;

		text_block(&block, cases[i].message);
		items[rq.nitems++] = (struct model_item){ 'u', block.data, block.len };
		for (int k = 0; k < cases[i].replies; k++) {
			items[rq.nitems++] = (struct model_item)PROBE_ITEM('a', use);
			items[rq.nitems++] = (struct model_item)PROBE_ITEM('u', result);
		}
		told = play(&rq, &deltas);
		if (cases[i].told[n - 1] == '*' ? strncmp(told, cases[i].told, n - 1) != 0 : strcmp(told, cases[i].told) != 0)
			fail_msg("%s:\n got %s\nwant %s", cases[i].message, told, cases[i].told);
		if (cases[i].deltas >= 0)
			assert_int_equal(deltas, cases[i].deltas);
	}
}

/* A message of several blocks, one that comes later, a reply of several items, and an interrupted reply. */
static void
test_context(void **state)
{
	struct model_item items[] = {
		PROBE_ITEM('u', "{\"type\":\"text\",\"text\":\"bash {\\\"old\\\":1}\"}"),
		PROBE_ITEM('a', "{\"type\":\"text\",\"text\":\"x\"}"),
		PROBE_ITEM('u', "{\"type\":\"text\",\"text\":\"bash {\\\"new\\\":1}\"},{\"type\":\"image\",\"source\":{}},{\"type\":\"text\",\"text\":\"read {}\"}"),
		PROBE_ITEM('a', "{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"}"),
		PROBE_ITEM('a', "{\"type\":\"text\",\"text\":\"x\"}"),
		PROBE_ITEM('a', "{\"type\":\"tool_use\",\"id\":\"1\",\"name\":\"bash\",\"input\":{}}"),
		PROBE_ITEM('u', "{\"type\":\"tool_result\",\"tool_use_id\":\"1\",\"content\":\"r\"}"),
	};
	struct model_request rq = { .model_id = "m", .items = items, .nitems = 3, .tools = tools, .ntools = 3 };
	char *told;

	(void)state;
	told = play(&rq, NULL);
	assert_non_null(strstr(told, "| tool_calls [tool bash {\"new\":1}]"));
	free(told);
	rq.nitems = 7;
	told = play(&rq, NULL);
	assert_non_null(strstr(told, "| tool_calls [tool read {}]"));
	free(told);
	/* asked for a summary, and going on behind it */
	items[6] = items[5];
	items[5] = (struct model_item)PROBE_ITEM('u', "{\"type\":\"text\",\"text\":\"" MODEL_SUMMARY_ASK " More.\"}");
	rq.nitems = 6;
	told = play(&rq, NULL);
	assert_non_null(strstr(told, "A conversation of 5 items. Steps of the latest message played: 1."));
	free(told);
	items[0] = (struct model_item)PROBE_ITEM('u', "{\"type\":\"text\",\"text\":\"" MODEL_SUMMARY_OPEN " Steps of the latest message played: 1.\"},"
	    "{\"type\":\"text\",\"text\":\"bash {}\"},{\"type\":\"text\",\"text\":\"read {\\\"on\\\":1}\"}");
	rq.nitems = 1;
	told = play(&rq, NULL);
	assert_non_null(strstr(told, "| tool_calls [tool read {\"on\":1}]"));
	free(told);
	rq.nitems = 0;
	told = play(&rq, NULL);
	assert_non_null(strstr(told, "You said: "));
	free(told);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_grammar), cmocka_unit_test(test_context) };

	return cmocka_run_group_tests_name("model scripted", tests, NULL, NULL);
}
