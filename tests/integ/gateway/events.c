/* link: tests/env/gateway_rig.c */
/*
 * Sending and listing events against a running gateway: echoes, what the harness finds in the inbox, waiting calls and their answers,
 * repeats, interrupts, limits, and pages over log and inbox. The worker's part is played with SQL.
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
#include "buf.h"
#include "xalloc.h"

#define MESSAGE "{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"}]}"
#define RESULT(id, text) "{\"type\":\"user.custom_tool_result\",\"custom_tool_use_id\":\"" id "\",\"content\":[{\"type\":\"text\",\"text\":\"" text "\"}]}"
#define CONFIRM(id, r) "{\"type\":\"user.tool_confirmation\",\"tool_use_id\":\"" id "\",\"result\":\"" r "\"}"
#define BATCH(a) "{\"events\":[" a "]}"
#define BATCH2(a, b) BATCH(a "," b)
#define WAITING "Invalid user.message event at events[0]: waiting on responses to events ["

static char id[ID_MAX], uri[128], agent[ID_MAX], environment[ID_MAX];

static int
start(void **state)
{
	gwr_start("inbox_max_events = 20\ninbox_max_bytes = 100000\n");
	gwr_parts(GWR_A, agent, environment);
	return 0;
}

/* Each test has a session of its own. */
static int
fresh(void **state)
{
	gwr_session_of(GWR_A, agent, environment, id);
	snprintf(uri, sizeof uri, "/v1/sessions/%s/events", id);
	return 0;
}

static json_t *send_ok(const char *body) { return gwr_ok(GWR_A, "POST", uri, body); }

static void
send_bad(int status, const char *body, const char *message)
{
	gwr_bad(GWR_A, "POST", uri, body, status, status == 404 ? "not_found_error" : status == 403 ? "permission_error" :
	    status == 429 ? "rate_limit_error" : "invalid_request_error", message);
}

static void
calls_wait(int n)
{
	for (int i = 1; i <= n; i++)
		free(gwr_sql("INSERT INTO action (session_id, tool_use_id, ordinal, kind, tool_name, input) VALUES ('%s', 'sevt_%d', %d, '%s', 't', '{}')",
		    id, i, i, i % 2 ? "custom" : "confirm"));
}

static void
cell(const char *want, const char *column, const char *table, const char *where)
{
	AUTO(str) char *got = gwr_sql("SELECT %s FROM %s WHERE %s = '%s' %s", column, table, strcmp(table, "session") == 0 ? "id" : "session_id", id,
	    where);

	if (strcmp(got, want) != 0)
		fail_msg("%s.%s %s: %s; want %s", table, column, where, got, want);
}

static const char *
status_now(void)
{
	AUTO(json) json_t *s = gwr_ok(GWR_A, "GET", gwr_fmt("/v1/sessions/%s", id), NULL);

	return gwr_fmt("%s", jx_str(s, "status"));
}

static json_t *
datum(const json_t *reply, size_t i)
{
	return json_array_get(json_object_get(reply, "data"), i);
}

static void
message(void **state)
{
	AUTO(json) json_t *r = send_ok(BATCH("{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"a \\\"b\\\" \\u00e9\\n\"},"
	    "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"aGk=\"}},"
	    "{\"type\":\"document\",\"source\":{\"type\":\"url\",\"url\":\"https://example.com/x.pdf\"},\"title\":null,\"context\":\"c\"}]}"));
	AUTO(json) json_t *list = gwr_ok(GWR_A, "GET", uri, NULL), *fragment = NULL;
	AUTO(str) char *stem = NULL, *text = NULL, *shown = jx_dump(datum(r, 0));

	assert_int_equal(json_object_size(r), 1);
	assert_int_equal(json_object_size(datum(r, 0)), 4);
	assert_true(json_is_null(json_object_get(datum(r, 0), "processed_at")));
	assert_true(json_equal(datum(r, 0), datum(list, 0)));
	cell("u", "role", "inbox", "");
	cell("t", "wakes", "inbox", "");
	cell("f", "on_receipt", "inbox", "");
	stem = gwr_sql("SELECT stem || ',\"processed_at\":null}' FROM inbox WHERE session_id = '%s'", id);
	assert_string_equal(stem, shown);
	text = gwr_sql("SELECT '[' || fragment || ']' FROM inbox WHERE session_id = '%s'", id);
	fragment = json_loads(text, 0, NULL);
	assert_non_null(fragment);
	assert_true(json_equal(fragment, json_object_get(datum(r, 0), "content")));
	assert_null(json_object_get(json_array_get(fragment, 2), "title"));
	cell("t", "at_work", "session", "");
	assert_string_equal(status_now(), "running");
}

