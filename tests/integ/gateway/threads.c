/* link: tests/env/gateway_rig.c */
/*
 * Threads of a session against a running gateway: the primary thread before and after its first status change, filters, pages, events, and
 * what a session without children refuses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../env/gateway_rig.h"
#include "xalloc.h"

static char session[64], thread[64];

static int
start(void **state)
{
	AUTO(json) json_t *a = NULL, *v = NULL, *s = NULL;
	AUTO(str) char *id = NULL;

	gwr_start("");
	a = gwr_ok(GWR_A, "POST", "/v1/agents", "{\"name\":\"A\",\"model\":\"roost-scripted\",\"system\":\"s\",\"tools\":[{\"type\":\"agent_toolset_20260401\"}]}");
	v = gwr_ok(GWR_A, "POST", "/v1/environments", "{\"name\":\"E\"}");
	s = gwr_ok(GWR_A, "POST", "/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", jx_str(a, "id"), jx_str(v, "id")));
	snprintf(session, sizeof session, "%s", jx_str(s, "id"));
	id = gwr_sql("SELECT thread_id FROM session WHERE id = '%s'", session);
	snprintf(thread, sizeof thread, "%s", id);
	return 0;
}

/* Paths below the session, in gwr_fmt's ring. */
static const char *of(const char *rest) { return gwr_fmt("/v1/sessions/%s/threads%s", session, rest); }
static const char *of_thread(const char *rest) { return gwr_fmt("/v1/sessions/%s/threads/%s%s", session, thread, rest); }

static void
is(const json_t *o, const char *key, const char *want)
{
	AUTO(json) json_t *w = json_loads(want, JSON_DECODE_ANY, NULL);
	AUTO(str) char *have = json_object_get(o, key) ? jx_dump(json_object_get(o, key)) : xstrdup("(absent)");

	if (!json_equal(json_object_get(o, key), w))
		fail_msg("%s is %s; want %s", key, have, want);
}

static void
primary(void **state)
{
	AUTO(json) json_t *t = gwr_ok(GWR_A, "GET", of_thread(""), NULL), *list = gwr_ok(GWR_A, "GET", of(""), NULL);
	AUTO(json) json_t *s = gwr_ok(GWR_A, "GET", gwr_fmt("/v1/sessions/%s", session), NULL), *agent = NULL;

	assert_int_equal(json_object_size(t), 12);
	is(t, "type", "\"session_thread\"");
	is(t, "id", gwr_fmt("\"%s\"", thread));
	is(t, "session_id", gwr_fmt("\"%s\"", session));
	is(t, "status", "\"idle\"");
	is(t, "parent_thread_id", "null");
	is(t, "workflow_run_id", "null");
	is(t, "stats", "null");		/* it has not worked yet */
	is(t, "usage", "null");
	is(t, "archived_at", "null");
	assert_string_equal(jx_str(t, "created_at"), jx_str(s, "created_at"));
	agent = json_deep_copy(json_object_get(s, "agent"));
	assert_int_equal(json_object_del(agent, "multiagent"), 0);
	assert_true(json_equal(agent, json_object_get(t, "agent")));
	assert_int_equal(json_array_size(json_object_get(list, "data")), 1);
	assert_true(json_equal(json_array_get(json_object_get(list, "data"), 0), t));
	is(list, "next_page", "null");
}

static void
after_work(void **state)
{
	AUTO(json) json_t *t = NULL;

	free(gwr_sql("UPDATE session SET active_us = 1500000, input_tokens = 7, output_tokens = 8, cache_read_tokens = 9, cache_5m_tokens = 10 "
	    "WHERE id = '%s'", session));
	t = gwr_ok(GWR_A, "GET", of_thread(""), NULL);
	is(json_object_get(t, "stats"), "active_seconds", "1.5");
	assert_true(json_is_real(json_object_get(json_object_get(t, "stats"), "duration_seconds")));
	is(json_object_get(t, "usage"), "active_seconds", "1.5");
	is(json_object_get(t, "usage"), "input_tokens", "7");
	is(json_object_get(t, "usage"), "cache_creation", "{\"ephemeral_5m_input_tokens\":10,\"ephemeral_1h_input_tokens\":0}");
}

