/* link: tests/env/gateway_rig.c */
/*
 * Transactions that Postgres takes back for another's sake (deadlock, serialization failure): a request that meets one or two of them is
 * answered as if nothing had been, with one effect; a third one is the client's to try again, and so is a statement that took too long.
 * By a trigger that fails as often as told, at a statement or at the commit, under a running gateway.
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

#define TEXT "{\"events\":[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"%s\"}]}%s]}"
#define REPLY __attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply

static char agent[ID_MAX], environment[ID_MAX], session[ID_MAX];

/* n failures with this SQLSTATE, of the statements or commits that change this table. */
static void
fails(const char *state, const char *table, const char *at, int n)
{
	free(gwr_sql("ALTER SEQUENCE undone RESTART"));
	free(gwr_sql("CREATE OR REPLACE FUNCTION undone() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN"
	    " IF nextval('undone') <= %d THEN RAISE EXCEPTION 'undone' USING ERRCODE = '%s'; END IF; RETURN NULL; END $$", n, state));
	if (strcmp(at, "commit") == 0)
		free(gwr_sql("CREATE CONSTRAINT TRIGGER undone_commit AFTER INSERT OR UPDATE OR DELETE ON %s DEFERRABLE INITIALLY DEFERRED"
		    " FOR EACH ROW EXECUTE FUNCTION undone()", table));
	else
		free(gwr_sql("CREATE TRIGGER undone_statement BEFORE INSERT OR UPDATE OR DELETE ON %s EXECUTE FUNCTION undone()", table));
}

static void
works(const char *table, const char *at)
{
	free(gwr_sql("DROP TRIGGER undone_%s ON %s", at, table));
}

static int
start(void **state)
{
	AUTO(json) json_t *v = NULL;

	gwr_start("pg_timeout_ms = 20000\n");
	v = gwr_ok(GWR_A, "POST", "/v1/environments", "{\"name\":\"E\"}");
	snprintf(environment, sizeof environment, "%s", jx_str(v, "id"));
	free(gwr_sql("CREATE SEQUENCE undone"));
	return 0;
}

/* An agent and a session that nobody has touched. */
static int
fresh(void **state)
{
	AUTO(json) json_t *a = gwr_ok(GWR_A, "POST", "/v1/agents", "{\"name\":\"A\",\"model\":\"roost-scripted\"}"), *s = NULL;

	snprintf(agent, sizeof agent, "%s", jx_str(a, "id"));
	s = gwr_ok(GWR_A, "POST", "/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", agent, environment));
	snprintf(session, sizeof session, "%s", jx_str(s, "id"));
	return 0;
}

/* Which attempt of its call a request says it is. */
enum mark { BARE, PLAIN, KEYED, MARKS };

static int
ask(enum mark m, const char *method, const char *path, const char *body, struct gwr_reply *out)
{
	static int keys;
	const char *const mark[MARKS][2] = { { NULL, NULL }, { "HTTP_X_STAINLESS_RETRY_COUNT", "0" },
		{ "HTTP_IDEMPOTENCY_KEY", gwr_fmt("key %d", ++keys) } };
	const char *head[] = { "HTTP_AUTHORIZATION", gwr_fmt("Bearer %s", gwr_key(GWR_A)), "HTTP_ANTHROPIC_VERSION", "2026-10-21",
	    "HTTP_ANTHROPIC_BETA", "managed-agents-2026-04-01", "CONTENT_TYPE", "application/json", mark[m][0], mark[m][1], NULL };

	gwr_send(GWR_A, method, path, body, body ? strlen(body) : 0, head, out);
	return out->status;
}

/* Every kind of write: what it changes, and what is there once when it was answered. */
struct call { const char *method, *path, *body, *table, *once; };
#define CALLS 8

static struct call
call(int i)
{
	const char *events = gwr_fmt("/v1/sessions/%s/events", session), *one = gwr_fmt("/v1/sessions/%s", session);

	switch (i) {
	case 0:
		return (struct call){ "POST", events, gwr_fmt(TEXT, "hello", ""), "inbox", gwr_fmt("inbox WHERE session_id = '%s'", session) };
	case 1:
		return (struct call){ "POST", events, gwr_fmt(TEXT, "stop", ",{\"type\":\"user.interrupt\"}"), "session",
			gwr_fmt("inbox WHERE session_id = '%s' AND stem LIKE '%%user.message%%'", session) };
	case 2:
		return (struct call){ "POST", "/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\",\"initial_events\":[{\"type\":"
			"\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"first\"}]}]}", agent, environment), "session",
			gwr_fmt("session s JOIN inbox i ON i.session_id = s.id WHERE s.id > '%s'", session) };
	case 3:
		return (struct call){ "POST", "/v1/agents", "{\"name\":\"Once\",\"model\":\"roost-scripted\",\"tools\":[{\"type\":"
			"\"agent_toolset_20260401\"}]}", "agent", gwr_fmt("agent WHERE id > '%s'", agent) };
	case 4:
		return (struct call){ "POST", gwr_fmt("/v1/agents/%s", agent), "{\"version\":1,\"description\":\"new\"}", "agent",
			gwr_fmt("agent_version WHERE agent_id = '%s' AND version > 1", agent) };
	case 5:
		return (struct call){ "POST", one, "{\"title\":\"new\"}", "session",
			gwr_fmt("inbox WHERE session_id = '%s' AND stem LIKE '%%session.updated%%'", session) };
	case 6:
		return (struct call){ "POST", gwr_fmt("%s/archive", one), NULL, "event",
			gwr_fmt("event WHERE session_id = '%s' AND type = 'session.status_terminated'", session) };
	default:
		return (struct call){ "DELETE", one, NULL, "session", NULL };
	}
}

