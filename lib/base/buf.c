/*
 * buf: see buf.h. Grows by half, at least to what is asked; the ceiling is checked before the allocation, so a flood costs nothing.
 */
#include "buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

/* realloc would leave the old bytes behind. */
static void
move(struct buf *b, size_t cap)
{
	char *to = xmalloc(cap);

	if (b->data) {
		memcpy(to, b->data, b->len + 1);
		explicit_bzero(b->data, b->cap);
		free(b->data);
	}
	b->data = to;
}

char *
buf_reserve(struct buf *b, size_t len)
{
	size_t need = b->len + len + 1, cap;

	if (b->over || need < len || (b->max && b->len + len > b->max)) {
		b->over = true;
		return NULL;
	}
	if (need > b->cap) {
		cap = b->cap + b->cap / 2;
		if (cap < need)
			cap = need < 64 ? 64 : need;
		if (b->secret)
			move(b, cap);
		else
			b->data = xrealloc(b->data, cap);
		b->cap = cap;
	}
	return b->data + b->len;
}

/* What may be written without asking: bytes of memory that the ceiling allows, the NUL included. */
static size_t
room(const struct buf *b)
{
	size_t n = b->cap - b->len;

	if (b->over)
		return 0;
	return b->max && b->max - b->len < n ? b->max - b->len + 1 : n;
}

void
buf_put(struct buf *b, const void *data, size_t len)
{
	char *at = buf_reserve(b, len);

	if (!at)
		return;
	if (len)
		memcpy(at, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_str(struct buf *b, const char *s) { buf_put(b, s, strlen(s)); }

void
buf_ch(struct buf *b, char c)
{
	if (room(b) < 2) {
		buf_put(b, &c, 1);
		return;
	}
	b->data[b->len++] = c;
	b->data[b->len] = '\0';
}

void
buf_int(struct buf *b, int64_t v)
{
	uint64_t left = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	char text[24], *end = text + sizeof text, *p = end;

	do
		*--p = (char)('0' + left % 10);
	while ((left /= 10) > 0);
	if (v < 0)
		*--p = '-';
	buf_put(b, p, (size_t)(end - p));
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	size_t have = room(b);		/* most texts fit where they go: then they are made once */
	va_list ap, again;
	char *at;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(have > 0 ? b->data + b->len : NULL, have, fmt, ap);
	va_end(ap);
	must(n >= 0);
	if ((size_t)n < have) {
		b->len += (size_t)n;
		va_end(again);
		return;
	}
	if (have > 0)
		b->data[b->len] = '\0';
	at = buf_reserve(b, (size_t)n);
	if (at) {
		vsnprintf(at, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
}

void
buf_shift(struct buf *b, size_t n)
{
	must(n <= b->len);
	if (n == 0)
		return;
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
	b->data[b->len] = '\0';
}

void
buf_reset(struct buf *b)
{
	if (b->secret && b->data)
		explicit_bzero(b->data, b->cap);
	b->len = 0;
	b->over = false;
	if (b->data)
		b->data[0] = '\0';
}

char *
buf_steal(struct buf *b)
{
	char *out = b->data ? b->data : xstrdup("");

	b->data = NULL;
	b->len = b->cap = 0;
	b->over = false;
	return out;
}

void
buf_free(struct buf *b)
{
	if (b->secret && b->data)
		explicit_bzero(b->data, b->cap);
	free(b->data);
	b->data = NULL;
	b->len = b->cap = 0;
}
