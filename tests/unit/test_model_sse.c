/* link: workers/model/sse.c */
/* The event stream parser: the rules of the format, at every way to cut the bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sse.h"

static int
collect(void *ctx, const char *event, const char *data, size_t len)
{
	struct buf *out = ctx;

	buf_printf(out, "[%s|", event);
	buf_put(out, data, len);
	buf_str(out, "]");
	assert_int_equal(data[len], 0);
	return len == 4 && !memcmp(data, "STOP", 4) ? 7 : 0;
}

static const struct { const char *name, *in, *out; } cases[] = {
	{ "one event", "data: a\n\n", "[|a]" },
	{ "named", "event: x\ndata: a\n\n", "[x|a]" },
	{ "no space", "data:a\n\n", "[|a]" },
	{ "one space only", "data:  a\n\n", "[| a]" },
	{ "crlf", "event: x\r\ndata: a\r\n\r\ndata: b\r\n\r\n", "[x|a][|b]" },
	{ "cr", "event: x\rdata: a\r\rdata: b\r\r", "[x|a][|b]" },
	{ "several lines", "data: a\ndata: b\ndata\n\n", "[|a\nb\n]" },
	{ "empty data", "data\n\ndata:\n\n", "[|][|]" },
	{ "comments and unknown fields", ": ping\nid: 5\nretry: 3\nfoo\ndata: a\n: x\n\n", "[|a]" },
	{ "no data, no event", "event: x\n\ndata: a\n\n", "[|a]" },
	{ "bom", "\xef\xbb\xbf" "data: a\n\n", "[|a]" },
	{ "bom later is text", "data: a\n\n\xef\xbb\xbf" "data: b\n\n", "[|a]" },
	{ "colon in the value", "data: {\"a\":1}\n\n", "[|{\"a\":1}]" },
	{ "no last empty line", "data: [DONE]", "[|[DONE]]" },
	{ "half a line", "data: a\n\ndata: b\nda", "[|a][|b]" },
	{ "utf-8", "data: \xc3\xa4\xf0\x9f\x98\x80\n\n", "[|\xc3\xa4\xf0\x9f\x98\x80]" },
	{ "blank lines", "\n\n\ndata: a\n\n\n\n", "[|a]" },
	{ "long event name", "event: 0123456789012345678901234567890123456789012345678901234567890123456789\ndata: a\n\n",
	  "[012345678901234567890123456789012345678901234567890123456789012|a]" },
};

static void
test_cuts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t n = strlen(cases[i].in);

		for (size_t cut = 1; cut <= n; cut++) {
			AUTO(buf) struct buf out = { 0 };
			struct sse s;

			sse_init(&s, 4096);
			for (size_t at = 0; at < n; at += cut)
				assert_int_equal(sse_feed(&s, cases[i].in + at, at + cut > n ? n - at : cut, collect, &out), 0);
			assert_int_equal(sse_end(&s, collect, &out), 0);
			if (!out.data || strcmp(out.data, cases[i].out))
				fail_msg("%s, cut %zu: %s", cases[i].name, cut, out.data);
			sse_free(&s);
		}
	}
}

static void
test_limits(void **state)
{
	AUTO(buf) struct buf out = { 0 };
	struct sse s;
	int rc = 0;

	(void)state;
	sse_init(&s, 64);
	for (int i = 0; i < 100 && !rc; i++)
		rc = sse_feed(&s, "data: 0123456789\n", 17, collect, &out);
	assert_int_equal(rc, -1);
	assert_true(s.data.len <= 64);
	sse_free(&s);
	sse_init(&s, 64);
	for (rc = 0; !rc;)
		rc = sse_feed(&s, "0123456789", 10, collect, &out);
	assert_int_equal(rc, -1);
	sse_free(&s);
	sse_init(&s, 8);		/* a line that comes whole is not gathered, and may not be longer for it */
	assert_int_equal(sse_feed(&s, "data: 0123456789\n\n", 18, collect, &out), -1);
	assert_true(s.line.len <= 8 && s.data.len <= 8);
	sse_free(&s);
}

static void
test_stop(void **state)
{
	AUTO(buf) struct buf out = { 0 };
	struct sse s;

	(void)state;
	sse_init(&s, 64);
	assert_int_equal(sse_feed(&s, "data: a\n\ndata: STOP\n\ndata: b\n\n", 30, collect, &out), 7);
	assert_string_equal(out.data, "[|a][|STOP]");
	sse_free(&s);
}

/* Noise of the format's own bytes: no crash, no growth over the limit. */
static void
test_noise(void **state)
{
	static const char alphabet[] = "data: event:\r\n\n\r: \xef\xbb\xbf{}";
	unsigned seed = 1;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		AUTO(buf) struct buf out = { 0 };
		char bytes[64];
		struct sse s;

		sse_init(&s, 32);
		for (int part = 0; part < 4; part++) {
			for (size_t i = 0; i < sizeof(bytes); i++) {
				seed = seed * 1103515245u + 12345u;
				bytes[i] = alphabet[(seed >> 16) % (sizeof(alphabet) - 1)];
			}
			if (sse_feed(&s, bytes, sizeof(bytes), collect, &out))
				break;
		}
		assert_true(s.data.len <= 32 && s.line.len <= 32);
		sse_free(&s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cuts), cmocka_unit_test(test_limits), cmocka_unit_test(test_stop), cmocka_unit_test(test_noise),
	};

	return cmocka_run_group_tests_name("model sse", tests, NULL, NULL);
}
