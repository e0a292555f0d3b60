/*
 * shape_cases: see shape_cases.h. Walks a shape depth-first; `struct place` says how to wrap a value of the current shape into a whole
 * body. Strings longer than BIG and lists longer than MANY are not built: their limits are those of the body.
 */
#include "shape_cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "jx.h"
#include "xalloc.h"

#define BIG 300000
#define MANY 10001

/* Where the object that is being mutated stands. */
struct place {
	const struct place *up;
	const struct shape *shape;		/* of the object */
	const char *tag_key, *tag;		/* of its variant, or NULL */
	bool named;				/* semantic paths name the variant */
	bool later;				/* the variant is not supported yet */
	const struct shape_field *field;	/* of up's object that holds it; NULL at the top */
};

struct walk {
	shape_case_fn *see;
	void *arg;
	const char *root;
	char name[256];
};

/* What only the service may set, and what libraries trip over: no shape may let them in where it does not name them. */
static const char *const forbidden[] = {
	"zz_unknown", "id", "status", "usage", "organization_id", "workspace_id", "session_id", "created_at", "updated_at", "archived_at",
	"processed_at", "version", "type", "seq", "private", "lease_epoch", "evaluated_permission", "budget_cents", "__proto__", "constructor",
	"ID", "name ", "",
};

/* A value of each JSON type. */
static const struct { json_type type; const char *text; } types[] = {
	{ JSON_OBJECT, "{}" }, { JSON_ARRAY, "[]" }, { JSON_STRING, "\"x\"" }, { JSON_INTEGER, "7" }, { JSON_REAL, "1.5" },
	{ JSON_TRUE, "true" }, { JSON_FALSE, "false" }, { JSON_NULL, "null" },
};

static json_t *value_of(const struct shape_field *f);

static json_t *
text(int64_t chars)
{
	char *s = xmalloc((size_t)chars + 1);
	json_t *v;

	memset(s, 'a', (size_t)chars);
	s[chars] = '\0';
	v = json_string(s);
	free(s);
	return v;
}

static json_t *
object_of(const struct shape *s, const char *tag_key, const char *tag)
{
	json_t *o = json_object();

	if (tag_key)
		json_object_set_new(o, tag_key, json_string(tag));
	for (const struct shape_field *f = s->fields; f->key; f++)
		if (f->flags & F_REQ)
			json_object_set_new(o, f->key, value_of(f));
	return o;
}

json_t *
shape_specimen(const struct shape *s)
{
	return object_of(s, NULL, NULL);
}

/* One item of the field, list or not. */
static json_t *
item_of(const struct shape_field *f)
{
	switch (f->kind) {
	case SK_STRING:
		return f->values ? json_string(f->values[0]) : text(f->min > 0 ? f->min : 1);
	case SK_INT:
		return json_integer(f->min);
	case SK_BOOL:
		return json_true();
	case SK_OBJECT:
		return object_of(f->shape, NULL, NULL);
	case SK_UNION:
		return object_of(f->one->variants[0].shape, f->one->key, f->one->variants[0].tag);
	default:
		return json_object();
	}
}

static json_t *
list_of(const struct shape_field *f, int64_t n)
{
	json_t *list = json_array();

	while (n-- > 0)
		json_array_append_new(list, item_of(f));
	return list;
}

static json_t *
value_of(const struct shape_field *f)
{
	return f->list ? list_of(f, f->list_min > 0 ? f->list_min : 1) : item_of(f);
}

/* The whole body that holds `object` (stolen) at the place. */
static json_t *
wrap(const struct place *p, json_t *object)
{
	json_t *outer, *list;

	if (!p->up)
		return object;
	outer = object_of(p->up->shape, p->up->tag_key, p->up->tag);
	if (p->field->list) {
		list = json_array();
		json_array_append_new(list, object);
		for (int64_t n = 1; n < p->field->list_min; n++)
			json_array_append_new(list, item_of(p->field));
		object = list;
	}
	json_object_set_new(outer, p->field->key, object);
	return wrap(p->up, outer);
}

