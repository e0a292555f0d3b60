/* link: gateway/stream/hub_frame.c workers/model/sse.c */
/*
 * The writer of server-sent events, read back by the reader of the model adapters: whatever JSON text an event has, line breaks between its
 * tokens included, a client gets one event with its name and that text, cut into FastCGI records anywhere. The reader itself gets
 * arbitrary bytes in arbitrary pieces: the pieces do not matter.
 */
#include "fuzz.h"

#include <string.h>

#include "buf.h"
#include "hub_frame.h"
#include "jw.h"
#include "sse.h"

#define MAX (1 << 20)

/* name, NUL, data, NUL for each event. */
static int
note(void *ctx, const char *event, const char *data, size_t len)
{
	buf_put(ctx, event, strlen(event) + 1);
	buf_put(ctx, data, len);
	buf_ch(ctx, '\0');
	return 0;
}

/* The STDOUT content of whole records. */
static void
unwrap(const struct buf *records, struct buf *out)
{
	for (size_t at = 0; at < records->len;) {
		const unsigned char *h = (const unsigned char *)records->data + at;
		size_t n;

		HOLDS(records->len - at >= 8 && h[0] == 1 && h[1] == 6 && h[2] == 0 && h[3] == 1);
		n = (size_t)h[4] << 8 | h[5];
		HOLDS(n > 0 && records->len - at >= 8 + n + h[6]);
		buf_put(out, (const char *)h + 8, n);
		at += 8 + n + h[6];
	}
}

static void
feed(const char *text, size_t len, size_t piece, struct buf *out)
{
	struct sse s;

	sse_init(&s, MAX);
	for (size_t at = 0; at < len; at += piece)
		if (sse_feed(&s, text + at, len - at < piece ? len - at : piece, note, out) != 0)
			break;
	sse_end(&s, note, out);
	sse_free(&s);
}

static void
written(const uint8_t *data, size_t size, bool as_message, int64_t seq)
{
	AUTO(buf) struct buf json = BUF_INIT(0), wire = BUF_INIT(0), got = BUF_INIT(0), want = BUF_INIT(0);
	struct hub_frame f;

	/* a JSON text with every kind of white space between its tokens, and the bytes in a string */
	buf_str(&json, "{\n\"type\"\r\n:\"agent.message\",\t\"x\":\r");
	jw_quote(&json, (const char *)data, size);
	buf_str(&json, "\n}");
	hub_frame_init(&f, &(struct hub_event){ seq, "agent.message", json.data, json.len }, 1);
	unwrap(hub_frame_bytes(&f, as_message), &wire);
	feed(wire.data, wire.len, wire.len, &got);
	for (size_t i = 0; i < json.len; i++)
		if (json.data[i] == '\n' || json.data[i] == '\r')
			json.data[i] = ' ';
	note(&want, as_message ? "message" : "agent.message", json.data, json.len);
	HOLDS(got.len == want.len && memcmp(got.data, want.data, got.len) == 0);
	hub_frame_free(&f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned how = pick(&data, &size, 4), piece = 1 + pick(&data, &size, 40);
	AUTO(buf) struct buf whole = BUF_INIT(0), pieces = BUF_INIT(0);

	written(data, size, how & 1, how & 2 ? 7 : 0);
	if (size == 0)
		return 0;
	feed((const char *)data, size, size, &whole);
	feed((const char *)data, size, piece, &pieces);
	HOLDS(whole.len == pieces.len && (whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0));
	return 0;
}
