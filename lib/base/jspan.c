/*
 * jspan: spans of JSON text.
 *
 * Two halves. The reader skips values by matching quotes and brackets only, strings by memchr and without recursion, so that walking
 * a context costs about as much as copying it. The checker is a strict recursive descent with a depth limit; it alone decides whether
 * text from outside may be spliced into our documents. Nothing here allocates or fails otherwise than by returning false.
 */
#include "jspan.h"

#include <string.h>

static const char *
skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

/* p is at the opening quote; returns what follows the closing one, or NULL. A quote behind an odd run of backslashes is text. */
static const char *
skip_string(const char *p, const char *end)
{
	const char *from = p + 1, *quote, *back;

	for (p = from; p < end; p = quote + 1) {
		quote = memchr(p, '"', (size_t)(end - p));
		if (!quote)
			return NULL;
		for (back = quote; back > from && back[-1] == '\\'; back--)
			;
		if ((quote - back) % 2 == 0)
			return quote + 1;
	}
	return NULL;
}

/* p is at a value's first byte; returns what follows the value, or NULL. */
static const char *
skip_value(const char *p, const char *end)
{
	const char *start = p;
	int depth = 0;

	if (p >= end)
		return NULL;
	if (*p == '"')
		return skip_string(p, end);
	if (*p != '{' && *p != '[') {
		while (p < end && !memchr(",]} \t\n\r:\"[{", *p, 11))
			p++;
		return p > start ? p : NULL;
	}
	while (p < end) {
		if (*p == '"') {
			p = skip_string(p, end);
			if (!p)
				return NULL;
			continue;
		}
		if (*p == '{' || *p == '[')
			depth++;
		else if ((*p == '}' || *p == ']') && --depth == 0)
			return p + 1;
		p++;
	}
	return NULL;
}

struct jspan_iter
jspan_list(const char *text, size_t len)
{
	return (struct jspan_iter){ text, text + len };
}

static struct jspan_iter
inside(struct jspan s, char open)
{
	if (s.n < 2 || s.p[0] != open)
		return (struct jspan_iter){ s.p, s.p };
	return (struct jspan_iter){ s.p + 1, s.p + s.n - 1 };
}

struct jspan_iter
jspan_object(struct jspan object)
{
	return inside(object, '{');
}

struct jspan_iter
jspan_array(struct jspan array)
{
	return inside(array, '[');
}

/* Step over one comma, if there is one. */
static const char *
skip_comma(const char *p, const char *end)
{
	p = skip_space(p, end);
	return p < end && *p == ',' ? skip_space(p + 1, end) : p;
}

bool
jspan_next(struct jspan_iter *it, struct jspan *out_value)
{
	const char *start = skip_space(it->p, it->end), *after = skip_value(start, it->end);

	if (!after) {
		it->p = it->end;
		return false;
	}
	*out_value = (struct jspan){ start, (size_t)(after - start) };
	it->p = skip_comma(after, it->end);
	return true;
}

bool
jspan_member(struct jspan_iter *it, struct jspan *out_key, struct jspan *out_value)
{
	const char *key = skip_space(it->p, it->end), *after, *start;

	if (key >= it->end || *key != '"')
		goto out;
	after = skip_string(key, it->end);
	if (!after)
		goto out;
	start = skip_space(after, it->end);
	if (start >= it->end || *start != ':')
		goto out;
	start = skip_space(start + 1, it->end);
	*out_key = (struct jspan){ key + 1, (size_t)(after - key) - 2 };
	after = skip_value(start, it->end);
	if (!after)
		goto out;
	*out_value = (struct jspan){ start, (size_t)(after - start) };
	it->p = skip_comma(after, it->end);
	return true;
out:
	it->p = it->end;
	return false;
}

bool
jspan_get(struct jspan object, const char *key, struct jspan *out_value)
{
	struct jspan_iter it = jspan_object(object);
	struct jspan k, v;
	size_t n = strlen(key);

	while (jspan_member(&it, &k, &v)) {
		if (k.n == n && !memcmp(k.p, key, n)) {
			*out_value = v;
			return true;
		}
	}
	return false;
}

bool
jspan_is(struct jspan value, const char *text)
{
	size_t n = strlen(text);

	return value.n == n + 2 && value.p[0] == '"' && !memcmp(value.p + 1, text, n);
}

bool
jspan_blank(struct jspan value)
{
	const char *p = value.p + 1, *end = value.p + value.n - 1;

	if (value.n < 2 || *value.p != '"')
		return false;
	for (; p < end; p++) {
		if (*p == ' ')
			continue;
		if (*p != '\\' || ++p >= end || !memchr("nrt", *p, 3))
			return false;
	}
	return true;
}

bool
jspan_int(struct jspan value, int64_t *out)
{
	const char *p = value.p, *end = value.p + value.n;
	bool minus = p < end && *p == '-';
	int64_t v = 0;

	p += minus;
	if (p >= end || end - p > 18)
		return false;
	for (; p < end; p++) {
		if (*p < '0' || *p > '9')
			return false;
		v = v * 10 + (*p - '0');
	}
	*out = minus ? -v : v;
	return true;
}

/* Four hex digits, or -1. */
static int32_t
hex4(const char *p, const char *end)
{
	int32_t v = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = p[i];

		if (c >= '0' && c <= '9')
			v = v * 16 + (c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			v = v * 16 + ((c | 32) - 'a' + 10);
		else
			return -1;
	}
	return v;
}