static void
path(const struct place *p, bool dotted, struct buf *b)
{
	if (!p->up)
		return;
	path(p->up, dotted, b);
	if (b->len)
		buf_ch(b, '.');
	buf_str(b, p->field->key);
	if (p->field->list)
		buf_str(b, dotted ? ".0" : "[0]");
	if (dotted && p->named) {
		buf_ch(b, '.');
		for (const char *c = p->tag; *c; c++)
			buf_ch(b, *c == '.' ? '_' : *c);
	}
}

static void
see(struct walk *w, const struct place *p, const char *key, const char *what, json_t *object, const char *expect)
{
	json_t *body = wrap(p, object);
	AUTO(buf) struct buf at = BUF_INIT(0);

	path(p, false, &at);
	snprintf(w->name, sizeof w->name, "%s: %s%s%s: %s", w->root, at.len ? at.data : "", at.len ? "." : "", key, what);
	w->see(w->arg, w->name, body, expect);
	json_decref(body);
}

/* The place's object with key set to value (stolen; NULL deletes), refused as form (bracketed) or limit (dotted) with this message. */
static void
refused(struct walk *w, const struct place *p, const char *key, const char *suffix, const char *what, json_t *value, bool form,
    const char *message)
{
	json_t *o = object_of(p->shape, p->tag_key, p->tag);
	AUTO(buf) struct buf expect = BUF_INIT(0), at = BUF_INIT(0);

	path(p, !form, &at);
	buf_printf(&expect, "%s%s%s%s%s: %s", form ? "Failed to parse request: " : "", at.len ? at.data : "", at.len ? "." : "", key, suffix,
	    message);
	if (value)
		json_object_set_new(o, key, value);
	else
		json_object_del(o, key);
	see(w, p, key, what, o, expect.data);
}

static void
accepted(struct walk *w, const struct place *p, const char *key, const char *what, json_t *value)
{
	json_t *o = object_of(p->shape, p->tag_key, p->tag);

	json_object_set_new(o, key, value);
	/* inside a feature that comes later nothing is accepted */
	for (const struct place *up = p; up; up = up->up)
		if (up->later || (up->field && (up->field->flags & F_LATER))) {
			json_decref(o);
			return;
		}
	see(w, p, key, what, o, NULL);
}

static json_t *
listed(const struct shape_field *f, json_t *item)
{
	json_t *list;

	if (!f->list)
		return item;
	list = json_array();
	json_array_append_new(list, item);
	for (int64_t n = 1; n < f->list_min; n++)
		json_array_append_new(list, item_of(f));
	return list;
}

static void
string_cases(struct walk *w, const struct place *p, const struct shape_field *f)
{
	const char *suffix = f->list ? "[0]" : "", *dotted = f->list ? ".0" : "";
	bool later = f->flags & F_LATER;
	char message[96];

	if (f->values) {
		refused(w, p, f->key, suffix, "bad value", listed(f, json_string("no such value")), true,
		    "\"no such value\" is not a valid value; expected one of ");
		for (const char *const *v = f->values; *v && !later; v++)
			accepted(w, p, f->key, *v, listed(f, json_string(*v)));
		return;
	}
	if (f->min > 0)
		refused(w, p, f->key, dotted, "empty", listed(f, json_string("")), false, "value is required");
	if (f->min > 1) {
		snprintf(message, sizeof message, "must be at least %lld characters", (long long)f->min);
		refused(w, p, f->key, dotted, "min - 1", listed(f, text(f->min - 1)), false, message);
	}
	if (f->flags & F_SECRET) {
		refused(w, p, f->key, dotted, "line break", listed(f, json_string("a\r\nx: y")), false, "must not contain control characters");
		refused(w, p, f->key, dotted, "delete", listed(f, json_string("a\x7f")), false, "must not contain control characters");
	}
	if (f->max > BIG)
		return;
	snprintf(message, sizeof message, "must be at most %lld characters", (long long)f->max);
	refused(w, p, f->key, dotted, "max + 1", listed(f, text(f->max + 1)), false, message);
	if (later)
		return;
	accepted(w, p, f->key, "max", listed(f, text(f->max)));
	accepted(w, p, f->key, "min", listed(f, text(f->min)));
	if (f->max > f->min) {
		accepted(w, p, f->key, "max - 1", listed(f, text(f->max - 1)));
		accepted(w, p, f->key, "min + 1", listed(f, text(f->min + 1)));
	}
}

