/*
 * shape: see shape.h. The two walks over table and tree are shape_form.c, for what the contract calls parse errors, and shape_limits.c, for
 * semantic ones; here are questions to a shape, places as text, and updates.
 *
 * The place of a value is a linked list on the stack, rendered only when something is wrong. The walks' depth is that of the tables, never
 * that of the input.
 */
#include "shape.h"

#include <stdlib.h>
#include <string.h>

#include "jx.h"
#include "shape_walk.h"

void
shape_at_put(const struct shape_at *at, bool dotted, struct buf *b)
{
	if (!at)
		return;
	shape_at_put(at->up, dotted, b);
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

const struct shape_variant *
shape_variant_of(const struct shape_union *u, const json_t *v)
{
	const char *tag = jx_str(v, u->key);

	for (const struct shape_variant *o = u->variants; tag && o->tag; o++)
		if (strcmp(o->tag, tag) == 0)
			return o;
	return NULL;
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

int
shape_check(const struct shape *s, const json_t *body, struct err *e)
{
	return shape_form(s, body, e) < 0 ? -1 : shape_limits(s, body, e);
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
	struct shape_at at = { .key = key };
	AUTO(json) json_t *v = NULL;
	char *end;

	while (strcmp(f->key, key) != 0)
		f++;
	*out = strtoll(text, &end, 10);
	if (!*text || *end || text[strspn(text, "-0123456789")])
		return err_set(e, EK_INVALID, 0, "%s: expected an integer", key);
	v = json_integer(*out);
	return shape_limits_value(f, v, &at, e);
}

int
shape_pairs(const json_t *metadata, struct err *e)
{
	if (json_object_size(metadata) <= SHAPE_PAIRS)
		return 0;
	return err_coded(e, EC_INVALID_METADATA, "metadata: at most %d pairs are allowed", SHAPE_PAIRS);
}
