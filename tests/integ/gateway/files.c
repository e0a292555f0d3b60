/* link: tests/env/gateway_rig.c */
/*
 * Files through a running gateway (contract 2.6): uploads good, bad, cut, slow, too many, too large and sent twice; lists, downloads,
 * expiry, tenancy; what is left on the disk; and how much memory a large file costs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../env/gateway_rig.h"
#include "blob.h"
#include "buf.h"
#include "clock.h"
#include "id.h"
#include "xalloc.h"

#define MAX 80000000
#define QUOTA 100000000
#define WAIT_MS 15000
#define TYPE "multipart/form-data; boundary=BOUND"
#define PART(params, type, data) "--BOUND\r\nContent-Disposition: form-data; " params "\r\n" type "\r\n" data "\r\n"
#define END "--BOUND--\r\n"
#define FILE_PART(data) PART("name=\"file\"; filename=\"a.txt\"", "Content-Type: text/plain\r\n", data)

static int
start(void **state)
{
	gwr_start(gwr_fmt("file_max = %d\nfile_quota = %d\nuploads_max = 8\nuploads_org_max = 6\nkeep_ms = 50\nblob_grace_s = 0\nfile_keep_s = 3600\n",
	    MAX, QUOTA));
	return 0;
}

/* --- helpers ---------------------------------------------------------------------------------------------------------------- */

/* Headers of an upload; more: further name, value pairs. In a static array. */
static const char *const *
headers(enum gwr_who who, const char *type, const char *name, const char *value)
{
	static const char *list[16];
	int n = 0;

	list[n++] = "CONTENT_TYPE";
	list[n++] = type;
	list[n++] = "HTTP_ANTHROPIC_VERSION";
	list[n++] = "2026-10-21";
	if (who != GWR_NOBODY) {
		list[n++] = "HTTP_AUTHORIZATION";
		list[n++] = gwr_fmt("Bearer %s", gwr_key(who));
	}
	if (name) {
		list[n++] = name;
		list[n++] = value;
	}
	list[n] = NULL;
	return list;
}

static void
send_form(enum gwr_who who, const char *type, const char *form, struct gwr_reply *out)
{
	gwr_send(who, "POST", "/v1/files", form, strlen(form), headers(who, type, NULL, NULL), out);
}

/* An accepted upload; the caller owns the file object. */
static json_t *
uploaded(enum gwr_who who, const char *form)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

	send_form(who, TYPE, form, &r);
	if (r.status != 200)
		fail_msg("%s: %d %s", form, r.status, r.body);
	return json_incref(r.json);
}

static int
files_in(const char *pattern)
{
	FILE *f = popen(gwr_fmt("cd %s/blobs && find . -type f %s | wc -l", gwr_dir, pattern), "r");
	int n = -1;

	must(f && fscanf(f, "%d", &n) == 1);
	pclose(f);
	return n;
}

/* Wait until as many blobs lie in the store as there are rows, and nothing in tmp/. */
static void
settled(void)
{
	for (int64_t end = clock_mono_ms() + WAIT_MS;; (void)usleep(5000)) {	/* the step of a wait with a deadline */
		AUTO(str) char *rows = gwr_sql("SELECT count(DISTINCT blob_id) FROM file");
		int kept = files_in("! -path './tmp/*'"), tmp = files_in("-path './tmp/*'");

		if (kept == atoi(rows) && tmp == 0)
			return;
		if (clock_mono_ms() > end)
			fail_msg("%s rows, %d blobs, %d unfinished", rows, kept, tmp);
	}
}

static void
refused(const struct gwr_reply *r, int status, const char *code, const char *message, const char *what)
{
	const json_t *error = json_object_get(r->json, "error");
	const char *got = jx_str(json_object_get(error, "details"), "error_code");

	if (r->status != status || !error || strncmp(jx_str(error, "message"), message, strlen(message)) != 0 ||
	    strcmp(got ? got : "", code ? code : "") != 0)
		fail_msg("%s\n  want %d %s %s\n  got  %d %s", what, status, code ? code : "", message, r->status, r->body);
}

static const char *
id_of(const json_t *file)
{
	return jx_str(file, "id");
}

static int
clean(void **state)
{
	free(gwr_sql("DELETE FROM file"));
	settled();
	return 0;
}

/* --- uploads ---------------------------------------------------------------------------------------------------------------- */

