/*
 * openapi: see openapi.h. Walks the tables once. Shapes and unions become components as they are met: each is written when the walk first
 * needs it, so the list is complete by construction. Replies are named, not described: the tables do not hold them.
 */
#include "openapi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "attempt.h"
#include "jw.h"
#include "route.h"
#include "xalloc.h"

#define COMPONENTS 256

static struct buf document;

/* Shapes and unions that were referred to, in order of first mention; written[] of them are in the document. */
struct components {
	struct { const struct shape *shape; const struct shape_union *one; } list[COMPONENTS];
	int n;
};

static void
refer(struct jw *w, struct components *c, const struct shape *s, const struct shape_union *u)
{
	const char *name = u ? u->name : s ? s->name : "";
	char ref[128];
	int i = 0;

	while (i < c->n && (c->list[i].shape != s || c->list[i].one != u))
		i++;
	if (i == c->n) {
		must(c->n < COMPONENTS);
		c->list[c->n].shape = s;
		c->list[c->n++].one = u;
	}
	snprintf(ref, sizeof ref, "#/components/schemas/%s%s", u ? "any_" : "", name);
	jw_kstr(w, "$ref", ref);
}

static void
values(struct jw *w, const char *const *list)
{
	jw_key(w, "enum");
	jw_arr(w);
	for (; *list; list++)
		jw_str(w, *list);
	jw_arr_end(w);
}

