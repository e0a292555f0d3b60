/* link: tests/env/gateway_rig.c */
/*
 * Requests that are sent again: which attempts belong to one call, that they have one effect and one answer, and what is not taken for a
 * retry. Against a running gateway; the lost replies themselves are tests/e2e's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../env/child.h"
#include "../../env/gateway_rig.h"
#include "clock.h"
#include "xalloc.h"

#define PARALLEL 50
#define DEADLINE_MS 30000
#define TRACE "00-0af7651916cd43dd8448eb211c80319c-%s-01"
#define HELLO "{\"events\":[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"%s\"}]}]}"
#define AGENT "{\"name\":\"%s\",\"model\":\"roost-scripted\"}"

static char agent[ID_MAX], environment[ID_MAX], session[ID_MAX], events[128];

static int
start(void **state)
{
	gwr_start(gwr_fmt("dedupe_reply_bytes = 3000\nfailpoint_file = /tmp/roost-gateway-%d/failpoints\n", (int)getpid()));
	gwr_parts(GWR_A, agent, environment);
	return 0;
}

/* A session of one's own for each test. */
static int
fresh(void **state)
{
	gwr_session_of(GWR_A, agent, environment, session);
	snprintf(events, sizeof events, "/v1/sessions/%s/events", session);
	return 0;
}

/* What marks an attempt; NULL: not sent. */
struct mark { const char *key, *span, *count, *connection; };

static void
attempt_by(enum gwr_who who, struct mark m, const char *method, const char *path, const char *body, struct gwr_reply *out)
{
	const char *h[20] = { "HTTP_AUTHORIZATION", gwr_fmt("Bearer %s", gwr_key(who)), "HTTP_ANTHROPIC_VERSION", "2026-10-21",
	    "HTTP_ANTHROPIC_BETA", "managed-agents-2026-04-01", "CONTENT_TYPE", "application/json" };
	int n = 8;

	if (m.key) {
		h[n++] = "HTTP_IDEMPOTENCY_KEY";
		h[n++] = m.key;
	}
	if (m.span) {
		h[n++] = "HTTP_TRACEPARENT";
		h[n++] = gwr_fmt(TRACE, m.span);
	}
	if (m.count) {
		h[n++] = "HTTP_X_STAINLESS_RETRY_COUNT";
		h[n++] = m.count;
	}
	if (m.connection) {
		h[n++] = "CLIENT_CONNECTION";
		h[n++] = m.connection;
		h[n++] = "SERVER_PROTOCOL";
		h[n++] = "HTTP/1.1";
	}
	gwr_send(who, method, path, body, body ? strlen(body) : 0, h, out);
}

static void
attempt(struct mark m, const char *path, const char *body, struct gwr_reply *out)
{
	attempt_by(GWR_A, m, "POST", path, body, out);
}

#define REPLY __attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply
#define MARK(...) ((struct mark){ __VA_ARGS__ })

static bool
replayed(const struct gwr_reply *r)
{
	AUTO(str) char *v = gwr_header(r, "idempotent-replayed");

	return v && strcmp(v, "true") == 0;
}

static void
assert_replay(const struct gwr_reply *first, const struct gwr_reply *again)
{
	if (first->status != 200 || again->status != 200 || !replayed(again) || strcmp(first->body, again->body) != 0)
		fail_msg("not replayed:\n  %d %s\n  %d %s", first->status, first->body, again->status, again->body);
}

static void
assert_new(const struct gwr_reply *first, const struct gwr_reply *again)
{
	if (first->status != 200 || again->status != 200 || replayed(again) || strcmp(first->body, again->body) == 0)
		fail_msg("not a call of its own:\n  %d %s\n  %d %s", first->status, first->body, again->status, again->body);
}

static int
count(const char *what)
{
	AUTO(str) char *n = gwr_sql("SELECT count(*) FROM %s", what);

	return atoi(n);
}

