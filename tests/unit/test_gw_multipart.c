/* link: gateway/multipart.c */
/* The multipart reader: every case read in pieces of several sizes, because where a read ends must not matter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>

#include "buf.h"
#include "multipart.h"
#include "xalloc.h"

#define FORM "multipart/form-data; boundary=B"
#define FILE_HEAD "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\n"

struct source { const char *at; size_t left, piece; bool broken; };

static ssize_t
give(void *arg, char *to, size_t len, struct err *e)
{
	struct source *s = arg;
	size_t n = s->left < s->piece ? s->left : s->piece;

	if (s->left == 0 && s->broken)
		return err_set(e, EK_UNAVAILABLE, 0, "cut");
	n = n < len ? n : len;
	memcpy(to, s->at, n);
	s->at += n;
	s->left -= n;
	return (ssize_t)n;
}

/* `name[filename]type=data;` per part, or `! text` of the refusal. The caller frees. */
static char *
read_form(const char *type, const char *body, size_t len, size_t piece, bool broken)
{
	struct source s = { .at = body, .left = len, .piece = piece, .broken = broken };
	struct multipart *m = xcalloc(1, sizeof *m);
	struct multipart_part *p = xcalloc(1, sizeof *p);
	struct buf out = BUF_INIT(0);
	struct err e = ERR_INIT;
	const char *data = NULL;
	ssize_t n = 0;
	int rc = multipart_begin(m, type, give, &s, &e);

	while (rc == 0 && (rc = multipart_next(m, p, &e)) > 0) {
		buf_printf(&out, "%s%s%s%s%s=", p->name, p->named ? "[" : "", p->filename, p->named ? "]" : "", p->type);
		while ((n = multipart_data(m, &data, &e)) > 0)
			buf_put(&out, data, (size_t)n);
		rc = n < 0 ? -1 : 0;
		buf_ch(&out, ';');
	}
	if (rc == 0 && s.left > 0)
		fail_msg("%zu bytes were not read", s.left);
	if (rc < 0) {
		buf_reset(&out);
		buf_printf(&out, "! %d %s", err_http(e.kind), e.pub);
	}
	free(m);
	free(p);
	return buf_steal(&out);
}

#define BAD "! 400 Failed to parse request body: multipart: "
#define CUT BAD "the body ends before its closing boundary"
#define DISP(params) "--B\r\nContent-Disposition: form-data" params "\r\n\r\nx\r\n--B--\r\n"

