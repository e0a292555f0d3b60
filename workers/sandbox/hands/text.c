/*
 * text: see text.h. What is a character is said by utf8.h; each invalid byte is replaced
 * on its own, so the cost is linear and the growth at most threefold.
 */
#include "text.h"

#include <stdint.h>
#include <string.h>

#include "utf8.h"

bool
text_clean(struct buf *out, const char *data, size_t len, size_t max, bool keep_tail)
{
	struct buf all = { 0 };
	size_t at = 0, run = 0, n, from = 0, to;
	bool cut;

	while (at < len) {
		n = utf8_char(data + at, len - at);
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

/*
 * What a name must not hold because it makes it look like another one: controls, line breaks, marks of the writing direction
 * ("photo\u202egpj.exe"), what is not seen at all. Joiners stay: scripts and emoji need them.
 */
static const struct { uint32_t from, to; } unseen[] = {
	{ 0x00, 0x1f }, { 0x7f, 0x9f }, { 0xad, 0xad }, { 0x61c, 0x61c }, { 0x180e, 0x180e }, { 0x200b, 0x200b }, { 0x200e, 0x200f },
	{ 0x2028, 0x202e }, { 0x2060, 0x206f }, { 0xfeff, 0xfeff }, { 0xfff9, 0xfffb }, { 0xe0000, 0xe007f },
};

/* Length of the character at p when it may be shown as it is. */
static size_t
printable(const unsigned char *p, size_t left)
{
	size_t n = utf8_char((const char *)p, left);
	uint32_t c = n < 2 ? *p : *p & (0x7fu >> n);

	for (size_t i = 1; i < n; i++)
		c = c << 6 | (p[i] & 0x3f);
	for (size_t i = 0; i < sizeof unseen / sizeof *unseen; i++)
		if (c >= unseen[i].from && c <= unseen[i].to)
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
