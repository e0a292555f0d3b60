/* link: tests/env/worker_rig.c tests/env/fake_hands.c */
/*
 * One reply with an allowed call, two that ask and a custom one, answered in every order (contract 3.5): the allowed one runs at once;
 * answers are taken in call order, one for a later call waits; the rest is named again; confirmed calls run behind the running pair.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../env/worker_rig.h"
#include "buf.h"
#include "cleanup.h"
#include "clock.h"
#include "xalloc.h"

#define CALLS "\nwrite {\"file_path\":\"/a\",\"content\":\"x\"}\nweather {\"city\":\"B\"}\nwrite {\"file_path\":\"/c\",\"content\":\"y\"}"
#define N 3

static const int orders[][N] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
#define NORDERS ((int)(sizeof(orders) / sizeof(orders[0])))

static char *ids[N];

static int
start(void **state)
{
	(void)state;
	rig_start();
	(void)rig_worker("poll_ms = 200\n");
	return 0;
}

/* The session's waiting calls by name, in call order. */
static void
find_calls(const char *session)
{
	for (int i = 0; i < N; i++)
		ids[i] = rig_sql("SELECT tool_use_id FROM action WHERE session_id = '%s' ORDER BY ordinal OFFSET %d LIMIT 1", session, i);
}

static void
drop_calls(void)
{
	for (int i = 0; i < N; i++)
		free(ids[i]);
}

static void
add_answer(int call)
{
	if (call == 1)
		rig_result(ids[call], "mild");
	else
		rig_confirm(ids[call], call == 2 ? "no" : NULL);
}

static const char *
answer_type(int call)
{
	return call == 1 ? "u.custom_tool_result" : "u.tool_confirmation";
}

static void
begin(char session[32], const char *kind, int order, const char *first)
{
	AUTO(str) char *text = xasprintf("%s" CALLS, first);

	snprintf(session, 32, "sesn_%s%d", kind, order);
	rig_session(session, "roost-scripted");
	rig_message(text);
	rig_send(session);
}

#define REST " S:running T:running a.tool_result a.tool_result M:start a.message M:end T:idle s.usage S:idle"

static void
check_end(const char *session, int after, const char *want)
{
	AUTO(str) char *got = rig_log(session, after);
	AUTO(str) char *results = rig_sql("SELECT string_agg(body::jsonb->>'is_error', ' ' ORDER BY seq) FROM event WHERE session_id = '%s' AND type = "
	    "'agent.tool_result'", session);

	assert_string_equal(got, want);
	assert_string_equal(results, "false false true");
	assert_int_equal(fake_hands_count(rig_hands, "call", session), 2);	/* the denied one was never sent */
	rig_check(session);
}

/* Each answer by itself, when the session has come to rest. */
static void
one_by_one(void **state)
{
	(void)state;
	for (int o = 0; o < NORDERS; o++) {
		bool there[N] = { false };
		struct buf want = BUF_INIT(0);
		char session[32];
		int next = 0;

		begin(session, "one", o, "bash {\"command\":\"ls\"}");
		rig_settled(session);
		find_calls(session);
		for (int k = 0; k < N; k++) {
			int from = next;

			there[orders[o][k]] = true;
			add_answer(orders[o][k]);
			rig_send(session);
			rig_settled(session);
			for (; next < N && there[next]; next++)
				buf_printf(&want, "%s%s", want.len > 0 ? " " : "", answer_type(next));
			if (k < N - 1)
				buf_printf(&want, "%ss.usage S:idle", want.len > 0 ? " " : "");
			if (from == next && k < N - 1)
				rig_wait("1", "SELECT (count(*) > 0)::int FROM inbox WHERE session_id = '%s'", session);
		}
		buf_str(&want, REST);
		check_end(session, 13, want.data);
		buf_free(&want);
		drop_calls();
	}
}

/* All in one request. */
static void
all_at_once(void **state)
{
	(void)state;
	for (int o = 0; o < NORDERS; o++) {
		char session[32];

		begin(session, "all", o, "bash {\"command\":\"ls\"}");
		rig_settled(session);
		find_calls(session);
		for (int k = 0; k < N; k++)
			add_answer(orders[o][k]);
		rig_send(session);
		rig_settled(session);
		check_end(session, 13, "u.tool_confirmation u.custom_tool_result u.tool_confirmation" REST);
		drop_calls();
	}
}

/* While the allowed call still runs: no idle in between. */
static void
before_the_idle(void **state)
{
	(void)state;
	for (int o = 0; o < NORDERS; o++) {
		char session[32];

		fake_hands_amnesia(rig_hands);		/* hold again */
		begin(session, "ear", o, "bash {\"command\":\"hold\"}");
		rig_hands_has("call", session, 1);
		find_calls(session);
		for (int k = 0; k < N; k++) {
			add_answer(orders[o][k]);
			rig_send(session);
		}
		fake_hands_release(rig_hands);
		rig_settled(session);
		check_end(session, 9, "u.tool_confirmation u.custom_tool_result u.tool_confirmation a.tool_result a.tool_result a.tool_result M:start "
		    "a.message M:end T:idle s.usage S:idle");
		drop_calls();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_by_one), cmocka_unit_test(all_at_once), cmocka_unit_test(before_the_idle),
	};

	return cmocka_run_group_tests_name("worker orders", tests, start, rig_over);
}
