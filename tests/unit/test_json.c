/*
 * JSON in and out: jw writes what jansson reads back, escapes everything that must be, and never lets invalid UTF-8 through; jx refuses
 * what the contract refuses, before memory is spent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "jw.h"
#include "jx.h"
#include "xalloc.h"

static void
quotes(void **state)
{
	static const struct { const char *in; size_t len; const char *want; } cases[] = {
		{ "plain", 5, "\"plain\"" },
		{ "", 0, "\"\"" },
		{ "a\"b\\c", 5, "\"a\\\"b\\\\c\"" },
		{ "\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\"" },
		{ "\x01\x1f", 2, "\"\\u0001\\u001f\"" },
		{ "a\0b", 3, "\"a\\u0000b\"" },
		{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x93", 9, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x93\"" },
		{ "\xff", 1, "\"\xef\xbf\xbd\"" },
		{ "\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },			/* overlong */
		{ "\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },	/* surrogate */
		{ "x\xe2\x82", 3, "\"x\xef\xbf\xbd\xef\xbf\xbd\"" },			/* cut */
	};
	size_t i;

	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		AUTO(buf) struct buf b = BUF_INIT(0);

		jw_quote(&b, cases[i].in, cases[i].len);
		assert_string_equal(b.data, cases[i].want);
	}
}

static void
document(void **state)
{
	AUTO(buf) struct buf b = BUF_INIT(0);
	struct jw w;

	jw_begin(&w, &b);
	jw_obj(&w);
	jw_kstr(&w, "id", "x");
	jw_kstr(&w, "none", NULL);
	jw_kint(&w, "n", -5);
	jw_kbool(&w, "yes", true);
	jw_kraw(&w, "raw", "{\"big\":123456789012345678901234567890}");
	jw_key(&w, "list");
	jw_arr(&w);
	jw_str(&w, "a");
	jw_seconds(&w, 61005);
	jw_seconds(&w, -7);
	jw_arr(&w);
	jw_arr_end(&w);
	jw_arr_end(&w);
	jw_obj_end(&w);
	jw_end(&w);
	assert_string_equal(b.data, "{\"id\":\"x\",\"none\":null,\"n\":-5,\"yes\":true,\"raw\":{\"big\":123456789012345678901234567890},"
	    "\"list\":[\"a\",61.005,-0.007,[]]}");
}

static void
refused(void **state)
{
	static const struct { const char *text, *says; } cases[] = {
		{ "", "invalid JSON" },
		{ "{\"a\":1,\"a\":2}", "duplicate" },
		{ "{} x", "end of file expected" },
		{ "\"\xff\"", "unable to decode" },
		{ "{\"a\":\"\\u0000\"}", "\\u0000" },
		{ "{\"a\":\"\\ud800\"}", "invalid" },
		{ "\xef\xbb\xbf{}", "invalid" },
		{ "{\"a\":1e400}", "overflow" },
		{ "{\"a\":NaN}", "invalid" },
	};
	struct err e = ERR_INIT;
	json_t *v = NULL;
	size_t i;

	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(jx_parse(cases[i].text, strlen(cases[i].text), &v, &e), -1);
		assert_int_equal(e.kind, EK_INVALID);
		if (!strstr(e.pub, cases[i].says))
			fail_msg("case %zu: %s", i, e.pub);
		assert_null(v);
	}
}

static void
depth(void **state)
{
	char text[2 * 10000 + 1];
	struct err e = ERR_INIT;
	AUTO(json) json_t *v = NULL;

	memset(text, '[', 10000);
	memset(text + 10000, ']', 10000);
	assert_int_equal(jx_parse(text, 20000, &v, &e), -1);
	assert_non_null(strstr(e.pub, "nesting"));
	assert_int_equal(jx_parse(text + 10000 - JX_DEPTH_MAX, 2 * JX_DEPTH_MAX, &v, &e), 0);
	json_decref(steal(v));
	assert_int_equal(jx_parse("\"[[[[\\\"[[[\"", 11, &v, &e), 0);	/* brackets in strings do not nest */
}

/* Read and written again: every number as it came, every other value as jansson has it. */
static void
exact_numbers(void **state)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "{\"a\":1.10,\"b\":[1e5,-0,0.1,-1.50E+2],\"c\":12345678901234567890123}", NULL },
		{ "{ \"a\" : 9223372036854775808 , \"b\" : true }", "{\"a\":9223372036854775808,\"b\":true}" },
		{ "[0,-1,123456789012345678,null,\"1.10\",\"-0\"]", NULL },
		{ "1.10", NULL }, { "\"\\u0001\"", NULL }, { "[1.5,\"\\u0001x\",\"\\u0001\\u00011.5\",\"\\u00011.5\"]", NULL },
		{ "{\"\\u00011\":1.5,\"\\u0001\" :2.5}", "{\"\\u00011\":1.5,\"\\u0001\":2.5}" },
		{ "[1.5,\"\xc3\xa9 \\\" \\\\ /\"]", NULL }, { "[\"\\u00011e5\"]", NULL }, { "[1.0,[[[2.0]]],{}]", NULL },
	};
	static const char *const bad[] = {
		"[1.]", "[.5]", "[01.5]", "[1e]", "[1.5.5]", "[--1.5]", "[+1.5]", "[1.5", "[1e400]", "[-1e999]", "[1.5,NaN]", "[1.5 2]", "1.5x",
		"{\"a\":1.5,\"a\":2}", "{1.5:1}", "[1.5,\"\\ud800\"]", "[1.5,\"\\u0000\"]", "[1.5,\"\x01\"]", "[1.5,\"", "\"", "[1.5,\"\\", "-", "1e",
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		AUTO(json) json_t *v = NULL;
		AUTO(str) char *text = NULL;
		struct err e = ERR_INIT;

		if (jx_parse_exact(cases[i].in, strlen(cases[i].in), &v, &e) < 0)
			fail_msg("%s: %s", cases[i].in, e.pub);
		text = jx_dump(v);
		assert_string_equal(text, cases[i].out ? cases[i].out : cases[i].in);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		json_t *v = NULL;
		struct err e = ERR_INIT;

		if (jx_parse_exact(bad[i], strlen(bad[i]), &v, &e) == 0)
			fail_msg("%s was read", bad[i]);
		assert_int_equal(e.kind, EK_INVALID);
	}
}

/* A number that is kept as text is no text. */
static void
exact_is_no_text(void **state)
{
	static const char text[] = "{\"n\":1.10,\"s\":\"1.10\",\"i\":1}";
	AUTO(json) json_t *v = NULL;
	AUTO(buf) struct buf b = BUF_INIT(0);
	struct err e = ERR_INIT;
	struct jw w;

	assert_int_equal(jx_parse_exact(text, strlen(text), &v, &e), 0);
	assert_true(jx_is_exact(json_object_get(v, "n")));
	assert_false(jx_is_exact(json_object_get(v, "s")));
	assert_false(jx_is_exact(json_object_get(v, "i")));
	jw_begin(&w, &b);
	jw_arr(&w);
	jw_json(&w, v);
	jw_json(&w, json_object_get(v, "n"));
	jw_arr_end(&w);
	jw_end(&w);
	assert_string_equal(b.data, "[{\"n\":1.10,\"s\":\"1.10\",\"i\":1},1.10]");
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(quotes), cmocka_unit_test(document), cmocka_unit_test(refused), cmocka_unit_test(depth),
		cmocka_unit_test(exact_numbers), cmocka_unit_test(exact_is_no_text) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