static void
key_replays(void **state)
{
	static const char *const paths[] = { "/v1/agents", "/v1/environments", "/v1/sessions", "" };
	char key[16];

	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		const char *path = paths[i][0] ? paths[i] : events;
		REPLY first = { 0 }, again = { 0 };
		AUTO(str) char *body = xstrdup(i == 0 ? gwr_fmt(AGENT, "key") : i == 1 ? "{\"name\":\"key\"}" :
		    i == 2 ? gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\",\"initial_events\":[{\"type\":\"user.message\",\"content\":"
		    "[{\"type\":\"text\",\"text\":\"hi\"}]}]}", agent, environment) : gwr_fmt(HELLO, "key"));
		int before;

		snprintf(key, sizeof key, "key %zu", i);
		attempt(MARK(.key = key, .count = "0"), path, body, &first);
		assert_false(replayed(&first));
		before = count("agent") + count("environment") + count("session") + count("inbox");
		attempt(MARK(.key = key, .count = "0"), path, body, &again);
		assert_replay(&first, &again);
		gwr_reply_free(&again);
		attempt(MARK(.key = key, .count = "2", .span = "1111111111111111"), path, body, &again);
		assert_replay(&first, &again);
		assert_int_equal(count("agent") + count("environment") + count("session") + count("inbox"), before);
	}
}

static void
refused(const struct gwr_reply *r, int status, const char *message, const char *should_retry)
{
	AUTO(str) char *retry = gwr_header(r, "x-should-retry");
	const char *got = jx_str(json_object_get(r->json, "error"), "message");

	if (r->status != status || !got || !strstr(got, message))
		fail_msg("want %d %s, got %d %s", status, message, r->status, r->body);
	if (should_retry)
		assert_string_equal(retry, should_retry);
}

static void
key_of_another_request(void **state)
{
	REPLY first = { 0 }, body = { 0 }, path = { 0 }, other = { 0 };
	int before;

	attempt(MARK(.key = "mix"), "/v1/agents", gwr_fmt(AGENT, "one"), &first);
	before = count("agent");
	attempt(MARK(.key = "mix"), "/v1/agents", gwr_fmt(AGENT, "two"), &body);
	refused(&body, 409, "another path or body", "false");
	attempt(MARK(.key = "mix"), "/v1/environments", "{\"name\":\"mix\"}", &path);
	refused(&path, 409, "another path or body", "false");
	assert_int_equal(count("agent"), before);
	/* another workspace's key of that name is another key */
	attempt_by(GWR_B, MARK(.key = "mix"), "POST", "/v1/agents", gwr_fmt(AGENT, "one"), &other);
	assert_new(&first, &other);
}

static void
key_syntax(void **state)
{
	AUTO(str) char *longest = xcalloc(1, 257);
	const char *const bad[] = { "", "tab\there", "\xc3\xa9", longest };

	memset(longest, 'k', 256);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		REPLY r = { 0 };

		attempt(MARK(.key = bad[i]), "/v1/agents", gwr_fmt(AGENT, "bad"), &r);
		refused(&r, 400, "idempotency-key", NULL);
	}
	longest[255] = '\0';
	for (int i = 0; i < 2; i++) {
		REPLY r = { 0 };

		attempt(MARK(.key = longest), "/v1/agents", gwr_fmt(AGENT, "long"), &r);
		assert_int_equal(r.status, 200);
		assert_int_equal(replayed(&r), i);
	}
}

static void
failures_are_not_kept(void **state)
{
	const char *path = "/v1/environments/env_011111111111111111111111";
	REPLY missing = { 0 }, invalid = { 0 }, fine = { 0 };
	int before = count("request_dedupe");

	attempt(MARK(.key = "fails"), path, "{\"name\":\"x\"}", &missing);
	assert_int_equal(missing.status, 404);
	attempt(MARK(.key = "fails"), "/v1/agents", "{\"name\":1}", &invalid);
	assert_int_equal(invalid.status, 400);
	assert_int_equal(count("request_dedupe"), before);
	attempt(MARK(.key = "fails"), "/v1/agents", gwr_fmt(AGENT, "fine"), &fine);
	assert_int_equal(fine.status, 200);
}

