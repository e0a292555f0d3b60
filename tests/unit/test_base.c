/* The small parts of lib/base: errors, buffers, arenas, clocks, ids, settings. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "arena.h"
#include "buf.h"
#include "clock.h"
#include "conf.h"
#include "err.h"
#include "id.h"
#include "percent.h"
#include "xalloc.h"

static void
errors(void **state)
{
	struct err e = ERR_INIT;

	assert_int_equal(err_set(&e, EK_NOT_FOUND, 0, "Agent %s not found", "x"), -1);
	assert_string_equal(e.pub, "Agent x not found");
	err_wrap(&e, "inner %d", 1);
	err_wrap(&e, "outer");
	assert_string_equal(e.detail, "outer: inner 1");
	assert_int_equal(err_http(e.kind), 404);
	assert_string_equal(err_type(e.kind), "not_found_error");
	err_fault(&e, EK_INTERNAL, 5, "secret detail");
	assert_null(strstr(e.pub, "secret"));
	assert_int_equal(err_clear(&e), 0);
	assert_int_equal(e.kind, EK_NONE);
}

static void
error_codes(void **state)
{
	struct err e = ERR_INIT;

	assert_int_equal(err_coded(&e, EC_FILE_EXPIRED, "File %s has expired", "x"), -1);
	assert_int_equal(e.kind, EK_NOT_FOUND);
	assert_string_equal(err_code_name(e.code), "file_expired");
	assert_string_equal(e.pub, "File x has expired");
	err_set(&e, EK_INVALID, 0, "bad");
	assert_string_equal(err_code_name(e.code), "");
	assert_int_equal(err_retry(&e), RETRY_FINAL);
	err_set(&e, EK_LIMIT, 0, "slow down");
	assert_int_equal(err_retry(&e), RETRY_AFTER);
	err_code(&e, EC_SPEND_LIMIT_REACHED);
	assert_int_equal(err_retry(&e), RETRY_NEVER);
	assert_string_equal(e.pub, "slow down");
	for (int code = EC_NONE + 1; code < EC_COUNT; code++) {
		assert_true(err_http(err_code_kind(code)) >= 400);
		assert_true(err_code_name(code)[0]);
		for (int other = EC_NONE; other < code; other++)
			assert_string_not_equal(err_code_name(code), err_code_name(other));
	}
}

static void
long_errors_are_cut(void **state)
{
	struct err e = ERR_INIT;
	char text[4000];
	int i;

	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	err_set(&e, EK_INVALID, 0, "%s", text);
	assert_int_equal(strlen(e.pub), sizeof e.pub - 1);
	for (i = 0; i < 5; i++)
		err_wrap(&e, "%s", text);
	assert_true(strlen(e.detail) < sizeof e.detail);
}

static void
buffers(void **state)
{
	static const int64_t numbers[] = { 0, 7, -1, 10, -1234567890, INT64_MAX, INT64_MIN };
	AUTO(buf) struct buf b = BUF_INIT(10);
	char *got;

	buf_str(&b, "12345");
	buf_printf(&b, "%d", 678);
	assert_string_equal(b.data, "12345678");
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		AUTO(buf) struct buf printed = { 0 };
		AUTO(buf) struct buf put = { 0 };

		buf_printf(&printed, "%" PRId64, numbers[i]);
		buf_int(&put, numbers[i]);
		assert_string_equal(put.data, printed.data);
	}
	buf_shift(&b, 3);
	assert_string_equal(b.data, "45678");
	buf_str(&b, "123456");
	assert_true(b.over);
	assert_string_equal(b.data, "45678");
	buf_ch(&b, 'x');
	assert_int_equal(b.len, 5);	/* once over, nothing more is taken */
	buf_reset(&b);
	buf_str(&b, "again");
	got = buf_steal(&b);
	assert_string_equal(got, "again");
	free(got);
	assert_null(b.data);
}

static void
arenas(void **state)
{
	AUTO(arena) struct arena *a = arena_new(1 << 20);
	char *big = arena_alloc(a, 100000), *s = arena_printf(a, "%s-%d", "x", 7);
	int i;

	for (i = 0; i < 100000; i++)
		assert_int_equal(big[i], 0);
	memset(big, 1, 100000);
	assert_string_equal(s, "x-7");
	assert_string_equal(arena_strndup(a, "hello", 3), "hel");
	arena_reset(a);
	assert_int_equal(arena_used(a), 0);
	s = arena_alloc(a, 64);
	for (i = 0; i < 64; i++)
		assert_int_equal(s[i], 0);
}

