/*
 * shape: see shape.h. Two walks over table and tree: form_*() for what the contract calls parse errors, limits_*() for semantic ones.
 * The place of a value is a linked list on the stack, rendered only when something is wrong: tools[0].name for the first kind,
 * tools.0.custom.name for the second. The walks' depth is that of the tables, never that of the input.
 */
#include "shape.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "jx.h"

/* One step of a path: a key or an index, and the variant chosen there when semantic paths name it. */
struct at {
	const struct at *up;
	const char *key;
	size_t index;
	const char *variant;
};

static void
path_put(const struct at *at, bool dotted, struct buf *b)
{
	if (!at)
		return;
	path_put(at->up, dotted, b);
	if (at->key) {
		if (b->len)
			buf_ch(b, '.');
		buf_printf(b, "%.80s", at->key);
	} else {
		buf_printf(b, dotted ? ".%zu" : "[%zu]", at->index);
	}
	if (dotted && at->variant) {
		buf_ch(b, '.');
		for (const char *p = at->variant; *p; p++)
			buf_ch(b, *p == '.' ? '_' : *p);
	}
}

static int
form_error(const struct at *at, struct err *e, const char *what, const char *more)
{
	AUTO(buf) struct buf path = BUF_INIT(256);

	path_put(at, false, &path);
	return err_set(e, EK_INVALID, 0, "Failed to parse request%s: %s%s%s%s", path.len ? "" : " body", path.len ? path.data : "",
	    path.len ? ": " : "", what, more);
}

static int limit_error(const struct at *at, struct err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int
limit_error(const struct at *at, struct err *e, const char *fmt, ...)
{
	AUTO(buf) struct buf path = BUF_INIT(256);
	char what[128];
	va_list ap;

	path_put(at, true, &path);
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	return err_set(e, EK_INVALID, 0, "%s: %s", path.len ? path.data : "body", what);
}

bool
shape_multipart(const struct shape *s)
{
	for (const struct shape_field *f = s->fields; f->key; f++)
		if (f->kind == SK_FILE)
			return true;
	return false;
}

bool
shape_secret(const struct shape *s)
{
	for (const struct shape_field *f = s->fields; f->key; f++)
		if (f->flags & F_SECRET)
			return true;
	return false;
}

int64_t
shape_chars(const char *s)
{
	int64_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

/* A string, and not a number that is kept as one (jx_parse_exact). */
static bool
is_text(const json_t *v)
{
	return json_is_string(v) && !jx_is_exact(v);
}

static const char *
type_name(const json_t *v)
{
	static const char *const names[] = {
		[JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "a string", [JSON_INTEGER] = "an integer",
		[JSON_REAL] = "a number", [JSON_TRUE] = "a boolean", [JSON_FALSE] = "a boolean", [JSON_NULL] = "null"
	};

	return jx_is_exact(v) ? "a number" : names[json_typeof(v)];
}

static int
form_wrong(const struct at *at, struct err *e, const char *want, const json_t *got)
{
	char text[96];

	snprintf(text, sizeof text, "expected %s, got %s", want, type_name(got));
	return form_error(at, e, text, json_is_null(got) ? "; omit the field instead" : "");
}

static const struct shape_variant *
variant_of(const struct shape_union *u, const json_t *v)
{
	const char *tag = jx_str(v, u->key);

	for (const struct shape_variant *o = u->variants; tag && o->tag; o++)
		if (strcmp(o->tag, tag) == 0)
			return o;
	return NULL;
}

/* --- first walk: form ------------------------------------------------------------------------------------------------------ */

static int form_object(const struct shape *s, const json_t *v, const struct at *at, const char *tag, struct err *e);

static int
form_value_unknown(const struct at *at, const char *got, struct buf *legal, struct err *e)
{
	char head[160];

	snprintf(head, sizeof head, "\"%.60s\" is not a valid value; expected one of ", got);
	return form_error(at, e, head, legal->data ? legal->data : "");
}

static int
form_enum(const char *const *values, const char *got, const struct at *at, struct err *e)
{
	AUTO(buf) struct buf legal = BUF_INIT(400);

	for (const char *const *o = values; *o; o++) {
		if (strcmp(*o, got) == 0)
			return 0;
		buf_printf(&legal, "%s\"%s\"", legal.len ? ", " : "", *o);
	}
	return form_value_unknown(at, got, &legal, e);
}

static int
form_union(const struct shape_union *u, const json_t *v, const struct at *at, struct err *e)
{
	const struct at tag_at = { .up = at, .key = u->key };
	const struct shape_variant *chosen = variant_of(u, v);
	const json_t *tag = json_object_get(v, u->key);
	AUTO(buf) struct buf legal = BUF_INIT(400);

	if (!tag)
		return form_error(&tag_at, e, "value is required", "");
	if (!is_text(tag))
		return form_wrong(&tag_at, e, "a string", tag);
	if (chosen)
		return form_object(chosen->shape, v, at, u->key, e);
	for (const struct shape_variant *o = u->variants; o->tag; o++)
		buf_printf(&legal, "%s\"%s\"", legal.len ? ", " : "", o->tag);
	return form_value_unknown(&tag_at, json_string_value(tag), &legal, e);
}

static int
form_map(const struct shape_field *f, const json_t *v, const struct at *at, struct err *e)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)v, key, value) {
		const struct at here = { .up = at, .key = key };

		if (!is_text(value) && !((f->flags & F_DEL) && json_is_null(value)))
			return form_wrong(&here, e, f->flags & F_DEL ? "a string or null" : "a string", value);
	}
	return 0;
}

