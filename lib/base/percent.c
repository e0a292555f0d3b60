/*
 * percent: see percent.h. A NUL is refused in either form: it would end the text for whoever reads it next. Whether what comes out is
 * UTF-8 is for the caller to ask.
 */
#include "percent.h"

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
percent_byte(const char *s, size_t len)
{
	int high = len > 2 && s[0] == '%' ? hex(s[1]) : -1, low = high >= 0 ? hex(s[2]) : -1;

	return low >= 0 && high + low > 0 ? high << 4 | low : -1;
}

bool
percent_decode(const char *s, size_t len, bool plus, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int c = plus && s[i] == '+' ? ' ' : (unsigned char)s[i];

		if (c == '%') {
			c = percent_byte(s + i, len - i);
			i += 2;
		}
		if (c <= 0 || n + 1 >= size)
			return false;
		out[n++] = (char)c;
	}
	if (size == 0)
		return false;
	out[n] = '\0';
	return true;
}