static void
filters(void **state)
{
	static const struct { const char *query; size_t n; } cases[] = {
		{ "?statuses[]=idle", 1 }, { "?statuses[]=running", 0 }, { "?statuses[]=running&statuses[]=idle", 1 }, { "?limit=1", 1 },
		{ "?statuses=terminated&statuses=rescheduling", 0 }, { "?limit=1000&beta=true", 1 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		AUTO(json) json_t *list = gwr_ok(GWR_A, "GET", of(cases[i].query), NULL);

		if (json_array_size(json_object_get(list, "data")) != cases[i].n)
			fail_msg("%s: %zu threads", cases[i].query, json_array_size(json_object_get(list, "data")));
	}
	gwr_bad(GWR_A, "GET", of("?statuses[]=gone"), NULL, 400, "invalid_request_error", "statuses: ");
	gwr_bad(GWR_A, "GET", of("?limit=1001"), NULL, 400, "invalid_request_error", "limit: ");
	gwr_bad(GWR_A, "GET", of("?limit=0"), NULL, 400, "invalid_request_error", "limit: ");
	gwr_bad(GWR_A, "GET", of("?page=page_x"), NULL, 400, "invalid_request_error", "invalid page cursor");
}

/* A thread's list is its session's, with cursors of its own. */
static void
events(void **state)
{
	AUTO(json) json_t *one = NULL, *two = NULL, *whole = NULL;
	const char *next;

	for (int i = 0; i < 3; i++)
		json_decref(gwr_ok(GWR_A, "POST", gwr_fmt("/v1/sessions/%s", session), gwr_fmt("{\"title\":\"t%d\"}", i)));
	free(gwr_sql("INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body) VALUES "
	    "('%s', 1, 'sevt_1', 'agent.message', '%s', now(), '{\"id\":\"sevt_1\"}'), "
	    "('%s', 2, 'sevt_2', 'agent.message', 'sthr_child', now(), '{\"id\":\"sevt_2\"}')", session, thread, session));
	free(gwr_sql("UPDATE session SET last_seq = 2 WHERE id = '%s'", session));
	whole = gwr_ok(GWR_A, "GET", gwr_fmt("/v1/sessions/%s/events", session), NULL);
	assert_int_equal(json_array_size(json_object_get(whole, "data")), 4);	/* not the other thread's */
	one = gwr_ok(GWR_A, "GET", of_thread("/events?limit=3"), NULL);
	next = jx_str(one, "next_page");
	assert_int_equal(json_array_size(json_object_get(one, "data")), 3);
	assert_string_equal(jx_str(json_array_get(json_object_get(one, "data"), 0), "id"), "sevt_1");
	assert_non_null(next);
	two = gwr_ok(GWR_A, "GET", of_thread(gwr_fmt("/events?page=%s", next)), NULL);
	json_array_extend(json_object_get(one, "data"), json_object_get(two, "data"));
	assert_true(json_equal(json_object_get(one, "data"), json_object_get(whole, "data")));
	is(two, "next_page", "null");
	gwr_bad(GWR_A, "GET", gwr_fmt("/v1/sessions/%s/events?page=%s", session, next), NULL, 400, "invalid_request_error", "invalid page cursor");
	gwr_bad(GWR_A, "GET", of_thread("/events?limit=1001"), NULL, 400, "invalid_request_error", "limit: ");
}

static void
refused(void **state)
{
	const char *absent = "sthr_01aaaaaaaaaaaaaaaaaaaaaa", *nobody = "sesn_01aaaaaaaaaaaaaaaaaaaaaa";
	static const char *const rests[] = { "", "/events", "/archive" };

	gwr_bad(GWR_A, "POST", of_thread("/archive"), NULL, 400, "invalid_request_error",
	    "The primary thread cannot be archived; archive the session instead.");
	for (size_t i = 0; i < 3; i++) {
		const char *method = i == 2 ? "POST" : "GET";

		gwr_bad(GWR_A, method, of(gwr_fmt("/%s%s", absent, rests[i])), NULL, 404, "not_found_error", gwr_fmt("Thread not found: %s", absent));
		gwr_bad(GWR_A, method, of(gwr_fmt("/nonsense%s", rests[i])), NULL, 400, "invalid_request_error", "Invalid thread ID: nonsense");
		gwr_bad(GWR_A, method, gwr_fmt("/v1/sessions/%s/threads/%s%s", nobody, thread, rests[i]), NULL, 404, "not_found_error", "Session not found.");
		gwr_bad(GWR_C, method, of_thread(rests[i]), NULL, 404, "not_found_error", "Session not found.");
	}
	gwr_bad(GWR_A, "GET", gwr_fmt("/v1/sessions/%s/threads", nobody), NULL, 404, "not_found_error", "Session not found.");
	gwr_bad(GWR_C, "GET", of(""), NULL, 404, "not_found_error", "Session not found.");
	gwr_bad(GWR_A, "GET", of_thread("/events/stream"), NULL, 404, "not_found_error", "Not found");
}

static void
ended(void **state)
{
	AUTO(json) json_t *t = NULL, *list = NULL, *again = NULL;

	json_decref(gwr_ok(GWR_A, "POST", gwr_fmt("/v1/sessions/%s/archive", session), NULL));
	t = gwr_ok(GWR_A, "GET", of_thread(""), NULL);
	is(t, "status", "\"terminated\"");
	assert_non_null(jx_str(t, "archived_at"));
	again = gwr_ok(GWR_A, "POST", of_thread("/archive"), NULL);		/* archived already: nothing happens */
	assert_string_equal(jx_str(again, "archived_at"), jx_str(t, "archived_at"));
	list = gwr_ok(GWR_A, "GET", of("?statuses[]=terminated"), NULL);	/* terminated threads stay listed */
	assert_int_equal(json_array_size(json_object_get(list, "data")), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(primary), cmocka_unit_test(after_work), cmocka_unit_test(filters), cmocka_unit_test(events),
		cmocka_unit_test(refused), cmocka_unit_test(ended),
	};

	return cmocka_run_group_tests_name("threads", tests, start, gwr_over);
}
