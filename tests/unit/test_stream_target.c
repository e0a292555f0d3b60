/* link: gateway/stream/target.c */
/* Paths and queries of stream requests: which are ours, what they ask for, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>

#include "target.h"

#define S "sesn_011111111111111111111111"
#define T "sthr_011111111111111111111111"

static const struct { const char *path, *session, *thread; } routes[] = {
	{ "/v1/sessions/" S "/events/stream",               S,    "" },
	{ "/v1/sessions/" S "/threads/" T "/stream",        S,    T },
	{ "/v1/sessions/sesn%5F1/events/stream",            "sesn_1", "" },
	{ "/v1/sessions/" S "/threads/" T "/events/stream", NULL, NULL },	/* contract 2.3: must be 404 */
	{ "/v1/sessions/" S "/stream",                      NULL, NULL },
	{ "/v1/sessions/" S "/events/stream/",              NULL, NULL },
	{ "/v1/sessions/" S "/events/stream/x",             NULL, NULL },
	{ "/v1/sessions//events/stream",                    NULL, NULL },
	{ "/v1/sessions/a%00b/events/stream",               NULL, NULL },
	{ "/v1/sessions/%zz/events/stream",                 NULL, NULL },
	{ "/v1/sessions/a%2Fb/events/stream",               NULL, NULL },
	{ "/v1/sessions/" S "/events/stre%61m",             NULL, NULL },	/* only ids are decoded, as on the API */
	{ "/v1/./sessions/" S "/events/stream",             NULL, NULL },
	{ "/v2/sessions/" S "/events/stream",               NULL, NULL },
	{ "v1/sessions/" S "/events/stream",                NULL, NULL },
	{ "/",                                              NULL, NULL },
	{ "",                                               NULL, NULL },
	{ "/v1/sessions/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/events/stream", NULL, NULL },
};

static void
paths(void **state)
{
	for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
		struct err e = ERR_INIT;
		struct target t = { 0 };
		int got = target_route(routes[i].path, &t, &e);

		if (got != (routes[i].session ? 0 : -1))
			fail_msg("%s: %d", routes[i].path, got);
		if (got < 0) {
			assert_int_equal(e.kind, EK_NO_ROUTE);
			assert_string_equal(e.pub, "Not found");
			continue;
		}
		assert_string_equal(t.session, routes[i].session);
		assert_string_equal(t.thread, routes[i].thread);
	}
}

static void
ids(void **state)
{
	struct err e = ERR_INIT;
	struct target t = { .session = S, .thread = "" };

	assert_int_equal(target_ids(&t, &e), 0);
	strcpy(t.thread, T);
	assert_int_equal(target_ids(&t, &e), 0);
	strcpy(t.thread, "sthr_x");
	assert_int_equal(target_ids(&t, &e), -1);
	assert_string_equal(e.pub, "Invalid thread ID: sthr_x");
	strcpy(t.session, "agent_1");
	assert_int_equal(target_ids(&t, &e), -1);
	assert_int_equal(e.kind, EK_INVALID);
}

#define BOTH (TARGET_MESSAGE | TARGET_THINKING)

static const struct { const char *query; int deltas; } queries[] = {	/* deltas -1: refused */
	{ NULL,                                                             0 },
	{ "",                                                               0 },
	{ "beta=true",                                                      0 },
	{ "limit=5&&x&=&event_deltasx=1",                                   0 },
	{ "event_deltas[]=agent.message",                                   TARGET_MESSAGE },
	{ "event_deltas%5B%5D=agent.message&beta=true",                     TARGET_MESSAGE },
	{ "event_deltas%5b%5d=agent%2Ethinking",                            TARGET_THINKING },
	{ "event_deltas=agent.message&event_deltas=agent.thinking",         BOTH },
	{ "event_deltas[]=agent.message&event_deltas[]=agent.message",      TARGET_MESSAGE },
	{ "event_deltas[]=agent.tool_use",                                  -1 },
	{ "event_deltas[]=",                                                -1 },
	{ "event_deltas",                                                   -1 },
	{ "event_deltas[]=agent.message&event_deltas[]=bogus",              -1 },
	{ "event_deltas[]=agent.message%00",                                -1 },
	{ "event_deltas[]=%",                                               -1 },
};