static void
trace(void **state)
{
	REPLY a = { 0 }, retry = { 0 }, repeat = { 0 }, span = { 0 }, untold = { 0 }, late = { 0 }, made = { 0 };
	AUTO(str) char *body = xstrdup(gwr_fmt(HELLO, "traced"));

	attempt(MARK(.span = "aaaaaaaaaaaaaaaa", .count = "0"), events, body, &a);
	attempt(MARK(.span = "aaaaaaaaaaaaaaaa", .count = "1"), events, body, &retry);
	assert_replay(&a, &retry);
	attempt(MARK(.span = "aaaaaaaaaaaaaaaa"), events, body, &untold);
	assert_int_equal(untold.status, 200);
	assert_true(replayed(&untold));
	attempt(MARK(.span = "aaaaaaaaaaaaaaaa", .count = "0"), events, body, &repeat);
	assert_new(&a, &repeat);
	/* another span is another call, whatever its count */
	attempt(MARK(.span = "bbbbbbbbbbbbbbbb", .count = "1"), events, body, &span);
	assert_new(&a, &span);
	/* a first attempt that arrives after the retry that did its work */
	attempt(MARK(.span = "cccccccccccccccc", .count = "1"), events, body, &made);
	attempt(MARK(.span = "cccccccccccccccc", .count = "0"), events, body, &late);
	assert_replay(&made, &late);
	assert_int_equal(count("inbox"), count("inbox WHERE true"));
	assert_int_equal(count(gwr_fmt("inbox WHERE session_id = '%s'", session)), 4);
}

static void
plain(void **state)
{
	REPLY one = { 0 }, retry = { 0 }, two = { 0 }, retry_two = { 0 }, retry_more = { 0 }, lost = { 0 }, bare = { 0 }, bare_again = { 0 };
	AUTO(str) char *body = xstrdup(gwr_fmt(HELLO, "continue"));

	attempt(MARK(.count = "0"), events, body, &one);
	attempt(MARK(.count = "1"), events, body, &retry);
	assert_replay(&one, &retry);
	/* said again: never swallowed */
	attempt(MARK(.count = "0"), events, body, &two);
	assert_new(&one, &two);
	attempt(MARK(.count = "1"), events, body, &retry_two);
	assert_replay(&two, &retry_two);
	attempt(MARK(.count = "2"), events, body, &retry_more);
	assert_true(replayed(&retry_more));
	/* both were answered up to that count: the first attempt of this one never arrived */
	attempt(MARK(.count = "1"), events, body, &lost);
	assert_new(&two, &lost);
	attempt(MARK(.count = NULL), events, body, &bare);
	attempt(MARK(.count = NULL), events, body, &bare_again);
	assert_new(&bare, &bare_again);
}

/* An answer whose connection has carried another request was read: an equal call from elsewhere does not get it. */
static void
plain_read(void **state)
{
	REPLY one = { 0 }, retry = { 0 }, two = { 0 }, next = { 0 }, equal = { 0 }, again = { 0 };
	AUTO(str) char *body = xstrdup(gwr_fmt(AGENT, "read")), *other = xstrdup(gwr_fmt(AGENT, "other")), *lost = xstrdup(gwr_fmt(AGENT, "lost"));

	attempt(MARK(.count = "0", .connection = "7.1.1"), "/v1/agents", lost, &one);
	attempt(MARK(.count = "1", .connection = "7.2.1"), "/v1/agents", lost, &retry);
	assert_replay(&one, &retry);
	attempt(MARK(.count = "0", .connection = "7.3.4"), "/v1/agents", body, &two);
	attempt(MARK(.count = "0", .connection = "7.3.5"), "/v1/agents", other, &next);
	attempt(MARK(.count = "1", .connection = "7.4.1"), "/v1/agents", body, &equal);
	assert_new(&two, &equal);
	attempt(MARK(.count = "2", .connection = "7.5.1"), "/v1/agents", body, &again);	/* its own answer was not read */
	assert_replay(&equal, &again);
}

