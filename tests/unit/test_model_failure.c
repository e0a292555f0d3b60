/* link: workers/model/failure.c */
/* What providers answer, in the contract's words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failure.h"

static const struct { int status; const char *body, *type; bool retryable, next, terminal; const char *message; } cases[] = {
	{ 400, "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"messages: bad\"}}", "model_request_failed_error", false, false, false,
	  "The model provider refused the request: messages: bad" },
	{ 400, "", "model_request_failed_error", false, false, false, "The model provider refused the request." },
	{ 400, "<html>", "model_request_failed_error", false, false, false, "The model provider refused the request." },
	{ 400, "{\"error\":{\"message\":\"line\\nbreak \\u001b[31m\"}}", "model_request_failed_error", false, false, false, "The model provider refused the request: line break  [31m" },
	{ 400, "{\"error\":{\"message\":\"key sk-secret is bad\"}}", "model_request_failed_error", false, false, false, "The model provider refused the request." },
	{ 400, "{\"error\":{\"message\":\"Your credit balance is too low\"}}", "billing_error", false, false, false, "The model provider refused the request: Your credit balance is too low" },
	{ 400, "{\"error\":{\"message\":\"prompt is too long: 200001 tokens > 200000 maximum\"}}", "unknown_error", false, false, true,
	  "prompt is too long: 200001 tokens > 200000 maximum" },
	{ 400, "{\"error\":{\"message\":\"x\",\"code\":\"context_length_exceeded\"}}", "unknown_error", false, false, true, "x" },
	{ 400, "{\"object\":\"error\",\"message\":\"This model's maximum context length is 4096 tokens\",\"code\":400}", "unknown_error", false, false, true,
	  "This model's maximum context length is 4096 tokens" },
	{ 413, "", "unknown_error", false, false, true, "The conversation is larger than the model provider accepts." },
	{ 401, "{\"error\":{\"message\":\"Incorrect API key provided: sk-other\"}}", "model_request_failed_error", false, false, false,
	  "The model provider refused the credentials configured for this model." },
	{ 403, "{\"error\":{\"message\":\"sk-other\"}}", "model_request_failed_error", false, false, false,
	  "The model provider does not permit this request with the configured credentials." },
	{ 402, "{\"error\":\"pay\"}", "billing_error", false, false, false, "The model provider's account cannot pay for the request: pay" },
	{ 404, "{\"detail\":\"Not Found\"}", "model_request_failed_error", false, false, false, "The model provider does not know this model or address: Not Found" },
	{ 408, "", "model_request_failed_error", true, true, false, "The model provider timed out." },
	{ 429, "{\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow\"}}", "model_rate_limited_error", true, true, false, "The model provider limits the rate of requests: slow" },
	{ 429, "{\"error\":{\"code\":\"insufficient_quota\",\"message\":\"q\"}}", "billing_error", false, true, false, "The model provider limits the rate of requests: q" },
	{ 500, "{\"error\":{\"message\":\"\"}}", "model_request_failed_error", true, true, false, "The model provider failed." },
	{ 502, "<html>bad gateway</html>", "model_request_failed_error", true, true, false, "The model provider failed." },
	{ 503, "{\"error\":{\"message\":null}}", "model_overloaded_error", true, true, false, "The model provider is overloaded." },
	{ 504, "", "model_request_failed_error", true, true, false, "The model provider timed out." },
	{ 529, "{\"error\":{\"message\":[1]}}", "model_overloaded_error", true, true, false, "The model provider is overloaded." },
	{ 302, "", "model_request_failed_error", false, false, false, "The model provider redirected the request, which is not followed." },
	{ 418, "", "model_request_failed_error", false, false, false, "The model provider refused the request." },
	{ 799, "", "unknown_error", true, true, false, "The model provider gave an answer that means nothing." },
};

static void
test_bodies(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct failure f;

		failure_body(&f, cases[i].status, cases[i].body, strlen(cases[i].body), "sk-secret");
		assert_string_equal(f.f.message, cases[i].message);
		assert_string_equal(f.f.type, cases[i].type);
		assert_int_equal(f.f.retryable, cases[i].retryable);
		assert_int_equal(f.next, cases[i].next);
		assert_int_equal(f.f.terminal, cases[i].terminal);
		assert_int_equal(f.f.http, cases[i].status);
	}
}

static void
test_long_words(void **state)
{
	char body[4096] = "{\"error\":{\"message\":\"";
	struct failure f;

	(void)state;
	for (int i = 0; i < 500; i++)
		strcat(body, "\xc3\xa4");
	strcat(body, "\"}}");
	failure_body(&f, 400, body, strlen(body), "");
	assert_true(strlen(f.f.message) < sizeof(f.f.message));
	/* cut between characters */
	assert_true(((unsigned char)f.f.message[strlen(f.f.message) - 1] & 0xc0) == 0x80);
	assert_int_equal((unsigned char)f.f.message[strlen(f.f.message) - 2], 0xc3);
}

static void
test_implied(void **state)
{
	static const struct { const char *error; int status; } implied[] = {
		{ "{\"type\":\"overloaded_error\"}", 529 }, { "{\"type\":\"rate_limit_error\"}", 429 }, { "{\"type\":\"api_error\"}", 500 }, { "{\"code\":503}", 503 },
		{ "{\"code\":\"429\"}", 429 }, { "{\"code\":null,\"type\":\"authentication_error\"}", 401 }, { "{\"code\":7,\"type\":\"x\"}", 500 }, { "{}", 500 }, { "\"x\"", 500 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(implied) / sizeof(implied[0]); i++)
		assert_int_equal(failure_implied_status((struct jspan){ implied[i].error, strlen(implied[i].error) }), implied[i].status);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_bodies), cmocka_unit_test(test_long_words), cmocka_unit_test(test_implied) };

	return cmocka_run_group_tests_name("model failure", tests, NULL, NULL);
}