/* One batch: all or nothing, in order. */
static void
batches(void **state)
{
	AUTO(json) json_t *r = NULL;
	AUTO(str) char *before = gwr_state(), *after = NULL;

	send_bad(400, BATCH2(MESSAGE, "{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"\"}]}"),
	    "events.1.user_message.content.0.text: value is required");
	send_bad(400, BATCH2(MESSAGE, RESULT("sevt_9", "x")), "Invalid user.custom_tool_result event at events[1]: custom_tool_use_id \"sevt_9\"");
	send_bad(400, BATCH2(MESSAGE, "{\"type\":\"agent.message\",\"content\":[]}"), "Failed to parse request: events[1].type: \"agent.message\"");
	send_bad(403, BATCH2(MESSAGE, "{\"type\":\"user.tool_result\",\"tool_use_id\":\"sevt_1\"}"), "events.1.user_tool_result");
	send_bad(400, BATCH("{\"type\":\"user.message\",\"content\":[{\"type\":\"redacted\"}]}"), "Failed to parse request: events[0].content[0].type");
	send_bad(404, BATCH("{\"type\":\"user.message\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":\"file\",\"file_id\":\"x\"}}]}"),
	    "One or more files not found. Check that each `file_id` exists and is accessible: x");
	send_bad(404, BATCH("{\"type\":\"user.message\",\"content\":[{\"type\":\"document\",\"source\":{\"type\":\"file\","
	    "\"file_id\":\"file_01aaaaaaaaaaaaaaaaaaaaaa\"}}]}"), "One or more files not found. Check that each `file_id` exists and is accessible: "
	    "file_01aaaaaaaaaaaaaaaaaaaaaa");
	send_bad(400, BATCH("{\"type\":\"user.message\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":\"blob\",\"blob\":\"x\"}}]}"),
	    "Failed to parse request: events[0].content[0].source.type: \"blob\" is not a valid value");
	send_bad(400, BATCH("{\"type\":\"user.message\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":\"file\",\"file_id\":\"x\","
	    "\"resolved\":{\"type\":\"blob\"}}}]}"), "Failed to parse request body: unknown field \"resolved\"");
	send_bad(400, BATCH("{\"type\":\"user.message\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\","
	    "\"data\":\"a$\"}}]}"), "events.0.user_message.content.0.source.data: not valid base64");
	send_bad(400, BATCH("{\"type\":\"user.message\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"file:///etc/passwd\"}}]}"),
	    "events.0.user_message.content.0.source.url: must be an http");
	send_bad(400, BATCH("{\"type\":\"user.message\",\"content\":[{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_type\":\"pdf\","
	    "\"data\":\"aGk=\"}}]}"), "events.0.user_message.content.0.source.media_type: not a media type");
	send_bad(400, BATCH("{\"type\":\"user.interrupt\",\"session_thread_id\":\"sthr_x\"}"), "Invalid thread ID: sthr_x");
	send_bad(404, BATCH("{\"type\":\"user.interrupt\",\"session_thread_id\":\"sthr_01aaaaaaaaaaaaaaaaaaaaaa\"}"),
	    "Thread not found: sthr_01aaaaaaaaaaaaaaaaaaaaaa");
	after = gwr_state();
	assert_string_equal(before, after);
	r = send_ok(BATCH(MESSAGE "," MESSAGE "," MESSAGE));
	assert_int_equal(json_array_size(json_object_get(r, "data")), 3);
	cell("3", "inbox_events", "session", "");
	cell("3", "inbox_wakes", "session", "");
}

static void
waiting(void **state)
{
	AUTO(json) json_t *r = NULL;

	calls_wait(2);
	assert_string_equal(status_now(), "idle");
	send_bad(400, BATCH(MESSAGE), WAITING "sevt_1 sevt_2]; only `user.tool_confirmation`, `user.custom_tool_result`, `user.tool_result`, or "
	    "`user.interrupt` may be sent (a `system.message` may trail a tool result)");
	send_bad(400, BATCH2(MESSAGE, RESULT("sevt_1", "x")), WAITING "sevt_2]");
	r = send_ok(BATCH(RESULT("sevt_1", "x")));	/* one of two: still waiting */
	assert_string_equal(status_now(), "idle");
	cell("answered", "state", "action", "AND tool_use_id = 'sevt_1'");
	send_bad(400, BATCH(MESSAGE), WAITING "sevt_2]");
	json_decref(r);
	r = send_ok(BATCH2(MESSAGE, CONFIRM("sevt_2", "allow")));	/* the last answer in the same request frees the message */
	assert_string_equal(status_now(), "running");
	assert_true(json_is_null(json_object_get(datum(r, 1), "processed_at")));
	cell("allow", "answer", "inbox", "AND refers_to = 'sevt_2'");
}

/* Many awaited calls: whole ids as far as there is room, then how many more. */
static void
waiting_for_many(void **state)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
	const char *message, *more;
	int named = 0;

	free(gwr_sql("INSERT INTO action (session_id, tool_use_id, ordinal, kind, tool_name, input) SELECT '%s', 'sevt_01' || lpad(n::text, 22, 'z'), n, "
	    "'custom', 't', '{}' FROM generate_series(1, 12) n", id));
	gwr_send(GWR_A, "POST", uri, BATCH(MESSAGE), strlen(BATCH(MESSAGE)), NULL, &r);
	assert_int_equal(r.status, 400);
	message = jx_str(json_object_get(r.json, "error"), "message");
	for (const char *p = message; (p = strstr(p, "sevt_01zzzzzzzzzzzzzzzzzzzz")); p++)
		named++;
	more = strstr(message, gwr_fmt(" and %d more]; only `user.tool_confirmation`", 12 - named));
	assert_non_null(more);
	assert_true(named >= 6);
}

