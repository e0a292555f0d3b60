/* link: workers/egress/probe/events.c */
/* Events of a stream: what is one, however the bytes come; and that looking at each byte as it comes costs no more than at all of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "events.h"
#include "xalloc.h"

static const struct { const char *body, *want; } cases[] = {
	{ "", "" },
	{ "data: a\n", "" },
	{ "data: a\n\n", "a|" },
	{ "data: a\r\n\r\n", "a|" },
	{ "data:a\n\ndata:b\n\n", "a|b|" },
	{ "event: x\nid: 7\n: note\ndata: a\ndata: b\n\n", "ab|" },
	{ "\n\n\nevent: none\n\ndata: a\n\n", "a|" },
	{ "data:\n\n", "|" },
	{ "data: a\n\ndata: unfinished", "a|" },
	{ "dat\n\ndata: {\"id\":1}\n\n", "{\"id\":1}|" },
};

/* All events of a body that comes in pieces of so many bytes. */
static char *
all(const char *text, size_t step)
{
	struct buf body = { 0 }, out = { 0 };
	struct events s = { 0 };
	size_t len = strlen(text);

	buf_str(&out, "");
	for (size_t i = 0; i <= len; i += step) {
		buf_put(&body, text + i, len - i < step ? len - i : step);
		while (events_next(&s, &body)) {
			buf_put(&out, s.data.data ? s.data.data : "", s.data.len);
			buf_ch(&out, '|');
		}
	}
	events_free(&s);
	buf_free(&body);
	return buf_steal(&out);
}

static void
events(void **state)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t step = 1; step < 20; step += 6) {
			AUTO(str) char *got = all(cases[i].body, step);

			if (strcmp(got, cases[i].want) != 0)
				fail_msg("case %zu in pieces of %zu: %s", i, step, got);
		}
}

/* A megabyte byte by byte: without an end of line, of empty lines, of one event that does not end, of many events. */
static void
byte_by_byte(void **state)
{
	static const char *const pieces[] = { "x", "\n", "data: x\n", "data: x\n\n", "data:\r\n" };

	for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
		AUTO(buf) struct buf text = { 0 };
		clock_t from = clock();
		char *got;

		while (text.len < 1 << 20)
			buf_str(&text, pieces[k]);
		got = all(text.data, 1);
		free(got);
		if (clock() - from > 5 * CLOCKS_PER_SEC)
			fail_msg("case %zu took %.1f s", k, (double)(clock() - from) / CLOCKS_PER_SEC);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(events), cmocka_unit_test(byte_by_byte) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
