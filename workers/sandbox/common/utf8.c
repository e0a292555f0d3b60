/*
 * utf8: see utf8.h. Overlong forms, surrogates and values above U+10FFFF are invalid. Cost is linear, nothing is allocated.
 */
#include "utf8.h"

size_t
utf8_char(const char *text, size_t left)
{
	const unsigned char *p = (const unsigned char *)text;
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

size_t
utf8_count(const char *p, size_t len)
{
	size_t at = 0, n, count = 0;

	for (; at < len; at += n ? n : 1, count++)
		n = utf8_char(p + at, len - at);
	return count;
}
