/* link: gateway/mountpath.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "mountpath.h"

#define R "/mnt/session/uploads"

static const struct { const char *asked, *want; } good[] = {
	{ NULL, R "/file_1" }, { "", R "/file_1" },
	{ "data.csv", R "/data.csv" }, { "/data.csv", R "/data.csv" }, { "/uploads/data.csv", R "/data.csv" },
	{ R "/data.csv", R "/data.csv" }, { "a/b/c", R "/a/b/c" }, { "/a//b/./c/", R "/a/b/c" }, { "a/../b", R "/b" },
	{ "/uploads/../x", NULL }, { "../x", NULL }, { "a/../../x", NULL }, { "/..", NULL }, { R "/../outputs/x", NULL },
	{ "/", NULL }, { ".", NULL }, { "/uploads", NULL }, { R, NULL }, { R "/", NULL }, { "a/..", NULL },
	{ "/uploadsx/y", R "/uploadsx/y" }, { "...", R "/..." }, { "..a", R "/..a" }, { "a b/\xc3\xa4", R "/a b/\xc3\xa4" },
	{ "a\nb", NULL }, { "\x7f", NULL }, { "/etc/passwd", R "/etc/passwd" },
};

static void
table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		struct err e = ERR_INIT;
		char out[MOUNT_PATH_MAX] = "";
		int rc = mount_path(good[i].asked, "file_1", out, &e);

		if (good[i].want) {
			assert_int_equal(rc, 0);
			assert_string_equal(out, good[i].want);
		} else {
			assert_int_equal(rc, -1);
			assert_int_equal(e.kind, EK_INVALID);
		}
	}
}

static void
literals(void **state)
{
	struct err e = ERR_INIT;
	char out[MOUNT_PATH_MAX], text[5000];

	(void)state;
	assert_int_equal(mount_path("../x", "f", out, &e), -1);
	assert_string_equal(e.pub, "Invalid file resource: mount path \"../x\" escapes /uploads/");
	memset(text, 'a', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	assert_int_equal(mount_path(text, "f", out, &e), -1);
	text[256] = '\0';
	assert_int_equal(mount_path(text, "f", out, &e), -1);
	text[255] = '\0';
	assert_int_equal(mount_path(text, "f", out, &e), 0);
	for (size_t i = 0; i < sizeof text - 1; i++)
		text[i] = i % 2 ? '/' : 'a';
	assert_int_equal(mount_path(text, "f", out, &e), -1);
	text[33] = '\0';	/* 17 components */
	assert_int_equal(mount_path(text, "f", out, &e), -1);
	text[31] = '\0';
	assert_int_equal(mount_path(text, "f", out, &e), 0);
	assert_int_equal(mount_path("a/b/c/../../../a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p", "f", out, &e), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(table), cmocka_unit_test(literals) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
