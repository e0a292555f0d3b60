/* link: tests/env/gateway_rig.c */
/*
 * New agents and sessions, which share a connection to Postgres and are written in sets: many at once, each with its own answer, which is
 * what a read shows; an error's neighbours; attempts of one call; what it is to lose that connection with some on their way; a session whose
 * parts have changed since they were remembered. Each object is there as often as its client was told: once, or not at all. With a running
 * gateway.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../env/gateway_rig.h"
#include "clock.h"
#include "writeq.h"
#include "xalloc.h"

#define MANY 12
#define WRITES "FROM pg_stat_activity WHERE usename = 'roost_gw' AND application_name = '" WRITEQ_NAME "'"
#define HELD "SELECT count(*) > 0 FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND application_name = '" WRITEQ_NAME "'"

static char agent[ID_MAX], environment[ID_MAX];
static const char *attempt;	/* which of its call every request says it is; NULL: it does not say */

static int
start(void **state)
{
	char session[ID_MAX];

	gwr_start("pg_timeout_ms = 60000\n");
	gwr_session(GWR_A, agent, environment, session);
	free(gwr_sql("CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = '60s' AS"
	    " $$ BEGIN PERFORM pg_advisory_xact_lock_shared(77); RETURN NEW; END $$"));
	free(gwr_sql("CREATE TRIGGER hold BEFORE INSERT ON agent FOR EACH ROW WHEN (NEW.name LIKE 'hold it%%') EXECUTE FUNCTION hold()"));
	free(gwr_sql("CREATE TRIGGER hold BEFORE INSERT ON session FOR EACH ROW WHEN (NEW.title LIKE 'hold it%%') EXECUTE FUNCTION hold()"));
	free(gwr_sql("ALTER TABLE agent ADD CONSTRAINT not_this CHECK (name <> 'bad')"));
	return 0;
}

/* A request, sent; the connection on which its answer comes. */
static int
post(const char *path, const char *body)
{
	const char *head[] = { "HTTP_AUTHORIZATION", gwr_fmt("Bearer %s", gwr_key(GWR_A)), "HTTP_ANTHROPIC_VERSION", "2026-10-21",
	    "HTTP_ANTHROPIC_BETA", "managed-agents-2026-04-01", "CONTENT_TYPE", "application/json", "HTTP_X_STAINLESS_RETRY_COUNT", attempt, NULL };
	int fd = gwr_begin(GWR_A, "POST", path, strlen(body), attempt ? head : NULL);

	assert_true(gwr_body(fd, body, strlen(body)));
	assert_true(gwr_body(fd, NULL, 0));
	return fd;
}

static int
post_agent(const char *name)
{
	return post("/v1/agents", gwr_fmt("{\"name\":\"%s\",\"model\":\"roost-scripted\",\"metadata\":{\"k\":\"%s\"}}", name, name));
}

static int
post_session(const char *title)
{
	return post("/v1/sessions", gwr_fmt("{\"agent\":\"%s\",\"environment_id\":\"%s\",\"title\":\"%s\",\"metadata\":{\"k\":\"v\"}}", agent, environment, title));
}

/* The status of an answer; of a 200 the object, which is the caller's. */
static int
answered(int fd, json_t **out)
{
	__attribute__((cleanup(gwr_reply_cleanup))) struct gwr_reply r = { 0 };

	*out = NULL;
	assert_true(gwr_answer(fd, &r));
	if (r.status == 200)
		*out = json_incref(r.json);
	return r.status;
}

static int
status_of(int fd)
{
	AUTO(json) json_t *j = NULL;

	return answered(fd, &j);
}

static int
count(const char *table, const char *column, const char *name)
{
	AUTO(str) char *n = gwr_sql("SELECT count(*) FROM %s WHERE %s = '%s'", table, column, name);

	return atoi(n);
}