static int
form_value(const struct shape_field *f, const json_t *v, const struct at *at, struct err *e)
{
	if (f->kind == SK_STRING || (f->text && is_text(v))) {
		if (!is_text(v))
			return form_wrong(at, e, "a string", v);
		return f->values ? form_enum(f->values, json_string_value(v), at, e) : 0;
	}
	if (f->kind == SK_INT)
		return json_is_integer(v) ? 0 : form_wrong(at, e, "an integer", v);
	if (f->kind == SK_BOOL)
		return json_is_boolean(v) ? 0 : form_wrong(at, e, "a boolean", v);
	if (!json_is_object(v))
		return form_wrong(at, e, f->text ? "a string or an object" : "an object", v);
	switch (f->kind) {
	case SK_OBJECT:
		return form_object(f->shape, v, at, NULL, e);
	case SK_UNION:
		return form_union(f->one, v, at, e);
	case SK_MAP:
		return form_map(f, v, at, e);
	default:
		return 0;
	}
}

static int
form_field(const struct shape_field *f, const json_t *v, const struct at *up, struct err *e)
{
	const struct at at = { .up = up, .key = f->key };
	json_t *item;
	size_t i;

	if (json_is_null(v) && (f->flags & F_NULL))
		return 0;
	if (!f->list)
		return form_value(f, v, &at, e);
	if (!json_is_array(v))
		return form_wrong(&at, e, "an array", v);
	json_array_foreach(v, i, item) {
		const struct at here = { .up = &at, .index = i };

		if (form_value(f, item, &here, e) < 0)
			return -1;
	}
	return 0;
}

static const struct shape_field *
field_of(const struct shape *s, const char *key)
{
	for (const struct shape_field *f = s->fields; f->key; f++)
		if (strcmp(f->key, key) == 0)
			return f;
	return NULL;
}

/* tag: the key that told the variant, which the shape does not list. */
static int
form_object(const struct shape *s, const json_t *v, const struct at *at, const char *tag, struct err *e)
{
	const struct shape_field *f;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)v, key, value) {
		f = field_of(s, key);
		if (!f && tag && strcmp(key, tag) == 0)
			continue;
		if (!f) {
			AUTO(buf) struct buf path = BUF_INIT(256);

			path_put(at, false, &path);
			return err_set(e, EK_INVALID, 0, "Failed to parse request body: unknown field \"%.100s\"%s%s", key,
			    path.len ? " in " : "", path.len ? path.data : "");
		}
		if (form_field(f, value, at, e) < 0)
			return -1;
	}
	return 0;
}