static void
upload(void **state)
{
	AUTO(json) json_t *f = uploaded(GWR_A, FILE_PART("hello") PART("name=\"other\"", "", "ignored") PART("name=expires_in_seconds", "", "3600") END);
	AUTO(json) json_t *got = gwr_ok(GWR_A, "GET", gwr_fmt("/v1/files/%s", id_of(f)), NULL);
	AUTO(str) char *blob = gwr_sql("SELECT blob_id FROM file"), *sha = gwr_sql("SELECT sha256 FROM blob");
	char path[BLOB_PATH], text[8] = "";
	FILE *stored;

	assert_true(json_equal(f, got));
	assert_string_equal(jx_str(f, "type"), "file");
	assert_string_equal(jx_str(f, "filename"), "a.txt");
	assert_string_equal(jx_str(f, "mime_type"), "text/plain");
	assert_int_equal(json_integer_value(json_object_get(f, "size_bytes")), 5);
	assert_true(json_is_false(json_object_get(f, "downloadable")) && json_is_null(json_object_get(f, "scope")));
	assert_int_equal(strlen(jx_str(f, "created_at")), 24);
	assert_true(json_is_string(json_object_get(f, "expires_at")));
	assert_string_equal(sha, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
	stored = fopen(blob_path(gwr_fmt("%s/blobs", gwr_dir), blob, path), "r");
	must(stored && fread(text, 1, 8, stored) == 5);
	fclose(stored);
	assert_string_equal(text, "hello");
}

static const struct { const char *part, *filename, *mime; } names[] = {
	{ PART("name=\"file\"; filename=\"/home/me/r\xc3\xa9sum\xc3\xa9 (1).pdf\"", "Content-Type: application/octet-stream\r\n", "x"),
		"r\xc3\xa9sum\xc3\xa9 (1).pdf", "application/pdf" },
	{ PART("name=\"file\"; filename=\"C:\\\\x\\\\a.csv\"", "", "x"), "a.csv", "text/csv" },
	{ PART("name=\"file\"; filename=\"no\"; filename*=utf-8''%e2%98%83.md", "Content-Type: Text/X-Special; charset=utf-8\r\n", "x"), "\xe2\x98\x83.md",
		"text/x-special" },
	{ PART("name=\"file\"; filename=\"\"", "Content-Type: image/png\r\n", "x"), "unnamed.png", "image/png" },
	{ PART("name=\"file\"", "Content-Type: text/plain\r\n", "x"), "unnamed.txt", "text/plain" },
	{ PART("name=\"file\"", "", ""), "unnamed", "application/octet-stream" },
};

static void
filenames(void **state)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		AUTO(str) char *form = xasprintf("%s" END, names[i].part);
		AUTO(json) json_t *f = uploaded(GWR_A, form);

		assert_string_equal(jx_str(f, "filename"), names[i].filename);
		assert_string_equal(jx_str(f, "mime_type"), names[i].mime);
	}
}

#define MULTI "Failed to parse request body: multipart: "
static const struct { const char *form; int status; const char *message; } bad[] = {
	{ END, 400, "file: Field required" },
	{ PART("name=\"fil\"; filename=\"a\"", "", "x") END, 400, "file: Field required" },
	{ FILE_PART("a") FILE_PART("b") END, 400, "file: given more than once" },
	{ PART("name=\"file\"; filename=\"a%22b\"", "", "x") END, 400, "file: filename: must not contain" },
	{ PART("name=\"file\"; filename=\"a:b\"", "", "x") END, 400, "file: filename: must not contain" },
	{ PART("name=\"file\"; filename=\"..\"", "", "x") END, 400, "file: filename: must not be" },
	{ PART("name=\"file\"; filename=\"\xff\"", "", "x") END, 400, "file: filename: not valid UTF-8" },
	{ FILE_PART("a") PART("name=expires_in_seconds", "", "3599") END, 400, "expires_in_seconds: Input should be greater than or equal to 3600" },
	{ FILE_PART("a") PART("name=expires_in_seconds", "", "7776001") END, 400, "expires_in_seconds: Input should be less than or equal to 7776000" },
	{ FILE_PART("a") PART("name=expires_in_seconds", "", "") END, 400, "expires_in_seconds: expected an integer" },
	{ FILE_PART("a") PART("name=expires_in_seconds", "", "3600.5") END, 400, "expires_in_seconds: expected an integer" },
	{ FILE_PART("a") PART("name=expires_in_seconds", "", "99999999999999999999999999") END, 400, "expires_in_seconds: expected an integer" },
	{ FILE_PART("a") PART("name=expires_in_seconds", "", "4000") PART("name=expires_in_seconds", "", "4000") END, 400,
		"expires_in_seconds: given more than once" },
	{ FILE_PART("a"), 400, MULTI "the body ends before its closing boundary" },
	{ "--OTHER\r\nContent-Disposition: form-data; name=file\r\n\r\nx\r\n--OTHER--", 400, MULTI "the body ends before its closing boundary" },
	{ "", 400, MULTI "the body ends before its closing boundary" },
	{ "{}", 400, MULTI "the body ends before its closing boundary" },
};

