/* link: workers/model/adapter.c workers/model/anthropic.c workers/model/anthropic_stream.c workers/model/openai.c workers/model/openai_messages.c workers/model/openai_stream.c workers/model/reply.c workers/model/failure.c workers/model/context.c workers/model/filesrc.c workers/model/sse.c */
/* Content that stands in the blob store: what each dialect makes of it, what stands in for what cannot be read, and what is not touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapter.h"
#include "blob.h"
#include "filesrc.h"
#include "jx.h"
#include "xalloc.h"

#define PNG "aa000000000000000000000000000001"
#define PDF "aa000000000000000000000000000002"
#define TXT "aa000000000000000000000000000003"
#define GONE "aa000000000000000000000000000004"
#define EMPTY "aa000000000000000000000000000005"

static char dir[] = "/tmp/roost-filesrc-XXXXXX";

static void
put(const char *id, const char *text)
{
	char path[BLOB_PATH];
	FILE *f = fopen(blob_path(dir, id, path), "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int
setup(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	if (!mkdtemp(dir) || blob_setup(dir, &e) < 0)
		return -1;
	put(PNG, "PNGDATA");
	put(PDF, "%PDF-1");
	put(TXT, "line \"one\"\n\xff\xc3\xa4");
	put(EMPTY, "");
	return 0;
}

static int
teardown(void **state)
{
	char cmd[100];

	(void)state;
	snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
	return system(cmd);
}

#define SRC(blob, mime, size, name) "{\"type\":\"blob\",\"blob\":\"" blob "\",\"media_type\":\"" mime "\",\"size\":" size ",\"file_id\":\"file_1\",\"name\":\"" name "\"}"
#define IMAGE(source) "{\"type\":\"image\",\"source\":" source "}"
#define DOCUMENT(source) "{\"type\":\"document\",\"source\":" source ",\"title\":\"T\"}"
#define TEXT(t) "{\"type\":\"text\",\"text\":\"" t "\"}"

/* The tail for these items, with its first comma as a space so that it is one JSON object; also what kinds say must change nothing. */
static char *
tail(const struct adapter *a, const struct model_item *items, int n)
{
	struct model_request rq = { .model_id = "m", .items = items, .nitems = n, .max_output_tokens = 9, .blob_dir = dir };
	struct buf with = { 0 }, without = { 0 };
	model_kind *kinds = xcalloc((size_t)n, sizeof *kinds);
	AUTO(json) json_t *doc = NULL;

	a->tail(&without, &rq);
	for (int i = 0; i < n; i++)
		kinds[i] = model_item_kind(&items[i]);
	rq.kinds = kinds;
	a->tail(&with, &rq);
	assert_string_equal(with.data, without.data);
	with.data[0] = '{';
	doc = json_loads(with.data, 0, NULL);
	assert_non_null(doc);
	buf_free(&without);
	free(kinds);
	return buf_steal(&with);
}

static void
says(const struct adapter *a, char role, const char *blocks, const char *want)
{
	const struct model_item items[] = { { 'u', TEXT("hi"), sizeof TEXT("hi") - 1 }, { 'a', TEXT("yes"), sizeof TEXT("yes") - 1 },
		{ role, blocks, strlen(blocks) } };
	AUTO(str) char *text = tail(a, items, 3);

	if (!strstr(text, want))
		fail_msg("not in %s: %s", text, want);
	assert_null(strstr(text, "\"blob\""));
}