/* They go by the writing connection: at most one is made in a second, when something has asked for it. Three in a row, so it is used. */
static void
until_shared(void)
{
	int64_t deadline = clock_mono_ms() + 20000;

	for (int used = 0; used < 3;) {
		AUTO(str) char *since = gwr_sql("SELECT clock_timestamp()");
		AUTO(str) char *n = NULL;

		assert_int_equal(status_of(post_session("warm")), 200);
		n = gwr_sql("SELECT count(*) " WRITES " AND query_start >= '%s'", since);
		used = strcmp(n, "1") == 0 ? used + 1 : 0;
		assert_true(clock_mono_ms() < deadline);
	}
}

/* What was answered is what a read shows; the clock in it aside. */
static void
reads_the_same(const char *path, json_t *made)
{
	AUTO(json) json_t *read = gwr_ok(GWR_A, "GET", gwr_fmt("%s/%s", path, jx_str(made, "id")), NULL);

	json_object_del(json_object_get(read, "stats"), "duration_seconds");
	json_object_del(json_object_get(made, "stats"), "duration_seconds");
	assert_true(json_equal(read, made));
}

static void
at_once(void **state)
{
	AUTO(str) char *since = NULL;

	until_shared();
	since = gwr_sql("SELECT now()");
	for (int round = 0; round < 20; round++) {
		char name[MANY][40];
		int fd[MANY];

		for (int i = 0; i < MANY; i++) {
			snprintf(name[i], sizeof name[i], "r%d_%d", round, i);
			fd[i] = i % 2 ? post_agent(name[i]) : post_session(name[i]);
		}
		for (int i = 0; i < MANY; i++) {
			AUTO(json) json_t *made = NULL;

			assert_int_equal(answered(fd[i], &made), 200);
			assert_string_equal(jx_str(made, i % 2 ? "name" : "title"), name[i]);
			assert_int_equal(count(i % 2 ? "agent" : "session", i % 2 ? "name" : "title", name[i]), 1);
			reads_the_same(i % 2 ? "/v1/agents" : "/v1/sessions", made);
		}
	}
	AUTO(str) char *sets = gwr_sql("SELECT count(DISTINCT x) < 240 FROM (SELECT xmin::text AS x FROM agent WHERE created_at > '%s' UNION ALL"
	    " SELECT xmin::text FROM session WHERE created_at > '%s') y", since, since);
	assert_string_equal(sets, "t");
}

/* What is wrong with one is told to its client; the others are made. */
static void
each_its_answer(void **state)
{
	int fd[MANY];

	until_shared();
	for (int i = 0; i < MANY; i++)
		fd[i] = post_agent(i == 3 ? "bad" : gwr_fmt("each%d", i));
	for (int i = 0; i < MANY; i++)
		assert_int_equal(status_of(fd[i]), i == 3 ? 500 : 200);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(count("agent", "name", i == 3 ? "bad" : gwr_fmt("each%d", i)), i != 3);
}

/* First attempts travel with what is kept of their answers, and that is all that another attempt gets. */
static void
tried_again(void **state)
{
	json_t *first[MANY];
	int fd[MANY];

	until_shared();
	free(gwr_sql("DELETE FROM request_dedupe"));
	for (int n = 0; n < 3; n++) {
		attempt = n == 0 ? "0" : n == 1 ? "1" : "2";
		for (int i = 0; i < MANY; i++)
			fd[i] = i % 2 ? post_agent(gwr_fmt("try%d", i)) : post_session(gwr_fmt("try%d", i));
		for (int i = 0; i < MANY; i++) {
			AUTO(json) json_t *made = NULL;

			assert_int_equal(answered(fd[i], &made), 200);
			if (n == 0)
				first[i] = json_incref(made);
			assert_true(json_equal(made, first[i]));
		}
	}
	attempt = NULL;
	gwr_wait("12 12 12", "SELECT count(*) || ' ' || count(DISTINCT object) || ' ' || count(*) FILTER (WHERE reply::json->>'id' = object AND"
	    " (reply::json->>'created_at')::timestamptz > now() - interval '1 hour') FROM request_dedupe");
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(i % 2 ? count("agent", "name", gwr_fmt("try%d", i)) : count("session", "title", gwr_fmt("try%d", i)), 1);
		reads_the_same(i % 2 ? "/v1/agents" : "/v1/sessions", first[i]);
		json_decref(first[i]);
	}
}

