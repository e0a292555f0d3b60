/* link: workers/egress/probe/answer.c workers/egress/probe/scrub.c workers/egress/probe/guard.c */
/*
 * What hostile servers send to a validation. The answer in an event stream is the same however the stream is cut. What is shown of a body
 * holds no known secret, in no form that we send it in, wherever the bytes end, and has its limit. Lists of networks are taken or refused.
 */
#include "fuzz.h"

#include <string.h>

#include "answer.h"
#include "guard.h"
#include "scrub.h"
#include "xalloc.h"

#define SECRET "s/cret+\"x"
#define ENCODED "s%2Fcret%2B%22x"

static char *
found_in(const uint8_t *data, size_t size, size_t piece)
{
	struct answer_scan s = ANSWER_SCAN(2);
	AUTO(buf) struct buf stream = BUF_INIT(0);
	char *text = NULL;

	for (size_t at = 0; at < size && !s.found; at += piece) {
		buf_put(&stream, data + at, size - at < piece ? size - at : piece);
		(void)answer_more(&s, &stream);
	}
	if (s.found)
		text = jx_dump(s.found);
	answer_scan_free(&s);
	return text;
}

/* The bytes, with the secret put in at some places. */
static void
salt(const uint8_t *data, size_t size, struct buf *out)
{
	for (size_t i = 0; i < size; i++)
		if (data[i] == 0x01)
			buf_str(out, SECRET);
		else if (data[i] == 0x02)
			buf_str(out, ENCODED);
		else
			buf_put(out, data + i, 1);
}

static void
shown(const uint8_t *data, size_t size, bool cut)
{
	AUTO(buf) struct buf salted = BUF_INIT(0), out = BUF_INIT(0);
	struct scrub s = { 0 };

	scrub_add(&s, SECRET);
	salt(data, size, &salted);
	if (cut && salted.len > 0)
		salted.len--;
	(void)scrub_show(&s, salted.data ? salted.data : "", salted.len, cut, &out);
	HOLDS(out.len <= SCRUB_SHOWN);
	HOLDS(out.len == 0 || (!memmem(out.data, out.len, SECRET, strlen(SECRET)) && !memmem(out.data, out.len, ENCODED, strlen(ENCODED))));
	scrub_free(&s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned how = pick(&data, &size, 2), piece = 1 + pick(&data, &size, 60);
	AUTO(str) char *whole = found_in(data, size, size ? size : 1);
	AUTO(str) char *pieces = found_in(data, size, piece);
	AUTO(str) char *list = xstrndup((const char *)data, size);
	struct err e = ERR_INIT;
	struct guard g;

	HOLDS((whole == NULL) == (pieces == NULL) && (!whole || strcmp(whole, pieces) == 0));
	shown(data, size, how);
	(void)guard_parse(list, &g, &e);
	return 0;
}
