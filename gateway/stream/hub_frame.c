/*
 * hub_frame: `id: <seq>\nevent: <type>\ndata: <json>\n\n` inside FastCGI STDOUT records.
 *
 * Promises one data line per event: JSON may contain line breaks between tokens (inputs that a model produced are kept byte for
 * byte), and they are whitespace there, so they become spaces. A text over 65535 bytes takes several records, which the client
 * never sees. Does not write anywhere.
 */
#include "hub_frame.h"

#include <fastcgi.h>
#include <inttypes.h>
#include <string.h>

#define EVENT_ROOM 96			/* what stands around an event's JSON */

static void
header(struct buf *out, int type, size_t len)
{
	const unsigned char h[FCGI_HEADER_LEN] = { FCGI_VERSION_1, (unsigned char)type, 0, 1, (unsigned char)(len >> 8), (unsigned char)len, 0, 0 };

	buf_put(out, h, sizeof h);
}

void
hub_frame_text(struct buf *out, const char *text, size_t len)
{
	(void)buf_reserve(out, len + (len / FCGI_MAX_LENGTH + 1) * FCGI_HEADER_LEN);
	while (len > 0) {
		size_t n = len > FCGI_MAX_LENGTH ? FCGI_MAX_LENGTH : len;

		header(out, FCGI_STDOUT, n);
		buf_put(out, text, n);
		text += n;
		len -= n;
	}
}

void
hub_frame_end(struct buf *out)
{
	static const char body[8] = { 0 };	/* status 0, FCGI_REQUEST_COMPLETE */

	header(out, FCGI_STDOUT, 0);
	header(out, FCGI_END_REQUEST, sizeof body);
	buf_put(out, body, sizeof body);
}

void
hub_frame_address(char *records, size_t len, unsigned id)
{
	for (size_t at = 0; at + FCGI_HEADER_LEN <= len;) {
		unsigned char *h = (unsigned char *)records + at;

		h[2] = (unsigned char)(id >> 8);
		h[3] = (unsigned char)id;
		at += FCGI_HEADER_LEN + ((size_t)h[4] << 8 | h[5]) + h[6];
	}
}

static _Atomic int64_t timeline;	/* set by the doors' threads, read by the loop */

void
hub_frame_timeline(int64_t now)
{
	timeline = now;
}

void
hub_frame_place(struct buf *out, int64_t seq)
{
	int64_t t = timeline;

	if (t > 0)
		buf_printf(out, "id: %" PRId64 ".%" PRId64 "\n", seq, t);
	else
		buf_printf(out, "id: %" PRId64 "\n", seq);
}

void
hub_frame_init(struct hub_frame *f, const struct hub_event *ev, int n)
{
	*f = (struct hub_frame){ .ev = ev, .n = n };
}

static void
blank(char *p, const char *end, char c)
{
	while ((p = memchr(p, c, (size_t)(end - p))))
		*p++ = ' ';
}

static void
put_event(struct buf *text, const struct hub_event *ev, bool as_message)
{
	size_t json;

	if (ev->seq > 0)
		hub_frame_place(text, ev->seq);
	buf_str(text, "event: ");
	buf_str(text, as_message ? "message" : ev->type);
	buf_str(text, "\ndata: ");
	json = text->len;
	buf_put(text, ev->json, ev->len);
	blank(text->data + json, text->data + text->len, '\n');
	blank(text->data + json, text->data + text->len, '\r');
	buf_str(text, "\n\n");
}

struct buf *
hub_frame_bytes(struct hub_frame *f, bool as_message)
{
	struct buf *b = &f->bytes[as_message];
	AUTO(buf) struct buf text = BUF_INIT(0);
	size_t room = 0;

	if (b->len > 0)
		return b;
	for (int i = 0; i < f->n; i++)
		room += f->ev[i].len + EVENT_ROOM;
	(void)buf_reserve(&text, room);
	for (int i = 0; i < f->n; i++)
		put_event(&text, &f->ev[i], as_message);
	hub_frame_text(b, text.data, text.len);
	return b;
}

void
hub_frame_free(struct hub_frame *f)
{
	buf_free(&f->bytes[0]);
	buf_free(&f->bytes[1]);
}