static void
assert_once(const struct call *c, int times, int i)
{
	AUTO(str) char *n = c->once ? gwr_sql("SELECT count(*) FROM %s", c->once) : NULL;

	if (n && atoi(n) != times)
		fail_msg("call %d (%s %s): %s times instead of %d", i, c->method, c->path, n, times);
}

/* One call under n failures: 200 and one effect, or that status and none. */
static void
under(int i, enum mark m, const char *sqlstate, const char *at, int n, int status)
{
	REPLY r = { 0 };
	struct call c;
	char table[32];

	fresh(NULL);
	c = call(i);
	snprintf(table, sizeof table, "%s", c.table);
	fails(sqlstate, table, at, n);
	if (ask(m, c.method, c.path, c.body, &r) != status)
		fail_msg("call %d, mark %d, %s at the %s, %d times: %d %s", i, (int)m, sqlstate, at, n, r.status, r.body);
	works(table, at);
	c = call(i);
	assert_once(&c, status == 200, i);
}

/* Of the tables with partitions none can have a constraint trigger at its top. */
static bool
commits(int i)
{
	return strcmp(call(i).table, "event") != 0;
}

static void
nobody_hears_of_it(void **state)
{
	for (int i = 0; i < CALLS; i++)
		for (enum mark m = BARE; m < MARKS; m++) {
			under(i, m, "40001", "statement", 2, 200);
			under(i, m, "40P01", "statement", 1, 200);
			if (commits(i))
				under(i, m, "40001", "commit", 2, 200);
		}
}

static void
not_for_ever(void **state)
{
	for (int i = 0; i < CALLS; i++)
		for (enum mark m = BARE; m < MARKS; m++)
			under(i, m, i % 2 ? "40P01" : "40001", "statement", 1000, 503);
}

/* It may be Postgres that is slow: whether to ask once more is the client's to say. (Of a set that fails each goes alone, so by key.) */
static void
not_what_took_too_long(void **state)
{
	for (int i = 0; i < CALLS; i++)
		under(i, KEYED, "57014", "statement", 1, 504);
}

/* An attempt that is answered after all is kept as any other. */
static void
its_answer_is_kept(void **state)
{
	const char *body = gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\",\"title\":\"kept\"}", agent, environment);
	const char *head[] = { "HTTP_AUTHORIZATION", gwr_fmt("Bearer %s", gwr_key(GWR_A)), "HTTP_ANTHROPIC_VERSION", "2026-10-21",
	    "HTTP_ANTHROPIC_BETA", "managed-agents-2026-04-01", "CONTENT_TYPE", "application/json", "HTTP_IDEMPOTENCY_KEY", "kept", NULL };
	REPLY first = { 0 }, second = { 0 };

	fails("40001", "request_dedupe", "statement", 2);
	gwr_send(GWR_A, "POST", "/v1/sessions", body, strlen(body), head, &first);
	works("request_dedupe", "statement");
	gwr_send(GWR_A, "POST", "/v1/sessions", body, strlen(body), head, &second);
	assert_int_equal(first.status, 200);
	assert_string_equal(first.body, second.body);
	gwr_wait("1", "SELECT count(*) FROM session WHERE title = 'kept'");
}

/* A body that is not kept: nothing of it is there, and the client is told to come again. */
static void
large_bodies_are_the_clients(void **state)
{
	AUTO(str) char *words = xmalloc(100001);
	AUTO(str) char *body = NULL;
	REPLY r = { 0 };

	memset(words, 'x', 100000);
	words[100000] = '\0';
	body = xasprintf(TEXT, words, ",{\"type\":\"user.interrupt\"}");
	fails("40001", "session", "statement", 1);
	assert_int_equal(ask(PLAIN, "POST", gwr_fmt("/v1/sessions/%s/events", session), body, &r), 503);
	works("session", "statement");
	gwr_reply_free(&r);
	assert_int_equal(ask(PLAIN, "POST", gwr_fmt("/v1/sessions/%s/events", session), body, &r), 200);
	gwr_wait("1", gwr_fmt("SELECT count(*) FROM inbox WHERE session_id = '%s' AND stem LIKE '%%user.message%%'", session));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_hears_of_it),
		cmocka_unit_test(not_for_ever),
		cmocka_unit_test(not_what_took_too_long),
		cmocka_unit_test_setup(its_answer_is_kept, fresh),
		cmocka_unit_test_setup(large_bodies_are_the_clients, fresh),
	};

	return cmocka_run_group_tests_name("gateway undone", tests, start, gwr_over);
}
