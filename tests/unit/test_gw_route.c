/* link: tests/env/gw_nothing.c gateway/route.c gateway/query.c gateway/shape.c gateway/shape_form.c gateway/shape_limits.c gateway/shape_tables.c */
/* Which endpoint a raw path means, and what of the query string is understood. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "arena.h"
#include "query.h"
#include "route.h"

static const struct { const char *method, *path, *want, *allow; } cases[] = {
	{ "GET", "/healthz", "/healthz", "" },
	{ "GET", "/v1/agents/x", "/v1/agents/{agent_id}", "" },
	{ "GET", "/v1/agents/%61", "/v1/agents/{agent_id}", "" },
	{ "POST", "/v1/agents/x/archive", "/v1/agents/{agent_id}/archive", "" },
	{ "GET", "/v1/sessions/x/events", "/v1/sessions/{session_id}/events", "" },
	{ "GET", "/v1/sessions/x/events/stream", "/v1/sessions/{session_id}/events/stream", "" },
	{ "PUT", "/v1/agents", NULL, "POST, GET" },
	{ "PUT", "/v1/agents/x", NULL, "GET, POST" },
	{ "DELETE", "/v1/sessions", NULL, "POST, GET" },
	{ "GET", "/v1/agents/", NULL, "" }, { "GET", "/v1//agents", NULL, "" }, { "GET", "/v1/agents/..", NULL, "" },
	{ "GET", "/v1/agents/%2e%2e", NULL, "" }, { "GET", "/v1/agents/a%2fb", NULL, "" }, { "GET", "/v1/agents/a%00", NULL, "" },
	{ "GET", "/v1/agents/%", NULL, "" }, { "GET", "/v1/agents/x/", NULL, "" }, { "GET", "", NULL, "" }, { "GET", "v1/agents", NULL, "" },
	{ "GET", "/v1/agent%73", NULL, "" },
};

static void
matching(void **state)
{
	AUTO(arena) struct arena *a = arena_new(1 << 20);

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *params[REQ_PARAMS] = { NULL };
		const struct route *r = NULL;
		struct err e = ERR_INIT;
		char allow[64];
		int rc = route_match(cases[i].method, cases[i].path, a, &r, params, allow, &e);

		if (cases[i].want) {
			assert_int_equal(rc, 0);
			assert_string_equal(r->path, cases[i].want);
			continue;
		}
		if (rc == 0 || e.kind != (cases[i].allow[0] ? EK_METHOD : EK_NO_ROUTE))
			fail_msg("%s %s", cases[i].method, cases[i].path);
		assert_string_equal(allow, cases[i].allow);
	}
}

/* Every route is found by its own template. */
static void
every_route(void **state)
{
	AUTO(arena) struct arena *a = arena_new(1 << 20);

	for (size_t i = 0; i < routes_count; i++) {
		const char *params[REQ_PARAMS] = { NULL };
		const struct route *r = NULL;
		struct err e = ERR_INIT;
		char allow[64], path[128], *brace;

		snprintf(path, sizeof path, "%s", routes[i].path);
		while ((brace = strpbrk(path, "{}")))
			*brace = 'x';
		assert_int_equal(route_match(routes[i].method, path, a, &r, params, allow, &e), 0);
		assert_ptr_equal(r, &routes[i]);
	}
}

static void
ids(void **state)
{
	AUTO(arena) struct arena *a = arena_new(1 << 20);
	const char *params[REQ_PARAMS] = { NULL };
	const struct route *r;
	struct err e = ERR_INIT;
	char allow[64];

	assert_int_equal(route_match("GET", "/v1/agents/agent_01aaaaaaaaaaaaaaaaaaaaaa", a, &r, params, allow, &e), 0);
	assert_int_equal(route_check_params(r, params, &e), 0);
	assert_int_equal(route_match("GET", "/v1/agents/env_01aaaaaaaaaaaaaaaaaaaaaa", a, &r, params, allow, &e), 0);
	assert_int_equal(route_check_params(r, params, &e), -1);
	assert_string_equal(e.pub, "Invalid agent ID.");
}

static struct query
parse(struct arena *a, const char *raw)
{
	struct err e = ERR_INIT;
	struct query q;

	if (query_parse(&query_session_list, raw, a, &q, &e) < 0)
		fail_msg("%s: %s", raw, e.pub);
	return q;
}

static void
values(void **state)
{
	AUTO(arena) struct arena *a = arena_new(1 << 20);
	struct query q = parse(a, NULL);
	const char *const *list;

	assert_int_equal(query_int(&q, "limit"), 20);
	assert_false(query_given(&q, "limit"));
	assert_null(query_text(&q, "order"));
	assert_null(query_time(&q, "created_at[gt]", a));
	q = parse(a, "limit=7&order=asc&include_archived=true&agent_id=a%2Bb+c&created_at%5Bgt%5D=1970-01-01T00:00:01Z&&x=y&beta=true");
	assert_int_equal(query_int(&q, "limit"), 7);
	assert_string_equal(query_text(&q, "order"), "asc");
	assert_true(query_bool(&q, "include_archived"));
	assert_string_equal(query_text(&q, "agent_id"), "a+b c");
	assert_string_equal(query_time(&q, "created_at[gt]", a), "1000000");
	q = parse(a, "created_at[gt]=1970-01-01T02:00:00+02:00");	/* an unescaped plus */
	assert_string_equal(query_time(&q, "created_at[gt]", a), "0");
	q = parse(a, "statuses[]=idle&statuses=running&statuses%5b%5d=idle");
	assert_int_equal(query_list(&q, "statuses", &list), 2);
	assert_string_equal(list[1], "running");
	q = parse(a, "page=&limit=7");			/* null, as the SDK writes it */
	assert_false(query_given(&q, "page"));
	assert_null(query_text(&q, "page"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(matching), cmocka_unit_test(every_route), cmocka_unit_test(ids), cmocka_unit_test(values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
