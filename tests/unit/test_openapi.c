/* link: tests/env/gw_nothing.c gateway/openapi.c gateway/openapi_schema.c gateway/reply_tables.c gateway/routedoc.c gateway/route.c gateway/query.c gateway/shape.c gateway/shape_form.c gateway/shape_limits.c gateway/shape_tables.c */
/* The description of the API: every route has words, a reply that is described, an operation id of its own; every reference resolves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "jx.h"
#include "openapi.h"
#include "replies.h"
#include "route.h"
#include "routedoc.h"

static json_t *
document(void)
{
	json_t *doc = NULL;
	struct err e = ERR_INIT;
	const char *text;
	size_t len;

	openapi_init();
	text = openapi_text(&len);
	if (jx_parse(text, len, &doc, &e) < 0)
		fail_msg("%s", e.pub);
	return doc;
}

static void
words(void **state)
{
	for (size_t i = 0; i < routes_count; i++) {
		struct routedoc d = routedoc_of(&routes[i]);

		if (routes[i].handler == route_nowhere)
			continue;
		if (strcmp(d.summary, d.id) == 0)
			fail_msg("%s %s: routedoc.def has no row %s", routes[i].method, routes[i].path, d.id);
		for (size_t k = 0; k < i; k++)
			if (routes[k].handler != route_nowhere && strcmp(routedoc_of(&routes[k]).id, d.id) == 0)
				fail_msg("%s: two routes have this operation id", d.id);
	}
}

static void
described_replies(void **state)
{
	for (size_t i = 0; i < routes_count; i++) {
		const struct reply_doc *of;
		enum reply_envelope kind = reply_of(routes[i].reply, &of);

		if (kind != REPLY_NONE && kind != REPLY_BINARY && !of)
			fail_msg("%s %s: replies.def has no \"%s\"", routes[i].method, routes[i].path, routes[i].reply);
		if (kind == REPLY_NONE && routes[i].handler != route_nowhere && strcmp(routes[i].reply, "OpenAPI") != 0)
			fail_msg("%s %s: no reply is named", routes[i].method, routes[i].path);
	}
	for (size_t i = 0; i < replies_count; i++)
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(replies[i].name, replies[k].name);
}

/* Every "$ref" below v names something. */
static void
follow(const json_t *doc, const json_t *v)
{
	const char *key;
	json_t *item;
	size_t i;

	if (json_is_array(v)) {
		json_array_foreach(v, i, item)
			follow(doc, item);
	} else if (json_is_object(v)) {
		json_object_foreach((json_t *)v, key, item) {
			char kind[32], name[96];
			const json_t *found;

			if (strcmp(key, "$ref") != 0) {
				follow(doc, item);
				continue;
			}
			assert_int_equal(sscanf(json_string_value(item), "#/components/%31[^/]/%95s", kind, name), 2);
			found = json_object_get(json_object_get(json_object_get(doc, "components"), kind), name);
			if (!found)
				fail_msg("%s", json_string_value(item));
		}
	}
}

static void
references(void **state)
{
	AUTO(json) json_t *doc = document();

	follow(doc, doc);
	openapi_free();
}

static void
every_route(void **state)
{
	AUTO(json) json_t *doc = document();

	for (size_t i = 0; i < routes_count; i++) {
		const json_t *path = json_object_get(json_object_get(doc, "paths"), routes[i].path), *op;
		char method[8] = "";

		for (int k = 0; routes[i].method[k]; k++)
			method[k] = (char)(routes[i].method[k] | 0x20);
		op = json_object_get(path, method);
		assert_true((op != NULL) == (routes[i].handler != route_nowhere));
		if (op)
			assert_non_null(json_object_get(json_object_get(op, "responses"), "200"));
	}
	openapi_free();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words), cmocka_unit_test(described_replies), cmocka_unit_test(references), cmocka_unit_test(every_route),
	};

	return cmocka_run_group_tests_name("openapi", tests, NULL, NULL);
}