/* Where a system message may stand, and what it is then: the harness sees it as the system's, and it never starts a turn by itself. */
static void
system_messages(void **state)
{
#define SYSTEM "{\"type\":\"system.message\",\"content\":[{\"type\":\"text\",\"text\":\"s\"}]}"
	static const char *const misplaced[] = {
		BATCH2(SYSTEM, MESSAGE), BATCH(MESSAGE "," SYSTEM "," SYSTEM), BATCH(MESSAGE "," SYSTEM "," MESSAGE),
		BATCH2("{\"type\":\"user.interrupt\"}", SYSTEM), BATCH2(SYSTEM, SYSTEM),
	};
	AUTO(json) json_t *alone = NULL, *behind = NULL, *partly = NULL;
	AUTO(str) char *now = NULL;

	send_bad(400, BATCH(SYSTEM), "Invalid system.message event at events[0]: the model \"roost-scripted\" does not support");
	send_bad(400, BATCH2(MESSAGE, SYSTEM), "Invalid system.message event at events[1]: the model \"roost-scripted\" does not support");
	free(gwr_sql("UPDATE model SET mid_system = true WHERE id = 'roost-scripted'"));
	for (size_t i = 0; i < sizeof misplaced / sizeof *misplaced; i++)
		send_bad(400, misplaced[i], "Invalid system.message event at events[");
	send_bad(400, BATCH("{\"type\":\"system.message\",\"content\":[]}"), "events.0.system_message.content: must have at least 1 items");
	send_bad(400, BATCH("{\"type\":\"system.message\",\"content\":[{\"type\":\"image\"}]}"), "Failed to parse request: events[0].content[0].type");
	alone = send_ok(BATCH(SYSTEM));
	assert_true(json_is_string(json_object_get(datum(alone, 0), "processed_at")));
	cell("s", "role", "inbox", "");
	cell("f", "wakes", "inbox", "");
	assert_string_equal(status_now(), "idle");
	fresh(state);
	behind = send_ok(BATCH2(MESSAGE, SYSTEM));
	assert_int_equal(json_object_size(datum(behind, 1)), 4);
	assert_true(json_is_null(json_object_get(datum(behind, 1), "processed_at")));
	assert_string_equal(status_now(), "running");
	send_bad(400, BATCH(SYSTEM), "Invalid system.message event at events[0]: while the session is running");
	fresh(state);
	calls_wait(3);
	send_bad(400, BATCH(SYSTEM), "Invalid system.message event at events[0]: waiting on responses to events [sevt_1 sevt_2 sevt_3]");
	partly = send_ok(BATCH2(RESULT("sevt_1", "x"), SYSTEM));
	assert_true(json_is_null(json_object_get(datum(partly, 1), "processed_at")));
	assert_string_equal(status_now(), "idle");
	free(gwr_sql("UPDATE model SET mid_system = false WHERE id = 'roost-scripted'"));
}