static const struct { const char *type, *body, *want; } cases[] = {
	{ FORM, FILE_HEAD "hello\r\n--B--\r\n", "file[a.txt]text/plain=hello;" },
	{ FORM, FILE_HEAD "\r\n--B--", "file[a.txt]text/plain=;" },
	{ FORM, FILE_HEAD "--B--", "file[a.txt]text/plain=;" },
	{ FORM, FILE_HEAD "a\r\n-\r\n--\r\n--A\r\n\r\n--B--", "file[a.txt]text/plain=a\r\n-\r\n--\r\n--A\r\n;" },
	{ FORM, FILE_HEAD "\r\r\n\r\r\n--B--", "file[a.txt]text/plain=\r\r\n\r;" },
	{ FORM, "preamble --B\r\n" "\r\n" FILE_HEAD "x\r\n--B--epilogue\r\n--B\r\nmore", "file[a.txt]text/plain=x;" },
	{ FORM, FILE_HEAD "x\r\n--B  \t\r\nContent-Disposition: form-data; name=n\r\n\r\n7\r\n--B--", "file[a.txt]text/plain=x;n=7;" },
	{ FORM, "--B--\r\n", "" },
	{ FORM, "--B\r\ncontent-disposition:form-data;name=\"n\"\r\nX-Other: y\r\n\r\n1\r\n--B\r\nCONTENT-DISPOSITION:\tForm-Data ; NAME=m\r\n\r\n2"
		"\r\n--B--", "n=1;m=2;" },
	{ "Multipart/Form-Data; charset=utf-8; Boundary=\"a b:c\"", "--a b:c\r\nContent-Disposition: form-data; name=n\r\n\r\n1\r\n--a b:c--", "n=1;" },
	/* names */
	{ FORM, DISP("; name=\"file\"; filename=\"\""), "file[]=x;" },
	{ FORM, DISP("; name=\"file\"; filename=\"C:\\dir\\a.txt\""), "file[C:\\dir\\a.txt]=x;" },
	{ FORM, DISP("; name=\"file\"; filename=\"a\\\"b%22c%0D%0a%20.txt\""), "file[a\"b\"c\r\n%20.txt]=x;" },
	{ FORM, DISP("; name=\"file\"; filename=\"n\xc3\xa4h; x=y.txt\""), "file[n\xc3\xa4h; x=y.txt]=x;" },
	{ FORM, DISP("; name=\"file\"; filename=\"plain\"; filename*=UTF-8''n%C3%A4h%20.txt"), "file[n\xc3\xa4h .txt]=x;" },
	{ FORM, DISP("; filename*=iso-8859-1'de'n%e4h; filename=plain; name=file"), "file[n\xc3\xa4h]=x;" },
	{ FORM, DISP("; name=file; filename=a.b-c"), "file[a.b-c]=x;" },
	{ FORM, DISP("; name=\"file\"; filename=\"a"), BAD "content-disposition: not well-formed, or longer than 4096 bytes" },
	{ FORM, DISP("; name=\"file\"; filename=\"a\"b"), BAD "content-disposition: not well-formed" },
	{ FORM, DISP("; name=\"file\"; filename=a b"), BAD "content-disposition: not well-formed" },
	{ FORM, DISP("; name=\"file\"; filename*=UTF-8''%zz"), BAD "content-disposition: filename*" },
	{ FORM, DISP("; name=\"file\"; filename*=UTF-8''%00"), BAD "content-disposition: filename*" },
	{ FORM, DISP("; name=\"file\"; filename*=UTF-8''%c"), BAD "content-disposition: filename*" },
	{ FORM, DISP("; name=\"file\"; filename*=koi8-r''a"), BAD "content-disposition: filename*" },
	{ FORM, DISP("; name=\"file\"; filename*=nothing"), BAD "content-disposition: filename*" },
	{ FORM, DISP("; name=\"file\"; filename=a; filename=b"), BAD "content-disposition: filename: given twice" },
	{ FORM, DISP("; name=a; name=b"), BAD "content-disposition: name: given twice" },
	{ FORM, DISP(""), BAD "a part has no content-disposition with a name" },
	{ FORM, DISP("; name=\"\""), BAD "a part has no content-disposition with a name" },
	{ FORM, "--B\r\n\r\nx\r\n--B--", BAD "a part has no content-disposition with a name" },
	{ FORM, "--B\r\nContent-Disposition: attachment; name=file\r\n\r\nx\r\n--B--", BAD "content-disposition: expected form-data" },
	{ FORM, "--B\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n\r\nx\r\n--B--",
		BAD "a part has two content-dispositions" },
	{ FORM, "--B\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n--B--",
		BAD "content-transfer-encoding" },
	{ FORM, "--B\r\nno colon\r\n\r\nx\r\n--B--", BAD "a part's header is not" },
	{ FORM, "--B\r\nContent-Disposition: form-data;\r\n name=file\r\n\r\nx\r\n--B--", BAD "a part's header is not" },
	{ FORM, "--B\r\nContent-Disposition: form-data; name=\"a\x01\"\r\n\r\nx\r\n--B--", BAD "a part's header has a control character" },
	/* frames */
	{ FORM, "", CUT }, { FORM, "nothing", CUT }, { FORM, "--B", CUT }, { FORM, "--B\r\n", CUT }, { FORM, "--B-", CUT },
	{ FORM, FILE_HEAD, CUT }, { FORM, FILE_HEAD "hello", CUT }, { FORM, FILE_HEAD "hello\r\n--B", CUT }, { FORM, FILE_HEAD "hello\r\n--B-", CUT },
	{ FORM, FILE_HEAD "hello\n--B--\n", CUT },
	{ FORM, FILE_HEAD "hello\r\n--Bx\r\n--B--", BAD "a boundary is followed by something else" },
	{ FORM, "--C\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--C--", CUT },
	/* content types */
	{ "multipart/form-data", "--B--", BAD "the content-type has no boundary" },
	{ "multipart/form-data; boundary=", "--B--", BAD "boundary: must be given once" },
	{ "multipart/form-data; boundary=B; boundary=C", "--B--", BAD "boundary: must be given once" },
	{ "multipart/form-data; boundary=\"B\x7f\"", "--B--", BAD "boundary: has a character" },
	{ "multipart/form-data; boundary=\"B \"", "--B--", BAD "boundary: ends in a space" },
	{ "multipart/form-data; boundary=0123456789012345678901234567890123456789012345678901234567890123456789x", "", BAD "boundary: must be" },
	{ "multipart/mixed; boundary=B", "--B--", "! 415 content-type: expected multipart/form-data" },
	{ "application/json", "{}", "! 415 content-type: expected multipart/form-data" },
	{ "", "{}", "! 415 content-type: expected multipart/form-data" },
	{ NULL, "{}", "! 415 content-type: expected multipart/form-data" },
};