static void
times(void **state)
{
	static const struct { const char *text; int64_t us; } good[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "2026-11-20T05:37:51.123456Z", 1795153071123456 },
		{ "2026-11-20T05:37:51.123456789Z", 1795153071123456 },
		{ "2026-11-20T06:37:51+01:00", 1795153071000000 },
		{ "2024-02-29T12:00:00.5z", 1709208000500000 },
	};
	static const char *bad[] = { "", "2026", "2026-11-20", "2026-13-01T00:00:00Z", "2023-02-29T00:00:00Z", "2026-11-20T24:00:00Z",
		"2026-11-20T05:37:51", "2026-11-20T05:37:51Zx", "2026-11-20T05:37:51.Z", "1969-12-31T23:59:59Z", "9999-12-31T00:00:00+1:00" };
	char text[CLOCK_TEXT];
	int64_t us;
	size_t i;

	for (i = 0; i < sizeof good / sizeof *good; i++) {
		assert_int_equal(clock_parse(good[i].text, &us), 0);
		assert_int_equal(us, good[i].us);
	}
	for (i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(clock_parse(bad[i], &us), -1);
	assert_string_equal(clock_format(1795153071000001, text), "2026-11-20T05:37:51.000001Z");
}

static void
ids(void **state)
{
	char last[ID_MAX] = "", id[ID_MAX];
	unsigned char ones[16];
	char tail[23];
	int i;

	for (i = 0; i < 10000; i++) {
		id_new("sesn_", id);
		assert_int_equal(strlen(id), 5 + ID_TAIL);
		assert_true(id_ok("sesn_", id));
		assert_true(strcmp(id, last) > 0);	/* ids made in order sort in order, within one millisecond too */
		strcpy(last, id);
	}
	assert_false(id_ok("agent_", id));
	assert_false(id_ok("sesn_", "sesn_01short"));
	assert_false(id_ok("sesn_", "sesn_01000000000000000000000O"));
	assert_false(id_ok("sesn_", "sesn_0111111111111111111111111x"));
	memset(ones, 0xff, 16);
	assert_int_equal(id_hash(""), 0x811c9dc5);
	assert_int_equal(id_hash("a"), 0xe40c292c);
	assert_int_equal(id_hash("foobar"), 0xbf9cf968);
	id_base58(ones, tail);
	assert_string_equal(tail, "YcVfxkQb6JRzqk5kF2tNLv");
}

static int
load(const char *text, struct conf *c, struct err *e)
{
	char path[] = "/tmp/roost-conf-XXXXXX";
	int fd = mkstemp(path), rc;

	assert_true(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	rc = conf_load(c, path, e);
	unlink(path);
	return rc;
}

static void
settings(void **state)
{
	static const struct { const char *text, *says; } bad[] = {
		{ "threads = 0\n", ":1: threads must be a whole number from 1 to 64" },
		{ "# x\n\nthreads = 4x\n", ":3: threads must be" },
		{ "nonsense = 1\n", "unknown setting \"nonsense\"" },
		{ "threads\n", "expected name = value" },
	};
	struct conf c;
	struct err e = ERR_INIT;
	size_t i;

	assert_int_equal(load("# comment\n  threads = 7 \ninstance=abc\n", &c, &e), 0);
	assert_int_equal(c.threads, 7);
	assert_string_equal(c.instance, "abc");
	assert_int_equal(c.lease_s, 30);
	for (i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_int_equal(load(bad[i].text, &c, &e), -1);
		assert_non_null(strstr(e.pub, bad[i].says));
	}
	assert_int_equal(conf_load(&c, "/nonexistent/file", &e), -1);
}

static void
percents(void **state)
{
	static const struct { const char *in; bool plus; size_t size; const char *out; } cases[] = {
		{ "", false, 8, "" }, { "abc", false, 8, "abc" }, { "a%2Fb", false, 8, "a/b" }, { "%c3%A4", false, 8, "\xc3\xa4" },
		{ "a+b", true, 8, "a b" }, { "a+b", false, 8, "a+b" }, { "%2b", true, 8, "+" }, { "%", false, 8, NULL }, { "%4", false, 8, NULL },
		{ "a%4", false, 8, NULL }, { "%4g", false, 8, NULL }, { "%g4", false, 8, NULL }, { "%00", false, 8, NULL }, { "%%41", false, 8, NULL },
		{ "abc", false, 4, "abc" }, { "abc", false, 3, NULL }, { "%41%42", false, 3, "AB" }, { "", false, 0, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char out[8] = "";
		bool ok = percent_decode(cases[i].in, strlen(cases[i].in), cases[i].plus, out, cases[i].size);

		assert_int_equal(ok, cases[i].out != NULL);
		if (ok)
			assert_string_equal(out, cases[i].out);
	}
	assert_false(percent_decode("a\0b", 3, false, (char[8]){ 0 }, 8));
	assert_int_equal(percent_byte("%4142", 5), 'A');
	assert_int_equal(percent_byte("%41", 2), -1);
	assert_int_equal(percent_byte("x41", 3), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors), cmocka_unit_test(error_codes), cmocka_unit_test(long_errors_are_cut), cmocka_unit_test(buffers), cmocka_unit_test(arenas),
		cmocka_unit_test(times), cmocka_unit_test(ids), cmocka_unit_test(settings), cmocka_unit_test(percents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