static void
custom_results(void **state)
{
	AUTO(json) json_t *first = NULL, *again = NULL, *twice = NULL;
	AUTO(str) char *fragment = NULL;

	calls_wait(1);
	first = send_ok(BATCH(RESULT("sevt_1", "x")));
	assert_true(json_is_string(json_object_get(datum(first, 0), "processed_at")));	/* processed on receipt */
	assert_null(json_object_get(datum(first, 0), "session_thread_id"));
	fragment = gwr_sql("SELECT fragment FROM inbox WHERE session_id = '%s'", id);
	assert_string_equal(fragment, "{\"type\":\"tool_result\",\"tool_use_id\":\"sevt_1\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}");
	again = send_ok(BATCH(RESULT("sevt_1", "x")));		/* an identical repeat: the first event */
	assert_string_equal(jx_str(datum(first, 0), "id"), jx_str(datum(again, 0), "id"));
	cell("1", "count(*)", "inbox", "");
	send_bad(400, BATCH(RESULT("sevt_1", "y")), "Invalid user.custom_tool_result event at events[0]: tool use \"sevt_1\" has already been answered");
	send_bad(400, BATCH(CONFIRM("sevt_1", "allow")), "Invalid user.tool_confirmation event at events[0]: tool_use_id \"sevt_1\" does not wait");
	fresh(state);
	calls_wait(1);
	twice = send_ok(BATCH2(RESULT("sevt_1", "x"), RESULT("sevt_1", "x")));
	assert_true(json_equal(json_object_get(datum(twice, 0), "id"), json_object_get(datum(twice, 1), "id")));
	cell("1", "count(*)", "inbox", "");
	/* a repeat is still recognised when the answer has been processed */
	free(gwr_sql("INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body) SELECT session_id, 1, id, type, (SELECT thread_id FROM session x WHERE x.id = session_id), now(), stem || "
	    "',\"processed_at\":\"x\"}' FROM inbox WHERE session_id = '%s'", id));
	free(gwr_sql("DELETE FROM inbox WHERE session_id = '%s'", id));
	json_decref(again);
	again = send_ok(BATCH(RESULT("sevt_1", "x")));
	assert_string_equal(jx_str(datum(again, 0), "processed_at"), "x");
}

static void
confirmations(void **state)
{
	AUTO(json) json_t *r = NULL;

	calls_wait(2);
	send_bad(400, BATCH("{\"type\":\"user.tool_confirmation\",\"tool_use_id\":\"sevt_2\",\"result\":\"allow\",\"deny_message\":\"x\"}"),
	    "events.0.user_tool_confirmation.deny_message: only allowed");
	r = send_ok(BATCH("{\"type\":\"user.tool_confirmation\",\"tool_use_id\":\"sevt_2\",\"result\":\"deny\",\"deny_message\":\"no\","
	    "\"session_thread_id\":\"sthr_wrong\"}"));
	assert_string_equal(jx_str(datum(r, 0), "deny_message"), "no");
	assert_null(json_object_get(datum(r, 0), "session_thread_id"));
	cell("no", "deny_message", "inbox", "");
	cell("f", "wakes", "inbox", "");
	send_bad(400, BATCH(CONFIRM("sevt_2", "deny")), "Invalid user.tool_confirmation event at events[0]: tool use \"sevt_2\" has already been answered");
	send_bad(400, BATCH(CONFIRM("sevt_77", "allow")), "Invalid user.tool_confirmation event at events[0]: tool_use_id \"sevt_77\" does not match");
}

