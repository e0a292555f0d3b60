/* link: workers/model/adapter.c workers/model/anthropic.c workers/model/anthropic_stream.c workers/model/openai.c workers/model/openai_messages.c workers/model/openai_stream.c workers/model/reply.c workers/model/failure.c workers/model/context.c workers/model/filesrc.c workers/model/sse.c */
/* The Chat Completions adapter: requests written from the Messages API's blocks, streams of many servers at every cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model_stream.h"

#define O (&adapter_openai)
#define TEXT(t) "{\"type\":\"text\",\"text\":\"" t "\"}"
#define USE(id, input) "{\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"bash\",\"input\":" input "}"
#define RESULT(id, content) "{\"type\":\"tool_result\",\"tool_use_id\":\"" id "\",\"content\":[" content "]}"
#define PNG "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"AAAA\"}}"
#define PNG_URL "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}}"

static void
test_url(void **state)
{
	static const struct { const char *base, *url; } cases[] = {
		{ "https://api.openai.com", "https://api.openai.com/v1/chat/completions" },
		{ "https://api.openai.com/v1/", "https://api.openai.com/v1/chat/completions" },
		{ "http://127.0.0.1:11434/", "http://127.0.0.1:11434/v1/chat/completions" },
		{ "https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1/chat/completions" },
		{ "https://generativelanguage.googleapis.com/v1beta/openai/", "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		AUTO(buf) struct buf out = { 0 };

		O->url(&out, cases[i].base);
		assert_string_equal(out.data, cases[i].url);
	}
}

static void
test_head(void **state)
{
	static const struct { const char *upstream, *effort; unsigned without; const char *out; } cases[] = {
		{ "llama3", "high", 0, "{\"model\":\"llama3\",\"max_tokens\":9,\"stream\":true,\"stream_options\":{\"include_usage\":true}" },
		{ "gpt-5-mini", "max", 0, "{\"model\":\"gpt-5-mini\",\"max_completion_tokens\":9,\"stream\":true,\"stream_options\":{\"include_usage\":true},\"reasoning_effort\":\"high\"" },
		{ "gpt-5-mini", "low", WITHOUT_EFFORT | WITHOUT_MAX_COMPLETION | WITHOUT_USAGE_OPTION, "{\"model\":\"gpt-5-mini\",\"max_tokens\":9,\"stream\":true" },
		{ "x", NULL, WITHOUT_MAX_TOKENS, "{\"model\":\"x\",\"max_completion_tokens\":9,\"stream\":true,\"stream_options\":{\"include_usage\":true}" },
	};
	static const struct { const char *said; unsigned without; } refusals[] = {
		{ "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", WITHOUT_MAX_TOKENS },
		{ "Unknown field max_completion_tokens", WITHOUT_MAX_COMPLETION }, { "stream_options: extra fields not permitted", WITHOUT_USAGE_OPTION },
		{ "Unsupported value: 'reasoning_effort' does not support 'high'", WITHOUT_EFFORT }, { "max_tokens is too large", 0 }, { "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		AUTO(buf) struct buf out = { 0 };

		O->head(&out, &(struct adapter_head){ .upstream = cases[i].upstream, .max_output_tokens = 9, .effort = cases[i].effort,
		    .without = cases[i].without });
		assert_string_equal(out.data, cases[i].out);
	}
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
		assert_int_equal(O->refused(refusals[i].said), refusals[i].without);
}

#define ITEMS(...) { __VA_ARGS__ }

static const struct {
	const char *name;
	struct model_item items[10];
	const char *messages;
} contexts[] = {
	{ "text is a string", ITEMS(PROBE_ITEM('u', TEXT("h\\\"i"))), "{\"role\":\"user\",\"content\":\"h\\\"i\"}" },
	{ "texts are joined", ITEMS(PROBE_ITEM('u', TEXT("a") "," TEXT("b")), PROBE_ITEM('u', TEXT("c"))), "{\"role\":\"user\",\"content\":\"a\\n\\nb\\n\\nc\"}" },
	{ "calls and results", ITEMS(PROBE_ITEM('u', TEXT("a")), PROBE_ITEM('a', TEXT("t")), PROBE_ITEM('a', USE("1", "{\"n\":1.10}") "," USE("2", "{}")),
	  PROBE_ITEM('u', TEXT("late")), PROBE_ITEM('u', RESULT("1", TEXT("x") "," TEXT("y\\n"))), PROBE_ITEM('u', RESULT("2", ""))),
	  "{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"t\",\"tool_calls\":["
	  "{\"id\":\"1\",\"type\":\"function\",\"function\":{\"name\":\"bash\",\"arguments\":\"{\\\"n\\\":1.10}\"}},"
	  "{\"id\":\"2\",\"type\":\"function\",\"function\":{\"name\":\"bash\",\"arguments\":\"{}\"}}]},"
	  "{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":\"x\\ny\\n\"},{\"role\":\"tool\",\"tool_call_id\":\"2\",\"content\":\"\"},"
	  "{\"role\":\"user\",\"content\":\"late\"}" },
	{ "a call alone", ITEMS(PROBE_ITEM('u', TEXT("a")), PROBE_ITEM('a', USE("1", "{}"))),
	  "{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
	  "{\"id\":\"1\",\"type\":\"function\",\"function\":{\"name\":\"bash\",\"arguments\":\"{}\"}}]}" },
	{ "thinking stays away", ITEMS(PROBE_ITEM('u', TEXT("a")), PROBE_ITEM('a', "{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"}"), PROBE_ITEM('u', TEXT("b"))),
	  "{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"b\"}" },
	{ "pictures", ITEMS(PROBE_ITEM('u', TEXT("see") "," PNG ",{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://x/y.png\"}},"
	  "{\"type\":\"image\",\"source\":{\"type\":\"file\",\"file_id\":\"f\"}}")),
	  "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"see\"}," PNG_URL ",{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/y.png\"}},"
	  "{\"type\":\"text\",\"text\":\"[a picture that this model cannot see]\"}]}" },
	{ "a picture in a result", ITEMS(PROBE_ITEM('a', USE("1", "{}")), PROBE_ITEM('u', RESULT("1", TEXT("x") "," PNG))),
	  "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"type\":\"function\",\"function\":{\"name\":\"bash\",\"arguments\":\"{}\"}}]},"
	  "{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":\"x\\n[picture: see the next message]\"},{\"role\":\"user\",\"content\":[" PNG_URL "]}" },
	{ "documents and search results", ITEMS(PROBE_ITEM('u', "{\"type\":\"document\",\"source\":{\"type\":\"text\",\"media_type\":\"text/plain\",\"data\":\"D\"}},"
	  "{\"type\":\"document\",\"source\":{\"type\":\"url\",\"url\":\"https://x.example/a.pdf\"}},"
	  "{\"type\":\"search_result\",\"title\":\"T\",\"source\":\"s\",\"content\":[" TEXT("c") "]}")),
	  "{\"role\":\"user\",\"content\":\"D\\n\\n[a document that this model cannot read]\\n\\nT\\nc\"}" },
	{ "a result that is a string", ITEMS(PROBE_ITEM('a', USE("1", "{}")), PROBE_ITEM('u', "{\"type\":\"tool_result\",\"tool_use_id\":\"1\",\"content\":\"s\"}")),
	  "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"type\":\"function\",\"function\":{\"name\":\"bash\",\"arguments\":\"{}\"}}]},"
	  "{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":\"s\"}" },
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
		O->tail(&out, &rq);
		buf_printf(&want, ",\"messages\":[ %s]}", contexts[i].messages);
		if (strcmp(out.data, want.data) != 0)
			fail_msg("%s:\n got %s\nwant %s", contexts[i].name, out.data, want.data);
		buf_reset(&out);
		buf_reset(&want);
		rq.system = "S\n";
		rq.tools = tools;
		rq.ntools = 2;
		O->tail(&out, &rq);
		buf_printf(&want, ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"bash\",\"description\":\"Say \\\"hi\\\"\",\"parameters\":{\"type\":\"object\"}}},"
		    "{\"type\":\"function\",\"function\":{\"name\":\"look\",\"parameters\":{\"a\":1.0}}}],"
		    "\"messages\":[ {\"role\":\"system\",\"content\":\"S\\n\"},%s]}", contexts[i].messages);
		assert_string_equal(out.data, want.data);
	}
}

#define CH(delta, reason) "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" reason "}]}\n\n"
#define SAY(t) CH("{\"content\":\"" t "\"}", "null")
#define CALL(more) CH("{\"tool_calls\":[{" more "}]}", "null")
#define FN(n, a) "\"function\":{\"name\":\"" n "\",\"arguments\":\"" a "\"}"
#define ARGS(a) "\"function\":{\"arguments\":\"" a "\"}"
#define FINISH(r) CH("{}", "\"" r "\"")
#define USAGE "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":4,\"prompt_tokens_details\":{\"cached_tokens\":3}}}\n\n"
#define DONE "data: [DONE]\n\n"

static const struct { const char *name, *bytes, *told; } streams[] = {
	{ "text", CH("{\"role\":\"assistant\",\"content\":\"\"}", "null") SAY("a ") SAY("b\\u00e4") FINISH("stop") USAGE DONE, "T0<a b\xc3\xa4> | end_turn [text a b\xc3\xa4] u=7/4/3/0/0" },
	{ "usage with the last choice", SAY("a") "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n" DONE,
	  "T0<a> | end_turn [text a] u=1/2/0/0/0" },
	{ "usage null, then none", "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":null}],\"usage\":null}\n\n" FINISH("stop") DONE, "T0<a> | end_turn [text a] u=unknown" },
	{ "no [DONE]", SAY("a") FINISH("stop") USAGE, "T0<a> | end_turn [text a] u=7/4/3/0/0" },
	{ "[DONE] without a newline", SAY("a") FINISH("stop") USAGE "data: [DONE]", "T0<a> | end_turn [text a] u=7/4/3/0/0" },
	{ "no reason, but [DONE]", SAY("a") USAGE DONE, "T0<a> | end_turn [text a] u=7/4/3/0/0" },
	{ "comments", ": OPENROUTER PROCESSING\n\n" SAY("a") FINISH("stop") USAGE DONE, "T0<a> | end_turn [text a] u=7/4/3/0/0" },
	{ "one call in pieces", CALL("\"index\":0,\"id\":\"c1\",\"type\":\"function\"," FN("bash", "")) CALL("\"index\":0," ARGS("{\\\"n\\\":1."))
	  CALL("\"index\":0," ARGS("10}")) FINISH("tool_calls") USAGE DONE, "| tool_calls [tool bash {\"n\":1.10}] u=7/4/3/0/0" },
	{ "parallel, interleaved", SAY("t") CALL("\"index\":0,\"id\":\"c1\"," FN("a", "{")) CALL("\"index\":1,\"id\":\"c2\"," FN("b", "{\\\"x\\\"")) CALL("\"index\":0," ARGS("}"))
	  CALL("\"index\":1," ARGS(":2}")) FINISH("tool_calls") USAGE DONE, "T0<t> | tool_calls [text t] [tool a {}] [tool b {\"x\":2}] u=7/4/3/0/0" },
	{ "two calls in a chunk", CH("{\"tool_calls\":[{\"index\":0,\"id\":\"c1\"," FN("a", "{}") "},{\"index\":1,\"id\":\"c2\"," FN("b", "{}") "}]}", "null") FINISH("tool_calls") USAGE DONE,
	  "| tool_calls [tool a {}] [tool b {}] u=7/4/3/0/0" },
	{ "no index", CALL("\"id\":\"c1\"," FN("a", "{\\\"x\\\":")) CALL(ARGS("1}")) CALL("\"id\":\"c2\"," FN("b", "{}")) FINISH("tool_calls") USAGE DONE,
	  "| tool_calls [tool a {\"x\":1}] [tool b {}] u=7/4/3/0/0" },
	{ "every call is number 0", CALL("\"index\":0,\"id\":\"c1\"," FN("a", "{}")) CALL("\"index\":0,\"id\":\"c2\"," FN("b", "{}")) FINISH("tool_calls") USAGE DONE,
	  "| tool_calls [tool a {}] [tool b {}] u=7/4/3/0/0" },
	{ "the id repeats", CALL("\"index\":0,\"id\":\"c1\"," FN("a", "{")) CALL("\"index\":0,\"id\":\"c1\"," FN("a", "}")) FINISH("tool_calls") USAGE DONE, "| tool_calls [tool a {}] u=7/4/3/0/0" },
	{ "finish says stop", CALL("\"index\":0,\"id\":\"c1\"," FN("a", "{}")) FINISH("stop") USAGE DONE, "| tool_calls [tool a {}] u=7/4/3/0/0" },
	{ "arguments as an object", CALL("\"index\":0,\"id\":\"c1\",\"function\":{\"name\":\"a\",\"arguments\":{\"n\":1.10}}") FINISH("stop") USAGE DONE, "| tool_calls [tool a {\"n\":1.10}] u=7/4/3/0/0" },
	{ "no arguments", CALL("\"index\":0,\"id\":\"c1\",\"function\":{\"name\":\"a\"}") FINISH("tool_calls") USAGE DONE, "| tool_calls [tool a {}] u=7/4/3/0/0" },
	{ "text behind a call", SAY("t") CALL("\"index\":0,\"id\":\"c1\"," FN("a", "{}")) SAY("u") FINISH("tool_calls") USAGE DONE, "T0<t> T1<u> | tool_calls [text t] [tool a {}] [text u] u=7/4/3/0/0" },
	{ "cut off", CALL("\"index\":0,\"id\":\"c1\"," FN("a", "{\\\"x")) FINISH("length") USAGE DONE, "| tool_calls [tool a {}!] u=7/4/3/0/0" },
	{ "cut off before the first byte", CALL("\"index\":0,\"id\":\"c1\"," FN("a", "")) FINISH("length") USAGE DONE, "| tool_calls [tool a {}!] u=7/4/3/0/0" },
	{ "reasoning", CH("{\"reasoning_content\":\"hm\"}", "null") CH("{\"reasoning\":\"hm\",\"content\":null}", "null") SAY("a") FINISH("stop") USAGE DONE, "K T0<a> | end_turn [text a] u=7/4/3/0/0" },
	{ "length", SAY("a") FINISH("length") USAGE DONE, "T0<a> | max_tokens [text a] u=7/4/3/0/0" },
	{ "filter", SAY("a") FINISH("content_filter") USAGE DONE, "T0<a> | refusal [text a] u=7/4/3/0/0" },
	{ "refusal field", CH("{\"refusal\":\"no\"}", "null") FINISH("stop") USAGE DONE, "T0<no> | refusal [text no] u=7/4/3/0/0" },
	{ "unknown reason", SAY("a") FINISH("shiny") USAGE DONE, "T0<a> | end_turn [text a] u=7/4/3/0/0" },
	{ "error object", SAY("a") "data: {\"error\":{\"message\":\"slow down\",\"code\":429}}\n\n", "T0<a> | fail model_rate_limited_error retry http=429: The model provider limits the rate of requests: slow down" },
	{ "error text", "data: {\"error\":\"boom\"}\n\n", "| fail model_request_failed_error retry http=500: The model provider failed: boom" },
	{ "error event", "event: error\ndata: {\"message\":\"boom\",\"code\":503}\n\n", "| fail model_overloaded_error retry http=503: The model provider is overloaded: boom" },
	{ "quota", "data: {\"error\":{\"message\":\"You exceeded\",\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}\n\n",
	  "| fail billing_error final http=429: The model provider limits the rate of requests: You exceeded" },
	{ "window", "data: {\"error\":{\"message\":\"This model's maximum context length is 10 tokens\",\"code\":\"context_length_exceeded\"}}\n\n",
	  "| fail unknown_error final terminal http=400: This model's maximum context length is 10 tokens" },
	{ "truncated", SAY("a"), "T0<a> | fail model_request_failed_error retry: The model provider's reply is broken: it ended before it was whole." },
	{ "only [DONE]", DONE, "| fail model_request_failed_error retry: The model provider's reply is broken: it ended before it was whole." },
	{ "not json", SAY("a") "data: {\"choices\n\n", "T0<a> | fail model_request_failed_error retry: The model provider's reply is broken: an event is not JSON." },
	{ "finish error", SAY("a") FINISH("error"), "T0<a> | fail model_request_failed_error retry: The model provider's reply is broken: it ended with an error." },
	{ "mad usage", "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":-1}}\n\n", "| fail model_request_failed_error retry: The model provider's reply is broken: its usage makes no sense." },
};

static void
test_streams(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++)
		STREAM_CHECK(O, streams[i].name, streams[i].bytes, streams[i].told);
}

/* One call too many: the others are read, and what all of it took is known at the end, if it is told. */
static void
test_too_many(void **state)
{
	static const char *const ends[] = { FINISH("tool_calls") USAGE DONE, FINISH("tool_calls") DONE };
	AUTO(buf) struct buf stream = { 0 };
	AUTO(buf) struct buf told = { 0 };

	(void)state;
	for (int k = 0; k < 2; k++) {
		buf_reset(&stream);
		for (int i = 0; i <= REPLY_PARTS_MAX; i++)
			buf_printf(&stream, CALL("\"index\":%d,\"id\":\"c%d\"," FN("bash", "{}")) CALL("\"index\":%d," ARGS(" ")), i, i, i);
		buf_str(&stream, ends[k]);
		stream_play(O, stream.data, 100, &told);
		assert_string_equal(told.data, k == 0 ?
		    "| fail model_request_failed_error final: The model provider's reply is larger than allowed. u=7/4/3/0/0" :
		    "| fail model_request_failed_error final: The model provider's reply is larger than allowed.");
	}
}

static void
test_damage(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++)
		stream_damage(O, streams[i].bytes, 600);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_url), cmocka_unit_test(test_head), cmocka_unit_test(test_tail), cmocka_unit_test(test_streams), cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests_name("model openai", tests, NULL, NULL);
}