static void
bad_forms(void **state)
{
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

		send_form(GWR_A, TYPE, bad[i].form, &r);
		refused(&r, bad[i].status, NULL, bad[i].message, bad[i].form);
	}
	for (int i = 0; i < 3; i++) {
		static const struct { const char *type, *message; int status; } types[] = {
			{ "application/json", "content-type: expected multipart/form-data", 415 }, { "", "content-type: expected multipart/form-data", 415 },
			{ "multipart/form-data", MULTI "the content-type has no boundary", 400 },
		};
		__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

		send_form(GWR_A, types[i].type, FILE_PART("a") END, &r);
		refused(&r, types[i].status, NULL, types[i].message, types[i].type);
	}
	settled();
	AUTO(str) char *rows = gwr_sql("SELECT count(*) FROM file");
	assert_string_equal(rows, "0");
}

/* Everything that can be refused by the head is, without a byte of the body. */
static void
before_the_body(void **state)
{
	static const struct { enum gwr_who who; const char *length, *name, *value; int status; const char *code, *message; } heads[] = {
		{ GWR_NOBODY, "1000", NULL, NULL, 401, NULL, "Authentication failed" },
		{ GWR_UNKNOWN, "1000", NULL, NULL, 401, NULL, "Authentication failed" },
		{ GWR_SUSPENDED, "1000", NULL, NULL, 403, NULL, "This organization is suspended" },
		{ GWR_A, "90000000", NULL, NULL, 413, NULL, "Request exceeds the maximum allowed number of bytes (81048576)" },
		{ GWR_A, "999999999999999", NULL, NULL, 413, NULL, "Request exceeds the maximum allowed number of bytes" },
		{ GWR_A, "1000", "HTTP_CONTENT_ENCODING", "gzip", 400, "request_body_encoding_unsupported", "Content-Encoding \"gzip\"" },
		{ GWR_A, "1000", "HTTP_IDEMPOTENCY_KEY", "\t", 400, NULL, "idempotency-key: must be" },
		{ GWR_A, "1000", "HTTP_ANTHROPIC_BETA", "nonsense-2020-01-01", 400, NULL, "Unexpected value(s) `nonsense-2020-01-01`" },
	};

	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
		__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
		const char *list[20] = { "CONTENT_LENGTH", heads[i].length };
		const char *const *rest = headers(heads[i].who, TYPE, heads[i].name, heads[i].value);

		for (int k = 0; rest[k]; k++)
			list[k + 2] = rest[k];
		assert_true(gwr_answer(gwr_begin(heads[i].who, "POST", "/v1/files", 0, list), &r));
		refused(&r, heads[i].status, heads[i].code, heads[i].message, heads[i].message);
	}
}

static void
cut(void **state)
{
	static const char form[] = FILE_PART("hello") END;

	for (size_t n = 0; n < sizeof form - 1; n += 13) {
		int fd = gwr_begin(GWR_A, "POST", "/v1/files", sizeof form - 1, headers(GWR_A, TYPE, NULL, NULL));

		if (n > 0)
			assert_true(gwr_body(fd, form, n));
		close(fd);
	}
	settled();
	AUTO(str) char *rows = gwr_sql("SELECT count(*) FROM file");
	assert_string_equal(rows, "0");
}

/* What was announced does not come: the gateway says so, and keeps nothing. */
static void
less_than_announced(void **state)
{
	static const char form[] = FILE_PART("hello") END;
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
	int fd = gwr_begin(GWR_A, "POST", "/v1/files", sizeof form + 10, headers(GWR_A, TYPE, NULL, NULL));

	assert_true(gwr_body(fd, form, sizeof form - 1) && gwr_body(fd, "", 0) && gwr_answer(fd, &r));
	refused(&r, 400, NULL, "Failed to parse request body: incomplete body", "short");
	settled();
}

