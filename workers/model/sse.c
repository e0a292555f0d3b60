/*
 * sse: a strict line parser for event streams.
 *
 * Bytes are gathered to lines and lines to events; a line that came whole is read where it stands. The result does not depend on how the
 * network cut the stream. One event may hold at most max_bytes; crossing that ends the stream with -1 instead of growing. The parser knows
 * nothing of JSON or of models.
 */
#include "sse.h"

#include <string.h>

void
sse_init(struct sse *s, size_t max_bytes)
{
	*s = (struct sse){ .line = BUF_INIT(max_bytes), .data = BUF_INIT(max_bytes) };
}

void
sse_free(struct sse *s)
{
	buf_free(&s->line);
	buf_free(&s->data);
}

static int
dispatch(struct sse *s, sse_fn *fn, void *ctx)
{
	int rc = 0;

	if (s->has_data)
		rc = fn(ctx, s->event, s->data.data ? s->data.data : "", s->data.len);
	s->has_data = false;
	s->event[0] = '\0';
	buf_reset(&s->data);
	return rc;
}

static void
field(struct sse *s, const char *name, size_t name_len, const char *value, size_t len)
{
	if (name_len == 4 && !memcmp(name, "data", 4)) {
		if (s->has_data)
			buf_ch(&s->data, '\n');
		buf_put(&s->data, value, len);
		s->has_data = true;
	} else if (name_len == 5 && !memcmp(name, "event", 5)) {
		if (len >= sizeof(s->event))
			len = sizeof(s->event) - 1;
		memcpy(s->event, value, len);
		s->event[len] = '\0';
	}
}

/* One whole line. */
static int
line_done(struct sse *s, const char *p, size_t len, sse_fn *fn, void *ctx)
{
	const char *end = p + len, *colon, *value;
	int rc = 0;

	if (!s->started && end - p >= 3 && !memcmp(p, "\xef\xbb\xbf", 3))
		p += 3;
	s->started = true;
	if (p == end) {
		rc = dispatch(s, fn, ctx);
	} else if (*p != ':') {
		colon = memchr(p, ':', (size_t)(end - p));
		value = colon ? colon + 1 : end;
		if (value < end && *value == ' ')
			value++;
		field(s, p, (size_t)((colon ? colon : end) - p), value, (size_t)(end - value));
	}
	return rc;
}

/* The one that was gathered. */
static int
gathered_done(struct sse *s, sse_fn *fn, void *ctx)
{
	int rc = s->line.over ? 0 : line_done(s, s->line.data ? s->line.data : "", s->line.len, fn, ctx);

	if (!s->line.over)
		buf_reset(&s->line);
	return rc;
}

int
sse_feed(struct sse *s, const char *bytes, size_t n, sse_fn *fn, void *ctx)
{
	const char *p = bytes, *end = bytes + n;
	size_t len;

	while (p < end) {
		const char *from = p;
		int rc;

		if (s->after_cr && *p == '\n') {
			s->after_cr = false;
			p++;
			continue;
		}
		s->after_cr = false;
		while (p < end && *p != '\n' && *p != '\r')
			p++;
		len = (size_t)(p - from);
		if (p == end || s->line.len > 0 || len > s->line.max)
			buf_put(&s->line, from, len);
		if (p < end) {
			s->after_cr = *p++ == '\r';
			rc = s->line.len > 0 || s->line.over ? gathered_done(s, fn, ctx) : line_done(s, from, len, fn, ctx);
			if (rc)
				return rc;
		}
		if (s->line.over || s->data.over)
			return -1;
	}
	return 0;
}

int
sse_end(struct sse *s, sse_fn *fn, void *ctx)
{
	int rc = 0;

	if (s->line.len)
		rc = gathered_done(s, fn, ctx);
	if (s->line.over || s->data.over)
		return -1;
	return rc ? rc : dispatch(s, fn, ctx);
}