static void
deltas(void **state)
{
	for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
		struct err e = ERR_INIT;
		struct target t = { 0 };
		int got = target_query(queries[i].query, &t, &e);

		if (got < 0 ? queries[i].deltas != -1 : (int)t.deltas != queries[i].deltas)
			fail_msg("%s: %d, %u", queries[i].query, got, t.deltas);
		if (got < 0) {
			assert_int_equal(e.kind, EK_INVALID);
			assert_non_null(strstr(e.pub, "event_deltas"));
		}
	}
}

static const struct { const char *query, *header; int64_t after; const char *id; } resumes[] = {	/* after -1: not asked, -2: refused */
	{ "beta=true",                    NULL,      -1, "" },
	{ "after=0",                      NULL,       0, "" },
	{ "after=17&beta=true",           NULL,      17, "" },
	{ "after=%31%37",                 NULL,      17, "" },
	{ "after=999999999999999999",     NULL,      999999999999999999, "" },
	{ "after=sevt_011111111111111111111111", NULL, 0, "sevt_011111111111111111111111" },
	{ NULL,                           "17",      17, "" },
	{ NULL,                           "sevt_011111111111111111111111", 0, "sevt_011111111111111111111111" },
	{ "after=3",                      "17",      17, "" },		/* a reconnecting client keeps its first URL */
	{ "after=sevt_011111111111111111111111", "17", 17, "" },
	{ "after=",                       NULL,      -2, "after" },
	{ "after",                        NULL,      -2, "after" },
	{ "after=-1",                     NULL,      -2, "after" },
	{ "after=%2B1",                   NULL,      -2, "after" },
	{ "after=17.2",                   NULL,      17, "" },		/* of the second timeline */
	{ "after=1.0",                    NULL,      -2, "after" },
	{ "after=1.",                     NULL,      -2, "after" },
	{ "after=1.2.3",                  NULL,      -2, "after" },
	{ "after=1.1000000000",           NULL,      -2, "after" },
	{ "after=0x10",                   NULL,      -2, "after" },
	{ "after=17%00",                  NULL,      -2, "after" },
	{ "after=1000000000000000000",    NULL,      -2, "after" },
	{ "after=sesn_011111111111111111111111", NULL, -2, "after" },
	{ "after=sevt_",                  NULL,      -2, "after" },
	{ "after=1&after=1",              NULL,      -2, "after" },
	{ "after=x",                      "17",      -2, "after" },
	{ "after=1",                      "x",       -2, "Last-Event-ID" },
	{ NULL,                           " 17",     -2, "Last-Event-ID" },
};

static void
where_to_resume(void **state)
{
	for (size_t i = 0; i < sizeof resumes / sizeof *resumes; i++) {
		struct err e = ERR_INIT;
		struct target t = { 0 };
		int got = target_query(resumes[i].query, &t, &e);
		int64_t after;

		if (got == 0 && resumes[i].header)
			got = target_resume("Last-Event-ID", resumes[i].header, &t, &e);
		after = got < 0 ? -2 : t.resume ? t.after : -1;
		if (after != resumes[i].after)
			fail_msg("%s, %s: %d", resumes[i].query, resumes[i].header, (int)after);
		if (got == 0)
			assert_string_equal(t.after_id, resumes[i].id);
		else if (e.kind != EK_INVALID || strncmp(e.pub, resumes[i].id, strlen(resumes[i].id)) != 0)
			fail_msg("%s, %s: %s", resumes[i].query, resumes[i].header, e.pub);
	}
}

static void
at_most_a_hundred(void **state)
{
	char query[101 * 30 + 1] = "";
	struct err e = ERR_INIT;
	struct target t;

	for (int i = 0; i < 100; i++)
		strcat(query, "event_deltas[]=agent.message&");
	assert_int_equal(target_query(query, &t, &e), 0);
	strcat(query, "event_deltas[]=agent.message");
	assert_int_equal(target_query(query, &t, &e), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths),
		cmocka_unit_test(ids),
		cmocka_unit_test(deltas),
		cmocka_unit_test(at_most_a_hundred),
		cmocka_unit_test(where_to_resume),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