/* --- sizes ------------------------------------------------------------------------------------------------------------------ */

/* An upload of n bytes, announced or not. */
static void
send_large(int64_t n, bool announced, struct gwr_reply *out)
{
	static const char head[] = "--BOUND\r\nContent-Disposition: form-data; name=\"file\"; filename=\"large\"\r\n\r\n", tail[] = "\r\n" END;
	const char *const *rest = headers(GWR_A, TYPE, NULL, NULL);
	const char *list[20] = { "CONTENT_LENGTH", "" };
	AUTO(str) char *piece = xcalloc(1, 1 << 20);
	int fd;

	for (int k = 0; rest[k]; k++)
		list[k + 2] = rest[k];
	fd = gwr_begin(GWR_A, "POST", "/v1/files", (size_t)n + sizeof head + sizeof tail - 2, announced ? rest : list);
	must(gwr_body(fd, head, sizeof head - 1));
	for (int64_t sent = 0; sent < n;) {
		size_t len = n - sent < 1 << 20 ? (size_t)(n - sent) : 1 << 20;

		if (!gwr_body(fd, piece, len))
			break;
		sent += (int64_t)len;
	}
	if (gwr_body(fd, tail, sizeof tail - 1))
		(void)gwr_body(fd, "", 0);
	must(gwr_answer(fd, out));
}

static int64_t
status_kb(const char *name)
{
	FILE *f = fopen(gwr_fmt("/proc/%d/status", gwr_pid()), "r");
	char line[256];
	int64_t kb = -1;

	must(f != NULL);
	while (fgets(line, sizeof line, f))
		if (strncmp(line, name, strlen(name)) == 0)
			kb = strtoll(line + strlen(name) + 1, NULL, 10);
	fclose(f);
	return kb;
}

/* 64 MB cost the gateway no more memory than its buffers, at any moment. */
static void
memory(void **state)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply warm = { 0 }, r = { 0 };
	int64_t before, after;
	FILE *f;

	send_large(1000, true, &warm);
	assert_int_equal(warm.status, 200);
	f = fopen(gwr_fmt("/proc/%d/clear_refs", gwr_pid()), "w");
	must(f && fputs("5", f) > 0 && fclose(f) == 0);
	before = status_kb("VmRSS");
	send_large(64000000, true, &r);
	assert_int_equal(r.status, 200);
	after = status_kb("VmHWM");
	print_message("64 MB upload: %lld kB before, peak %lld kB\n", (long long)before, (long long)after);
	assert_true(after - before <= 4096);
	assert_int_equal(json_integer_value(json_object_get(r.json, "size_bytes")), 64000000);
}

static void
too_large(void **state)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply exact = { 0 }, over = { 0 }, far = { 0 };

	send_large(MAX + 1, true, &over);
	refused(&over, 413, NULL, "file: larger than the maximum of 80000000 bytes", "one byte more");
	send_large(MAX + 3000000, false, &far);
	refused(&far, 413, NULL, "file: larger than the maximum of 80000000 bytes", "not announced");
	settled();
	send_large(MAX, false, &exact);
	assert_int_equal(exact.status, 200);
}

static void
quota(void **state)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply first = { 0 }, told = { 0 }, untold = { 0 };
	AUTO(str) char *used = NULL;

	send_large(60000000, true, &first);
	assert_int_equal(first.status, 200);
	send_large(50000000, true, &told);
	refused(&told, 400, "storage_quota_exceeded", "The organization's file storage quota is exhausted.", "announced");
	send_large(50000000, false, &untold);
	refused(&untold, 400, "storage_quota_exceeded", "The organization's file storage quota is exhausted.", "not announced");
	settled();
	used = gwr_sql("SELECT file_bytes_used('org-1')");
	assert_string_equal(used, "60000000");
}

/* A disk that fills up under an upload is a 503 that leaves nothing behind, and not the end of anything else. */
static void
disk_full(void **state)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

	if (mount("none", gwr_fmt("%s/blobs", gwr_dir), "tmpfs", 0, "size=20m") < 0)
		skip();
	gwr_restart();
	send_large(64000000, false, &r);
	refused(&r, 503, NULL, "The service is temporarily unavailable", "a full disk");
	assert_int_equal(files_in(""), 0);
	json_decref(gwr_ok(GWR_A, "GET", "/v1/files", NULL));
	json_decref(uploaded(GWR_A, FILE_PART("small") END));
	assert_int_equal(files_in(""), 1);
}