static void
interrupts(void **state)
{
	AUTO(json) json_t *idle = send_ok(BATCH("{\"type\":\"user.interrupt\",\"session_thread_id\":null}")), *waiting_one = NULL;

	/* on an idle session: recorded, with a stamp, no status change */
	assert_true(json_is_string(json_object_get(datum(idle, 0), "processed_at")));
	assert_string_equal(status_now(), "idle");
	fresh(state);
	calls_wait(2);
	waiting_one = send_ok(BATCH2("{\"type\":\"user.interrupt\"}", MESSAGE));	/* ends the wait: the message is welcome */
	assert_true(json_is_null(json_object_get(datum(waiting_one, 0), "processed_at")));
	assert_string_equal(status_now(), "running");
	cell("interrupted", "state", "action", "AND tool_use_id = 'sevt_1'");
	send_bad(400, BATCH(RESULT("sevt_1", "late")), "Invalid user.custom_tool_result event at events[0]: tool use \"sevt_1\" was interrupted");
	json_decref(send_ok(BATCH(MESSAGE)));
}

static void
limits(void **state)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };
	AUTO(str) char *after = NULL;
	char *big = xmalloc(120000);

	for (int i = 0; i < 20; i++)
		json_decref(send_ok(BATCH(MESSAGE)));
	gwr_send(GWR_A, "POST", uri, BATCH(MESSAGE), strlen(BATCH(MESSAGE)), NULL, &r);
	assert_int_equal(r.status, 429);
	after = gwr_header(&r, "retry-after");
	assert_string_equal(after, "1");
	cell("20", "inbox_events", "session", "");
	fresh(state);
	memset(big, 'x', 110000);
	strcpy(big, "{\"events\":[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"");
	big[strlen(big)] = 'x';
	strcpy(big + 110000, "\"}]}]}");
	send_bad(429, big, "Too many events wait");
	free(big);
}

/* n documents from files that are not there, over two messages. */
static char *
documents(int n)
{
	struct buf b = BUF_INIT(0);

	buf_str(&b, "{\"events\":[");
	for (int i = 0; i < n; i++)
		buf_printf(&b, "%s{\"type\":\"document\",\"source\":{\"type\":\"file\",\"file_id\":\"file_01aaaaaaaaaaaaaaaaaaaaaa\"}}",
		    i == 0 ? "{\"type\":\"user.message\",\"content\":[" : i == 60 ? "]},{\"type\":\"user.message\",\"content\":[" : ",");
	buf_str(&b, "]}]}");
	return buf_steal(&b);
}

/* A request has 100 documents from files, whatever its events (contract 1.15). */
static void
file_documents(void **state)
{
	AUTO(str) char *most = documents(100), *more = documents(101);

	send_bad(404, most, "One or more files not found.");
	send_bad(400, more, "events.1.user_message.content.40.source: at most 100 documents of a request may come from files");
}

static void
ended(void **state)
{
	free(gwr_sql("UPDATE session SET status = 'terminated', terminated_at = now() WHERE id = '%s'", id));
	send_bad(400, BATCH(MESSAGE), "Session ");
	send_bad(400, BATCH("{\"type\":\"user.interrupt\"}"), "Session ");
}

/* --- lists ------------------------------------------------------------------------------------------------------------------ */