/* --- second walk: limits ---------------------------------------------------------------------------------------------------- */

static int limits_object(const struct shape *s, const json_t *v, const struct at *at, struct err *e);

/* A line break in a token would be one in a header. */
static bool
has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return true;
	return false;
}

static int
limits_string(const struct shape_field *f, const json_t *v, const struct at *at, struct err *e)
{
	int64_t n;

	if (f->values)
		return 0;
	n = shape_chars(json_string_value(v));
	if (n == 0 && f->min > 0)
		return limit_error(at, e, "value is required");
	if (n < f->min)
		return limit_error(at, e, "must be at least %lld characters", (long long)f->min);
	if (n > f->max)
		return limit_error(at, e, "must be at most %lld characters", (long long)f->max);
	if ((f->flags & F_SECRET) && has_control(json_string_value(v)))
		return limit_error(at, e, "must not contain control characters");
	return 0;
}

/* Metadata's refusal names every problem (contract 1.11): put one behind those before. */
static void
problem(struct err *all, const struct err *one, int *n)
{
	size_t used = strlen(all->pub);

	if ((*n)++ == 0)
		*all = *one;
	else
		snprintf(all->pub + used, sizeof all->pub - used, "; %s", one->pub);
}

static int
limits_map(const struct shape_field *f, const json_t *v, const struct at *at, struct err *e)
{
	int n = 0;
	const char *key;
	json_t *value;
	struct err one;

	if (!(f->flags & F_DEL) && (int64_t)json_object_size(v) > f->max) {
		limit_error(at, &one, "at most %lld pairs are allowed", (long long)f->max);
		problem(e, &one, &n);
	}
	json_object_foreach((json_t *)v, key, value) {
		const struct at here = { .up = at, .key = key };
		int bad = 0;

		if (!key[0])
			bad = limit_error(at, &one, "keys must not be empty");
		else if (shape_chars(key) > SHAPE_KEY_CHARS)
			bad = limit_error(&here, &one, "key must be at most %lld characters", (long long)SHAPE_KEY_CHARS);
		else if (json_is_string(value) && shape_chars(json_string_value(value)) > SHAPE_VALUE_CHARS)
			bad = limit_error(&here, &one, "value must be at most %lld characters", (long long)SHAPE_VALUE_CHARS);
		if (bad)
			problem(e, &one, &n);
	}
	return n > 0 ? err_code(e, EC_INVALID_METADATA) : 0;
}

static int
limits_union(const struct shape_union *u, const json_t *v, struct at *at, struct err *e)
{
	const struct shape_variant *chosen = variant_of(u, v);

	if (u->named)
		at->variant = chosen->tag;
	if (limits_object(chosen->shape, v, at, e) < 0)
		return -1;
	if (chosen->flags & F_LATER)
		return limit_error(at, e, "%s \"%s\" is not supported yet", u->key, chosen->tag);
	return 0;
}

static int
limits_value(const struct shape_field *f, const json_t *v, struct at *at, struct err *e)
{
	int64_t n;

	if (json_is_string(v))
		return limits_string(f, v, at, e);
	switch (f->kind) {
	case SK_INT:
		n = json_integer_value(v);
		if (n < f->min)
			return limit_error(at, e, "Input should be greater than or equal to %lld", (long long)f->min);
		return n > f->max ? limit_error(at, e, "Input should be less than or equal to %lld", (long long)f->max) : 0;
	case SK_OBJECT:
		return limits_object(f->shape, v, at, e);
	case SK_UNION:
		return limits_union(f->one, v, at, e);
	case SK_MAP:
		return limits_map(f, v, at, e);
	default:
		return 0;
	}
}

static bool
is_empty(const json_t *v)
{
	return json_is_null(v) || (json_is_array(v) && json_array_size(v) == 0) || (json_is_object(v) && json_object_size(v) == 0) ||
	    (json_is_string(v) && json_string_length(v) == 0);
}