static void
test_cases(void **state)
{
	static const size_t pieces[] = { 1, 2, 3, 7, 50, 100000 };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
			AUTO(str) char *got = read_form(cases[i].type, cases[i].body, strlen(cases[i].body), pieces[k], false);
			size_t n = cases[i].want[0] == '!' ? strlen(cases[i].want) : strlen(got) + 1;

			if (strncmp(got, cases[i].want, n) != 0)
				fail_msg("%s in pieces of %zu\n  want %s\n  got  %s", cases[i].body, pieces[k], cases[i].want, got);
		}
}

static void
test_source_fails(void **state)
{
	static const char body[] = FILE_HEAD "hello";
	AUTO(str) char *got = read_form(FORM, body, sizeof body - 1, 10, true);

	assert_string_equal(got, "! 503 cut");
}

static void
test_header_limits(void **state)
{
	struct buf b = BUF_INIT(0);
	AUTO(str) char *large = NULL, *many = NULL, *parts = NULL;

	buf_str(&b, "--B\r\nContent-Disposition: form-data; name=a\r\nX: ");
	for (int i = 0; i < MULTIPART_HEAD; i++)
		buf_ch(&b, 'x');
	buf_str(&b, "\r\n\r\nx\r\n--B--");
	large = read_form(FORM, b.data, b.len, 1000, false);
	assert_string_equal(large, BAD "a part's headers are larger than 8192 bytes");
	buf_reset(&b);
	buf_str(&b, "--B\r\nContent-Disposition: form-data; name=a\r\n");
	for (int i = 0; i < 16; i++)
		buf_printf(&b, "X-%d: y\r\n", i);
	buf_str(&b, "\r\nx\r\n--B--");
	many = read_form(FORM, b.data, b.len, 1000, false);
	assert_string_equal(many, BAD "a part has more than 16 headers");
	buf_reset(&b);
	for (int i = 0; i <= MULTIPART_PARTS; i++)
		buf_str(&b, "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n");
	buf_str(&b, "--B--");
	parts = read_form(FORM, b.data, b.len, 1000, false);
	assert_string_equal(parts, BAD "more than 100 parts");
	buf_free(&b);
}

/* Bytes that look like the delimiter as often as possible come through unchanged, whatever the reads are. */
static void
test_bytes(void **state)
{
	static const char bits[] = "\r\n-B\0";
	struct buf b = BUF_INIT(0);
	struct source s;
	struct multipart *m = xcalloc(1, sizeof *m);
	struct multipart_part *p = xcalloc(1, sizeof *p);
	struct err e = ERR_INIT;
	size_t from, to, seen, n_all = 300000;
	const char *data = NULL;
	ssize_t n;

	srand(7);
	buf_str(&b, FILE_HEAD);
	from = b.len;
	while (b.len < from + n_all)
		buf_ch(&b, bits[rand() % 5]);
	for (size_t i = from; i + 5 <= b.len; i++)
		if (memcmp(b.data + i, "\r\n--B", 5) == 0)
			b.data[i + 4] = 'C';
	to = b.len;
	buf_str(&b, "\r\n--B--");
	for (size_t piece = 1; piece < 100000; piece = piece * 3 + 1) {
		s = (struct source){ .at = b.data, .left = b.len, .piece = piece };
		seen = 0;
		assert_int_equal(multipart_begin(m, FORM, give, &s, &e), 0);
		assert_int_equal(multipart_next(m, p, &e), 1);
		while ((n = multipart_data(m, &data, &e)) > 0) {
			assert_true(from + seen + (size_t)n <= to && memcmp(b.data + from + seen, data, (size_t)n) == 0);
			seen += (size_t)n;
		}
		assert_true(n == 0 && seen == to - from);
		assert_int_equal(multipart_next(m, p, &e), 0);
	}
	free(m);
	free(p);
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases), cmocka_unit_test(test_source_fails), cmocka_unit_test(test_header_limits), cmocka_unit_test(test_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