static void
put_utf8(struct buf *out, int32_t c)
{
	char b[4];
	size_t n;

	if (c == 0 || (c >= 0xd800 && c < 0xe000))
		c = 0xfffd;
	if (c < 0x80) {
		b[0] = (char)c;
		n = 1;
	} else if (c < 0x800) {
		b[0] = (char)(0xc0 | (c >> 6));
		b[1] = (char)(0x80 | (c & 0x3f));
		n = 2;
	} else if (c < 0x10000) {
		b[0] = (char)(0xe0 | (c >> 12));
		b[1] = (char)(0x80 | ((c >> 6) & 0x3f));
		b[2] = (char)(0x80 | (c & 0x3f));
		n = 3;
	} else {
		b[0] = (char)(0xf0 | (c >> 18));
		b[1] = (char)(0x80 | ((c >> 12) & 0x3f));
		b[2] = (char)(0x80 | ((c >> 6) & 0x3f));
		b[3] = (char)(0x80 | (c & 0x3f));
		n = 4;
	}
	buf_put(out, b, n);
}

/* p is behind "\u"; appends the character and returns what follows, taking a second half of a pair along. */
static const char *
put_escape_u(struct buf *out, const char *p, const char *end)
{
	int32_t c = hex4(p, end), low;

	if (c < 0) {
		put_utf8(out, 0);
		return p;
	}
	p += 4;
	if (c >= 0xd800 && c < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
		low = hex4(p + 2, end);
		if (low >= 0xdc00 && low < 0xe000) {
			put_utf8(out, 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00));
			return p + 6;
		}
	}
	put_utf8(out, c);
	return p;
}

void
jspan_unquote(struct buf *out, struct jspan string)
{
	const char *p = string.p + 1, *end = string.p + string.n - 1, *from;

	if (string.n < 2 || *string.p != '"')
		return;
	while (p < end) {
		static const char names[] = "nrtbf", values[] = "\n\r\t\b\f";
		const char *hit;

		for (from = p; p < end && *p != '\\'; p++)
			;
		buf_put(out, from, (size_t)(p - from));
		if (p >= end || ++p >= end)
			break;
		if (*p == 'u') {
			p = put_escape_u(out, p + 1, end);
			continue;
		}
		hit = memchr(names, *p, sizeof(names) - 1);
		buf_ch(out, hit ? values[hit - names] : *p);
		p++;
	}
}

/* ---- the strict half ---- */

/* Length of the well-formed UTF-8 sequence at p (no overlong forms, no surrogates), or 0. */
static size_t
utf8_len(const unsigned char *p, const unsigned char *end)
{
	size_t n = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : *p >= 0xe0 && *p < 0xf0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;

	if (!n || (size_t)(end - p) < n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

static const char *
check_escape(const char *p, const char *end)
{
	int32_t c;

	if (p >= end)
		return NULL;
	if (*p != 'u')
		return memchr("\"\\/bfnrt", *p, 8) ? p + 1 : NULL;
	c = hex4(p + 1, end);
	p += 5;
	if (c < 0 || (c >= 0xdc00 && c < 0xe000))
		return NULL;
	if (c < 0xd800 || c >= 0xe000)
		return p;
	if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
		return NULL;
	c = hex4(p + 2, end);
	return c >= 0xdc00 && c < 0xe000 ? p + 6 : NULL;
}

static const char *
check_string(const char *p, const char *end)
{
	if (p >= end || *p != '"')
		return NULL;
	p++;
	while (p && p < end) {
		size_t n;

		if (*p == '"')
			return p + 1;
		if (*p == '\\') {
			p = check_escape(p + 1, end);
			continue;
		}
		n = (unsigned char)*p < 0x20 ? 0 : utf8_len((const unsigned char *)p, (const unsigned char *)end);
		if (!n)
			return NULL;
		p += n;
	}
	return NULL;
}

static const char *
digits(const char *p, const char *end)
{
	const char *start = p;

	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p > start ? p : NULL;
}

static const char *
check_number(const char *p, const char *end)
{
	if (p < end && *p == '-')
		p++;
	if (p < end && *p == '0')
		p++;
	else
		p = digits(p, end);
	if (p && p < end && *p == '.')
		p = digits(p + 1, end);
	if (p && p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		p = digits(p, end);
	}
	return p;
}

static const char *
check_word(const char *p, const char *end, const char *word)
{
	size_t n = strlen(word);

	return (size_t)(end - p) >= n && !memcmp(p, word, n) ? p + n : NULL;
}

static const char *check_value(const char *p, const char *end, int depth);

/* An object or array; p is behind its opening bracket. */
static const char *
check_members(const char *p, const char *end, char close, int depth)
{
	p = skip_space(p, end);
	if (p < end && *p == close)
		return p + 1;
	for (;;) {
		if (close == '}') {
			p = check_string(skip_space(p, end), end);
			if (!p)
				return NULL;
			p = skip_space(p, end);
			if (p >= end || *p++ != ':')
				return NULL;
		}
		p = check_value(skip_space(p, end), end, depth);
		if (!p)
			return NULL;
		p = skip_space(p, end);
		if (p >= end)
			return NULL;
		if (*p == close)
			return p + 1;
		if (*p++ != ',')
			return NULL;
	}
}

static const char *
check_value(const char *p, const char *end, int depth)
{
	if (p >= end)
		return NULL;
	switch (*p) {
	case '{':
		return depth > 0 ? check_members(p + 1, end, '}', depth - 1) : NULL;
	case '[':
		return depth > 0 ? check_members(p + 1, end, ']', depth - 1) : NULL;
	case '"':
		return check_string(p, end);
	case 't':
		return check_word(p, end, "true");
	case 'f':
		return check_word(p, end, "false");
	case 'n':
		return check_word(p, end, "null");
	default:
		return check_number(p, end);
	}
}

bool
jspan_check_object(const char *text, size_t len, int max_depth)
{
	const char *end = text + len, *p = skip_space(text, end);

	if (p >= end || *p != '{')
		return false;
	p = check_value(p, end, max_depth);
	return p && skip_space(p, end) == end;
}