/* An object that its maker has named was read about, on whichever connection; one that only another key has named was not. */
static void
plain_named(void **state)
{
	REPLY one = { 0 }, equal = { 0 }, retry = { 0 }, update = { 0 }, again = { 0 }, admin = { 0 };
	AUTO(str) char *body = xstrdup(gwr_fmt(AGENT, "named")), *change = xstrdup("{\"version\":1,\"name\":\"renamed\"}"), *path = NULL;

	attempt(MARK(.count = "0", .connection = "7.6.1"), "/v1/agents", body, &one);
	path = xasprintf("/v1/agents/%s", jx_str(one.json, "id"));
	attempt_by(GWR_B, MARK(.connection = "7.7.1"), "GET", path, NULL, &admin);
	attempt(MARK(.count = "1", .connection = "7.8.1"), "/v1/agents", body, &retry);
	assert_replay(&one, &retry);
	json_decref(gwr_ok(GWR_A, "GET", path, NULL));
	attempt(MARK(.count = "1", .connection = "7.9.1"), "/v1/agents", body, &equal);
	assert_new(&one, &equal);
	/* a call that names the object itself is no proof that an earlier attempt of it was answered */
	attempt(MARK(.count = "0", .connection = "7.10.1"), path, change, &update);
	attempt(MARK(.count = "1", .connection = "7.11.1"), path, change, &again);
	assert_replay(&update, &again);
}

static void
plain_window(void **state)
{
	REPLY one = { 0 }, late = { 0 };
	AUTO(str) char *body = xstrdup(gwr_fmt(HELLO, "window"));

	attempt(MARK(.count = "0"), events, body, &one);
	free(gwr_sql("UPDATE request_dedupe SET expires_at = clock_timestamp() WHERE kind = 'p'"));
	attempt(MARK(.count = "1"), events, body, &late);
	assert_new(&one, &late);
}

/* Moved into the log meanwhile, with a stamp: the retry still sees what the first attempt saw. */
static void
processed(void **state)
{
	REPLY first = { 0 }, again = { 0 }, gone = { 0 };
	AUTO(str) char *body = xstrdup("{\"events\":[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"one, \\\"processed_at\\\":"
	    "\\\"x\\\"\"}]},{\"type\":\"user.interrupt\"},{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"zwei\"}]}]}");

	attempt(MARK(.key = "moved"), events, body, &first);
	free(gwr_sql("INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body) SELECT session_id, inbox_seq, id, type, "
	    "(SELECT thread_id FROM session s WHERE s.id = session_id), "
	    "now(), stem || ',\"processed_at\":\"2026-01-01T00:00:00.000000Z\"}' FROM inbox WHERE session_id = '%s'", session));
	free(gwr_sql("DELETE FROM inbox WHERE session_id = '%s'", session));
	attempt(MARK(.key = "moved"), events, body, &again);
	assert_replay(&first, &again);
	assert_int_equal(count(gwr_fmt("request_dedupe WHERE reply LIKE '%%zwei%%'")), 0);
	free(gwr_sql("UPDATE session SET inbox_events = 0, inbox_bytes = 0, inbox_wakes = 0, at_work = false WHERE id = '%s'", session));
	free(gwr_sql("DELETE FROM work WHERE session_id = '%s'", session));
	json_decref(gwr_ok(GWR_A, "DELETE", gwr_fmt("/v1/sessions/%s", session), NULL));
	attempt(MARK(.key = "moved"), events, body, &gone);
	refused(&gone, 404, "Session not found", NULL);
}

/* The same answer again is a 400 (contract 3.2) unless it is the same request again. */
static void
answers(void **state)
{
	REPLY first = { 0 }, retry = { 0 }, other = { 0 }, custom = { 0 }, custom_retry = { 0 };
	const char *confirm = "{\"events\":[{\"type\":\"user.tool_confirmation\",\"tool_use_id\":\"sevt_c\",\"result\":\"allow\"}]}";
	const char *result = "{\"events\":[{\"type\":\"user.custom_tool_result\",\"custom_tool_use_id\":\"sevt_r\",\"content\":[]}]}";

	free(gwr_sql("INSERT INTO action (session_id, tool_use_id, ordinal, kind, tool_name, input) VALUES ('%1$s', 'sevt_c', 1, 'confirm', 't', "
	    "'{}'), ('%1$s', 'sevt_r', 2, 'custom', 't', '{}')", session));
	attempt(MARK(.count = "0"), events, confirm, &first);
	attempt(MARK(.count = "1"), events, confirm, &retry);
	assert_replay(&first, &retry);
	attempt(MARK(.count = "0"), events, confirm, &other);
	refused(&other, 400, "already been answered", NULL);
	attempt(MARK(.count = "0"), events, result, &custom);
	attempt(MARK(.count = "1"), events, result, &custom_retry);
	assert_replay(&custom, &custom_retry);
}

