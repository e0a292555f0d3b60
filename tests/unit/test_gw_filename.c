/* link: gateway/filename.c */
/* Names of files as they are sent, kept and sent back; media types by name and by header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "filename.h"
#include "mime.h"

static const struct { const char *sent, *mime, *want; } names[] = {
	{ "a.txt", "text/plain", "a.txt" },
	{ "dir/sub/a.txt", "text/plain", "a.txt" },
	{ "C:\\Users\\me\\a.txt", "text/plain", "a.txt" },
	{ "../../etc/passwd", "text/plain", "passwd" },
	{ "", "text/csv", "unnamed.csv" },
	{ "dir/", "application/pdf", "unnamed.pdf" },
	{ "", "application/octet-stream", "unnamed" },
	{ "", "application/x-unheard-of", "unnamed" },
	{ " spaces and (brackets) & 'quotes'.txt", "", " spaces and (brackets) & 'quotes'.txt" },
	{ "na\xc3\xafve \xe2\x98\x83 \xf0\x9f\x90\x94.md", "", "na\xc3\xafve \xe2\x98\x83 \xf0\x9f\x90\x94.md" },
	{ ".hidden", "", ".hidden" },
	{ "...", "", "..." },
	{ ".", "", NULL }, { "..", "", NULL }, { "a/..", "", NULL },
	{ "a:b", "", NULL }, { "a<b", "", NULL }, { "a>b", "", NULL }, { "a\"b", "", NULL }, { "a|b", "", NULL }, { "a?b", "", NULL },
	{ "a*b", "", NULL }, { "a\nb", "", NULL }, { "a\x7f", "", NULL }, { "a\tb", "", NULL }, { "a\xc2\x85" "b", "", NULL },
	{ "a\xff", "", NULL }, { "a\xc3", "", NULL }, { "\xc0\xaf", "", NULL }, { "\xed\xa0\x80", "", NULL }, { "\xf4\x90\x80\x80", "", NULL },
	{ "\xe0\x80\xaf", "", NULL }, { "\x80", "", NULL },
};

static void
test_clean(void **state)
{
	char out[FILENAME_BYTES];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct err e = ERR_INIT;
		int rc = filename_clean(names[i].sent, names[i].mime, out, &e);

		if (rc != (names[i].want ? 0 : -1) || (rc == 0 && strcmp(out, names[i].want) != 0) || (rc < 0 && e.kind != EK_INVALID))
			fail_msg("\"%s\": %d \"%s\"", names[i].sent, rc, rc == 0 ? out : e.pub);
	}
}

static void
test_length(void **state)
{
	struct buf b = BUF_INIT(0);
	struct err e = ERR_INIT;
	char out[FILENAME_BYTES];

	for (int i = 0; i < 255; i++)
		buf_str(&b, "\xf0\x9f\x90\x94");
	assert_int_equal(filename_clean(b.data, "", out, &e), 0);
	assert_string_equal(out, b.data);
	buf_str(&b, "x");
	assert_int_equal(filename_clean(b.data, "", out, &e), -1);
	buf_free(&b);
}

static const struct { const char *name, *want; } headers[] = {
	{ "a b.txt", "Content-Disposition: attachment; filename=\"a b.txt\"\r\n" },
	{ "na\xc3\xafve.pdf", "Content-Disposition: attachment; filename=\"na_ve.pdf\"; filename*=utf-8''na%C3%AFve.pdf\r\n" },
	{ "100%.txt", "Content-Disposition: attachment; filename=\"100_.txt\"; filename*=utf-8''100%25.txt\r\n" },
};

static void
test_disposition(void **state)
{
	for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
		struct buf b = BUF_INIT(0);

		filename_disposition(&b, headers[i].name);
		assert_string_equal(b.data, headers[i].want);
		buf_free(&b);
	}
}

static const struct { const char *header, *want; } types[] = {
	{ "text/plain", "text/plain" }, { "Text/HTML; charset=utf-8", "text/html" }, { " image/svg+xml ;x=y", "image/svg+xml" },
	{ "text/", NULL }, { "/plain", NULL }, { "text", NULL }, { "text/pl ain", "text/pl" }, { "text/plain, x", NULL }, { "", NULL },
	{ "text/plain\r\nx: y", NULL }, { "a/\"", NULL },
};

static void
test_types(void **state)
{
	char out[MIME_MAX];

	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (mime_essence(types[i].header, out) != (types[i].want != NULL) || strcmp(out, types[i].want ? types[i].want : "") != 0)
			fail_msg("\"%s\": \"%s\"", types[i].header, out);
	assert_string_equal(mime_of_name("A.PDF"), "application/pdf");
	assert_string_equal(mime_of_name("a.tar.gz"), "application/gzip");
	assert_string_equal(mime_of_name("README"), MIME_ANY);
	assert_string_equal(mime_of_name("x.unheard"), MIME_ANY);
	assert_string_equal(mime_ending("text/plain"), ".txt");
	assert_string_equal(mime_ending("image/jpeg"), ".jpg");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean), cmocka_unit_test(test_length), cmocka_unit_test(test_disposition), cmocka_unit_test(test_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
