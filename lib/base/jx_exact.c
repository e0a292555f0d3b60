/*
 * jx_exact: see jx.h. jansson reads 1.10 as a double and prints 1.1000000000000001, and refuses integers above 2^63. Numbers that it would
 * not give back as they came are put into strings before it parses, and marked in the tree by a first byte that no text of a client can
 * have (0xff is not UTF-8); writing turns them back. A text without such numbers takes the ordinary way, after one scan of its bytes.
 */
#include "jx.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "jw.h"
#include "xalloc.h"

#define MARK 0xff		/* first byte of an exact number in the tree */
#define COVER 1			/* first byte of a string that was an exact number, or began with this byte itself, while jansson parses */
#define COVER_TEXT "\\u0001"
#define DIGITS 18		/* of an integer that certainly fits */
#define LONGEST 400		/* no finite number needs more; jansson may judge it */

static size_t
token_end(const char *text, size_t len, size_t i)
{
	while (i < len && strchr("+-.0123456789eE", text[i]) && text[i])
		i++;
	return i;
}

/* A number of JSON's grammar, finite, that jansson would print otherwise. */
static bool
inexact(const char *t, size_t n)
{
	const char *p = t, *end = t + n;
	char *stop;
	double v;

	if (n > LONGEST)
		return false;
	p += p < end && *p == '-';
	if (p == end || !isdigit((unsigned char)*p) || (*p == '0' && p + 1 < end && isdigit((unsigned char)p[1])))
		return false;
	while (p < end && isdigit((unsigned char)*p))
		p++;
	if (p == end)
		return n > DIGITS ? isfinite(strtod(t, NULL)) : n == 2 && t[0] == '-' && t[1] == '0';
	if (*p == '.' && (++p == end || !isdigit((unsigned char)*p)))
		return false;
	while (p < end && isdigit((unsigned char)*p))
		p++;
	if (p < end && (*p == 'e' || *p == 'E')) {
		p++;
		p += p < end && (*p == '+' || *p == '-');
		if (p == end)
			return false;
		while (p < end && isdigit((unsigned char)*p))
			p++;
	}
	v = strtod(t, &stop);	/* text is NUL-terminated, and a number ends before what follows it */
	return p == end && stop == end && isfinite(v);
}

static bool
has_inexact(const char *text, size_t len)
{
	for (size_t i = 0, end; i < len; i = end) {
		end = i + 1;
		if (text[i] == '"') {
			end = jx_string_end(text, len, i);
		} else if (text[i] == '-' || isdigit((unsigned char)text[i])) {
			end = token_end(text, len, i);
			if (inexact(text + i, end - i))
				return true;
		}
	}
	return false;
}

static bool
is_key(const char *text, size_t len, size_t after)
{
	while (after < len && strchr(" \t\r\n", text[after]) && text[after])
		after++;
	return after < len && text[after] == ':';
}

/* Numbers into covered strings; values that begin with the cover themselves get another one. */
static void
cover(struct buf *b, const char *text, size_t len)
{
	for (size_t i = 0, end; i < len; i = end) {
		end = i + 1;
		if (text[i] == '"') {
			end = jx_string_end(text, len, i);
			buf_ch(b, '"');
			if (end - i > 7 && memcmp(text + i + 1, COVER_TEXT, 6) == 0 && !is_key(text, len, end))
				buf_str(b, COVER_TEXT);
			buf_put(b, text + i + 1, end - i - 1);
			continue;
		}
		if (text[i] == '-' || isdigit((unsigned char)text[i]))
			end = token_end(text, len, i);
		if (inexact(text + i, end - i) && !is_key(text, len, end)) {
			buf_str(b, "\"" COVER_TEXT);
			buf_put(b, text + i, end - i);
			buf_ch(b, '"');
		} else {
			buf_put(b, text + i, end - i);
		}
	}
}

/* The value that a covered string stands for, or NULL when it is not covered. */
static json_t *
uncovered(const json_t *v)
{
	const char *s = json_is_string(v) ? json_string_value(v) : "";
	AUTO(str) char *marked = NULL;

	if (s[0] != COVER)
		return NULL;
	if (s[1] == COVER)
		return json_string(s + 1);
	marked = xstrdup(s);
	marked[0] = (char)MARK;
	return json_stringn_nocheck(marked, strlen(marked));
}

/* Depth is bounded by the parser. */
static void
uncover(json_t *v)
{
	const char *key;
	json_t *item, *other;
	size_t i;

	if (json_is_object(v)) {
		json_object_foreach(v, key, item) {
			if ((other = uncovered(item)))
				json_object_set_new_nocheck(v, key, other);
			else
				uncover(item);
		}
	} else if (json_is_array(v)) {
		json_array_foreach(v, i, item) {
			if ((other = uncovered(item)))
				json_array_set_new(v, i, other);
			else
				uncover(item);
		}
	}
}

int
jx_parse_exact(const char *text, size_t len, json_t **out, struct err *e)
{
	AUTO(buf) struct buf b = BUF_INIT(0);
	json_t *top;

	if (!has_inexact(text, len))
		return jx_parse(text, len, out, e);
	cover(&b, text, len);
	if (jx_parse(b.data, b.len, out, e) < 0) {
		json_t *as_it_is = NULL;
		struct err why = ERR_INIT;

		if (jx_parse(text, len, &as_it_is, &why) < 0)
			*e = why;	/* its line and column are the client's */
		json_decref(as_it_is);
		return -1;
	}
	top = uncovered(*out);
	if (top) {
		json_decref(*out);
		*out = top;
	} else {
		uncover(*out);
	}
	return 0;
}

bool
jx_is_exact(const json_t *v)
{
	return json_is_string(v) && (unsigned char)json_string_value(v)[0] == MARK;
}

static int
dump_into(const char *data, size_t len, void *out)
{
	buf_put(out, data, len);
	return 0;
}

/* By hand: jansson refuses to write what is not UTF-8. */
static void
write_exact(struct buf *b, const json_t *v)
{
	bool first = true;
	const char *key;
	json_t *item;
	size_t i;

	if (json_is_object(v)) {
		buf_ch(b, '{');
		json_object_foreach((json_t *)v, key, item) {
			if (!first)
				buf_ch(b, ',');
			first = false;
			jw_quote(b, key, strlen(key));
			buf_ch(b, ':');
			write_exact(b, item);
		}
		buf_ch(b, '}');
	} else if (json_is_array(v)) {
		buf_ch(b, '[');
		json_array_foreach(v, i, item) {
			if (i > 0)
				buf_ch(b, ',');
			write_exact(b, item);
		}
		buf_ch(b, ']');
	} else if (jx_is_exact(v)) {
		buf_str(b, json_string_value(v) + 1);
	} else if (json_is_string(v)) {
		jw_quote(b, json_string_value(v), json_string_length(v));
	} else {
		must(json_dump_callback(v, dump_into, b, JSON_COMPACT | JSON_ENCODE_ANY) == 0);
	}
}

void
jx_write(struct buf *b, const json_t *v)
{
	size_t start = b->len;

	if (json_dump_callback(v, dump_into, b, JSON_COMPACT | JSON_ENCODE_ANY) == 0)
		return;
	b->len = start;
	write_exact(b, v);
}