/* Ten events in the log, one a minute from 00:01 on, and two that wait (the second processed on receipt). */
static void
history(void)
{
	free(gwr_sql("INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body) SELECT s.id, n, 'sevt_' || n, "
	    "CASE WHEN n %% 2 = 0 THEN 'agent.message' ELSE 'user.message' END, thread_id, '2026-01-01'::timestamptz AT TIME ZONE 'UTC' AT TIME ZONE 'UTC' + "
	    "n * interval '1 min', '{\"id\":\"' || n || '\",\"kept\":1.10}' FROM generate_series(1, 10) n, session s WHERE s.id = '%s'", id));
	free(gwr_sql("INSERT INTO inbox (session_id, inbox_seq, id, type, stem, received_at, on_receipt, wakes) VALUES "
	    "('%1$s', 4, 'sevt_w', 'user.message', '{\"id\":\"w\"', now(), false, true), "
	    "('%1$s', 7, 'sevt_v', 'user.custom_tool_result', '{\"id\":\"v\"', now(), true, true)", id));
	free(gwr_sql("UPDATE session SET inbox_events = 2 WHERE id = '%s'", id));
}

/* Nothing waits any more. */
static void
nothing_waits(void)
{
	free(gwr_sql("WITH gone AS (DELETE FROM inbox WHERE session_id = '%1$s') UPDATE session SET inbox_events = 0 WHERE id = '%1$s'", id));
}

/* All ids over all pages, joined. */
static char *
walk(const char *filter)
{
	char all[1024] = "", next[512] = "", kept[256];

	snprintf(kept, sizeof kept, "%s", filter);
	do {
		AUTO(json) json_t *page = gwr_ok(GWR_A, "GET", next[0] ? gwr_fmt("%s?%s&page=%s", uri, kept, next) : gwr_fmt("%s?%s", uri, kept), NULL);
		json_t *e;
		size_t i;

		json_array_foreach(json_object_get(page, "data"), i, e) {
			strcat(all, all[0] ? " " : "");
			strcat(all, jx_str(e, "id"));
		}
		snprintf(next, sizeof next, "%s", jx_str(page, "next_page") ? jx_str(page, "next_page") : "");
	} while (next[0]);
	return xstrdup(all);
}

static void
lists(void **state)
{
	static const struct { const char *filter, *want; } cases[] = {
		{ "", "1 2 3 4 5 6 7 8 9 10 w v" }, { "order=desc", "v w 10 9 8 7 6 5 4 3 2 1" }, { "limit=3", "1 2 3 4 5 6 7 8 9 10 w v" },
		{ "limit=1&order=desc", "v w 10 9 8 7 6 5 4 3 2 1" }, { "limit=5&types[]=agent.message", "2 4 6 8 10" },
		{ "types[]=user.message&limit=2", "1 3 5 7 9 w" }, { "types=user.custom_tool_result&types=agent.thinking", "v" },
		{ "created_at[gte]=2026-01-01T00:09:00Z&created_at[lt]=2026-01-02T00:00:00Z", "9 10" },
		{ "created_at[gt]=2026-01-01T00:09:00Z", "10 v" }, { "created_at[lte]=2026-01-01T00:02:00Z&limit=1", "1 2" },
		{ "created_at[lt]=2026-01-01T00:02:00Z&order=desc", "1" }, { "types[]=session.error", "" },
	};
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

	history();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		AUTO(str) char *got = walk(cases[i].filter);

		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s: %s; want %s", cases[i].filter, got, cases[i].want);
	}
	gwr_send(GWR_A, "GET", uri, NULL, 0, NULL, &r);
	assert_non_null(strstr(r.body, "{\"id\":\"2\",\"kept\":1.10}"));	/* bytes as stored */
	assert_non_null(strstr(r.body, "{\"id\":\"w\",\"processed_at\":null}"));
	gwr_bad(GWR_A, "GET", gwr_fmt("%s?types[]=session.deleted", uri), NULL, 400, "invalid_request_error", "types: \"session.deleted\"");
}