static void
int_cases(struct walk *w, const struct place *p, const struct shape_field *f)
{
	char low[96], high[96];

	snprintf(low, sizeof low, "Input should be greater than or equal to %lld", (long long)f->min);
	snprintf(high, sizeof high, "Input should be less than or equal to %lld", (long long)f->max);
	refused(w, p, f->key, "", "min - 1", json_integer(f->min - 1), false, low);
	refused(w, p, f->key, "", "max + 1", json_integer(f->max + 1), false, high);
	accepted(w, p, f->key, "min", json_integer(f->min));
	accepted(w, p, f->key, "max", json_integer(f->max));
	accepted(w, p, f->key, "min + 1", json_integer(f->min + 1));
	accepted(w, p, f->key, "max - 1", json_integer(f->max - 1));
}

static void
map_cases(struct walk *w, const struct place *p, const struct shape_field *f)
{
	json_t *many = json_object();
	char key[80], suffix[90];

	for (int i = 0; i <= f->max; i++) {
		snprintf(key, sizeof key, "k%d", i);
		json_object_set_new(many, key, json_string("v"));
	}
	if (!(f->flags & F_DEL))
		refused(w, p, f->key, "", "17 pairs", json_incref(many), false, "at most 16 pairs are allowed");
	json_object_del(many, "k0");
	accepted(w, p, f->key, "16 pairs", json_incref(many));
	json_decref(many);
	memset(key, 'k', 65);
	key[65] = '\0';
	snprintf(suffix, sizeof suffix, ".%s", key);
	refused(w, p, f->key, suffix, "65 character key", json_pack("{ss}", key, "v"), false, "key must be at most 64 characters");
	accepted(w, p, f->key, "64 character key", json_pack("{ss}", key + 1, "v"));
	refused(w, p, f->key, ".k", "513 character value", json_pack("{so}", "k", text(513)), false, "value must be at most 512 characters");
	accepted(w, p, f->key, "512 character value", json_pack("{so}", "k", text(512)));
	refused(w, p, f->key, ".k", "value is a number", json_pack("{si}", "k", 1), true, "expected a string");
	refused(w, p, f->key, "", "empty key", json_pack("{ss}", "", "v"), false, "keys must not be empty");
}

static void shape_walk(struct walk *w, const struct place *p);

static void
nested_cases(struct walk *w, const struct place *p, const struct shape_field *f)
{
	char suffix[64];

	if (f->kind == SK_OBJECT) {
		const struct place in = { .up = p, .shape = f->shape, .field = f };

		shape_walk(w, &in);
		return;
	}
	snprintf(suffix, sizeof suffix, "%s.%s", f->list ? "[0]" : "", f->one->key);
	refused(w, p, f->key, suffix, "no variant", listed(f, json_object()), true, "value is required");
	refused(w, p, f->key, suffix, "unknown variant", listed(f, json_pack("{ss}", f->one->key, "nope")), true,
	    "\"nope\" is not a valid value; expected one of ");
	refused(w, p, f->key, suffix, "variant is a number", listed(f, json_pack("{si}", f->one->key, 1)), true, "expected a string, got an integer");
	for (const struct shape_variant *v = f->one->variants; v->tag; v++) {
		const struct place in = { .up = p, .shape = v->shape, .field = f, .tag_key = f->one->key, .tag = v->tag, .named = f->one->named,
		    .later = v->flags & F_LATER };

		if (v->flags & F_LATER) {
			AUTO(buf) struct buf expect = BUF_INIT(0);

			path(&in, true, &expect);
			buf_printf(&expect, ": %s \"%s\" is not supported yet", f->one->key, v->tag);
			see(w, &in, "", "not supported yet", object_of(v->shape, f->one->key, v->tag), expect.data);
		}
		shape_walk(w, &in);
	}
}

