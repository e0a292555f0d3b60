/* JSON spans: reading is lenient and exact about places, checking is strict. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "jspan.h"

static void
test_check(void **state)
{
	static const struct { const char *text; bool ok; } cases[] = {
		{ "{}", true }, { " {\"a\":1} \n", true }, { "{\"a\":[1,2.50,-3e+7,true,false,null,\"x\"],\"b\":{\"c\":{}}}", true },
		{ "{\"n\":123456789012345678901234567890}", true }, { "{\"s\":\"\\u0041\\ud83d\\ude00\\n\\\"\\/\"}", true }, { "{\"s\":\"\xc3\xa4\xf0\x9f\x98\x80\"}", true },
		{ "", false }, { "[]", false }, { "null", false }, { "{", false }, { "{}x", false }, { "{}{}", false }, { "{\"a\"}", false }, { "{\"a\":}", false },
		{ "{\"a\":1,}", false }, { "{,}", false }, { "{'a':1}", false }, { "{a:1}", false }, { "{\"a\":01}", false }, { "{\"a\":1.}", false }, { "{\"a\":.5}", false },
		{ "{\"a\":+1}", false }, { "{\"a\":1e}", false }, { "{\"a\":-}", false }, { "{\"a\":tru}", false }, { "{\"a\":NaN}", false }, { "{\"a\":[1,]}", false },
		{ "{\"a\":[1 2]}", false }, { "{\"a\":\"\n\"}", false }, { "{\"a\":\"\\x\"}", false }, { "{\"a\":\"\\u12\"}", false }, { "{\"a\":\"\\ud83d\"}", false },
		{ "{\"a\":\"\\ud83d\\u0041\"}", false }, { "{\"a\":\"\\ude00\"}", false }, { "{\"a\":\"\xff\"}", false }, { "{\"a\":\"\xc3\"}", false }, { "{\"a\":\"\xed\xa0\x80\"}", false },
		{ "{\"a\":\"\xc0\xaf\"}", false }, { "{\"a\":\"x", false }, { "{\"a\":\"x\\", false }, { "{\"a\":[{]}", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* from memory that ends with the text, so that a sanitizer sees a step too far */
		size_t n = strlen(cases[i].text);
		char *copy = malloc(n ? n : 1);

		memcpy(copy, cases[i].text, n);
		if (jspan_check_object(copy, n, 8) != cases[i].ok)
			fail_msg("%s: expected %d", cases[i].text, cases[i].ok);
		free(copy);
	}
	assert_true(jspan_check_object("{\"a\":[{}]}", 10, 3));
	assert_false(jspan_check_object("{\"a\":[{}]}", 10, 2));
}

static void
test_walk(void **state)
{
	static const char text[] = "{\"a\" : 1 , \"b\\\"\":\"x\\\\\", \"c\":{\"d\":[1,\"]\",{}]},\"e\":null}";
	struct jspan all = { text, sizeof(text) - 1 }, k, v, d;
	struct jspan_iter it = jspan_object(all);

	(void)state;
	assert_true(jspan_member(&it, &k, &v));
	assert_memory_equal(k.p, "a", k.n);
	assert_int_equal(v.n, 1);
	assert_true(jspan_member(&it, &k, &v));
	assert_int_equal(k.n, 3);
	assert_memory_equal(v.p, "\"x\\\\\"", v.n);
	assert_true(jspan_member(&it, &k, &v));
	assert_true(jspan_get(v, "d", &d));
	it = jspan_array(d);
	assert_true(jspan_next(&it, &v));
	assert_true(jspan_next(&it, &v));
	assert_true(jspan_is(v, "]"));
	assert_true(jspan_next(&it, &v));
	assert_int_equal(v.n, 2);
	assert_false(jspan_next(&it, &v));
	assert_true(jspan_get(all, "e", &v));
	assert_false(jspan_get(all, "d", &v));
}

/* Every prefix of a document is read without leaving it. */
static void
test_prefixes(void **state)
{
	static const char text[] = "{\"a\":[1,{\"b\":\"\\u00e4\\\\\"}],\"c\":\"\\ud83d\\ude00\"},{\"type\":\"text\",\"text\":\" \\n\"}";

	(void)state;
	for (size_t n = 0; n < sizeof(text); n++) {
		AUTO(buf) struct buf out = { 0 };
		char *copy = malloc(n ? n : 1);
		struct jspan_iter it = jspan_list(copy, n);
		struct jspan v, w;

		memcpy(copy, text, n);
		while (jspan_next(&it, &v)) {
			jspan_get(v, "a", &w);
			if (jspan_get(v, "c", &w))
				jspan_unquote(&out, w);
			jspan_blank(v);
		}
		jspan_unquote(&out, (struct jspan){ copy, n });
		jspan_check_object(copy, n, 5);
		free(copy);
	}
}

static void
test_strings(void **state)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "\"\"", "" }, { "\"a\\n\\t\\\"\\\\\\/b\"", "a\n\t\"\\/b" }, { "\"\\u00e4\\u20ac\\ud83d\\ude00\"", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "\"\\u0000\\ud83dx\\ude00\"", "\xef\xbf\xbd\xef\xbf\xbdx\xef\xbf\xbd" }, { "1", "" }, { "\"", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		AUTO(buf) struct buf out = { 0 };

		jspan_unquote(&out, (struct jspan){ cases[i].in, strlen(cases[i].in) });
		assert_string_equal(out.data ? out.data : "", cases[i].out);
	}
	assert_true(jspan_blank((struct jspan){ "\" \\n\\t\"", 7 }));
	assert_true(jspan_blank((struct jspan){ "\"\"", 2 }));
	assert_false(jspan_blank((struct jspan){ "\" x\"", 4 }));
	assert_false(jspan_blank((struct jspan){ "\"\\\\\"", 4 }));
}

static void
test_ints(void **state)
{
	static const struct { const char *in; bool ok; int64_t v; } cases[] = {
		{ "0", true, 0 }, { "-5", true, -5 }, { "123456789012345678", true, 123456789012345678 }, { "1234567890123456789", false, 0 },
		{ "1.0", false, 0 }, { "1e3", false, 0 }, { "\"1\"", false, 0 }, { "null", false, 0 }, { "-", false, 0 },
	};
	int64_t v;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool ok = jspan_int((struct jspan){ cases[i].in, strlen(cases[i].in) }, &v);

		assert_int_equal(ok, cases[i].ok);
		if (ok)
			assert_int_equal(v, cases[i].v);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check), cmocka_unit_test(test_walk), cmocka_unit_test(test_prefixes), cmocka_unit_test(test_strings),
		cmocka_unit_test(test_ints),
	};

	return cmocka_run_group_tests_name("jspan", tests, NULL, NULL);
}
