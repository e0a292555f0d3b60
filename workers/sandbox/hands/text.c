/*
 * text: see text.h. Follows RFC 3629: overlong forms, surrogates and values above U+10FFFF are invalid; each invalid byte is replaced
 * on its own, so the cost is linear and the growth at most threefold.
 */
#include "text.h"

#include <string.h>

/* Length of the valid character at p, or 0. */
static size_t
character(const unsigned char *p, size_t left)
{
	size_t n, i;
	unsigned min, value;

	if (p[0] == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2, value = p[0] & 0x1f, min = 0x80;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		n = 3, value = p[0] & 0x0f, min = 0x800;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4, value = p[0] & 0x07, min = 0x10000;
	else
		return 0;
	if (n > left)
		return 0;
	for (i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (p[i] & 0x3f);
	}
	return value < min || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff) ? 0 : n;
}

bool
text_clean(struct buf *out, const char *data, size_t len, size_t max, bool keep_tail)
{
	struct buf all = { 0 };
	const unsigned char *p = (const unsigned char *)data;
	size_t at = 0, run = 0, n, from = 0, to;
	bool cut;

	while (at < len) {
		n = character(p + at, len - at);
		if (n == 0) {
			buf_put(&all, data + run, at - run);
			buf_str(&all, "\xef\xbf\xbd");
			run = ++at;
		} else {
			at += n;
		}
	}
	buf_put(&all, data + run, at - run);
	to = all.len;
	cut = all.len > max;
	if (cut && keep_tail)
		for (from = all.len - max; from < all.len && (all.data[from] & 0xc0) == 0x80; from++)
			;
	else if (cut)
		for (to = max; to > 0 && (all.data[to] & 0xc0) == 0x80; to--)
			;
	if (to > from)
		buf_put(out, all.data + from, to - from);
	buf_free(&all);
	return cut;
}

/* Length of the character at p when it may be shown as it is: printable, no C1 control. */
static size_t
printable(const unsigned char *p, size_t left)
{
	size_t n = character(p, left);

	if ((n == 1 && (p[0] < 0x20 || p[0] == 0x7f)) || (n == 2 && p[0] == 0xc2 && p[1] < 0xa0))
		return 0;
	return n;
}

void
text_path(struct buf *out, const char *path)
{
	const unsigned char *p = (const unsigned char *)path;
	size_t left = strlen(path), n;

	for (; left > 0; p += n, left -= n) {
		n = *p == '\\' ? 0 : printable(p, left);
		if (n)
			buf_put(out, p, n);
		else
			buf_printf(out, "\\x%02x", *p);
		n += n == 0;
	}
}

void
text_name(struct buf *out, const char *name)
{
	const unsigned char *p = (const unsigned char *)name;
	size_t left = strlen(name), n;
	int chars;

	for (chars = 0; left > 0 && chars < 255; chars++, p += n, left -= n) {
		n = strchr("<>:\"|?*\\/", *p) ? 0 : printable(p, left);
		if (n)
			buf_put(out, p, n);
		else
			buf_ch(out, '_');
		n += n == 0;
	}
}