static int
disk_back(void **state)
{
	int rc = clean(state);

	if (umount2(gwr_fmt("%s/blobs", gwr_dir), MNT_DETACH) == 0)
		gwr_restart();
	return rc;
}

/* --- slow senders ----------------------------------------------------------------------------------------------------------- */

/* Uploads that dribble hold no handler thread; too many are refused; when they end, others come in. */
static void
slow(void **state)
{
	static const char form[] = FILE_PART("hello, hello, hello, hello, hello") END;
	const size_t most = sizeof form - 20;
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply mine = { 0 }, other = { 0 };
	int fd[8];

	for (int i = 0; i < 8; i++) {
		fd[i] = gwr_begin(i < 6 ? GWR_A : GWR_C, "POST", "/v1/files", sizeof form - 1, headers(i < 6 ? GWR_A : GWR_C, TYPE, NULL, NULL));
		assert_true(gwr_body(fd[i], form, most));
	}
	for (int64_t end = clock_mono_ms() + WAIT_MS; files_in("-path './tmp/*'") < 8; (void)usleep(3000))	/* the step of a wait with a deadline */
		assert_true(clock_mono_ms() < end);
	for (int i = 0; i < 10; i++)
		json_decref(gwr_ok(GWR_A, "GET", "/v1/agents", NULL));
	send_form(GWR_B, TYPE, form, &mine);
	send_form(GWR_C, TYPE, form, &other);
	assert_int_equal(mine.status, 429);
	assert_int_equal(other.status, 529);
	for (int i = 0; i < 8; i++) {
		__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

		assert_true(gwr_body(fd[i], form + most, sizeof form - 1 - most) && gwr_body(fd[i], "", 0) && gwr_answer(fd[i], &r));
		assert_int_equal(r.status, 200);
	}
	json_decref(uploaded(GWR_B, form));
}

/* Send form[from, to) on n connections, `step` bytes every 100 ms; until the gateway has closed them all. */
static void
dribble(const int *fd, int n, const char *form, size_t from, size_t to, size_t step)
{
	bool open = true;

	for (; open && from < to; from += step, (void)usleep(100000)) {		/* the pace is what is tested */
		open = false;
		for (int i = 0; i < n; i++)
			open |= gwr_body(fd[i], form + from, to - from < step ? to - from : step);
	}
}

/* Uploads that are all but silent lose their slots, also when they began with a burst; one that is slow and goes on does not. */
static void
pace(void **state)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply passed = { 0 };
	AUTO(str) char *form = xasprintf(FILE_PART("%060000d") END, 0);
	size_t size = strlen(form), burst = 20000;
	FILE *f = fopen(gwr_fmt("%s/gateway.conf", gwr_dir), "a");
	int fd[6];

	must(f && fputs("upload_pace = 200\nupload_grace_s = 1\n", f) > 0 && fclose(f) == 0);
	gwr_restart();
	fd[0] = gwr_begin(GWR_A, "POST", "/v1/files", size, headers(GWR_A, TYPE, NULL, NULL));
	dribble(fd, 1, form, 0, size, 2000);
	assert_true(gwr_body(fd[0], "", 0) && gwr_answer(fd[0], &passed));
	assert_int_equal(passed.status, 200);
	for (int i = 0; i < 6; i++) {
		fd[i] = gwr_begin(GWR_A, "POST", "/v1/files", size, headers(GWR_A, TYPE, NULL, NULL));
		assert_true(gwr_body(fd[i], form, i % 2 ? burst : 1000));
	}
	dribble(fd, 6, form, burst, burst + 150, 1);
	for (int i = 0; i < 6; i++) {
		__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

		assert_true(gwr_answer(fd[i], &r));
		refused(&r, 408, NULL, "The request took too long to arrive: at least 200 bytes per second", "slow");
	}
	json_decref(uploaded(GWR_B, form));
	settled();
}

