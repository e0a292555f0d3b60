/* model_stream: feeds a recorded stream to an adapter, cut into pieces of a size, and gives what the harness would be told. */
#ifndef ROOST_TESTS_MODEL_STREAM_H
#define ROOST_TESTS_MODEL_STREAM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "adapter.h"
#include "model_probe.h"
#include "sse.h"

struct stream {
	const struct adapter *adapter;
	struct decode decode;
};

static int
stream_event(void *ctx, const char *event, const char *data, size_t len)
{
	struct stream *s = ctx;

	return s->adapter->event(&s->decode, event, data, len);
}

/* out gets the probe's line. */
static void
stream_play(const struct adapter *a, const char *bytes, size_t cut, struct buf *out)
{
	struct probe p = { .open = -1 };
	struct failure f = { 0 };
	struct stream s = { .adapter = a };
	struct reply r;
	struct sse sse;
	size_t n = strlen(bytes);
	int rc = 0;

	reply_init(&r, 1 << 16, &probe_events, &p);
	decode_init(&s.decode, &r, &f, "sk-secret");
	sse_init(&sse, 1 << 16);
	for (size_t at = 0; at < n && !rc; at += cut)
		rc = sse_feed(&sse, bytes + at, at + cut > n ? n - at : cut, stream_event, &s);
	if (!rc)
		rc = sse_end(&sse, stream_event, &s);
	if (!rc)
		rc = a->end(&s.decode);
	if (rc == ADAPTER_DONE)
		reply_done(&r, "");
	else
		probe_fail(&p, &f.f);
	sse_free(&sse);
	decode_free(&s.decode);
	reply_free(&r);
	buf_free(out);
	*out = p.told;
}

/* Damage a stream in `rounds` ways (a byte changed, left out or doubled); each must end, and only the sanitizers judge how. */
__attribute__((unused)) static void
stream_damage(const struct adapter *a, const char *bytes, unsigned rounds)
{
	static const char odd[] = "{}[]\":,\\0-\n\r u\x80\xff";
	size_t n = strlen(bytes);
	unsigned seed = 7;

	for (unsigned i = 0; n && i < rounds; i++) {
		AUTO(buf) struct buf told = { 0 };
		AUTO(buf) struct buf text = { 0 };
		size_t at;

		seed = seed * 1103515245u + 12345u;
		at = (seed >> 8) % n;
		buf_put(&text, bytes, at);
		if (i % 3 == 0)
			buf_ch(&text, odd[(seed >> 4) % (sizeof(odd) - 1)]);
		else if (i % 3 == 1)
			buf_put(&text, bytes + at, 1);
		buf_str(&text, bytes + at + (i % 3 != 1));
		stream_play(a, text.data, 1 + seed % 50, &told);
		assert_non_null(strstr(told.data, "| "));
	}
}

/* Compare for every cut. */
#define STREAM_CHECK(adapter, name, bytes, want)						\
	do {											\
		for (size_t cut_ = 1; cut_ <= strlen(bytes) + 1; cut_++) {			\
			AUTO(buf) struct buf told_ = { 0 };					\
												\
			stream_play((adapter), (bytes), cut_, &told_);				\
			if (strcmp(told_.data, (want)) != 0)					\
				fail_msg("%s, cut %zu:\n got %s\nwant %s", (name), cut_, told_.data, (want)); \
		}										\
	} while (0)

#endif