static int
limits_field(const struct shape_field *f, const json_t *v, const struct at *up, struct err *e)
{
	struct at at = { .up = up, .key = f->key };
	json_t *item;
	size_t i;

	if (json_is_null(v))
		return 0;
	if (f->list) {
		if ((int64_t)json_array_size(v) < f->list_min)
			return limit_error(&at, e, "must have at least %lld items", (long long)f->list_min);
		if ((int64_t)json_array_size(v) > f->list_max)
			return limit_error(&at, e, "must have at most %lld items", (long long)f->list_max);
		json_array_foreach(v, i, item) {
			struct at here = { .up = &at, .index = i };

			if (limits_value(f, item, &here, e) < 0)
				return -1;
		}
	} else if (limits_value(f, v, &at, e) < 0) {
		return -1;
	}
	return (f->flags & F_LATER) && !is_empty(v) ? limit_error(&at, e, "not supported yet") : 0;
}

static int
limits_object(const struct shape *s, const json_t *v, const struct at *at, struct err *e)
{
	for (const struct shape_field *f = s->fields; f->key; f++) {
		const json_t *value = json_object_get(v, f->key);

		if (value && limits_field(f, value, at, e) < 0)
			return -1;
		if (!value && (f->flags & F_REQ)) {
			const struct at here = { .up = at, .key = f->key };

			return limit_error(&here, e, "value is required");
		}
	}
	return 0;
}

int
shape_check(const struct shape *s, const json_t *body, struct err *e)
{
	if (!json_is_object(body))
		return form_wrong(NULL, e, "an object", body);
	if (form_object(s, body, NULL, NULL, e) < 0)
		return -1;
	return limits_object(s, body, NULL, e);
}

/* --- updates ---------------------------------------------------------------------------------------------------------------- */

static void
merge(json_t *stored, const char *key, const json_t *patch)
{
	json_t *map = json_object_get(stored, key), *value;
	json_t *merged = json_is_object(map) ? json_copy(map) : json_object();
	const char *name;

	json_object_foreach((json_t *)patch, name, value) {
		if (json_is_null(value))
			json_object_del(merged, name);
		else
			json_object_set(merged, name, value);
	}
	json_object_set_new(stored, key, merged);
}

void
shape_update(const struct shape *s, json_t *stored, const json_t *patch)
{
	for (const struct shape_field *f = s->fields; f->key; f++) {
		json_t *v = json_object_get(patch, f->key);
		bool null = json_is_null(v);

		if (!v)
			continue;
		switch (f->update) {
		case U_OWN:
			break;
		case U_SET:
			if (!null)
				json_object_set(stored, f->key, v);
			break;
		case U_CLEAR:
			if (null || (json_is_string(v) && json_string_length(v) == 0))
				json_object_set_new(stored, f->key, json_null());
			else
				json_object_set(stored, f->key, v);
			break;
		case U_STORE:
			json_object_set(stored, f->key, v);
			break;
		case U_LIST:
			if (null)
				json_object_set_new(stored, f->key, json_array());
			else
				json_object_set(stored, f->key, v);
			break;
		case U_MERGE:
			if (!null)
				merge(stored, f->key, v);
			break;
		}
	}
}

int
shape_part_int(const struct shape *s, const char *key, const char *text, int64_t *out, struct err *e)
{
	const struct shape_field *f = s->fields;
	struct at at = { .key = key };
	AUTO(json) json_t *v = NULL;
	char *end;

	while (strcmp(f->key, key) != 0)
		f++;
	*out = strtoll(text, &end, 10);
	if (!*text || *end || text[strspn(text, "-0123456789")])
		return err_set(e, EK_INVALID, 0, "%s: expected an integer", key);
	v = json_integer(*out);
	return limits_value(f, v, &at, e);
}

int
shape_pairs(const json_t *metadata, struct err *e)
{
	if (json_object_size(metadata) <= SHAPE_PAIRS)
		return 0;
	return err_coded(e, EC_INVALID_METADATA, "metadata: at most %d pairs are allowed", SHAPE_PAIRS);
}
