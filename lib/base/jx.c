/*
 * jx: see jx.h. jansson would refuse deep nesting only after allocating 2,048 levels, and reports it in its own words, so a byte scan
 * counts the brackets first. The scan also finds NUL escapes, which jansson words badly.
 */
#include "jx.h"

#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

size_t
jx_string_end(const char *text, size_t len, size_t i)
{
	const char *quote = NULL, *escape;

	for (i++; i < len; i = (size_t)(escape - text) + 2) {
		if (!quote || quote < text + i)
			quote = memchr(text + i, '"', len - i);
		if (!quote)
			return len;
		escape = memchr(text + i, '\\', (size_t)(quote - (text + i)));
		if (!escape)
			return (size_t)(quote - text) + 1;
	}
	return len;
}

/* Deepest nesting of text; strings are skipped. An unfinished string ends the scan: the parser reports it. */
static int
depth_of(const char *text, size_t len)
{
	int depth = 0, deepest = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		switch (text[i]) {
		case '"':
			i = jx_string_end(text, len, i) - 1;
			break;
		case '{':
		case '[':
			if (++depth > deepest)
				deepest = depth;
			break;
		case '}':
		case ']':
			depth--;
			break;
		default:
			break;
		}
	}
	return deepest;
}

int
jx_parse(const char *text, size_t len, json_t **out, struct err *e)
{
	json_error_t why;
	json_t *v;

	if (depth_of(text, len) > JX_DEPTH_MAX)
		return err_set(e, EK_INVALID, 0, "Failed to parse request body: nesting deeper than %d levels", JX_DEPTH_MAX);
	v = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
	if (!v)
		return err_set(e, EK_INVALID, 0, "Failed to parse request body: invalid JSON at line %d column %d: %s",
		    why.line, why.column, why.text);
	*out = v;
	return 0;
}

const char *
jx_str(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(obj, key));
}

json_int_t
jx_int(const json_t *obj, const char *key, json_int_t dflt)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_integer(v) ? json_integer_value(v) : dflt;
}

int
jx_bool(const json_t *obj, const char *key, int dflt)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_boolean(v) ? json_is_true(v) : dflt;
}

char *
jx_dump(const json_t *v)
{
	struct buf b = BUF_INIT(0);

	jx_write(&b, v);
	return b.data;
}