static void
anthropic(void **state)
{
	const struct adapter *a = &adapter_anthropic;

	(void)state;
	says(a, 'u', IMAGE(SRC(PNG, "image/png", "7", "a.png")),
	    "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"UE5HREFUQQ==\"},\"cache_control\":");
	says(a, 'u', DOCUMENT(SRC(PDF, "application/pdf", "6", "a.pdf")) "," TEXT("what?"),
	    "{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_type\":\"application/pdf\",\"data\":\"JVBERi0x\"},\"title\":\"T\"},");
	says(a, 'u', DOCUMENT(SRC(TXT, "text/csv", "14", "a.csv")) "," TEXT("what?"),
	    "{\"type\":\"document\",\"source\":{\"type\":\"text\",\"media_type\":\"text/plain\",\"data\":\"line \\\"one\\\"\\n\xef\xbf\xbd\xc3\xa4\"},\"title\":\"T\"},");
	says(a, 'u', DOCUMENT(SRC(GONE, "text/csv", "14", "g\\\"one")) "," TEXT("what?"),
	    "{\"type\":\"text\",\"text\":\"[The file g\\\"one (file_1) is no longer available.]\"},");
	says(a, 'u', DOCUMENT(SRC(TXT, "text/csv", "15", "other size")), "is no longer available");
	says(a, 'u', DOCUMENT(SRC(EMPTY, "text/csv", "0", "e")), "is empty");
	says(a, 'u', DOCUMENT(SRC(PNG, "application/zip", "7", "z")), "is of a type that cannot be shown");
	says(a, 'u', IMAGE(SRC(PDF, "application/pdf", "6", "p")), "is of a type that cannot be shown");
	says(a, 'u', IMAGE(SRC(PNG, "image/png", "25165825", "big")), "[The file big (file_1) is too large for this request.]");
	says(a, 'u', "{\"type\":\"tool_result\",\"tool_use_id\":\"sevt_1\",\"content\":[" TEXT("see") "," IMAGE(SRC(PNG, "image/png", "7", "a.png")) "],\"is_error\":true}",
	    "{\"type\":\"tool_result\",\"tool_use_id\":\"sevt_1\",\"content\":[" TEXT("see") ",{\"type\":\"image\",\"source\":{\"type\":\"base64\","
	    "\"media_type\":\"image/png\",\"data\":\"UE5HREFUQQ==\"}}],\"is_error\":true");
}

static void
openai(void **state)
{
	const struct adapter *a = &adapter_openai;

	(void)state;
	says(a, 'u', IMAGE(SRC(PNG, "image/png", "7", "a.png")) "," TEXT("what?"),
	    "[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,UE5HREFUQQ==\"}},{\"type\":\"text\",\"text\":\"what?\"}]");
	says(a, 'u', DOCUMENT(SRC(PDF, "application/pdf", "6", "a.pdf")) "," TEXT("what?"),
	    "[{\"type\":\"file\",\"file\":{\"filename\":\"a.pdf\",\"file_data\":\"data:application/pdf;base64,JVBERi0x\"}},");
	says(a, 'u', DOCUMENT("{\"type\":\"base64\",\"media_type\":\"application/pdf\",\"data\":\"JVBERi0x\"}"),
	    "{\"type\":\"file\",\"file\":{\"filename\":\"document.pdf\",\"file_data\":\"data:application/pdf;base64,JVBERi0x\"}}");
	says(a, 'u', DOCUMENT(SRC(TXT, "text/markdown", "14", "a.md")), "\"content\":\"line \\\"one\\\"\\n\xef\xbf\xbd\xc3\xa4\"");
	says(a, 'u', DOCUMENT(SRC(GONE, "text/markdown", "14", "a.md")), "\"content\":\"[The file a.md (file_1) is no longer available.]\"");
	says(a, 'u', IMAGE(SRC(GONE, "image/png", "7", "a.png")), "{\"type\":\"text\",\"text\":\"[The file a.png (file_1) is no longer available.]\"}");
	says(a, 'u', DOCUMENT(SRC(PNG, "application/zip", "7", "z")), "[The file z (file_1) is of a type that cannot be shown.]");
	says(a, 'u', "{\"type\":\"tool_result\",\"tool_use_id\":\"sevt_1\",\"content\":[" TEXT("see") "," IMAGE(SRC(PNG, "image/png", "7", "a.png")) "]}",
	    "\"content\":\"see\\n[picture: see the next message]\"},{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,UE5HREFUQQ==\"}}]}");
}

/* What only looks like such a source stays what it is: in a tool's input, in text, in another kind of block. */
static void
untouched(void **state)
{
	static const char *const blocks[] = {
		"{\"type\":\"tool_use\",\"id\":\"sevt_1\",\"name\":\"x\",\"input\":{\"type\":\"image\",\"source\":" SRC(TXT, "text/plain", "14", "n") "}}",
		"{\"type\":\"text\",\"text\":\"{\\\"type\\\":\\\"blob\\\"}\"}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
		const struct model_item items[] = { { 'u', TEXT("hi"), sizeof TEXT("hi") - 1 }, { 'a', blocks[i], strlen(blocks[i]) },
			{ 'u', TEXT("on"), sizeof TEXT("on") - 1 } };
		AUTO(str) char *text = tail(&adapter_anthropic, items, 3);

		assert_non_null(strstr(text, blocks[i]));
		assert_null(strstr(text, "line "));
	}
	{
		const char *odd = "{\"type\":\"image\",\"source\":{\"type\":\"blob\",\"blob\":\"../../../../etc/passwd\",\"media_type\":\"text/plain\",\"size\":1,\"file_id\":\"f\",\"name\":\"n\"}}";
		struct filesrc f;

		assert_false(filesrc_of((struct jspan){ odd, strlen(odd) }, &f));
	}
}