static void
list_cases(struct walk *w, const struct place *p, const struct shape_field *f)
{
	char message[96];

	if (f->list_min > 0) {
		snprintf(message, sizeof message, "must have at least %lld items", (long long)f->list_min);
		refused(w, p, f->key, "", "too few", list_of(f, f->list_min - 1), false, message);
	}
	if (f->list_max <= MANY) {
		snprintf(message, sizeof message, "must have at most %lld items", (long long)f->list_max);
		refused(w, p, f->key, "", "too many", list_of(f, f->list_max + 1), false, message);
		if (!(f->flags & F_LATER))
			accepted(w, p, f->key, "as many as allowed", list_of(f, f->list_max));
		if (!(f->flags & F_LATER) && f->list_max > f->list_min)
			accepted(w, p, f->key, "one less than allowed", list_of(f, f->list_max - 1));
	}
}

/* May a value of this type stand for one item of the field? */
static bool
admits(const struct shape_field *f, json_type type)
{
	switch (f->kind) {
	case SK_STRING:
		return type == JSON_STRING;
	case SK_INT:
		return type == JSON_INTEGER;
	case SK_BOOL:
		return type == JSON_TRUE || type == JSON_FALSE;
	default:
		return type == JSON_OBJECT || (f->text && type == JSON_STRING);
	}
}

/* A value of every type that the field does not take, for itself and for an item of its list. */
static void
type_cases(struct walk *w, const struct place *p, const struct shape_field *f)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		json_type type = types[i].type;
		char what[48];

		snprintf(what, sizeof what, "%s instead", types[i].text);
		if (f->list && type != JSON_ARRAY && type != JSON_NULL)
			refused(w, p, f->key, "", what, json_loads(types[i].text, JSON_DECODE_ANY, NULL), true, "expected an array");
		if (!admits(f, type) && (f->list || type != JSON_NULL))
			refused(w, p, f->key, f->list ? "[0]" : "", what, listed(f, json_loads(types[i].text, JSON_DECODE_ANY, NULL)), true,
			    "expected ");
	}
}

static void
field_cases(struct walk *w, const struct place *p, const struct shape_field *f)
{
	if (f->kind == SK_FILE)
		return;
	if (f->flags & F_REQ)
		refused(w, p, f->key, "", "absent", NULL, false, "value is required");
	if (!(f->flags & F_NULL))
		refused(w, p, f->key, "", "null", json_null(), true, "expected ");
	else if (!(f->flags & F_REQ))
		accepted(w, p, f->key, "null", json_null());
	type_cases(w, p, f);
	if (f->list)
		list_cases(w, p, f);
	if ((f->flags & F_LATER) && (f->kind != SK_OBJECT || f->list))
		refused(w, p, f->key, "", "not supported yet", value_of(f), false, "not supported yet");
	if (f->kind == SK_STRING || (f->text && !f->values && !(f->flags & F_LATER)))
		string_cases(w, p, f);
	else if (f->kind == SK_INT)
		int_cases(w, p, f);
	else if (f->kind == SK_MAP)
		map_cases(w, p, f);
	if (f->kind == SK_OBJECT || f->kind == SK_UNION)
		nested_cases(w, p, f);
}

static bool
has_field(const struct place *p, const char *key)
{
	for (const struct shape_field *f = p->shape->fields; f->key; f++)
		if (strcmp(f->key, key) == 0)
			return true;
	return p->tag_key && strcmp(p->tag_key, key) == 0;
}

static void
shape_walk(struct walk *w, const struct place *p)
{
	for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++) {
		json_t *o = object_of(p->shape, p->tag_key, p->tag);
		char expect[96];

		if (has_field(p, forbidden[i])) {
			json_decref(o);
			continue;
		}
		snprintf(expect, sizeof expect, "Failed to parse request body: unknown field \"%s\"", forbidden[i]);
		json_object_set_new(o, forbidden[i], json_string("x"));
		see(w, p, forbidden[i], "unknown field", o, expect);
	}
	for (const struct shape_field *f = p->shape->fields; f->key; f++)
		field_cases(w, p, f);
}

void
shape_cases(const struct shape *s, shape_case_fn *fn, void *arg)
{
	struct walk w = { .see = fn, .arg = arg, .root = s->name };
	const struct place top = { .shape = s };

	shape_walk(&w, &top);
}
