/* link: gateway/shape.c gateway/shape_form.c gateway/shape_limits.c gateway/shape_tables.c tests/env/shape_cases.c */
/* Every case generated from the shape tables, checked without a server; and the update rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../env/shape_cases.h"
#include "jx.h"
#include "shape.h"

struct tally { const struct shape *shape; int cases, wrong; };

static void
check(void *arg, const char *name, const json_t *body, const char *expect)
{
	struct tally *t = arg;
	struct err e = ERR_INIT;
	int rc = shape_check(t->shape, body, &e);

	t->cases++;
	if (expect ? rc == 0 || e.kind != EK_INVALID || strncmp(e.pub, expect, strlen(expect)) != 0 : rc != 0) {
		fprintf(stderr, "%s\n  want: %s\n  got:  %s\n", name, expect ? expect : "accepted", rc ? e.pub : "accepted");
		t->wrong++;
	}
}

static const struct shape *const shapes[] = {
#define SHAPE(id, ...) &shape_##id,
#define UNION(...)
#define VALUES(...)
#include "shapes.def"
#undef SHAPE
#undef UNION
#undef VALUES
	NULL,
};

static void
generated(void **state)
{
	int cases = 0, wrong = 0;

	for (size_t i = 0; shapes[i] != NULL; i++) {
		struct tally t = { .shape = shapes[i] };

		if (shape_multipart(shapes[i]))
			continue;
		shape_cases(shapes[i], check, &t);
		cases += t.cases;
		wrong += t.wrong;
	}
	fprintf(stderr, "%d generated bodies, %d deviations\n", cases, wrong);
	assert_int_equal(wrong, 0);
	assert_true(cases > 10000);
}

static json_t *
parsed(const char *text)
{
	struct err e = ERR_INIT;
	json_t *v;

	assert_int_equal(jx_parse(text, strlen(text), &v, &e), 0);
	return v;
}

static void
parse_errors_win(void **state)
{
	AUTO(json) json_t *body = parsed("{\"name\":\"\",\"model\":\"m\",\"tools\":[{\"type\":\"custom\",\"nam\":1}]}");
	struct err e = ERR_INIT;

	assert_int_equal(shape_check(&shape_agent_create, body, &e), -1);
	assert_string_equal(e.pub, "Failed to parse request body: unknown field \"nam\" in tools[0]");
}

static void
characters_not_bytes(void **state)
{
	AUTO(json) json_t *body = json_object();
	char name[4 * 256 + 5] = "";
	struct err e = ERR_INIT;

	for (int i = 0; i < 256; i++)
		strcat(name, "\xf0\x9f\xa6\x86");
	json_object_set_new(body, "name", json_string(name));
	json_object_set_new(body, "model", json_string("m"));
	assert_int_equal(shape_check(&shape_agent_create, body, &e), 0);
	strcat(name, "x");
	json_object_set_new(body, "name", json_string(name));
	assert_int_equal(shape_check(&shape_agent_create, body, &e), -1);
}

static void
not_an_object(void **state)
{
	static const char *const bodies[] = { "[]", "\"x\"", "7", "null", "true" };

	for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
		AUTO(json) json_t *body = parsed(bodies[i]);
		struct err e = ERR_INIT;

		assert_int_equal(shape_check(&shape_events_send, body, &e), -1);
		assert_non_null(strstr(e.pub, "Failed to parse request body: expected an object"));
	}
}

static const struct { const char *stored, *patch, *want; } updates[] = {
	{ "{\"name\":\"a\",\"description\":\"d\",\"tools\":[1]}", "{}", "{\"name\":\"a\",\"description\":\"d\",\"tools\":[1]}" },
	{ "{\"description\":\"d\"}", "{\"description\":null}", "{\"description\":null}" },
	{ "{\"description\":\"d\"}", "{\"description\":\"\"}", "{\"description\":null}" },
	{ "{\"description\":null}", "{\"description\":\"x\"}", "{\"description\":\"x\"}" },
	{ "{\"tools\":[1]}", "{\"tools\":null}", "{\"tools\":[]}" },
	{ "{\"tools\":[1]}", "{\"tools\":[]}", "{\"tools\":[]}" },
	{ "{\"metadata\":{\"a\":\"1\",\"b\":\"2\"}}", "{\"metadata\":{\"a\":null,\"c\":\"3\"}}", "{\"metadata\":{\"b\":\"2\",\"c\":\"3\"}}" },
	{ "{\"metadata\":{\"a\":\"1\"}}", "{\"metadata\":null}", "{\"metadata\":{\"a\":\"1\"}}" },
	{ "{\"model\":1}", "{\"model\":\"own rule\"}", "{\"model\":1}" },
};

static void
update_rules(void **state)
{
	for (size_t i = 0; i < sizeof updates / sizeof *updates; i++) {
		AUTO(json) json_t *stored = parsed(updates[i].stored), *patch = parsed(updates[i].patch), *want = parsed(updates[i].want);

		shape_update(&shape_agent_update, stored, patch);
		if (!json_equal(stored, want))
			fail_msg("case %zu", i);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(generated), cmocka_unit_test(parse_errors_win), cmocka_unit_test(characters_not_bytes),
		cmocka_unit_test(not_an_object), cmocka_unit_test(update_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
