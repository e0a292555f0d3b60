/* link: gateway/cursor.c */
/* Cursors come back as they were made, and nothing else is taken for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cursor.h"

static const struct cursor_key key = { { 1, 2, 3 } }, other_key = { { 1, 2, 4 } };
static const struct cursor made = { .list = CURSOR_EVENTS, .asc = true, .back = true, .scope = "sesn_01aaaaaaaaaaaaaaaaaaaaaa",
	.id = "sevt_01bbbbbbbbbbbbbbbbbbbbbb", .a = INT64_MAX, .b = -7 };

static void
round_trip(void **state)
{
	struct err e = ERR_INIT;
	char text[CURSOR_TEXT];
	struct cursor c;

	cursor_make(&key, "w", &made, text);
	assert_memory_equal(text, "page_", 5);
	assert_int_equal(cursor_read(&key, "w", text, CURSOR_EVENTS, true, made.scope, &c, &e), 0);
	assert_int_equal(c.list, made.list);
	assert_true(c.asc && c.back);
	assert_string_equal(c.scope, made.scope);
	assert_string_equal(c.id, made.id);
	assert_true(c.a == INT64_MAX && c.b == -7);
}

static void
refused(const struct cursor_key *k, const char *workspace, const char *text, enum cursor_list list, bool asc, const char *scope,
    const char *why)
{
	struct err e = ERR_INIT;
	struct cursor c;

	assert_int_equal(cursor_read(k, workspace, text, list, asc, scope, &c, &e), -1);
	assert_int_equal(e.kind, EK_INVALID);
	assert_string_equal(e.pub, why);
}

static void
foreign(void **state)
{
	char text[CURSOR_TEXT];

	cursor_make(&key, "w", &made, text);
	refused(&other_key, "w", text, CURSOR_EVENTS, true, made.scope, "invalid page cursor");
	refused(&key, "v", text, CURSOR_EVENTS, true, made.scope, "invalid page cursor");
	refused(&key, "w", text, CURSOR_AGENTS, true, made.scope, "invalid page cursor");
	refused(&key, "w", text, CURSOR_EVENTS, true, "sesn_01cccccccccccccccccccccc", "invalid page cursor");
	refused(&key, "w", text, CURSOR_EVENTS, false, made.scope, "page token order does not match request");
}

/* Any changed character, any cut, any garbage. */
static void
forged(void **state)
{
	char text[CURSOR_TEXT], bad[CURSOR_TEXT + 1];
	size_t len;

	cursor_make(&key, "w", &made, text);
	len = strlen(text);
	for (size_t i = 0; i < len; i++) {
		strcpy(bad, text);
		bad[i] = bad[i] == 'A' ? 'B' : 'A';
		refused(&key, "w", bad, CURSOR_EVENTS, true, made.scope, "invalid page cursor");
		strcpy(bad, text);
		bad[i] = '\0';
		refused(&key, "w", bad, CURSOR_EVENTS, true, made.scope, "invalid page cursor");
	}
	snprintf(bad, sizeof bad, "%sA", text);
	refused(&key, "w", bad, CURSOR_EVENTS, true, made.scope, "invalid page cursor");
	memset(bad, 'A', CURSOR_TEXT);
	memcpy(bad, "page_", 5);
	bad[CURSOR_TEXT] = '\0';
	refused(&key, "w", bad, CURSOR_EVENTS, true, made.scope, "invalid page cursor");
	refused(&key, "w", "page_", CURSOR_EVENTS, true, made.scope, "invalid page cursor");
	refused(&key, "w", "page_=", CURSOR_EVENTS, true, made.scope, "invalid page cursor");
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(round_trip), cmocka_unit_test(foreign), cmocka_unit_test(forged) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
