/*
 * openapi_schema: see openapi_schema.h. Request schemas are closed (an unknown key is refused); reply schemas are open, because a later
 * version may add keys and clients must not mind.
 */
#include "openapi_schema.h"

#include <stdio.h>
#include <string.h>

#include "replies.h"
#include "xalloc.h"

/* Replies have names of their own; a request's union gets a prefix, because shapes and unions share names. */
static const char *
name_of(const struct shape *s, const struct shape_union *u, char out[96])
{
	const struct reply_doc *r = reply_find(u ? NULL : s, u);

	must(s || u);
	snprintf(out, 96, "%s%s", u && !r ? "any_" : "", r ? r->name : u ? u->name : s->name);
	return out;
}

void
schema_ref(struct jw *w, struct schemas *c, const struct shape *s, const struct shape_union *u)
{
	char name[96], ref[128];
	int i = 0;

	while (i < c->n && (c->list[i].shape != s || c->list[i].one != u))
		i++;
	if (i == c->n) {
		must(c->n < SCHEMAS_MAX);
		c->list[c->n].shape = s;
		c->list[c->n++].one = u;
	}
	snprintf(ref, sizeof ref, "#/components/schemas/%s", name_of(s, u, name));
	jw_kstr(w, "$ref", ref);
}

static void
values(struct jw *w, const char *const *list)
{
	if (!list[1]) {
		jw_kstr(w, "const", list[0]);
		return;
	}
	jw_key(w, "enum");
	jw_arr(w);
	for (; *list; list++)
		jw_str(w, *list);
	jw_arr_end(w);
}

static void
text_schema(struct jw *w, const struct shape_field *f)
{
	char pattern[64];

	jw_kstr(w, "type", "string");
	if (f->values) {
		values(w, f->values);
		return;
	}
	if (f->prefix) {
		snprintf(pattern, sizeof pattern, "^%s", f->prefix);
		jw_kstr(w, "pattern", pattern);
	}
	if (f->min > 0)
		jw_kint(w, "minLength", f->min);
	if (f->max < INT64_MAX)
		jw_kint(w, "maxLength", f->max);
	if (f->flags & F_SECRET)
		jw_kbool(w, "writeOnly", true);
}

static void
map_schema(struct jw *w, const struct shape_field *f)
{
	jw_kstr(w, "type", "object");
	jw_kint(w, "maxProperties", f->max);
	jw_key(w, "additionalProperties");
	jw_obj(w);
	if (f->flags & F_DEL)
		jw_kraw(w, "type", "[\"string\",\"null\"]");
	else
		jw_kstr(w, "type", "string");
	jw_kint(w, "maxLength", SHAPE_VALUE_CHARS);
	jw_obj_end(w);
}

static void
int_schema(struct jw *w, int64_t min, int64_t max)
{
	jw_kstr(w, "type", "integer");
	if (min > INT64_MIN)
		jw_kint(w, "minimum", min);
	if (max < INT64_MAX)
		jw_kint(w, "maximum", max);
}

/* The members of a schema object for one value of a field. */
static void
value_schema(struct jw *w, struct schemas *c, const struct shape_field *f)
{
	switch (f->kind) {
	case SK_STRING:
		text_schema(w, f);
		break;
	case SK_TIME:
		jw_kstr(w, "type", "string");
		jw_kstr(w, "format", "date-time");
		break;
	case SK_INT:
		int_schema(w, f->min, f->max);
		break;
	case SK_NUMBER:
		jw_kstr(w, "type", "number");
		break;
	case SK_BOOL:
		jw_kstr(w, "type", "boolean");
		break;
	case SK_OBJECT:
		schema_ref(w, c, f->shape, NULL);
		break;
	case SK_UNION:
		schema_ref(w, c, NULL, f->one);
		break;
	case SK_MAP:
		map_schema(w, f);
		break;
	case SK_ANY:
		jw_kstr(w, "type", "object");
		break;
	case SK_FILE:
		jw_kstr(w, "type", "string");
		jw_kstr(w, "format", "binary");
		break;
	}
}

static void
item_schema(struct jw *w, struct schemas *c, const struct shape_field *f)
{
	jw_obj(w);
	if (f->text) {
		jw_key(w, "anyOf");
		jw_arr(w);
		jw_obj(w);
		text_schema(w, f);
		jw_obj_end(w);
		jw_obj(w);
		value_schema(w, c, f);
		jw_obj_end(w);
		jw_arr_end(w);
	} else {
		value_schema(w, c, f);
	}
	jw_obj_end(w);
}

