/* link: workers/egress/probe/scrub.c */
/* What may be shown of a server's answer: no known secret in any form that is sent, cut ones included; values beside telling names; sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scrub.h"
#include "xalloc.h"

#define SECRET "abc/def+\"ghi"

static bool
show(const struct scrub *s, const char *text, size_t len, bool cut, const char *want)
{
	AUTO(buf) struct buf out = BUF_INIT(0);
	bool more = scrub_show(s, text, len, cut, &out);

	assert_string_equal(out.data ? out.data : "", want);
	return more;
}

static void
test_known(void **state)
{
	static const struct { const char *text, *want; } cases[] = {
		{ "", "" }, { "nothing here", "nothing here" },
		{ "a " SECRET " b", "a [redacted] b" },
		{ SECRET SECRET, "[redacted][redacted]" },
		{ "q=abc%2Fdef%2B%22ghi&x", "q=[redacted]&x" },
		{ "{\"m\":\"abc/def+\\\"ghi\"}", "{\"m\":\"[redacted]\"}" },
		{ "abc\\/def+\"ghi", "[redacted]" },
		{ "Basic bWU6cGFzcw==", "Basic [redacted]" },
		{ "abc/def+", "abc/def+" },
	};
	struct scrub s = { 0 };

	(void)state;
	scrub_add(&s, NULL);
	scrub_add(&s, "");
	scrub_add(&s, SECRET);
	scrub_add(&s, SECRET);
	scrub_add_basic(&s, "me", "pass");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_false(show(&s, cases[i].text, strlen(cases[i].text), false, cases[i].want));
	/* where the bytes end, the beginning of a secret is one */
	assert_true(show(&s, "x abc/def+", 10, true, "x [redacted]"));
	assert_true(show(&s, "x a", 3, true, "x [redacted]"));
	scrub_free(&s);
	/* too short to be looked for: nothing is shown */
	scrub_add(&s, "ab");
	assert_true(show(&s, "cab", 3, false, "[redacted]"));
	assert_false(show(&s, "", 0, false, ""));
	scrub_free(&s);
}

static void
test_named(void **state)
{
	static const struct { const char *text, *want; } cases[] = {
		{ "{\"access_token\":\"x\",\"token_type\":\"bearer\"}", "{\"access_token\":\"[redacted]\",\"token_type\":\"bearer\"}" },
		{ "{\"refreshToken\" : \"x\\\"y\" , \"a\":1}", "{\"refreshToken\" : \"[redacted]\" , \"a\":1}" },
		{ "access_token=abc&scope=x", "access_token=[redacted]&scope=x" },
		{ "{\"client_secret\":\"never ends", "{\"client_secret\":\"[redacted]" },
		{ "{\"client_secret\":\"ends with a backslash\\", "{\"client_secret\":\"[redacted]" },
		{ "invalid_token", "invalid_token" },
		{ "{\"error\":\"invalid_token\"}", "{\"error\":\"invalid_token\"}" },
		{ "{\"error\":\"invalid_token\",\"x\":\"y\"}", "{\"error\":\"invalid_token\",\"x\":\"y\"}" },
		{ "{\"tokens\":[\"left alone\"]}", "{\"tokens\":[\"left alone\"]}" },
		{ "{\"token\":\"\"}", "{\"token\":\"\"}" },
		{ "token=", "token=" },
		{ "PASSWORD=hunter2; x", "PASSWORD=[redacted]; x" },
		{ "{\"token_endpoint\":\"https://x\"}", "{\"token_endpoint\":\"https://x\"}" },
		{ "secret\"", "secret\"" }, { "secret\" :", "secret\" :" }, { "secret\" : \"", "secret\" : \"" },
	};
	struct scrub s = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_false(show(&s, cases[i].text, strlen(cases[i].text), false, cases[i].want));
}

static void
test_sizes(void **state)
{
	struct scrub s = { 0 };
	AUTO(str) char *text = xcalloc(1, 20001);
	AUTO(buf) struct buf out = BUF_INIT(0);

	(void)state;
	memset(text, 'a', 20000);
	assert_true(scrub_show(&s, text, 20000, false, &out));
	assert_int_equal(out.len, SCRUB_SHOWN);
	buf_reset(&out);
	assert_false(scrub_show(&s, text, SCRUB_SHOWN, false, &out));
	assert_int_equal(out.len, SCRUB_SHOWN);
	/* a character of two bytes across the edge stays out */
	for (int i = 0; i < 20000; i += 2)
		memcpy(text + i, "\xc3\xa9", 2);
	text[0] = 'x';
	text[1] = 'x';
	buf_reset(&out);
	assert_true(scrub_show(&s, text + 1, 19999, false, &out));
	assert_int_equal(out.len, SCRUB_SHOWN - 1);
	/* a long secret in the first bytes does not let its end through */
	memset(text, 's', 20000);
	buf_reset(&out);
	scrub_add(&s, text);
	assert_false(scrub_show(&s, text, 20000, false, &out));
	assert_string_equal(out.data, "[redacted]");
	buf_reset(&out);
	assert_true(scrub_show(&s, text, 9000, true, &out));
	assert_string_equal(out.data, "[redacted]");
	scrub_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_named),
		cmocka_unit_test(test_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
