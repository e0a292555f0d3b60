/* What a gateway tells with a doorbell: the same comes out as went in, and nothing else that comes in is taken for a record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "inbox.h"
#include "told.h"
#include "xalloc.h"

static const struct inbox_sent sent = { "work_1", true, 4294967295u, INT64_MAX, 12, 7, 9 };

static struct inbox_item
item(const char *stem, const char *fragment)
{
	return (struct inbox_item){ .id = "sevt_1", .type = "user.message", .stem = (char *)(uintptr_t)stem,
	    .fragment = (char *)(uintptr_t)fragment, .wakes = true };
}

static void
there_and_back(void **state)
{
	struct inbox_item with = item("{\"id\":\"sevt_1\"", "[{}]"), without = item("{", NULL);
	struct buf b = BUF_INIT(0);
	struct told t;

	(void)state;
	assert_true(told_encode(&sent, &with, &b));
	assert_true(told_decode(b.data, b.len, &t));
	assert_int_equal(t.prior, 4294967295u);
	assert_true(t.wake_gen == INT64_MAX && t.inbox_seq == 12 && t.catalogue == 7 && t.opened_us == 9);
	assert_string_equal(t.id, "sevt_1");
	assert_string_equal(t.stem, "{\"id\":\"sevt_1\"");
	assert_string_equal(t.fragment, "[{}]");
	buf_reset(&b);
	assert_true(told_encode(&sent, &without, &b));
	assert_true(told_decode(b.data, b.len, &t));
	assert_string_equal(t.stem, "{");
	assert_null(t.fragment);
	buf_free(&b);
}

static void
what_is_not_told(void **state)
{
	struct inbox_sent bare = sent;
	struct inbox_item it = item("{", NULL);
	struct buf b = BUF_INIT(0);
	char *text = xcalloc(1, TOLD_MAX + 1);

	(void)state;
	bare.facts = false;
	assert_false(told_encode(&bare, &it, &b));
	it.type = "user.interrupt";
	assert_false(told_encode(&sent, &it, &b));
	it = item("{", NULL);
	it.role = "s";
	assert_false(told_encode(&sent, &it, &b));
	it.role = "u";
	assert_true(told_encode(&sent, &it, &b));
	buf_reset(&b);
	it = item("{", NULL);
	it.on_receipt = true;
	assert_false(told_encode(&sent, &it, &b));
	memset(text, 'x', TOLD_MAX);
	it = item("{", text);
	assert_false(told_encode(&sent, &it, &b));
	text[TOLD_MAX - 200] = '\0';
	assert_true(told_encode(&sent, &it, &b));
	assert_true(b.len <= TOLD_MAX);
	free(text);
	buf_free(&b);
}

/* In memory of its own size, so that a sanitizer sees each byte that is read beyond it. */
static bool
decodes(const char *data, size_t len)
{
	char *copy = xcalloc(1, len ? len : 1);
	struct told t;
	bool ok;

	if (len)
		memcpy(copy, data, len);
	ok = told_decode(copy, len, &t);
	if (ok)
		assert_true(strlen(t.id) < ID_MAX && strlen(t.stem) + (t.fragment ? strlen(t.fragment) : 0) < len);
	free(copy);
	return ok;
}

static void
cut_and_spoiled(void **state)
{
	struct inbox_item it = item("{\"id\":\"sevt_1\"", "[{}]");
	struct buf b = BUF_INIT(0);
	unsigned seed = 1;

	(void)state;
	assert_true(told_encode(&sent, &it, &b));
	for (size_t n = 0; n < b.len; n++)
		assert_false(decodes(b.data, n));
	buf_ch(&b, 'x');
	assert_false(decodes(b.data, b.len));
	b.len--;
	for (int i = 0; i < 200000; i++) {
		size_t at = (size_t)rand_r(&seed) % b.len;
		char was = b.data[at];

		b.data[at] = (char)rand_r(&seed);
		(void)decodes(b.data, b.len);
		b.data[at] = was;
	}
	for (size_t at = 0; at < 4; at++) {	/* the mark */
		b.data[at] ^= 1;
		assert_false(decodes(b.data, b.len));
		b.data[at] ^= 1;
	}
	assert_true(decodes(b.data, b.len));
	buf_free(&b);
}

static void
lines(void **state)
{
	struct inbox_sent s;

	(void)state;
#define read(text) inbox_sent_read(text, sizeof text - 1, &s)
	read("");
	assert_string_equal(s.owner, "");
	assert_false(s.facts);
	read("work_1");
	assert_string_equal(s.owner, "work_1");
	assert_false(s.facts);
	read("work_1 4294967295 9223372036854775807 3 2");
	assert_string_equal(s.owner, "work_1");
	assert_true(s.facts && s.prior == 4294967295u && s.wake_gen == INT64_MAX && s.inbox_seq == 3 && s.catalogue == 2);
	inbox_sent_read("work_1 1 2 3 4\nwork_2 5 6 7 8", 14, &s);
	assert_true(s.facts && s.catalogue == 4);
	read("work_1 1 2 3");
	assert_string_equal(s.owner, "work_1");
	assert_false(s.facts);
#undef read
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(what_is_not_told),
		cmocka_unit_test(cut_and_spoiled),
		cmocka_unit_test(lines),
	};

	return cmocka_run_group_tests_name("told", tests, NULL, NULL);
}
