/*
 * shape_form: the first walk of shape_check(): is every key in the table, every value of its type, every word one of those allowed? Texts
 * are the contract's (1.6): a bracketed path, "Failed to parse request". Says nothing of what is missing: that is shape_limits.c's.
 */
#include "shape_walk.h"

#include <stdio.h>
#include <string.h>

#include "jx.h"

static int
form_error(const struct shape_at *at, struct err *e, const char *what, const char *more)
{
	AUTO(buf) struct buf path = BUF_INIT(256);

	shape_at_put(at, false, &path);
	return err_set(e, EK_INVALID, 0, "Failed to parse request%s: %s%s%s%s", path.len ? "" : " body", path.len ? path.data : "",
	    path.len ? ": " : "", what, more);
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
form_wrong(const struct shape_at *at, struct err *e, const char *want, const json_t *got)
{
	char text[96];

	snprintf(text, sizeof text, "expected %s, got %s", want, type_name(got));
	return form_error(at, e, text, json_is_null(got) ? "; omit the field instead" : "");
}

static int form_object(const struct shape *s, const json_t *v, const struct shape_at *at, const char *tag, struct err *e);

static int
form_value_unknown(const struct shape_at *at, const char *got, struct buf *legal, struct err *e)
{
	char head[160];

	snprintf(head, sizeof head, "\"%.60s\" is not a valid value; expected one of ", got);
	return form_error(at, e, head, legal->data ? legal->data : "");
}

static int
form_enum(const char *const *values, const char *got, const struct shape_at *at, struct err *e)
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
form_union(const struct shape_union *u, const json_t *v, const struct shape_at *at, struct err *e)
{
	const struct shape_at tag_at = { .up = at, .key = u->key };
	const struct shape_variant *chosen = shape_variant_of(u, v);
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
form_map(const struct shape_field *f, const json_t *v, const struct shape_at *at, struct err *e)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)v, key, value) {
		const struct shape_at here = { .up = at, .key = key };

		if (!is_text(value) && !((f->flags & F_DEL) && json_is_null(value)))
			return form_wrong(&here, e, f->flags & F_DEL ? "a string or null" : "a string", value);
	}
	return 0;
}

static int
form_value(const struct shape_field *f, const json_t *v, const struct shape_at *at, struct err *e)
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
form_field(const struct shape_field *f, const json_t *v, const struct shape_at *up, struct err *e)
{
	const struct shape_at at = { .up = up, .key = f->key };
	json_t *item;
	size_t i;

	if (json_is_null(v) && (f->flags & F_NULL))
		return 0;
	if (!f->list)
		return form_value(f, v, &at, e);
	if (!json_is_array(v))
		return form_wrong(&at, e, "an array", v);
	json_array_foreach(v, i, item) {
		const struct shape_at here = { .up = &at, .index = i };

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
form_object(const struct shape *s, const json_t *v, const struct shape_at *at, const char *tag, struct err *e)
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

			shape_at_put(at, false, &path);
			return err_set(e, EK_INVALID, 0, "Failed to parse request body: unknown field \"%.100s\"%s%s", key,
			    path.len ? " in " : "", path.len ? path.data : "");
		}
		if (form_field(f, value, at, e) < 0)
			return -1;
	}
	return 0;
}

int
shape_form(const struct shape *s, const json_t *body, struct err *e)
{
	return json_is_object(body) ? form_object(s, body, NULL, NULL, e) : form_wrong(NULL, e, "an object", body);
}