/* A stop in the middle of an upload cuts it after a while, and the process still ends well. */
static void
stopped(void **state)
{
	static const char form[] = FILE_PART("hello") END;
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
	int fd = gwr_begin(GWR_A, "POST", "/v1/files", sizeof form - 1, headers(GWR_A, TYPE, NULL, NULL));

	assert_true(gwr_body(fd, form, sizeof form - 20));
	json_decref(gwr_ok(GWR_A, "GET", "/v1/files", NULL));
	gwr_restart();
	close(fd);
	json_decref(uploaded(GWR_A, form));
	settled();
}

/* --- sent twice ------------------------------------------------------------------------------------------------------------- */

static void
again(const char *boundary, const char *data, const char *name, const char *value, struct gwr_reply *out)
{
	AUTO(str) char *form = xasprintf("--%s\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n%s\r\n--%s--", boundary, data, boundary);
	AUTO(str) char *type = xasprintf("multipart/form-data; boundary=%s", boundary);

	gwr_send(GWR_A, "POST", "/v1/files", form, strlen(form), headers(GWR_A, type, name, value), out);
}

static void
retries(void **state)
{
	static const struct { const char *name, *value; } evidence[] = {
		{ "HTTP_IDEMPOTENCY_KEY", "key-1" }, { "HTTP_TRACEPARENT", "00-11111111111111111111111111111111-2222222222222222-01" },
	};

	for (int i = 0; i < 2; i++) {
		__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply first = { 0 }, second = { 0 }, other = { 0 };
		AUTO(str) char *replayed = NULL, *rows = NULL;

		again("AAA", "hello", evidence[i].name, evidence[i].value, &first);
		again("BBB", "hello", evidence[i].name, evidence[i].value, &second);
		again("AAA", "other", evidence[i].name, evidence[i].value, &other);
		assert_int_equal(first.status, 200);
		assert_string_equal(first.body, second.body);
		replayed = gwr_header(&second, "idempotent-replayed");
		assert_string_equal(replayed, "true");
		assert_int_equal(other.status, i == 0 ? 409 : 200);
		rows = gwr_sql("SELECT count(*) FROM file");
		assert_string_equal(rows, i == 0 ? "1" : "3");
		settled();
	}
}

/* --- reading ---------------------------------------------------------------------------------------------------------------- */

static void
tenants(void **state)
{
	AUTO(json) json_t *f = uploaded(GWR_A, FILE_PART("hello") END), *list = gwr_ok(GWR_B, "GET", "/v1/files", NULL);

	free(gwr_sql("UPDATE file SET downloadable = true"));
	assert_int_equal(json_array_size(json_object_get(list, "data")), 0);
	for (int i = 0; i < 2; i++) {
		enum gwr_who who = i ? GWR_C : GWR_B;

		gwr_bad(who, "GET", gwr_fmt("/v1/files/%s", id_of(f)), NULL, 404, "not_found_error", "File not found.");
		gwr_bad(who, "GET", gwr_fmt("/v1/files/%s/content", id_of(f)), NULL, 404, "not_found_error", "File not found.");
		gwr_bad(who, "DELETE", gwr_fmt("/v1/files/%s", id_of(f)), NULL, 404, "not_found_error", "File not found.");
		AUTO(json) json_t *ids = gwr_ok(who, "GET", gwr_fmt("/v1/files?ids[]=%s", id_of(f)), NULL);
		assert_int_equal(json_array_size(json_object_get(ids, "data")), 0);
	}
	gwr_bad(GWR_ADMIN, "GET", "/v1/files", NULL, 403, "permission_error", "An admin key");
	gwr_bad(GWR_A, "GET", "/v1/files/file_x", NULL, 400, "invalid_request_error", "Invalid file ID.");
	gwr_bad(GWR_A, "PUT", "/v1/files", NULL, 405, "invalid_request_error", "");
	AUTO(json) json_t *gone = gwr_ok(GWR_A, "DELETE", gwr_fmt("/v1/files/%s", id_of(f)), NULL);
	assert_string_equal(jx_str(gone, "type"), "file_deleted");
	assert_string_equal(jx_str(gone, "id"), id_of(f));
	gwr_bad(GWR_A, "DELETE", gwr_fmt("/v1/files/%s", id_of(f)), NULL, 404, "not_found_error", "File not found.");
	settled();
}