/* The connection is lost with some on their way: each client is told what has become of its own. */
static void
lost_round(int round)
{
	char name[MANY][40];
	int fd[MANY];

	until_shared();
	attempt = round % 2 ? "0" : NULL;
	free(gwr_sql("BEGIN"));
	free(gwr_sql("SELECT pg_advisory_xact_lock(77)"));
	for (int i = 0; i < MANY; i++) {
		snprintf(name[i], sizeof name[i], "%s%d_%d", i % 3 == 0 ? "hold it " : "free ", round, i);
		fd[i] = i % 2 ? post_agent(name[i]) : post_session(name[i]);
	}
	gwr_wait("t", HELD);
	free(gwr_sql("SELECT pg_terminate_backend(pid) " WRITES));
	free(gwr_sql("COMMIT"));
	for (int i = 0; i < MANY; i++) {
		AUTO(json) json_t *made = NULL;
		int status = answered(fd[i], &made);

		if (status != 200 && status != 503)
			fail_msg("%d", status);
		assert_int_equal(i % 2 ? count("agent", "name", name[i]) : count("session", "title", name[i]), status == 200);
	}
	attempt = NULL;
}

static void
lost(void **state)
{
	for (int round = 0; round < 4; round++)
		lost_round(round);
}

/* One that does not answer holds up nobody else. */
static void
stuck(void **state)
{
	AUTO(str) char *pid = NULL;
	int first, fd[MANY];

	until_shared();
	pid = gwr_sql("SELECT pid " WRITES);
	free(gwr_sql("BEGIN"));
	free(gwr_sql("SELECT pg_advisory_xact_lock(77)"));
	first = post_agent("hold it stuck");
	gwr_wait("t", HELD);	/* it is alone: in one set with it the others would wait, too */
	assert_int_equal(kill(atoi(pid), SIGSTOP), 0);
	free(gwr_sql("COMMIT"));
	for (int i = 1; i < MANY; i++)
		fd[i] = post_agent("passing");
	for (int i = 1; i < MANY; i++)
		assert_int_equal(status_of(fd[i]), 200);
	assert_int_equal(count("agent", "name", "hold it stuck"), 0);
	(void)kill(atoi(pid), SIGCONT);
	assert_int_equal(status_of(first), 200);
	assert_int_equal(count("agent", "name", "hold it stuck"), 1);
}

/* --- what is remembered of a session's parts ----------------------------------------------------------------------------------- */