/* Where nothing waits and nothing is filtered, a page is read in another way, unless an event is large. */
static void
list_quick(void **state)
{
	static const struct { const char *filter, *want; } cases[] = {
		{ "", "1 2 3 4 5 6 7 8 9 10" }, { "order=desc", "10 9 8 7 6 5 4 3 2 1" }, { "limit=3", "1 2 3 4 5 6 7 8 9 10" },
		{ "limit=1&order=desc", "10 9 8 7 6 5 4 3 2 1" }, { "limit=10", "1 2 3 4 5 6 7 8 9 10" }, { "limit=1000", "1 2 3 4 5 6 7 8 9 10" },
	};

	history();
	nothing_waits();
	for (int large = 0; large < 2; large++) {
		for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
			AUTO(str) char *got = walk(cases[i].filter);

			assert_string_equal(got, cases[i].want);
		}
		free(gwr_sql("UPDATE event SET body = '{\"id\":\"5\",\"large\":\"' || repeat('x', 12000000) || '\"}' WHERE session_id = '%s' AND seq = 5", id));
	}
	free(gwr_sql("INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body) SELECT s.id, n, 'sevt_' || n, 'agent.message', thread_id, "
	    "'2026-01-02', '{\"id\":\".\"}' FROM generate_series(11, 250) n, session s WHERE s.id = '%s'", id));
	for (int i = 0; i < 4; i++) {
		static const char *const filters[] = { "limit=100", "limit=101", "limit=1000", "limit=240&order=desc" };
		AUTO(str) char *got = walk(filters[i]);

		assert_int_equal(strlen(got), strlen("1 2 3 4 5 6 7 8 9 10") + 240 * 2);
	}
	gwr_bad(GWR_B, "GET", uri, NULL, 404, "not_found_error", "Session not found.");
}

/* What waits moves into the log between two pages: nothing is skipped. */
static void
list_moves(void **state)
{
	AUTO(json) json_t *one = NULL, *two = NULL;
	char got[128] = "";
	json_t *e;
	size_t i;

	history();
	one = gwr_ok(GWR_A, "GET", gwr_fmt("%s?limit=11", uri), NULL);
	free(gwr_sql("INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body) SELECT session_id, 7 + inbox_seq, id, type, "
	    "(SELECT thread_id FROM session s WHERE s.id = session_id), now(), "
	    "stem || '}' FROM inbox WHERE session_id = '%s'", id));
	nothing_waits();
	two = gwr_ok(GWR_A, "GET", gwr_fmt("%s?limit=11&page=%s", uri, jx_str(one, "next_page")), NULL);
	json_array_foreach(json_object_get(two, "data"), i, e)
		strcat(got, jx_str(e, "id"));
	assert_non_null(strchr(got, 'v'));
}

static void
list_cursors(void **state)
{
	AUTO(json) json_t *page = NULL;
	char next[512], other[128];

	history();
	page = gwr_ok(GWR_A, "GET", gwr_fmt("%s?limit=2", uri), NULL);
	snprintf(next, sizeof next, "%s", jx_str(page, "next_page"));
	gwr_bad(GWR_A, "GET", gwr_fmt("%s?order=desc&page=%s", uri, next), NULL, 400, "invalid_request_error", "page token order does not match request");
	snprintf(other, sizeof other, "%s", uri);
	fresh(state);
	gwr_bad(GWR_A, "GET", gwr_fmt("%s?page=%s", uri, next), NULL, 400, "invalid_request_error", "invalid page cursor");
	gwr_bad(GWR_A, "GET", gwr_fmt("%s?page=page_AAAA", other), NULL, 400, "invalid_request_error", "invalid page cursor");
	gwr_bad(GWR_A, "GET", gwr_fmt("%s?page=nonsense", other), NULL, 400, "invalid_request_error", "invalid page cursor");
}

#define TEST(f) cmocka_unit_test_setup(f, fresh)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(message), TEST(batches), TEST(waiting), TEST(waiting_for_many), TEST(system_messages), TEST(custom_results), TEST(confirmations),
		TEST(interrupts), TEST(limits), TEST(file_documents), TEST(ended), TEST(lists), TEST(list_quick), TEST(list_moves), TEST(list_cursors),
	};

	return cmocka_run_group_tests_name("events", tests, start, gwr_over);
}