static void
downloads(void **state)
{
	AUTO(json) json_t *f = uploaded(GWR_A, PART("name=file; filename=\"\xc3\xa4.csv\"", "", "a,b") END);
	AUTO(str) char *blob = gwr_sql("SELECT blob_id FROM file"), *content = xasprintf("/v1/files/%s/content", id_of(f));
	AUTO(str) char *to = NULL, *disposition = NULL, *type = NULL;
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply no = { 0 }, yes = { 0 }, lost = { 0 }, late = { 0 }, later = { 0 };
	char path[BLOB_PATH];

	gwr_send(GWR_A, "GET", content, "", 0, NULL, &no);
	refused(&no, 400, "file_not_downloadable", gwr_fmt("File `%s` is not downloadable. Only files generated by a tool (for example, the code "
	    "execution tool) can be downloaded.", id_of(f)), "an upload");
	free(gwr_sql("UPDATE file SET downloadable = true"));
	gwr_send(GWR_A, "GET", content, "", 0, NULL, &yes);
	assert_int_equal(yes.status, 200);
	to = gwr_header(&yes, "x-accel-redirect");
	assert_string_equal(to, gwr_fmt("/.blob/%.2s/%s", blob, blob));
	type = gwr_header(&yes, "content-type");
	assert_string_equal(type, "text/csv");
	disposition = gwr_header(&yes, "content-disposition");
	assert_string_equal(disposition, "attachment; filename=\"_.csv\"; filename*=utf-8''%C3%A4.csv");
	assert_int_equal(truncate(blob_path(gwr_fmt("%s/blobs", gwr_dir), blob, path), 1), 0);
	gwr_send(GWR_A, "GET", content, "", 0, NULL, &lost);
	refused(&lost, 500, NULL, "Internal server error", "a blob of another size");
	free(gwr_sql("UPDATE file SET expires_at = clock_timestamp() - interval '1 s'"));
	gwr_send(GWR_A, "GET", content, "", 0, NULL, &late);
	refused(&late, 404, "file_expired", "The file has expired", "content of an expired file");
	settled();		/* the sweep has taken the bytes */
	gwr_send(GWR_A, "GET", gwr_fmt("/v1/files/%s", id_of(f)), "", 0, NULL, &later);
	refused(&later, 404, "file_expired", "The file has expired", "an expired file");
	json_decref(gwr_ok(GWR_A, "DELETE", gwr_fmt("/v1/files/%s", id_of(f)), NULL));
}

/* --- lists ------------------------------------------------------------------------------------------------------------------ */

static json_t *list;

static const char *
member(const char *uri, const char *name)
{
	json_decref(list);
	list = gwr_ok(GWR_A, "GET", uri, NULL);
	return json_is_null(json_object_get(list, name)) ? NULL : jx_str(list, name);
}

static int
count(void)
{
	return (int)json_array_size(json_object_get(list, "data"));
}

static const char *
nth(int i)
{
	return id_of(json_array_get(json_object_get(list, "data"), (size_t)i));
}

