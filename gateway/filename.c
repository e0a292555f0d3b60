/*
 * filename: see filename.h. A name that has passed is safe as one component of a path and, through filename_disposition(), in a header:
 * it has no separator, no quote and no control character.
 */
#include "filename.h"

#include <stdio.h>
#include <string.h>

#include "mime.h"

#define CHARS 255

/* One code point at p; its bytes into *len. -1: not UTF-8 (overlong forms, surrogates and what is beyond Unicode included). */
static long
code_point(const unsigned char *p, size_t *len)
{
	static const long least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = *p < 0x80 ? 1 : *p >> 5 == 6 ? 2 : *p >> 4 == 14 ? 3 : *p >> 3 == 30 ? 4 : 0;
	long c;

	if (n == 0)
		return -1;
	c = n == 1 ? *p : *p & (0x7f >> n);
	for (size_t i = 1; i < n; i++) {
		if (p[i] >> 6 != 2)
			return -1;
		c = c << 6 | (p[i] & 0x3f);
	}
	*len = n;
	return c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? -1 : c;
}

static const char *
last_component(const char *s)
{
	const char *last = s;

	for (; *s; s++)
		if (*s == '/' || *s == '\\')
			last = s + 1;
	return last;
}

int
filename_clean(const char *sent, const char *mime, char out[FILENAME_BYTES], struct err *e)
{
	const char *name = last_component(sent);
	size_t chars = 0, len = 0;

	if (!*name) {
		snprintf(out, FILENAME_BYTES, "unnamed%s", mime_ending(mime));
		return 0;
	}
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return err_set(e, EK_INVALID, 0, "file: filename: must not be \"%s\"", name);
	for (const char *p = name; *p; p += len) {
		long c = code_point((const unsigned char *)p, &len);

		if (c < 0)
			return err_set(e, EK_INVALID, 0, "file: filename: not valid UTF-8");
		if (c < 0x20 || (c >= 0x7f && c < 0xa0) || (c < 0x80 && strchr("<>:\"|?*", (int)c)))
			return err_set(e, EK_INVALID, 0, "file: filename: must not contain control characters or any of < > : \" | ? * \\ /");
		if (++chars > CHARS)
			return err_set(e, EK_INVALID, 0, "file: filename: must be 1 to %d characters", CHARS);
	}
	snprintf(out, FILENAME_BYTES, "%s", name);
	return 0;
}

void
filename_disposition(struct buf *out, const char *name)
{
	bool plain = true;

	buf_str(out, "Content-Disposition: attachment; filename=\"");
	for (const char *p = name; *p; p++) {
		unsigned char c = (unsigned char)*p;

		plain = plain && c < 0x80 && c != '%';
		if (c < 0x80)
			buf_ch(out, c == '"' || c == '\\' || c < ' ' || c == 0x7f || c == '%' ? '_' : (char)c);
		else if (c >= 0xc0)
			buf_ch(out, '_');
	}
	buf_ch(out, '"');
	if (!plain) {
		buf_str(out, "; filename*=utf-8''");
		for (const char *p = name; *p; p++)
			if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~", *p))
				buf_ch(out, *p);
			else
				buf_printf(out, "%%%02X", (unsigned char)*p);
	}
	buf_str(out, "\r\n");
}