static void
updates(void **state)
{
	AUTO(str) char *path = xasprintf("/v1/agents/%s", agent), *was = gwr_sql("SELECT version FROM agent WHERE id = '%s'", agent);
	AUTO(str) char *archive = xasprintf("/v1/sessions/%s/archive", session), *one = xasprintf("/v1/sessions/%s", session);
	REPLY a = { 0 }, b = { 0 }, a_again = { 0 }, ended = { 0 }, ended_again = { 0 }, gone = { 0 }, gone_again = { 0 };

	attempt(MARK(.count = "0", .span = "1212121212121212"), path, "{\"description\":\"a\"}", &a);
	attempt(MARK(.count = "0", .span = "3434343434343434"), path, "{\"description\":\"b\"}", &b);
	/* without dedupe this would undo b */
	attempt(MARK(.count = "1", .span = "1212121212121212"), path, "{\"description\":\"a\"}", &a_again);
	assert_replay(&a, &a_again);
	assert_int_equal(count(gwr_fmt("agent WHERE id = '%s' AND version = %d", agent, atoi(was) + 2)), 1);
	attempt(MARK(.count = "0"), archive, NULL, &ended);
	attempt(MARK(.count = "1"), archive, NULL, &ended_again);
	assert_replay(&ended, &ended_again);
	attempt_by(GWR_A, MARK(.count = "0"), "DELETE", one, NULL, &gone);
	attempt_by(GWR_A, MARK(.count = "1"), "DELETE", one, NULL, &gone_again);
	assert_replay(&gone, &gone_again);
	assert_int_equal(count(gwr_fmt("request_dedupe WHERE object = '%s'", session)), 0);
}

static void
large_replies(void **state)
{
	AUTO(str) char *text = xcalloc(1, 5001), *body = NULL;
	REPLY first = { 0 }, again = { 0 };

	memset(text, 's', 5000);
	body = xasprintf("{\"name\":\"large\",\"model\":\"roost-scripted\",\"system\":\"%s\"}", text);
	attempt(MARK(.key = "large"), "/v1/agents", body, &first);
	attempt(MARK(.key = "large"), "/v1/agents", body, &again);
	assert_replay(&first, &again);
	assert_int_equal(count("request_dedupe WHERE octet_length(reply) > 3000"), 0);
}

/* One that stands below another object: a thread, with the agent of its session. */
static void
large_threads(void **state)
{
	AUTO(str) char *text = xcalloc(1, 5001), *body = NULL, *thread = NULL, *uri = NULL;
	AUTO(json) json_t *large = NULL, *made = NULL;
	REPLY first = { 0 }, again = { 0 };

	memset(text, 's', 5000);
	body = xasprintf("{\"name\":\"large\",\"model\":\"roost-scripted\",\"system\":\"%s\"}", text);
	large = gwr_ok(GWR_A, "POST", "/v1/agents", body);
	made = gwr_ok(GWR_A, "POST", "/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", jx_str(large, "id"), environment));
	json_decref(gwr_ok(GWR_A, "POST", gwr_fmt("/v1/sessions/%s/archive", jx_str(made, "id")), NULL));
	thread = gwr_sql("SELECT thread_id FROM session WHERE id = '%s'", jx_str(made, "id"));
	uri = xasprintf("/v1/sessions/%s/threads/%s/archive", jx_str(made, "id"), thread);
	attempt(MARK(.key = "thread"), uri, NULL, &first);
	attempt(MARK(.key = "thread"), uri, NULL, &again);
	assert_replay(&first, &again);
}