static void
text_schema(struct jw *w, const struct shape_field *f)
{
	jw_kstr(w, "type", "string");
	if (f->values) {
		values(w, f->values);
		return;
	}
	jw_kint(w, "minLength", f->min);
	jw_kint(w, "maxLength", f->max);
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

/* The members of a schema object for one value of a field. */
static void
value_schema(struct jw *w, struct components *c, const struct shape_field *f)
{
	switch (f->kind) {
	case SK_STRING:
		text_schema(w, f);
		break;
	case SK_INT:
		jw_kstr(w, "type", "integer");
		jw_kint(w, "minimum", f->min);
		jw_kint(w, "maximum", f->max);
		break;
	case SK_BOOL:
		jw_kstr(w, "type", "boolean");
		break;
	case SK_OBJECT:
		refer(w, c, f->shape, NULL);
		break;
	case SK_UNION:
		refer(w, c, NULL, f->one);
		break;
	case SK_MAP:
		map_schema(w, f);
		break;
	case SK_ANY:
		jw_kstr(w, "type", "object");
		break;
	}
}

static void
item_schema(struct jw *w, struct components *c, const struct shape_field *f)
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
list_schema(struct jw *w, struct components *c, const struct shape_field *f)
{
	if (!f->list) {
		item_schema(w, c, f);
		return;
	}
	jw_obj(w);
	jw_kstr(w, "type", "array");
	jw_kint(w, "minItems", f->list_min);
	jw_kint(w, "maxItems", f->list_max);
	jw_key(w, "items");
	item_schema(w, c, f);
	jw_obj_end(w);
}

static void
field_schema(struct jw *w, struct components *c, const struct shape_field *f)
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

/* One shape; key and tag are the field that tells a variant, or NULL. */
static void
shape_schema(struct jw *w, struct components *c, const struct shape *s, const char *key, const char *tag)
{
	jw_obj(w);
	jw_kstr(w, "type", "object");
	jw_kbool(w, "additionalProperties", false);
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
	jw_obj_end(w);
}

static void
union_schema(struct jw *w, struct components *c, const struct shape_union *u)
{
	jw_obj(w);
	jw_key(w, "oneOf");
	jw_arr(w);
	for (const struct shape_variant *v = u->variants; v->tag; v++)
		shape_schema(w, c, v->shape, u->key, v->tag);
	jw_arr_end(w);
	jw_obj_end(w);
}

static void
query_schema(struct jw *w, const struct query_param *p)
{
	static const char *const types[] = { [QK_INT] = "integer", [QK_BOOL] = "boolean", [QK_TEXT] = "string", [QK_ENUM] = "string",
	    [QK_ENUMS] = "array", [QK_TIME] = "string" };
	char name[64];

	snprintf(name, sizeof name, "%s%s", p->name, p->kind == QK_ENUMS ? "[]" : "");
	jw_obj(w);
	jw_kstr(w, "name", name);
	jw_kstr(w, "in", "query");
	jw_kbool(w, "required", false);
	jw_key(w, "schema");
	jw_obj(w);
	jw_kstr(w, "type", types[p->kind]);
	if (p->kind == QK_INT) {
		jw_kint(w, "minimum", p->min);
		jw_kint(w, "maximum", p->max);
		if (p->dflt)
			jw_kint(w, "default", p->dflt);
	} else if (p->kind == QK_TIME) {
		jw_kstr(w, "format", "date-time");
	} else if (p->kind == QK_ENUM) {
		values(w, p->values);
	} else if (p->kind == QK_ENUMS) {
		jw_kint(w, "maxItems", p->max);
		jw_key(w, "items");
		jw_obj(w);
		jw_kstr(w, "type", "string");
		values(w, p->values);
		jw_obj_end(w);
	}
	jw_obj_end(w);
	jw_obj_end(w);
}

static void
header(struct jw *w, const char *name, bool required, const char *value)
{
	jw_obj(w);
	jw_kstr(w, "name", name);
	jw_kstr(w, "in", "header");
	jw_kbool(w, "required", required);
	jw_key(w, "schema");
	jw_obj(w);
	jw_kstr(w, "type", "string");
	jw_kstr(w, "example", value);
	jw_obj_end(w);
	jw_obj_end(w);
}

static void
idempotency_key(struct jw *w)
{
	jw_obj(w);
	jw_kstr(w, "name", "idempotency-key");
	jw_kstr(w, "in", "header");
	jw_kbool(w, "required", false);
	jw_kstr(w, "description", "Names this call. Sent again with the same key, path and body, it has no second effect and gets the first "
	    "attempt's reply, with the header `idempotent-replayed: true`; with another path or body it is a 409.");
	jw_key(w, "schema");
	jw_obj(w);
	jw_kstr(w, "type", "string");
	jw_kint(w, "minLength", 1);
	jw_kint(w, "maxLength", ATTEMPT_KEY_MAX);
	jw_kstr(w, "pattern", "^[ -~]*$");
	jw_obj_end(w);
	jw_obj_end(w);
}

static void
parameters(struct jw *w, const struct route *r)
{
	char name[32];

	jw_key(w, "parameters");
	jw_arr(w);
	for (int i = 0; i < REQ_PARAMS && route_param_name(r, i, name); i++) {
		jw_obj(w);
		jw_kstr(w, "name", name);
		jw_kstr(w, "in", "path");
		jw_kbool(w, "required", true);
		jw_kraw(w, "schema", "{\"type\":\"string\"}");
		jw_obj_end(w);
	}
	for (const struct query_param *p = r->query->params; p->name; p++)
		query_schema(w, p);
	if (r->access != ROUTE_OPEN)
		header(w, "anthropic-version", true, "2026-10-21");
	if (r->beta == AUTH_BETA_MANAGED)
		header(w, "anthropic-beta", true, "managed-agents-2026-04-01");
	if (route_writes(r))
		idempotency_key(w);
	jw_arr_end(w);
}

static void
responses(struct jw *w, const struct route *r)
{
	jw_key(w, "responses");
	jw_obj(w);
	jw_key(w, "200");
	jw_obj(w);
	jw_kstr(w, "description", r->reply);
	jw_key(w, "content");
	jw_obj(w);
	jw_kraw(w, r->handler == route_elsewhere ? "text/event-stream" : "application/json", "{}");
	jw_obj_end(w);
	jw_obj_end(w);
	jw_kraw(w, "default", "{\"$ref\":\"#/components/responses/Error\"}");
	jw_obj_end(w);
}

static void
operation(struct jw *w, struct components *c, const struct route *r)
{
	char method[8];
	size_t i;

	for (i = 0; r->method[i] && i < sizeof method - 1; i++)
		method[i] = (char)(r->method[i] | 0x20);
	method[i] = '\0';
	jw_key(w, method);
	jw_obj(w);
	jw_kstr(w, "operationId", r->handler == route_elsewhere ? "event_stream" : r->name + sizeof "api_" - 1);
	if (r->access == ROUTE_OPEN)
		jw_kraw(w, "security", "[]");
	parameters(w, r);
	if (r->body != &shape_none) {
		jw_key(w, "requestBody");
		jw_obj(w);
		jw_kbool(w, "required", r->body != &shape_empty);
		jw_key(w, "content");
		jw_obj(w);
		jw_key(w, "application/json");
		jw_obj(w);
		jw_key(w, "schema");
		jw_obj(w);
		refer(w, c, r->body, NULL);
		jw_obj_end(w);
		jw_obj_end(w);
		jw_obj_end(w);
		jw_obj_end(w);
	}
	responses(w, r);
	jw_obj_end(w);
}

static void
paths(struct jw *w, struct components *c)
{
	jw_key(w, "paths");
	jw_obj(w);
	for (size_t i = 0; i < routes_count; i++) {
		bool seen = false;

		for (size_t k = 0; k < i; k++)
			seen = seen || strcmp(routes[k].path, routes[i].path) == 0;
		if (seen)
			continue;
		jw_key(w, routes[i].path);
		jw_obj(w);
		for (size_t k = i; k < routes_count; k++)
			if (strcmp(routes[k].path, routes[i].path) == 0 && routes[k].handler != route_nowhere)
				operation(w, c, &routes[k]);
		jw_obj_end(w);
	}
	jw_obj_end(w);
}

static void
components(struct jw *w, struct components *c)
{
	char name[80];

	jw_key(w, "components");
	jw_obj(w);
	jw_key(w, "schemas");
	jw_obj(w);
	for (int i = 0; i < c->n; i++) {	/* c grows while it is walked */
		const struct shape_union *u = c->list[i].one;

		snprintf(name, sizeof name, "%s%s", u ? "any_" : "", u ? u->name : c->list[i].shape->name);
		jw_key(w, name);
		if (u)
			union_schema(w, c, u);
		else
			shape_schema(w, c, c->list[i].shape, NULL, NULL);
	}
	jw_kraw(w, "Error", "{\"type\":\"object\",\"required\":[\"type\",\"error\",\"request_id\"],\"properties\":{\"type\":{\"const\":\"error\"},"
	    "\"error\":{\"type\":\"object\",\"required\":[\"type\",\"message\"],\"properties\":{\"type\":{\"type\":\"string\"},"
	    "\"message\":{\"type\":\"string\"},\"details\":{\"type\":\"object\"}}},\"request_id\":{\"type\":\"string\"}}}");
	jw_obj_end(w);
	jw_kraw(w, "responses", "{\"Error\":{\"description\":\"Error envelope\",\"content\":{\"application/json\":{\"schema\":"
	    "{\"$ref\":\"#/components/schemas/Error\"}}}}}");
	jw_kraw(w, "securitySchemes", "{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\"},"
	    "\"apiKey\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"x-api-key\"}}");
	jw_obj_end(w);
}

void
openapi_init(void)
{
	struct components c = { .n = 0 };
	struct jw w;

	openapi_free();
	jw_begin(&w, &document);
	jw_obj(&w);
	jw_kstr(&w, "openapi", "3.1.0");
	jw_key(&w, "info");
	jw_obj(&w);
	jw_kstr(&w, "title", "Roost");
	jw_kstr(&w, "version", ROOST_VERSION);
	jw_obj_end(&w);
	jw_kraw(&w, "security", "[{\"bearer\":[]},{\"apiKey\":[]}]");
	paths(&w, &c);
	components(&w, &c);
	jw_obj_end(&w);
	jw_end(&w);
}

void
openapi_free(void)
{
	buf_free(&document);
}

const char *
openapi_text(size_t *len)
{
	*len = document.len;
	return document.data;
}
