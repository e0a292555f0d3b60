/* link: workers/egress/probe/answer.c */
/* The answer in an event stream, however the stream is cut into pieces, and in a plain text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <time.h>

#include "answer.h"

/* Feed in pieces of n bytes; how many bytes had come when it was found, 0: never. */
static size_t
found_after(const char *text, size_t n)
{
	struct answer_scan s = ANSWER_SCAN(2);
	AUTO(buf) struct buf stream = BUF_INIT(0);
	size_t len = strlen(text), at = 0;
	bool found = false;

	while (at < len && !found) {
		size_t piece = len - at < n ? len - at : n;

		buf_put(&stream, text + at, piece);
		at += piece;
		found = answer_more(&s, &stream);
	}
	assert_int_equal(found, s.found != NULL);
	answer_scan_free(&s);
	return found ? at : 0;
}

static void
test_streams(void **state)
{
	static const struct { const char *text; bool found; } cases[] = {
		{ "data: {\"id\":2,\"result\":{}}\n\n", true },
		{ "data:{\"id\":2,\"result\":{}}\r\n\r\n", true },
		{ ": hello\n\nevent: message\nid: 7\ndata: {\"id\":1,\"result\":{}}\n\ndata: {\"id\":2,\"error\":{}}\n\n", true },
		{ "data: {\"id\":2,\ndata: \"result\":\ndata:{}}\n\n", true },
		{ "data: nonsense\n\ndata\n\ndata:\n\ndata: {\"id\":2,\"result\":1}\n\n", true },
		{ "data: {\"id\":2,\"result\":{}}\n", false },
		{ "data: {\"id\":2,\"method\":\"ping\"}\n\n", false },		/* the server asks us something with an equal id */
		{ "data: {\"id\":3,\"result\":{}}\n\n", false },
		{ "{\"id\":2,\"result\":{}}\n\n", false },
		{ "\n\n\n", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t n = 1; n <= strlen(cases[i].text); n++)
			if ((found_after(cases[i].text, n) > 0) != cases[i].found)
				fail_msg("case %zu in pieces of %zu", i, n);
	assert_int_equal(found_after("data: {\"id\":2,\"result\":1}\n\ndata: more", 1), 27);
}

/* A megabyte byte by byte: without an end of line, of empty lines, of one event that does not end, of many events. */
static void
test_byte_by_byte(void **state)
{
	static const char *const pieces[] = { "x", "\n", "data: x\n", "data: x\n\n", "data:\r\n" };

	(void)state;
	for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
		AUTO(buf) struct buf text = { 0 };
		clock_t from = clock();

		while (text.len < 1 << 20)
			buf_str(&text, pieces[k]);
		assert_int_equal(found_after(text.data, 1), 0);
		if (clock() - from > 5 * CLOCKS_PER_SEC)
			fail_msg("case %zu took %.1f s", k, (double)(clock() - from) / CLOCKS_PER_SEC);
	}
}

static void
test_texts(void **state)
{
	static const struct { const char *text; bool found; } cases[] = {
		{ "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}", true }, { " {\"id\":2,\"error\":null} ", true }, { "{\"id\":\"2\",\"result\":{}}", false },
		{ "[{\"id\":2,\"result\":{}}]", false }, { "", false }, { "<html>", false }, { "null", false }, { "{\"id\":2}", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *v = answer_text(cases[i].text, strlen(cases[i].text), 2);

		assert_int_equal(v != NULL, cases[i].found);
		json_decref(v);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_byte_by_byte),
		cmocka_unit_test(test_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