static void
lists(void **state)
{
	char id[5][ID_MAX], agent[ID_MAX], environment[ID_MAX], session[ID_MAX];
	AUTO(str) char *page = NULL;
	struct buf many = BUF_INIT(0);

	for (int i = 0; i < 5; i++) {
		AUTO(json) json_t *f = uploaded(GWR_A, FILE_PART("hello") END);

		snprintf(id[i], sizeof id[i], "%s", id_of(f));
	}
	/* pages by cursor */
	page = xstrdup(member("/v1/files?limit=2", "next_page"));
	assert_true(count() == 2 && strcmp(nth(0), id[4]) == 0 && json_is_true(json_object_get(list, "has_more")));
	assert_string_equal(jx_str(list, "first_id"), id[4]);
	assert_string_equal(jx_str(list, "last_id"), id[3]);
	assert_null(member(gwr_fmt("/v1/files?limit=3&page=%s", page), "next_page"));
	assert_true(count() == 3 && strcmp(nth(2), id[0]) == 0 && json_is_false(json_object_get(list, "has_more")));
	/* pages by id */
	assert_non_null(member(gwr_fmt("/v1/files?limit=2&after_id=%s", id[3]), "next_page"));
	assert_true(count() == 2 && strcmp(nth(0), id[2]) == 0 && json_is_true(json_object_get(list, "has_more")));
	(void)member(gwr_fmt("/v1/files?limit=2&before_id=%s", id[1]), "next_page");
	assert_true(count() == 2 && strcmp(nth(0), id[3]) == 0 && strcmp(nth(1), id[2]) == 0 && json_is_true(json_object_get(list, "has_more")));
	(void)member(gwr_fmt("/v1/files?before_id=%s", id[3]), "next_page");
	assert_true(count() == 1 && strcmp(nth(0), id[4]) == 0 && json_is_false(json_object_get(list, "has_more")));
	/* by ids */
	assert_null(member(gwr_fmt("/v1/files?ids[]=%s&ids[]=%s&ids=%s&ids%%5B%%5D=file_none", id[0], id[2], id[0]), "next_page"));
	assert_true(count() == 2 && strcmp(nth(0), id[2]) == 0 && strcmp(nth(1), id[0]) == 0);
	for (int i = 0; i <= 100; i++)
		buf_printf(&many, "&ids[]=file_%d", i);
	gwr_bad(GWR_A, "GET", gwr_fmt("/v1/files?x=y%s", many.data), NULL, 400, "invalid_request_error", "ids: at most 100 values are allowed");
	buf_free(&many);
	gwr_bad(GWR_A, "GET", gwr_fmt("/v1/files?ids[]=%s&limit=5", id[0]), NULL, 400, "invalid_request_error", "ids: cannot be combined");
	gwr_bad(GWR_A, "GET", gwr_fmt("/v1/files?ids[]=%s&page=%s", id[0], page), NULL, 400, "invalid_request_error", "ids: cannot be combined");
	gwr_bad(GWR_A, "GET", gwr_fmt("/v1/files?after_id=%s&page=%s", id[0], page), NULL, 400, "invalid_request_error", "Only one of");
	gwr_bad(GWR_A, "GET", "/v1/files?after_id=x", NULL, 400, "invalid_request_error", "after_id: ");
	gwr_bad(GWR_A, "GET", "/v1/files?limit=1001", NULL, 400, "invalid_request_error", "limit: ");
	gwr_bad(GWR_B, "GET", gwr_fmt("/v1/files?page=%s", page), NULL, 400, "invalid_request_error", "invalid page cursor");
	/* by session */
	gwr_session(GWR_A, agent, environment, session);
	free(gwr_sql("SELECT file_copy('file_01111111111111111111copy', 'wrkspc_A', '%s', '%s', '/mnt/session/uploads/x')", id[0], session));
	assert_null(member(gwr_fmt("/v1/files?scope_id=%s", session), "next_page"));
	assert_true(count() == 1 && strcmp(nth(0), "file_01111111111111111111copy") == 0);
	assert_string_equal(jx_str(json_object_get(json_array_get(json_object_get(list, "data"), 0), "scope"), "id"), session);
	(void)member("/v1/files", "next_page");
	assert_int_equal(count(), 5);
	gwr_bad(GWR_A, "GET", "/v1/files?scope_id=wrkspc_A", NULL, 400, "invalid_request_error", "scope_id: ");
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
	gwr_send(GWR_A, "GET", gwr_fmt("/v1/files?scope_id=%s", session), "", 0, headers(GWR_A, "", NULL, NULL), &r);
	refused(&r, 400, NULL, "scope_id: requires the `anthropic-beta` header", "no beta");
	json_decref(gwr_ok(GWR_A, "DELETE", gwr_fmt("/v1/sessions/%s", session), NULL));
	AUTO(str) char *left = gwr_sql("SELECT count(*) FROM file");
	assert_string_equal(left, "5");
	json_decref(list);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(upload, clean), cmocka_unit_test_teardown(filenames, clean), cmocka_unit_test_teardown(bad_forms, clean),
		cmocka_unit_test_teardown(before_the_body, clean), cmocka_unit_test_teardown(cut, clean),
		cmocka_unit_test_teardown(less_than_announced, clean), cmocka_unit_test_teardown(memory, clean),
		cmocka_unit_test_teardown(too_large, clean), cmocka_unit_test_teardown(quota, clean), cmocka_unit_test_teardown(disk_full, disk_back),
		cmocka_unit_test_teardown(slow, clean),
		cmocka_unit_test_teardown(retries, clean), cmocka_unit_test_teardown(tenants, clean), cmocka_unit_test_teardown(downloads, clean),
		cmocka_unit_test_teardown(lists, clean), cmocka_unit_test_teardown(stopped, clean),
		cmocka_unit_test_teardown(pace, clean),
	};

	return cmocka_run_group_tests_name("files", tests, start, gwr_over);
}