/* A file that was deleted is not read, though its bytes are there; nor does it take another's room. */
static void
deleted(void **state)
{
	const char *blocks = DOCUMENT(SRC(TXT, "text/plain", "14", "n"));
	struct model_item item = { 'u', blocks, strlen(blocks) };
	static const struct { const char *there; bool shown; } cases[] = {
		{ NULL, true }, { ",file_1,", true }, { ",file_0,file_1,file_2,", true }, { ",", false }, { ",,", false }, { ",file_11,xfile_1,", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct model_request rq = { .model_id = "m", .items = &item, .nitems = 1, .max_output_tokens = 9, .blob_dir = dir,
			.files_there = cases[i].there };
		AUTO(buf) struct buf out = { 0 };

		adapter_anthropic.tail(&out, &rq);
		if ((strstr(out.data, "line ") != NULL) != cases[i].shown || (strstr(out.data, "(file_1) is no longer available.") == NULL) != cases[i].shown)
			fail_msg("case %zu: %s", i, out.data);
	}
}

/* A request holds 24 MB of files; the oldest are left out by name. */
static void
together(void **state)
{
	AUTO(str) char *big = xmalloc((13u << 20) + 1);
	const char *two = DOCUMENT(SRC("bb000000000000000000000000000001", "text/plain", "13631488", "one")) ","
	    DOCUMENT(SRC("bb000000000000000000000000000001", "text/plain", "13631488", "two")) "," TEXT("what?");

	(void)state;
	memset(big, 'x', 13u << 20);
	big[13u << 20] = '\0';
	put("bb000000000000000000000000000001", big);
	says(&adapter_anthropic, 'u', two, "[The file one (file_1) is too large for this request.]");
	says(&adapter_openai, 'u', two, "[The file one (file_1) is too large for this request.]");
}

static void
weights(void **state)
{
	struct model_item item = { 'u', NULL, 0 };

	(void)state;
	item.blocks = IMAGE(SRC(PNG, "image/png", "7000000", "a")), item.len = strlen(item.blocks);
	assert_in_range(model_item_tokens(&item), 1600, 1700);
	item.blocks = DOCUMENT(SRC(TXT, "text/plain", "400000", "a")), item.len = strlen(item.blocks);
	assert_in_range(model_item_tokens(&item), 100000, 100100);
	item.blocks = DOCUMENT(SRC(PDF, "application/pdf", "1800000", "a")), item.len = strlen(item.blocks);
	assert_in_range(model_item_tokens(&item), 100000, 100100);
	item.blocks = DOCUMENT(SRC(PDF, "application/zip", "1800000", "a")), item.len = strlen(item.blocks);
	assert_in_range(model_item_tokens(&item), 0, 100);
}

/* A server that knows no file parts gets words instead. */
static void
refused_parts(void **state)
{
	const char *blocks = DOCUMENT(SRC(PDF, "application/pdf", "6", "a.pdf")) "," TEXT("what?");
	const struct model_item items[] = { { 'u', blocks, strlen(blocks) } };
	struct buf whole = { 0 }, less = { 0 };
	AUTO(str) char *text = tail(&adapter_openai, items, 1);

	(void)state;
	assert_int_equal(adapter_openai.refused("Unknown part type: file"), WITHOUT_FILES);
	buf_str(&whole, text);
	adapter_openai.forget(&less, &whole);
	assert_null(strstr(less.data, "file_data"));
	assert_non_null(strstr(less.data, "[{\"type\":\"text\",\"text\":\"[a document that this model cannot read]\"},{\"type\":\"text\",\"text\":\"what?\"}]"));
	buf_free(&whole);
	buf_free(&less);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(anthropic), cmocka_unit_test(openai), cmocka_unit_test(untouched), cmocka_unit_test(together),
		cmocka_unit_test(weights), cmocka_unit_test(refused_parts), cmocka_unit_test(deleted),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