/* What PARALLEL processes were answered at the same time. */
static void
storm(struct mark m, const char *path, const char *body, char *out[PARALLEL], int status[PARALLEL])
{
	int pipes[PARALLEL][2], gate[2];
	pid_t pids[PARALLEL];
	char go;

	must(pipe(gate) == 0);
	for (int i = 0; i < PARALLEL; i++) {
		must(pipe(pipes[i]) == 0);
		pids[i] = child_fork(SIGKILL);
		if (pids[i] == 0) {
			REPLY r = { 0 };

			gwr_forked();
			close(gate[1]);
			must(read(gate[0], &go, 1) == 0);
			attempt(m, path, body, &r);
			must(write(pipes[i][1], &r.status, sizeof r.status) > 0 && write(pipes[i][1], r.body, r.len + 1) > 0);
			_exit(0);
		}
		close(pipes[i][1]);
	}
	close(gate[0]);
	close(gate[1]);
	for (int i = 0; i < PARALLEL; i++) {
		size_t used = 0;
		ssize_t n;

		out[i] = xcalloc(1, 65536);
		must(read(pipes[i][0], &status[i], sizeof status[i]) == (ssize_t)sizeof status[i]);
		while ((n = read(pipes[i][0], out[i] + used, 65535 - used)) > 0)
			used += (size_t)n;
		close(pipes[i][0]);
		must(waitpid(pids[i], NULL, 0) == pids[i]);
	}
}

static void
one_effect(struct mark m, const char *path, const char *body, const char *table)
{
	char *bodies[PARALLEL];
	int status[PARALLEL], before = count(table), answered = 0, first = -1;

	storm(m, path, body, bodies, status);
	for (int i = 0; i < PARALLEL; i++) {
		if (status[i] == 409)
			assert_non_null(strstr(bodies[i], "under way"));
		else if (status[i] != 200 || (first >= 0 && strcmp(bodies[i], bodies[first]) != 0))
			fail_msg("%d %s", status[i], bodies[i]);
		if (status[i] == 200) {
			first = i;
			answered++;
		}
	}
	print_message("%d of %d answered alike\n", answered, PARALLEL);
	assert_true(answered > 0);
	assert_int_equal(count(table), before + 1);
	for (int i = 0; i < PARALLEL; i++)
		free(bodies[i]);
}

static void
at_the_same_time(void **state)
{
	AUTO(str) char *a = xstrdup(gwr_fmt(AGENT, "storm")), *h = xstrdup(gwr_fmt(HELLO, "storm"));

	one_effect(MARK(.key = "storm 1"), "/v1/agents", a, "agent");
	one_effect(MARK(.key = "storm 2"), events, h, "inbox");
	one_effect(MARK(.key = "storm 3"), "/v1/environments", "{\"name\":\"storm\"}", "environment");
	one_effect(MARK(.span = "5656565656565656", .count = "1"), "/v1/agents", a, "agent");
}

/* A COMMIT that ends the connection. */
static void
broken_commit(void **state)
{
	REPLY lost = { 0 }, again = { 0 };
	AUTO(str) char *body = xstrdup(gwr_fmt(HELLO, "broken"));

	free(gwr_sql("CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN PERFORM "
	    "pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"));
	free(gwr_sql("CREATE CONSTRAINT TRIGGER die AFTER INSERT ON request_dedupe DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()"));
	attempt(MARK(.key = "broken"), events, body, &lost);
	assert_int_equal(lost.status, 503);
	assert_int_equal(count(gwr_fmt("inbox WHERE session_id = '%s'", session)), 0);
	free(gwr_sql("DROP TRIGGER die ON request_dedupe"));
	attempt(MARK(.key = "broken"), events, body, &again);
	assert_int_equal(again.status, 200);
	assert_int_equal(count(gwr_fmt("inbox WHERE session_id = '%s'", session)), 1);
}

#ifdef ROOST_FAILPOINTS
static void
failpoint(const char *line)
{
	FILE *f = fopen(gwr_fmt("%s/failpoints.new", gwr_dir), "w");

	must(f && fputs(line, f) >= 0 && fclose(f) == 0);
	must(rename(gwr_fmt("%s/failpoints.new", gwr_dir), gwr_fmt("%s/failpoints", gwr_dir)) == 0);
}

/* Committed, but the gateway does not know: it asks, and answers. */
static void
unknown_commit(void **state)
{
	static const struct mark marks[] = { { .key = "unknown" }, { .span = "7878787878787878", .count = "0" }, { .count = "0" }, { NULL } };
	AUTO(str) char *body = xstrdup(gwr_fmt(HELLO, "unknown"));

	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
		REPLY r = { 0 };
		int before = count("inbox");

		failpoint("db.after_commit error:UNCERTAIN\n");
		attempt(marks[i], events, body, &r);
		failpoint("");
		assert_int_equal(r.status, 200);
		assert_int_equal(replayed(&r), i < 3);		/* without any mark there is no row: the event itself is looked for */
		assert_int_equal(count("inbox"), before + 1);
	}
}
#endif

