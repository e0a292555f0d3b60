/*
 * shape_limits: the second walk of shape_check(), over the table: what is missing, too long, too short, out of range, or a feature to come.
 * Texts are the contract's (1.6): a dotted path that names variants. Types are right: shape_form() has been here.
 */
#include "shape_walk.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int limit_error(const struct shape_at *at, struct err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int
limit_error(const struct shape_at *at, struct err *e, const char *fmt, ...)
{
	AUTO(buf) struct buf path = BUF_INIT(256);
	char what[128];
	va_list ap;

	shape_at_put(at, true, &path);
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	return err_set(e, EK_INVALID, 0, "%s: %s", path.len ? path.data : "body", what);
}

static int limits_object(const struct shape *s, const json_t *v, const struct shape_at *at, struct err *e);

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
limits_string(const struct shape_field *f, const json_t *v, const struct shape_at *at, struct err *e)
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
limits_map(const struct shape_field *f, const json_t *v, const struct shape_at *at, struct err *e)
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
		const struct shape_at here = { .up = at, .key = key };
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
limits_union(const struct shape_union *u, const json_t *v, struct shape_at *at, struct err *e)
{
	const struct shape_variant *chosen = shape_variant_of(u, v);

	if (u->named)
		at->variant = chosen->tag;
	if (limits_object(chosen->shape, v, at, e) < 0)
		return -1;
	if (chosen->flags & F_LATER)
		return limit_error(at, e, "%s \"%s\" is not supported yet", u->key, chosen->tag);
	return 0;
}

int
shape_limits_value(const struct shape_field *f, const json_t *v, struct shape_at *at, struct err *e)
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
limits_field(const struct shape_field *f, const json_t *v, const struct shape_at *up, struct err *e)
{
	struct shape_at at = { .up = up, .key = f->key };
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
			struct shape_at here = { .up = &at, .index = i };

			if (shape_limits_value(f, item, &here, e) < 0)
				return -1;
		}
	} else if (shape_limits_value(f, v, &at, e) < 0) {
		return -1;
	}
	return (f->flags & F_LATER) && !is_empty(v) ? limit_error(&at, e, "not supported yet") : 0;
}

static int
limits_object(const struct shape *s, const json_t *v, const struct shape_at *at, struct err *e)
{
	for (const struct shape_field *f = s->fields; f->key; f++) {
		const json_t *value = json_object_get(v, f->key);

		if (value && limits_field(f, value, at, e) < 0)
			return -1;
		if (!value && (f->flags & F_REQ)) {
			const struct shape_at here = { .up = at, .key = f->key };

			return limit_error(&here, e, "value is required");
		}
	}
	return 0;
}

int
shape_limits(const struct shape *s, const json_t *body, struct err *e)
{
	return limits_object(s, body, NULL, e);
}