static void
list_schema(struct jw *w, struct schemas *c, const struct shape_field *f)
{
	if (!f->list) {
		item_schema(w, c, f);
		return;
	}
	jw_obj(w);
	jw_kstr(w, "type", "array");
	if (f->list_min > 0)
		jw_kint(w, "minItems", f->list_min);
	if (f->list_max < INT64_MAX)
		jw_kint(w, "maxItems", f->list_max);
	jw_key(w, "items");
	item_schema(w, c, f);
	jw_obj_end(w);
}

static void
field_schema(struct jw *w, struct schemas *c, const struct shape_field *f)
{
	jw_key(w, f->key);
	if (!(f->flags & (F_NULL | F_LATER))) {
		list_schema(w, c, f);
		return;
	}
	jw_obj(w);
	if (f->flags & F_LATER)
		jw_kstr(w, "description", "Not supported yet: only an empty value is accepted.");
	jw_key(w, "anyOf");
	jw_arr(w);
	list_schema(w, c, f);
	if (f->flags & F_NULL)
		jw_raw(w, "{\"type\":\"null\"}", 15);
	jw_arr_end(w);
	jw_obj_end(w);
}

/* The members of an object's schema; key and tag are the field that tells a variant, or NULL. */
static void
object_members(struct jw *w, struct schemas *c, const struct shape *s, const char *key, const char *tag)
{
	jw_kstr(w, "type", "object");
	jw_key(w, "properties");
	jw_obj(w);
	if (key) {
		jw_key(w, key);
		jw_obj(w);
		jw_kstr(w, "const", tag);
		jw_obj_end(w);
	}
	for (const struct shape_field *f = s->fields; f->key; f++)
		field_schema(w, c, f);
	jw_obj_end(w);
	jw_key(w, "required");
	jw_arr(w);
	if (key)
		jw_str(w, key);
	for (const struct shape_field *f = s->fields; f->key; f++)
		if (f->flags & F_REQ)
			jw_str(w, f->key);
	jw_arr_end(w);
	if (!reply_find(s, NULL))
		jw_kbool(w, "additionalProperties", false);
}

static void
union_schema(struct jw *w, struct schemas *c, const struct shape_union *u)
{
	jw_obj(w);
	jw_key(w, "oneOf");
	jw_arr(w);
	for (const struct shape_variant *v = u->variants; v->tag; v++) {
		jw_obj(w);
		jw_kstr(w, "title", v->tag);
		if (v->flags & F_LATER)
			jw_kstr(w, "description", "Not supported yet.");
		object_members(w, c, v->shape, u->key, v->tag);
		jw_obj_end(w);
	}
	jw_arr_end(w);
	jw_obj_end(w);
}

void
schema_components(struct jw *w, struct schemas *c)
{
	char name[96];

	for (int i = 0; i < c->n; i++) {	/* c grows while it is walked */
		jw_key(w, name_of(c->list[i].shape, c->list[i].one, name));
		if (c->list[i].one) {
			union_schema(w, c, c->list[i].one);
			continue;
		}
		jw_obj(w);
		object_members(w, c, c->list[i].shape, NULL, NULL);
		jw_obj_end(w);
	}
}

void
schema_parts(struct jw *w, const struct shape *s)
{
	struct schemas none = { .n = 0 };

	object_members(w, &none, s, NULL, NULL);
	must(none.n == 0);	/* parts are plain values */
}

void
schema_query(struct jw *w, const struct query_param *p)
{
	jw_obj(w);
	switch (p->kind) {
	case QK_INT:
		int_schema(w, p->min, p->max);
		if (p->dflt)
			jw_kint(w, "default", p->dflt);
		break;
	case QK_BOOL:
		jw_kstr(w, "type", "boolean");
		jw_kbool(w, "default", p->dflt != 0);
		break;
	case QK_TEXT:
		jw_kstr(w, "type", "string");
		jw_kint(w, "minLength", p->min);
		jw_kint(w, "maxLength", p->max);
		break;
	case QK_TIME:
		jw_kstr(w, "type", "string");
		jw_kstr(w, "format", "date-time");
		break;
	case QK_ENUM:
		jw_kstr(w, "type", "string");
		values(w, p->values);
		break;
	case QK_ENUMS:
		jw_kstr(w, "type", "array");
		jw_kint(w, "maxItems", p->max);
		jw_key(w, "items");
		jw_obj(w);
		jw_kstr(w, "type", "string");
		values(w, p->values);
		jw_obj_end(w);
		break;
	case QK_TEXTS:
		jw_kstr(w, "type", "array");
		jw_kint(w, "maxItems", p->most);
		jw_key(w, "items");
		jw_obj(w);
		jw_kstr(w, "type", "string");
		jw_kint(w, "minLength", p->min);
		jw_kint(w, "maxLength", p->max);
		jw_obj_end(w);
		break;
	}
	jw_obj_end(w);
}