static void
forgotten(void **state)
{
	int64_t end = clock_mono_ms() + DEADLINE_MS;

	free(gwr_sql("UPDATE request_dedupe SET expires_at = clock_timestamp() - interval '1 s'"));
	while (count("request_dedupe") > 0) {
		assert_true(clock_mono_ms() < end);
		json_decref(gwr_ok(GWR_A, "GET", "/v1/agents?limit=1", NULL));
	}
}

/* --- `retries bench`: what telling attempts apart costs, interleaved, in microseconds -------------------------------------------- */

#define ROUNDS 400

static int
by_value(const void *a, const void *b)
{
	return *(const int64_t *)a < *(const int64_t *)b ? -1 : *(const int64_t *)a > *(const int64_t *)b;
}

static void
measure(const char *what, const char *path, const char *body)
{
	static const char *const names[] = { "nothing (as before)", "count 0", "traceparent", "key" };
	static int64_t us[4][ROUNDS];
	char key[32];

	for (int i = 0; i < ROUNDS; i++)
		for (int k = 0; k < 4; k++) {
			struct mark m = { .count = k ? "0" : NULL };
			REPLY r = { 0 };

			snprintf(key, sizeof key, "%s%012x", what[5] == 'e' ? "aaaa" : what[5] == 'a' ? "bbbb" : "cccc", i);
			if (k == 2)
				m.span = key;
			if (k == 3)
				m.key = key;
			us[k][i] = clock_mono_us();
			attempt(m, path, body, &r);
			us[k][i] = clock_mono_us() - us[k][i];
			must(r.status == 200 && !replayed(&r));
			if (i % 100 == 99)
				free(gwr_sql("DELETE FROM inbox; UPDATE session SET inbox_events = 0, inbox_bytes = 0"));
		}
	for (int k = 0; k < 4; k++) {
		qsort(us[k], ROUNDS, sizeof us[k][0], by_value);
		print_message("%-12s %-20s p50 %4d us   p95 %4d us\n", what, names[k], (int)us[k][ROUNDS / 2], (int)us[k][ROUNDS * 95 / 100]);
	}
}

static void
cost(void **state)
{
	AUTO(str) char *hello = xstrdup(gwr_fmt(HELLO, "hi")), *one = xstrdup(gwr_fmt(AGENT, "bench"));
	AUTO(str) char *create = xasprintf("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", agent, environment);

	free(gwr_sql("ALTER SYSTEM SET fsync = on"));
	free(gwr_sql("SELECT pg_reload_conf()"));
	measure("POST events", events, hello);
	measure("POST agents", "/v1/agents", one);
	measure("POST sessions", "/v1/sessions", create);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest bench[] = { cmocka_unit_test_setup(cost, fresh) };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(key_replays, fresh),
		cmocka_unit_test_setup(key_of_another_request, fresh),
		cmocka_unit_test_setup(key_syntax, fresh),
		cmocka_unit_test_setup(failures_are_not_kept, fresh),
		cmocka_unit_test_setup(trace, fresh),
		cmocka_unit_test_setup(plain, fresh),
		cmocka_unit_test_setup(plain_window, fresh), cmocka_unit_test_setup(plain_read, fresh),
		cmocka_unit_test_setup(plain_named, fresh),
		cmocka_unit_test_setup(processed, fresh),
		cmocka_unit_test_setup(answers, fresh),
		cmocka_unit_test_setup(updates, fresh),
		cmocka_unit_test_setup(large_replies, fresh), cmocka_unit_test_setup(large_threads, fresh),
		cmocka_unit_test_setup(at_the_same_time, fresh),
		cmocka_unit_test_setup(broken_commit, fresh),
#ifdef ROOST_FAILPOINTS
		cmocka_unit_test_setup(unknown_commit, fresh),
#endif
		cmocka_unit_test_setup(forgotten, fresh),
	};

	if (argc > 1 && strcmp(argv[1], "bench") == 0)
		return cmocka_run_group_tests(bench, start, gwr_over);
	return cmocka_run_group_tests(tests, start, gwr_over);
}
