/* link: workers/model/adapter.c workers/model/anthropic.c workers/model/anthropic_stream.c workers/model/openai.c workers/model/openai_messages.c workers/model/openai_stream.c workers/model/reply.c workers/model/failure.c workers/model/context.c workers/model/filesrc.c workers/model/sse.c */
/* The Messages API adapter: requests as text, streams at every cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model_stream.h"

#define A (&adapter_anthropic)
#define TEXT(t) "{\"type\":\"text\",\"text\":\"" t "\"}"
#define RESULT(id) "{\"type\":\"tool_result\",\"tool_use_id\":\"" id "\",\"content\":[" TEXT("r") "]}"
#define USE(id) "{\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"bash\",\"input\":{\"n\":1.10}}"
#define MARK ",\"cache_control\":{\"type\":\"ephemeral\"}}"
#define MARKED(t) "{\"type\":\"text\",\"text\":\"" t "\"" MARK

static void
test_url(void **state)
{
	static const struct { const char *base, *url; } cases[] = {
		{ "https://api.anthropic.com", "https://api.anthropic.com/v1/messages" },
		{ "https://api.anthropic.com/", "https://api.anthropic.com/v1/messages" },
		{ "http://h:1/proxy/v1", "http://h:1/proxy/v1/messages" },
		{ "http://h:1/proxy/v1/", "http://h:1/proxy/v1/messages" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		AUTO(buf) struct buf out = { 0 };

		A->url(&out, cases[i].base);
		assert_string_equal(out.data, cases[i].url);
	}
}

static void
test_head(void **state)
{
	static const struct { const char *upstream, *effort; unsigned without; const char *out; } cases[] = {
		{ "fake-1", NULL, 0, "{\"model\":\"fake-1\",\"max_tokens\":9,\"stream\":true" },
		{ "fake-1", "high", 0, "{\"model\":\"fake-1\",\"max_tokens\":9,\"stream\":true" },
		{ "claude-3-5-haiku", "high", 0, "{\"model\":\"claude-3-5-haiku\",\"max_tokens\":9,\"stream\":true" },
		{ "claude-opus-4-6", "xhigh", 0, "{\"model\":\"claude-opus-4-6\",\"max_tokens\":9,\"stream\":true,\"thinking\":{\"type\":\"adaptive\"},"
		  "\"output_config\":{\"effort\":\"high\"}" },
		{ "claude-opus-5", "max", 0, "{\"model\":\"claude-opus-5\",\"max_tokens\":9,\"stream\":true,\"thinking\":{\"type\":\"adaptive\"},"
		  "\"output_config\":{\"effort\":\"max\"}" },
		{ "claude-opus-5", "max", WITHOUT_EFFORT, "{\"model\":\"claude-opus-5\",\"max_tokens\":9,\"stream\":true" },
	};
	AUTO(buf) struct buf asked = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		AUTO(buf) struct buf out = { 0 };

		A->head(&out, &(struct adapter_head){ .upstream = cases[i].upstream, .max_output_tokens = 9, .effort = cases[i].effort,
		    .without = cases[i].without });
		assert_string_equal(out.data, cases[i].out);
	}
	A->head(&asked, &(struct adapter_head){ .upstream = "claude-opus-5", .max_output_tokens = 9, .effort = "low", .fast = true, .geo = "us",
	    .without = WITHOUT_EFFORT });
	assert_string_equal(asked.data, "{\"model\":\"claude-opus-5\",\"max_tokens\":9,\"stream\":true,\"speed\":\"fast\",\"inference_geo\":\"us\"");
	assert_int_equal(A->refused("output_config: Extra inputs are not permitted"), WITHOUT_EFFORT);
	assert_int_equal(A->refused("max_tokens: too large"), 0);
	assert_int_equal(A->refused("messages.1.content.0: Invalid `signature` in `thinking` block"), WITHOUT_THOUGHTS);
	assert_int_equal(A->refused("messages.3.content.0.thinking: not allowed"), WITHOUT_THOUGHTS);
}

static void
test_forget(void **state)
{
	static const char thought[] = "{\"type\":\"thinking\",\"thinking\":\"]}\",\"signature\":\"s\"}";
	struct model_item items[] = {
		PROBE_ITEM('u', TEXT("a")), PROBE_ITEM('a', thought), PROBE_ITEM('a', USE("1")), PROBE_ITEM('u', RESULT("1")), PROBE_ITEM('a', thought),
		PROBE_ITEM('u', TEXT("b")),
	};
	struct model_request rq = { .system = "S", .items = items, .nitems = 6 };
	AUTO(buf) struct buf whole = { 0 };
	AUTO(buf) struct buf out = { 0 };

	(void)state;
	A->tail(&whole, &rq);
	A->forget(&out, &whole);
	assert_string_equal(out.data, ",\"system\":[{\"type\":\"text\",\"text\":\"S\"" MARK "],\"messages\":[{\"role\":\"user\",\"content\":[" TEXT("a") "]},"
	    "{\"role\":\"assistant\",\"content\":[" USE("1") "]},{\"role\":\"user\",\"content\":[" RESULT("1") "]},"
	    "{\"role\":\"user\",\"content\":[" MARKED("b") "]}]}");
}

#define ITEMS(...) { __VA_ARGS__ }

static const struct {
	const char *name;
	struct model_item items[10];
	const char *messages;
} contexts[] = {
	{ "one message", ITEMS(PROBE_ITEM('u', TEXT("hi"))), "{\"role\":\"user\",\"content\":[" MARKED("hi") "]}" },
	{ "neighbours are one message", ITEMS(PROBE_ITEM('u', TEXT("a")), PROBE_ITEM('u', TEXT("b") "," TEXT("c"))),
	  "{\"role\":\"user\",\"content\":[" TEXT("a") "," TEXT("b") "," MARKED("c") "]}" },
	{ "roles alternate", ITEMS(PROBE_ITEM('u', TEXT("a")), PROBE_ITEM('a', TEXT("b")), PROBE_ITEM('a', USE("1")), PROBE_ITEM('u', RESULT("1"))),
	  "{\"role\":\"user\",\"content\":[" TEXT("a") "]},{\"role\":\"assistant\",\"content\":[" TEXT("b") "," USE("1") "]},"
	  "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"1\",\"content\":[" TEXT("r") "]" MARK "]}" },
	{ "results go first, in their order", ITEMS(PROBE_ITEM('u', TEXT("a")), PROBE_ITEM('a', USE("1") "," USE("2")), PROBE_ITEM('u', TEXT("late")),
	  PROBE_ITEM('u', RESULT("2")), PROBE_ITEM('u', TEXT("later")), PROBE_ITEM('u', RESULT("1"))),
	  "{\"role\":\"user\",\"content\":[" TEXT("a") "]},{\"role\":\"assistant\",\"content\":[" USE("1") "," USE("2") "]},"
	  "{\"role\":\"user\",\"content\":[" RESULT("2") "," RESULT("1") "," TEXT("late") "," MARKED("later") "]}" },
	{ "blank text goes", ITEMS(PROBE_ITEM('u', TEXT("a") "," TEXT(" \\n")), PROBE_ITEM('a', TEXT("\\n\\n")), PROBE_ITEM('a', USE("1")), PROBE_ITEM('u', RESULT("1"))),
	  "{\"role\":\"user\",\"content\":[" TEXT("a") "]},{\"role\":\"assistant\",\"content\":[" USE("1") "]},"
	  "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"1\",\"content\":[" TEXT("r") "]" MARK "]}" },
	{ "an all blank message is said to be", ITEMS(PROBE_ITEM('u', TEXT(" "))), "{\"role\":\"user\",\"content\":[" MARKED("(blank)") "]}" },
	{ "a blank reply joins its neighbours", ITEMS(PROBE_ITEM('u', TEXT("a")), PROBE_ITEM('a', TEXT("")), PROBE_ITEM('u', TEXT("b"))),
	  "{\"role\":\"user\",\"content\":[" TEXT("a") "," MARKED("b") "]}" },
	{ "no marker on thinking", ITEMS(PROBE_ITEM('u', TEXT("a")), PROBE_ITEM('a', "{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"}")),
	  "{\"role\":\"user\",\"content\":[" TEXT("a") "]},{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"}]}" },
};

static void
test_tail(void **state)
{
	static const struct model_tool tools[] = { { "bash", "Say \"hi\"", "{\"type\":\"object\"}" }, { "look", NULL, "{\"a\":1.0}" } };

	(void)state;
	for (size_t i = 0; i < sizeof(contexts) / sizeof(contexts[0]); i++) {
		AUTO(buf) struct buf out = { 0 };
		AUTO(buf) struct buf want = { 0 };
		struct model_request rq = { .items = contexts[i].items };

		while (contexts[i].items[rq.nitems].role)
			rq.nitems++;
		A->tail(&out, &rq);
		buf_printf(&want, ",\"messages\":[%s]}", contexts[i].messages);
		if (strcmp(out.data, want.data) != 0)
			fail_msg("%s:\n got %s\nwant %s", contexts[i].name, out.data, want.data);
		buf_reset(&out);
		buf_reset(&want);
		rq.system = "S\n";
		rq.tools = tools;
		rq.ntools = 2;
		A->tail(&out, &rq);
		buf_printf(&want, ",\"system\":[{\"type\":\"text\",\"text\":\"S\\n\"" MARK "],\"tools\":[{\"name\":\"bash\",\"description\":\"Say \\\"hi\\\"\","
		    "\"input_schema\":{\"type\":\"object\"}},{\"name\":\"look\",\"input_schema\":{\"a\":1.0}}],\"messages\":[%s]}", contexts[i].messages);
		assert_string_equal(out.data, want.data);
		buf_reset(&out);
		rq.system = " ";
		A->tail(&out, &rq);
		assert_non_null(strstr(out.data, "{\"name\":\"look\",\"input_schema\":{\"a\":1.0}" MARK "]"));
		assert_null(strstr(out.data, "system"));
	}
}

#define EV(type, more) "event: " type "\ndata: {\"type\":\"" type "\"" more "}\n\n"
#define START EV("message_start", ",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":10,\"output_tokens\":1,\"cache_read_input_tokens\":3,\"cache_creation_input_tokens\":5}}")
#define BLOCK(i, b) EV("content_block_start", ",\"index\":" i ",\"content_block\":" b)
#define DELTA(i, d) EV("content_block_delta", ",\"index\":" i ",\"delta\":" d)
#define STOP(i) EV("content_block_stop", ",\"index\":" i)
#define END(reason, out) EV("message_delta", ",\"delta\":{\"stop_reason\":\"" reason "\"},\"usage\":{\"output_tokens\":" out "}") EV("message_stop", "")
#define TEXT_BLOCK(i, t) BLOCK(i, "{\"type\":\"text\",\"text\":\"\"}") DELTA(i, "{\"type\":\"text_delta\",\"text\":\"" t "\"}") STOP(i)
#define TOOL(i, n) BLOCK(i, "{\"type\":\"tool_use\",\"id\":\"toolu_" n "\",\"name\":\"" n "\",\"input\":{}}")
#define PIECE(i, j) DELTA(i, "{\"type\":\"input_json_delta\",\"partial_json\":\"" j "\"}")

static const struct { const char *name, *bytes, *told; } streams[] = {
	{ "text", START EV("ping", "") TEXT_BLOCK("0", "h\\u00e4 \\ud83d\\ude00\\n") END("end_turn", "7"),
	  "T0<h\xc3\xa4 \xf0\x9f\x98\x80\n> | end_turn [text h\xc3\xa4 \xf0\x9f\x98\x80\n] u=10/7/3/5/0" },
	{ "cache split", EV("message_start", ",\"message\":{\"usage\":{\"input_tokens\":1,\"cache_creation_input_tokens\":9,\"cache_creation\":"
	  "{\"ephemeral_5m_input_tokens\":4,\"ephemeral_1h_input_tokens\":5}}}") TEXT_BLOCK("0", "x") END("end_turn", "2"), "T0<x> | end_turn [text x] u=1/2/0/4/5" },
	{ "two texts around a tool", START TEXT_BLOCK("0", "a") TOOL("1", "bash") PIECE("1", "") PIECE("1", "{\\\"n\\\": 1.") PIECE("1", "10}") STOP("1")
	  TEXT_BLOCK("2", "b") END("tool_use", "5"), "T0<a> T1<b> | tool_calls [text a] [tool bash {\"n\": 1.10}] [text b] u=10/5/3/5/0" },
	{ "parallel tools, one without input", START TOOL("0", "a") PIECE("0", "{}") STOP("0") TOOL("1", "b") STOP("1") END("tool_use", "5"),
	  "| tool_calls [tool a {}] [tool b {}] u=10/5/3/5/0" },
	{ "cut off at the limit", START TOOL("0", "a") PIECE("0", "{\\\"x\\\":") STOP("0") END("max_tokens", "5"), "| tool_calls [tool a {}!] u=10/5/3/5/0" },
	{ "cut off before the first byte", START TOOL("0", "a") STOP("0") END("max_tokens", "5"), "| tool_calls [tool a {}!] u=10/5/3/5/0" },
	{ "cut off without a stop", START TOOL("0", "a") PIECE("0", "{}") END("max_tokens", "5"), "| tool_calls [tool a {}!] u=10/5/3/5/0" },
	{ "input is no object", START TOOL("0", "a") PIECE("0", "[1]") STOP("0") END("tool_use", "5"), "| tool_calls [tool a {}!] u=10/5/3/5/0" },
	{ "thinking", START BLOCK("0", "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}") DELTA("0", "{\"type\":\"thinking_delta\",\"thinking\":\"a\\n\"}")
	  DELTA("0", "{\"type\":\"thinking_delta\",\"thinking\":\"b\"}") DELTA("0", "{\"type\":\"signature_delta\",\"signature\":\"c2ln\"}") STOP("0")
	  BLOCK("1", "{\"type\":\"redacted_thinking\",\"data\":\"ZGF0YQ==\"}") STOP("1") TEXT_BLOCK("2", "x") END("end_turn", "7"),
	  "K T0<x> | end_turn [think {\"type\":\"thinking\",\"thinking\":\"a\\nb\",\"signature\":\"c2ln\"}] "
	  "[think {\"type\":\"redacted_thinking\",\"data\":\"ZGF0YQ==\"}] [text x] u=10/7/3/5/0" },
	{ "thinking without signature is not sent back", START BLOCK("0", "{\"type\":\"thinking\",\"thinking\":\"x\"}") STOP("0") END("end_turn", "1"),
	  "K | end_turn [think -] u=10/1/3/5/0" },
	{ "what we do not know is read over", START BLOCK("0", "{\"type\":\"server_tool_use\",\"id\":\"x\"}") DELTA("0", "{\"type\":\"input_json_delta\",\"partial_json\":\"{\"}") STOP("0")
	  EV("shiny_new", ",\"x\":[1]") TEXT_BLOCK("1", "x") DELTA("1", "{\"type\":\"citations_delta\",\"citation\":{}}") END("pause_turn", "1"),
	  "T0<x> | end_turn [text x] u=10/1/3/5/0" },
	{ "empty text vanishes", START BLOCK("0", "{\"type\":\"text\",\"text\":\"\"}") STOP("0") TEXT_BLOCK("1", "x") END("stop_sequence", "1"), "T0<x> | end_turn [text x] u=10/1/3/5/0" },
	{ "refusal", START TEXT_BLOCK("0", "no") TOOL("1", "a") PIECE("1", "{}") STOP("1") END("refusal", "1"), "T0<no> | refusal [text no] [tool a {}] u=10/1/3/5/0" },
	{ "window full", START TEXT_BLOCK("0", "x") END("model_context_window_exceeded", "1"), "T0<x> | max_tokens [text x] u=10/1/3/5/0" },
	{ "tool_use without a tool", START TEXT_BLOCK("0", "x") END("tool_use", "1"), "T0<x> | end_turn [text x] u=10/1/3/5/0" },
	{ "nothing after the end", START TEXT_BLOCK("0", "x") END("end_turn", "1") "data: garbage\n\n", "T0<x> | end_turn [text x] u=10/1/3/5/0" },
	{ "a NUL in the text", START TEXT_BLOCK("0", "a\\u0000b") END("end_turn", "1"), "T0<a\xef\xbf\xbd" "b> | end_turn [text a\xef\xbf\xbd" "b] u=10/1/3/5/0" },
	{ "error event", START EV("error", ",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}"),
	  "| fail model_overloaded_error retry http=529: The model provider is overloaded: Overloaded" },
	{ "error event after output", START TEXT_BLOCK("0", "x") EV("error", ",\"error\":{\"type\":\"api_error\",\"message\":\"Key sk-secret broke\"}"),
	  "T0<x> | fail model_request_failed_error retry http=500: The model provider failed." },
	{ "truncated", START BLOCK("0", "{\"type\":\"text\",\"text\":\"x\"}"),
	  "T0<x> | fail model_request_failed_error retry: The model provider's reply is broken: it ended before it was whole." },
	{ "empty", "", "| fail model_request_failed_error retry: The model provider's reply is broken: it ended before it was whole." },
	{ "not json", START "data: {\"type\":\n\n", "| fail model_request_failed_error retry: The model provider's reply is broken: an event is not JSON." },
	{ "no usage", EV("message_start", ",\"message\":{\"id\":\"m\"}"), "| fail model_request_failed_error retry: The model provider's reply is broken: it tells no usage." },
	{ "mad usage", EV("message_start", ",\"message\":{\"usage\":{\"input_tokens\":-5}}"),
	  "| fail model_request_failed_error retry: The model provider's reply is broken: its usage makes no sense." },
	{ "huge usage", START TEXT_BLOCK("0", "x") END("end_turn", "99999999999"),
	  "T0<x> | fail model_request_failed_error retry: The model provider's reply is broken: its usage makes no sense." },
	{ "no reason", START TEXT_BLOCK("0", "x") EV("message_stop", ""),
	  "T0<x> | fail model_request_failed_error retry: The model provider's reply is broken: it ended without a reason." },
	{ "deltas of no block", START DELTA("7", "{\"type\":\"text_delta\",\"text\":\"x\"}") DELTA("-1", "{}") TEXT_BLOCK("0", "y") END("end_turn", "1"), "T0<y> | end_turn [text y] u=10/1/3/5/0" },
	{ "absurd block number", START BLOCK("999999999", "{\"type\":\"text\",\"text\":\"x\"}") TEXT_BLOCK("0", "y") END("end_turn", "7"),
	  "T0<y> | fail model_request_failed_error final: The model provider's reply is larger than allowed. u=10/7/3/5/0" },
};

static void
test_streams(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++)
		STREAM_CHECK(A, streams[i].name, streams[i].bytes, streams[i].told);
}

/* One block too many: the others are read, and what all of it took is known at the end. */
static void
test_too_many(void **state)
{
	AUTO(buf) struct buf stream = { 0 };
	AUTO(buf) struct buf told = { 0 };

	(void)state;
	for (int blocks = REPLY_PARTS_MAX; blocks <= REPLY_PARTS_MAX + 2; blocks++) {
		buf_reset(&stream);
		buf_str(&stream, START);
		for (int i = 0; i < blocks; i++)
			buf_printf(&stream, TOOL("%d", "bash") PIECE("%d", "{}") STOP("%d"), i, i, i);
		buf_str(&stream, END("tool_use", "4000"));
		stream_play(A, stream.data, 100, &told);
		if (blocks == REPLY_PARTS_MAX)
			assert_non_null(strstr(told.data, "| tool_calls [tool bash {}] [tool bash {}]"));
		else
			assert_string_equal(told.data, "| fail model_request_failed_error final: The model provider's reply is larger than allowed. "
			    "u=10/4000/3/5/0");
	}
}

static void
test_damage(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++)
		stream_damage(A, streams[i].bytes, 600);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_url), cmocka_unit_test(test_head), cmocka_unit_test(test_tail), cmocka_unit_test(test_forget), cmocka_unit_test(test_streams), cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests_name("model anthropic", tests, NULL, NULL);
}