static void
parts_that_change(void **state)
{
	AUTO(str) char *body = xasprintf("{\"agent\":\"%s\",\"environment_id\":\"%s\"}", agent, environment);
	AUTO(str) char *pinned = xasprintf("{\"agent\":{\"type\":\"agent\",\"id\":\"%s\",\"version\":1},\"environment_id\":\"%s\"}", agent, environment);

	for (int i = 0; i < 3; i++) {		/* known from the second on */
		AUTO(json) json_t *s = gwr_ok(GWR_A, "POST", "/v1/sessions", body), *p = gwr_ok(GWR_A, "POST", "/v1/sessions", pinned);

		assert_int_equal(jx_int(json_object_get(s, "agent"), "version", 0), 1);
		assert_true(json_equal(json_object_get(s, "agent"), json_object_get(p, "agent")));
	}
	json_decref(gwr_ok(GWR_A, "POST", gwr_fmt("/v1/agents/%s", agent), "{\"version\":1,\"name\":\"Two\"}"));
	for (int i = 0; i < 3; i++) {
		AUTO(json) json_t *s = gwr_ok(GWR_A, "POST", "/v1/sessions", body), *p = gwr_ok(GWR_A, "POST", "/v1/sessions", pinned);

		assert_int_equal(jx_int(json_object_get(s, "agent"), "version", 0), 2);
		assert_string_equal(jx_str(json_object_get(s, "agent"), "name"), "Two");
		assert_int_equal(jx_int(json_object_get(p, "agent"), "version", 0), 1);
		reads_the_same("/v1/sessions", s);
	}
	/* an environment that no session can have yet */
	json_decref(gwr_ok(GWR_A, "POST", gwr_fmt("/v1/environments/%s", environment),
	    "{\"config\":{\"type\":\"cloud\",\"packages\":{\"type\":\"packages\",\"pip\":[\"numpy\"]}}}"));
	for (int i = 0; i < 2; i++)
		gwr_bad(GWR_A, "POST", "/v1/sessions", body, 400, "invalid_request_error", "");
	json_decref(gwr_ok(GWR_A, "POST", gwr_fmt("/v1/environments/%s", environment), "{\"config\":{\"type\":\"cloud\",\"packages\":{\"type\":\"packages\",\"pip\":[]}}}"));
	json_decref(gwr_ok(GWR_A, "POST", "/v1/sessions", body));
	json_decref(gwr_ok(GWR_A, "POST", "/v1/sessions", body));
	/* nobody else's, whoever knows their names; nobody's whose organization has just been suspended */
	gwr_bad(GWR_B, "POST", "/v1/sessions", body, 404, "not_found_error", "Agent not found.");
	free(gwr_sql("UPDATE organization SET state = 'suspended' WHERE id = (SELECT organization_id FROM agent WHERE id = '%s')", agent));
	gwr_bad(GWR_A, "POST", "/v1/sessions", body, 403, "permission_error", "This organization is suspended");
	gwr_bad(GWR_A, "POST", "/v1/agents", "{\"name\":\"late\",\"model\":\"roost-scripted\"}", 403, "permission_error", "This organization is suspended");
	free(gwr_sql("UPDATE organization SET state = 'active' WHERE id = (SELECT organization_id FROM agent WHERE id = '%s')", agent));
	json_decref(gwr_ok(GWR_A, "POST", "/v1/sessions", body));
	json_decref(gwr_ok(GWR_A, "POST", gwr_fmt("/v1/environments/%s/archive", environment), NULL));
	gwr_bad(GWR_A, "POST", "/v1/sessions", body, 400, "invalid_request_error", gwr_fmt("Environment %s is archived.", environment));
	free(gwr_sql("UPDATE environment SET archived_at = NULL WHERE id = '%s'", environment));
	json_decref(gwr_ok(GWR_A, "POST", "/v1/sessions", body));
	json_decref(gwr_ok(GWR_A, "POST", gwr_fmt("/v1/agents/%s/archive", agent), NULL));
	gwr_bad(GWR_A, "POST", "/v1/sessions", body, 400, "invalid_request_error", gwr_fmt("agent %s is archived", agent));
	gwr_bad(GWR_A, "POST", "/v1/sessions", pinned, 400, "invalid_request_error", gwr_fmt("agent %s is archived", agent));
	free(gwr_sql("UPDATE agent SET archived_at = NULL WHERE id = '%s'", agent));
}

/* What is on its way when the process ends is answered. */
static void
stopping(void **state)
{
	int fd[3];

	until_shared();
	free(gwr_sql("BEGIN"));
	free(gwr_sql("SELECT pg_advisory_xact_lock(77)"));
	for (int i = 0; i < 3; i++)
		fd[i] = post_agent("hold it to the end");
	gwr_wait("t", "SELECT count(*) > 0 FROM pg_locks l WHERE NOT granted");
	assert_int_equal(kill(gwr_pid(), SIGTERM), 0);
	free(gwr_sql("COMMIT"));
	for (int i = 0; i < 3; i++)
		assert_int_equal(status_of(fd[i]), 200);
	assert_int_equal(count("agent", "name", "hold it to the end"), 3);
	gwr_restart();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(at_once), cmocka_unit_test(each_its_answer), cmocka_unit_test(tried_again), cmocka_unit_test(lost),
		cmocka_unit_test(stuck), cmocka_unit_test(parts_that_change), cmocka_unit_test(stopping),
	};

	return cmocka_run_group_tests_name("creates", tests, start, gwr_over);
}
