/*
 * delta: see delta.h. A change of text block sends the older block's rest first, so that a subscriber can concatenate by (id, index)
 * in arrival order. PENDING_MAX waiting bytes go out before the window ends, and a longer text in pieces: a preview must stay small enough
 * to travel in one fan-out entry, also when each of its bytes is escaped. What comes just before the window ends does not wait for a
 * timer, which costs as much as all else that is done for it; the next window is counted from that end, so that they do not become more. The message leaves out empty text blocks, so blocks are numbered here by their first text.
 */
#include "delta.h"

#include <string.h>

#include "bus.h"
#include "jw.h"

#define FRAME 512			/* what stands around the text */
#define PENDING_MAX ((BUS_PREVIEW_MAX - FRAME) / 6)
#define EARLY 16			/* a piece that comes in the last sixteenth of the window goes out at once */

void
delta_begin(struct delta *d, const char *id, int64_t window_ms, delta_sink_fn *sink, void *ctx)
{
	buf_reset(&d->pending);
	strncpy(d->id, id, sizeof(d->id) - 1);
	d->opened = false;
	d->index = d->shown = 0;
	d->last_ms = INT64_MIN / 2;
	d->window_ms = window_ms;
	d->sink = sink;
	d->ctx = ctx;
}

void
delta_free(struct delta *d)
{
	buf_free(&d->pending);
}

static void
send_start(struct delta *d, const char *type, const char *id)
{
	AUTO(buf) struct buf b = BUF_INIT(0);
	struct jw w;

	jw_begin(&w, &b);
	jw_obj(&w);
	jw_kstr(&w, "type", "event_start");
	jw_key(&w, "event");
	jw_obj(&w);
	jw_kstr(&w, "type", type);
	jw_kstr(&w, "id", id);
	jw_obj_end(&w);
	jw_obj_end(&w);
	jw_end(&w);
	d->sink(d->ctx, "event_start", b.data, b.len);
}

void
delta_thinking(struct delta *d, const char *id)
{
	send_start(d, "agent.thinking", id);
}

/* How long before the end of the window it is. */
static int64_t
early(const struct delta *d, int64_t now_ms)
{
	return d->last_ms + d->window_ms - now_ms;
}

void
delta_flush(struct delta *d, int64_t now_ms)
{
	AUTO(buf) struct buf b = BUF_INIT(0);
	struct jw w;

	if (d->pending.len == 0)
		return;
	(void)buf_reserve(&b, d->pending.len + FRAME / 2);
	jw_begin(&w, &b);
	jw_obj(&w);
	jw_kstr(&w, "type", "event_delta");
	jw_kstr(&w, "event_id", d->id);
	jw_key(&w, "delta");
	jw_obj(&w);
	jw_kstr(&w, "type", "content_delta");
	jw_kint(&w, "index", d->shown);
	jw_key(&w, "content");
	jw_obj(&w);
	jw_kstr(&w, "type", "text");
	jw_key(&w, "text");
	jw_strn(&w, d->pending.data, d->pending.len);
	jw_obj_end(&w);
	jw_obj_end(&w);
	jw_obj_end(&w);
	jw_end(&w);
	buf_reset(&d->pending);
	d->last_ms = early(d, now_ms) > 0 && early(d, now_ms) <= d->window_ms / EARLY ? d->last_ms + d->window_ms : now_ms;
	d->sink(d->ctx, "event_delta", b.data, b.len);
}

/* How much of the text goes into a piece with so much room: whole characters. */
static size_t
piece(const char *text, size_t len, size_t room)
{
	size_t n = room;

	if (len <= room)
		return len;
	while (n > 0 && room - n < 4 && ((unsigned char)text[n] & 0xc0) == 0x80)
		n--;
	return n;
}

void
delta_text(struct delta *d, int64_t now_ms, int index, const char *text, size_t len)
{
	if (len == 0)
		return;
	if (!d->opened) {
		send_start(d, "agent.message", d->id);
		d->opened = true;
	} else if (index != d->index) {
		delta_flush(d, now_ms);
		d->shown++;
	}
	d->index = index;
	while (len > 0) {
		size_t n = piece(text, len, PENDING_MAX - d->pending.len);

		buf_put(&d->pending, text, n);
		text += n;
		len -= n;
		if (len > 0 || d->pending.len == PENDING_MAX || early(d, now_ms) <= d->window_ms / EARLY)
			delta_flush(d, now_ms);
	}
}

int64_t
delta_due(const struct delta *d)
{
	return d->pending.len > 0 ? d->last_ms + d->window_ms : 0;
}
