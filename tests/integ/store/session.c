/* link: tests/env/pg_rig.c */
/*
 * The session's hand-overs against a real Postgres: put, claim, append, fence, release, reap, archive, delete, and the pipelined client
 * across a killed backend. What a race must decide one way is decided here by calling both orders.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "../../env/pg_rig.h"
#include "clock.h"
#include "dbq.h"
#include "id.h"
#include "xalloc.h"

#define is(sql, want) expect(want, "%s", sql)

static char session[ID_MAX];
static struct db *gw, *wk;

static int
start(void **state)
{
	AUTO(str) char *gw_dsn = NULL, *worker_dsn = NULL;

	pgr_start("store");
	gw_dsn = pgr_dsn("roost_gw");
	worker_dsn = pgr_dsn("roost_worker");
	gw = db_open(gw_dsn, DB_GW, 40000);
	wk = db_open(worker_dsn, DB_WORKER, 40000);
	free(ask("INSERT INTO organization (id, name) VALUES ('org', 'Org')"));
	free(ask("INSERT INTO workspace (id, organization_id, name) VALUES ('w1', 'org', 'One'), ('w2', 'org', 'Two')"));
	return 0;
}

static int
stop(void **state)
{
	db_close(&gw);
	db_close(&wk);
	return pgr_stop();
}

static int
fresh_session(void **state)
{
	AUTO(str) char *sql = NULL;

	id_new("sesn_", session);
	free(ask("DELETE FROM session"));
	free(ask("DELETE FROM work"));
	free(ask("ALTER SEQUENCE lease_epoch RESTART"));
	free(ask("DELETE FROM worker"));
	sql = xasprintf("INSERT INTO session (id, organization_id, workspace_id, agent_id, agent_version, environment_id, thread_id, agent,"
	    " last_at, created_at, updated_at) SELECT '%s', 'org', 'w1', 'agent_x', 1, 'env_x', 'sthr_x', '{}', t, t, t"
	    " FROM (SELECT clock_timestamp() AS t) x", session);
	free(ask("%s", sql));
	return 0;
}

static void
put(const char *id, const char *type, const char *wakes, const char *refers)
{
	AUTO(str) char *ids = pg_array(&id, 1), *types = pg_array(&type, 1), *stem = xasprintf("{\"id\":\"%s\",\"type\":\"%s\"", id, type);
	const char *one = stem;
	AUTO(str) char *stems = pg_array(&one, 1), *refs = pg_array(&refers, 1), *w = pg_array(&wakes, 1);
	struct err e = ERR_INIT;

	if (DB_RUN(gw, STMT_INBOX_PUT, NULL, &e, session, ids, types, stems, "{u}", "{NULL}", "{f}", w, refs, "{NULL}", "{NULL}", "{h}") < 0)
		fail_msg("%s", e.detail);
}

/* The epoch of the one session claimed, 0 when there is none. */
static int64_t
claim_within(const char *worker, const char *room, const char *heavy)
{
	AUTO(pgres) PGresult *r = NULL;
	struct err e = ERR_INIT;

	if (DB_RUN(wk, STMT_SESSION_CLAIM, &r, &e, worker, "10", room, "100000", heavy, "f", "0", NULL, NULL) < 0)
		fail_msg("%s", e.detail);
	return PQntuples(r) == 1 ? pg_int(r, 0, 1) : PQntuples(r);
}

static int64_t
claim(const char *worker)
{
	return claim_within(worker, "1000000", "t");
}

struct append { const char *ids, *types, *bodies, *nulls, *consumed, *status, *open_k, *close_k, *tokens, *tokens_k, *release, *wake_gen, *again; };

/* What session_append_one's numbers say. */
static char *
word_of(const char *numbers)
{
	static const char *const words[] = { "fenced", "woken", "stamp" };

	assert_int_equal(numbers[0], '{');
	return xstrdup(numbers[1] != '-' ? "ok" : words[numbers[2] - '1']);
}

/* One append at the database's own time plus `ahead` microseconds; the result word, freed by the caller. */
static char *
append_at(int64_t epoch, int64_t ahead, const struct append *a)
{
	AUTO(pgres) PGresult *r = NULL;
	AUTO(str) char *now = ask("SELECT us(clock_timestamp())"), *bytes = NULL, *wakes = NULL, *taken = NULL;
	const char *consumed = a->consumed ? a->consumed : "{}";
	struct err e = ERR_INIT;

	taken = xasprintf("FROM inbox WHERE session_id = '%s' AND inbox_seq = ANY ('%s')", session, consumed);
	bytes = ask("SELECT coalesce(sum(octet_length(stem)), 0) %s", taken);
	wakes = ask("SELECT count(*) FILTER (WHERE wakes) %s", taken);
	if (DB_RUN(wk, STMT_SESSION_APPEND_ONE, &r, &e, session, DBN(epoch), DBN(atoll(now) + ahead), a->ids, a->types, a->bodies, a->nulls, a->nulls,
	    a->nulls, consumed, a->status, a->open_k, a->close_k, a->tokens, a->tokens_k, "m", NULL, NULL, NULL, NULL, NULL,
	    a->release, a->wake_gen, NULL, a->again ? a->again : "f", "17", "3", "{1,1,1,1,1}", "f", NULL, NULL, NULL, "f",
	    bytes, wakes, NULL) < 0)
		fail_msg("%s", e.detail);
	return word_of(pg_str(r, 0, 0));
}

/* What a crash of Postgres may have forgotten of the epochs is left out by the first beat after it, once. */
static void
first_beat(const char *worker, const char *lock)
{
	AUTO(str) char *before = ask("SELECT last_value + 1000000 FROM lease_epoch"), *after = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(DB_RUN(wk, STMT_WORKER_BEAT, NULL, &e, worker, lock, "30", "t", "host", "t", "0", "1"), 0);
	after = ask("SELECT last_value FROM lease_epoch");
	assert_true(atoll(after) >= atoll(before));
	assert_int_equal(DB_RUN(wk, STMT_WORKER_BEAT, NULL, &e, worker, lock, "30", "t", "host", "t", "0", "1"), 0);
	is("SELECT last_value FROM lease_epoch", after);
	free(ask("ALTER SEQUENCE lease_epoch RESTART"));
}

#define append_is(epoch, a, want) do { AUTO(str) char *got_ = append_at((epoch), 0, (a)); assert_string_equal(got_, (want)); } while (0)

static const struct append opening = { "{r1,m1}", "{session.status_running,user.message}", "{b1,b2}", "{NULL,NULL}", .consumed = "{1}",
	.status = "running", .open_k = "0" };
static const struct append one = { "{x1}", "{agent.message}", "{b}", "{NULL}", .consumed = "{}" };

static void
a_turn(void **state)
{
	static const struct append closing = { "{e1,i1}", "{span.model_request_end,session.status_idle}", "{b,b}", "{NULL,NULL}", .status = "idle",
		.close_k = "1", .tokens = "{5,7,0,0,2}", .tokens_k = "0", .release = "idle", .wake_gen = "1" };

	put("m1", "user.message", "t", NULL);
	is("SELECT wire_status(status, inbox_wakes, at_work) FROM session", "running");
	assert_int_equal(claim("wk"), 1);
	assert_int_equal(claim("other"), 0);
	append_is(1, &opening, "ok");
	append_is(1, &closing, "ok");
	is("SELECT status || last_seq || at_work || inbox_wakes || context_bytes || token_nano FROM session", "idle4false0176");
	is("SELECT string_agg(seq || type, ',' ORDER BY seq) FROM event WHERE session_id = (SELECT id FROM session)",
	    "1session.status_running,2user.message,3span.model_request_end,4session.status_idle");
	is("SELECT count(*) FROM inbox", "0");
	/* billed: from the running event's stamp to the idle event's, in whole milliseconds of the running total */
	is("SELECT (active_us = (SELECT us(max(processed_at)) - us(min(processed_at)) FROM event WHERE session_id = session.id))::text FROM session",
	    "true");
	is("SELECT string_agg(meter || '=' || quantity, ',' ORDER BY meter) FROM meter_event WHERE session_id = (SELECT id FROM session) AND unit = 'token'",
	    "tokens.cache_write_1h=2,tokens.input=5,tokens.output=7");
	is("SELECT (quantity = (SELECT active_us / 1000 FROM session))::text FROM meter_event WHERE meter = 'session.runtime' AND session_id = (SELECT id FROM session)",
	    "true");
}

/* A worker takes what fits into its room, and a heavy session only when it may; the next one takes what was left. */
/* The epoch of the session, claimed by its name, alone or with another; 0: it was not there to be had. */
static int64_t
claim_named(const char *workspace, const char *each, int n)
{
	AUTO(pgres) PGresult *r = NULL;
	AUTO(str) char *in = pg_array((const char *[]){ workspace, workspace }, n), *which = pg_array((const char *[]){ session, "sesn_none" }, n);
	struct err e = ERR_INIT;

	if (DB_RUN(wk, STMT_SESSION_CLAIM, &r, &e, "wk", "0", "0", each, "f", "f", "0", in, which) < 0)
		fail_msg("%s", e.detail);
	return PQntuples(r) > 0 ? pg_int(r, 0, 1) : 0;
}

/* A claim by name takes what a claim of what is due would: of its workspace, due, free, light enough, no suspect. With all of the inbox. */
static void
named(void **state)
{
	AUTO(pgres) PGresult *r = NULL;
	AUTO(str) char *in = pg_array((const char *[]){ "w1" }, 1), *which = pg_array((const char *[]){ session }, 1);
	struct err e = ERR_INIT;

	put("m1", "user.message", "t", NULL);
	put("m2", "user.message", "t", NULL);
	put("m3", "user.message", "t", NULL);
	for (int n = 1; n <= 2; n++) {
		assert_int_equal(claim_named("wrkspc_other", "1000", n), 0);
		assert_int_equal(claim_named("w1", "1", n), 0);
		free(ask("UPDATE work SET attempts = 2"));
		assert_int_equal(claim_named("w1", "1000", n), 0);
		free(ask("UPDATE work SET attempts = 0, due_at = clock_timestamp() + interval '1 hour'"));
		assert_int_equal(claim_named("w1", "1000", n), 0);
		free(ask("UPDATE work SET due_at = clock_timestamp()"));
		assert_int_equal(claim_named("w1", "1000", n), n);
		assert_int_equal(claim_named("w1", "1000", n), 0);
		free(ask("UPDATE work SET lease_owner = NULL"));
	}
	assert_int_equal(DB_RUN(wk, STMT_SESSION_CLAIM, &r, &e, "wk", "0", "0", "1000", "f", "f", "0", in, which), 0);
	assert_int_equal(PQntuples(r), 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(atoi(pg_str(r, i, 25) + 1), i + 1);
		assert_int_equal(pg_str(r, i, 10) != NULL, i == 0);	/* the agent, once */
	}
}

static void
bounded(void **state)
{
	struct err e = ERR_INIT;

	put("m1", "user.message", "t", NULL);
	is("SELECT (bytes > 0)::text FROM work", "true");
	assert_int_equal(claim_within("wk", "0", "t"), 0);
	assert_int_equal(claim_within("wk", "1000", "f"), 1);
	free(ask("UPDATE work SET lease_owner = NULL, bytes = 100001"));
	assert_int_equal(claim_within("wk", "1000000", "f"), 0);
	assert_int_equal(claim_within("wk", "0", "t"), 2);
	put("m2", "user.message", "t", NULL);	/* under the lease: counted by its owner */
	is("SELECT bytes FROM work", "100001");
	assert_int_equal(DB_RUN(gw, STMT_MESSAGE_SEND, NULL, &e, "w1", session, "{m3}", "{s}", "{f}", "1", "2", "10", "1000"), 0);
	is("SELECT bytes FROM work", "100001");
	free(ask("UPDATE work SET lease_owner = NULL"));
	assert_int_equal(DB_RUN(gw, STMT_MESSAGE_SEND, NULL, &e, "w1", session, "{m4,m5}", "{s,s}", "{f,NULL}", "2", "3", "10", "1000"), 0);
	is("SELECT bytes FROM work", "100004");
	is("SELECT string_agg(i.id || coalesce(role::text, '-'), ' ' ORDER BY i.inbox_seq) FROM inbox i JOIN session s ON s.id = session_id", "m1u m2u m3u m4u m5-");
}

static void
fenced(void **state)
{
	put("m1", "user.message", "t", NULL);
	assert_int_equal(claim("wk"), 1);
	append_is(2, &one, "fenced");
	append_is(0, &one, "fenced");
	append_is(1, &one, "ok");
	free(ask("UPDATE work SET lease_owner = NULL"));
	append_is(1, &one, "fenced");
	is("SELECT last_seq FROM session", "1");
}

static void
woken(void **state)
{
	static const struct append close1 = { "{i1}", "{session.status_idle}", "{b}", "{NULL}", .status = "idle", .release = "idle", .wake_gen = "1" };

	put("m1", "user.message", "t", NULL);
	assert_int_equal(claim("wk"), 1);
	append_is(1, &opening, "ok");
	put("m2", "user.message", "t", NULL);	/* arrives while the turn wants to close */
	append_is(1, &close1, "woken");
	is("SELECT status || last_seq FROM session", "running2");
}

static void
stamps(void **state)
{
	AUTO(str) char *late = NULL, *early = NULL;

	put("m1", "user.message", "t", NULL);
	assert_int_equal(claim("wk"), 1);
	late = append_at(1, 2000000, &one);
	assert_string_equal(late, "stamp");
	early = append_at(1, -500000, &one);	/* before last_at: the session is younger than that */
	assert_string_equal(early, "stamp");
	is("SELECT last_seq FROM session", "0");
}

static void
committed_but_unanswered(void **state)
{
	static const struct append again = { "{r1,m1}", "{session.status_running,user.message}", "{b1,b2}", "{NULL,NULL}", .consumed = "{1}",
		.status = "running", .open_k = "0", .again = "t" };

	put("m1", "user.message", "t", NULL);
	assert_int_equal(claim("wk"), 1);
	append_is(1, &opening, "ok");
	append_is(1, &again, "ok");
	is("SELECT last_seq FROM session", "2");
	is("SELECT count(*) FROM event WHERE session_id = (SELECT id FROM session)", "2");
}

static void
answers(void **state)
{
	free(ask("INSERT INTO action (session_id, tool_use_id, ordinal, kind, tool_name, input) SELECT id, unnest(ARRAY['t1','t2']), 1, 'confirm', 'bash', '{}' FROM session"));
	put("c1", "user.tool_confirmation", "t", "t1");
	is("SELECT wire_status(status, inbox_wakes, at_work) FROM session", "idle");	/* t2 still waits: nothing runs */
	put("c2", "user.tool_confirmation", "t", "t2");
	is("SELECT wire_status(status, inbox_wakes, at_work) FROM session", "running");
	is("SELECT string_agg(state || answer_id, ',' ORDER BY tool_use_id) FROM action WHERE session_id = (SELECT id FROM session)",
	    "answeredc1,answeredc2");
}

static void
interrupt_frees_the_wait(void **state)
{
	free(ask("INSERT INTO action (session_id, tool_use_id, ordinal, kind, tool_name, input) SELECT id, 't9', 1, 'custom', 'x', '{}' FROM session"));
	put("i1", "user.interrupt", "f", NULL);
	is("SELECT state FROM action WHERE session_id = (SELECT id FROM session)", "interrupted");
}

static void
reaped(void **state)
{
	AUTO(pgres) PGresult *r = NULL;
	struct err e = ERR_INIT;

	put("m1", "user.message", "t", NULL);
	first_beat("dead", "41");
	assert_int_equal(claim("dead"), 1);
	append_is(1, &opening, "ok");
	assert_int_equal(DB_RUN(wk, STMT_WORKER_REAP, &r, &e, "me", "0", NULL, "0"), 0);	/* nobody holds lock 41: dead at once */
	assert_int_equal(PQntuples(r), 3);		/* the rescheduled pair, to be published, and the worker */
	assert_string_equal(pg_str(r, 1, 4), "session.status_rescheduled");
	assert_string_equal(pg_str(r, 2, 0), "dead");
	append_is(1, &one, "fenced");
	is("SELECT status || (running_since IS NULL)::text || at_work || (SELECT count(*) FROM work WHERE lease_owner IS NULL) FROM session",
	    "reschedulingtruetrue1");
	assert_int_equal(claim("me"), 2);
	is("SELECT attempts FROM work", "0");		/* nobody was named */
}

/* The claim's statement ended after its worker's row had gone: who looks after the dead frees that lease too. */
static void
lease_of_nobody(void **state)
{
	struct err e = ERR_INIT;

	put("m1", "user.message", "t", NULL);
	assert_int_equal(claim("unheard"), 1);
	is("SELECT count(*) FROM worker WHERE id = 'unheard'", "0");
	assert_int_equal(DB_RUN(wk, STMT_WORKER_REAP, NULL, &e, "me", "0", NULL, "0"), 0);
	is("SELECT count(*) FROM worker WHERE id = 'unheard'", "0");
	is("SELECT lease_owner IS NULL FROM work", "t");
	assert_int_equal(claim("me"), 2);
}

/* Every row of runtime: how many, their sum against the session's total, and what no row may be. */
#define SLICES "SELECT count(*) || ' ' || (sum(quantity) = (SELECT active_us / 1000 FROM session)) || ' ' || count(*) FILTER (WHERE " \
	"period_end - period_start > interval '60 s' OR quantity < 0 OR period_start::date <> (period_end - interval '1 us')::date OR " \
	"abs(quantity - extract(epoch FROM period_end - period_start) * 1000) > 1) || ' ' || count(*) FILTER (WHERE gap) FROM (SELECT *, " \
	"period_start <> lag(period_end, 1, period_start) OVER w OR cum_before <> coalesce(sum(quantity) OVER (w ROWS BETWEEN UNBOUNDED " \
	"PRECEDING AND 1 PRECEDING), 0) AS gap FROM meter_event WHERE meter = 'session.runtime' AND session_id = (SELECT id FROM session) " \
	"WINDOW w AS (ORDER BY seq, part)) m"

static int
slice(void)
{
	AUTO(pgres) PGresult *r = NULL;
	struct err e = ERR_INIT;

	if (DB_RUN(wk, STMT_SESSION_SLICE, &r, &e, "wk", "10") < 0)
		fail_msg("%s", e.detail);
	return (int)pg_int(r, 0, 0);
}

/* A long interval is billed while it lasts, in minutes; what closes it bills the rest, cut at minutes and at each midnight. */
static void
sliced(void **state)
{
	static const struct append close1 = { "{i1}", "{session.status_idle}", "{b}", "{NULL}", .status = "idle", .close_k = "0", .release = "idle",
		.wake_gen = "1" };

	put("m1", "user.message", "t", NULL);
	assert_int_equal(claim("wk"), 1);
	append_is(1, &opening, "ok");
	assert_int_equal(slice(), 0);
	free(ask("UPDATE session SET running_since = running_since - interval '5 min 3.000999 s', active_us = 999"));
	free(ask("INSERT INTO meter_event SELECT id, 1, 'session.runtime', 0, organization_id, workspace_id, api_key_id, agent_id, agent_version, "
	    "environment_id, NULL, running_since - interval '999 us', running_since, 0, 'ms', 0 FROM session"));
	assert_int_equal(slice(), 1);
	is("SELECT active_us FROM session", "240000999");	/* not the last 16 s: an append may still carry a stamp from there */
	assert_int_equal(slice(), 0);
	free(ask("UPDATE session SET running_since = running_since - interval '180 s'"));
	free(ask("UPDATE meter_event SET period_start = period_start - interval '180 s', period_end = period_end - interval '180 s' "
	    "WHERE session_id = (SELECT id FROM session)"));
	assert_int_equal(slice(), 1);
	append_is(1, &close1, "ok");
	is(SLICES, "10 true 0 0");		/* that of 999 us, 4 + 3 of a minute by the worker, and what was left in two */
}

static void
sliced_at_midnight(void **state)
{
	static const char days[] = "SELECT count(DISTINCT period_start::date) || ' ' || (min(period_start) = max(begin)) FROM meter_event, "
		"(SELECT date_trunc('day', now()) - interval '1 day 30.5 s' AS begin) b WHERE session_id = (SELECT id FROM session)";
	AUTO(pgres) PGresult *r = NULL;
	struct err e = ERR_INIT;

	free(ask("SET timezone = 'Asia/Tokyo'"));	/* days are UTC's, whatever a connection says */
	put("m1", "user.message", "t", NULL);
	first_beat("dead", "41");
	assert_int_equal(claim("dead"), 1);
	append_is(1, &opening, "ok");
	free(ask("SET timezone = 'UTC'; UPDATE session SET running_since = date_trunc('day', now()) - interval '1 day 30.5 s'"));
	assert_int_equal(DB_RUN(wk, STMT_WORKER_REAP, &r, &e, "me", "0", NULL, "0"), 0);
	is(days, "3 true");
	is("SELECT substr(t, strpos(t, ' ')) FROM (" SLICES ") x(t)", " true 0 0");
}

static int
blame(int64_t epoch)
{
	AUTO(pgres) PGresult *r = NULL;
	struct err e = ERR_INIT;

	if (DB_RUN(wk, STMT_WORKER_BLAME, &r, &e, "dead", session, DBN(epoch), "3", "t", "crash") < 0)
		fail_msg("%s", e.detail);
	return PQntuples(r) == 0 ? 0 : (int)pg_int(r, 0, 0);
}

/* Each claim is blamed once; what is no progress leaves the count, the third ends the session and keeps its inbox. */
static void
blamed(void **state)
{

	put("m1", "user.message", "t", NULL);
	first_beat("dead", "41");
	assert_int_equal(claim("dead"), 1);
	append_is(1, &opening, "ok");
	assert_int_equal(blame(1), 1);
	assert_int_equal(blame(1), 0);
	assert_int_equal(blame(2), 0);			/* no such claim */
	free(ask("UPDATE work SET lease_owner = NULL"));
	assert_int_equal(claim("dead"), 2);
	assert_int_equal(blame(2), 2);
	is("SELECT status || attempts FROM session, work", "running2");
	free(ask("UPDATE work SET lease_owner = NULL"));
	assert_int_equal(claim("other"), 0);		/* a suspect: only for who has nothing else */
	put("m2", "user.message", "t", NULL);
	free(ask("UPDATE work SET lease_owner = 'dead', lease_epoch = 3"));
	assert_int_equal(blame(3), 3);
	is("SELECT status || (running_since IS NULL)::text || at_work || inbox_events || (SELECT count(*) FROM work) FROM session",
	    "terminatedtruefalse10");
	is("SELECT attempts || worker || reason FROM dead_letter", "3deadcrash");
	is("SELECT count(*) FROM suspect", "0");
	assert_int_equal(blame(3), 0);
	is("SELECT dead_retry((SELECT id FROM session))::text = (SELECT id FROM session)", "t");
	is("SELECT status || attempts || at_work FROM session, work", "rescheduling0true");
}

static void
the_living_are_not_reaped(void **state)
{
	AUTO(pgres) PGresult *r = NULL;
	struct err e = ERR_INIT;

	free(ask("SELECT pg_advisory_lock(42)"));	/* the owner's connection plays the living worker's */
	assert_int_equal(DB_RUN(wk, STMT_WORKER_BEAT, NULL, &e, "alive", "42", "30", "t", "host", "t", "0", "1"), 0);
	assert_int_equal(DB_RUN(wk, STMT_WORKER_REAP, &r, &e, "me", "0", NULL, "0"), 0);
	assert_int_equal(PQntuples(r), 0);
	is("SELECT xmax FROM worker WHERE id = 'alive'", "0");	/* nor locked: a second in which nobody died writes nothing */
	free(ask("SELECT pg_advisory_unlock(42)"));
}

static int
reap(const char *ended, const char *since_us)
{
	AUTO(pgres) PGresult *r = NULL;
	struct err e = ERR_INIT;

	if (DB_RUN(wk, STMT_WORKER_REAP, &r, &e, "me", "30", ended, since_us) < 0)
		fail_msg("%s", e.detail);
	return PQntuples(r);
}

/* Who has just come, or come back, cannot tell the dead from those that have not come back yet. */
static void
newcomers_do_not_judge(void **state)
{
	AUTO(str) char *before = ask("SELECT us(clock_timestamp())");
	AUTO(str) char *after = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(DB_RUN(wk, STMT_WORKER_BEAT, NULL, &e, "silent", "43", "30", "t", "host", "t", "0", "1"), 0);	/* nobody holds lock 43 */
	after = ask("SELECT us(clock_timestamp())");
	free(ask("SELECT pg_sleep(0.01)"));
	assert_int_equal(reap("", after), 0);
	assert_int_equal(reap("another", after), 0);
	free(ask("BEGIN"));
	free(ask("UPDATE worker SET beat_at = clock_timestamp() WHERE id = 'silent'"));
	assert_int_equal(reap("silent", after), 0);		/* a beat is under way: it does not wait for that */
	free(ask("ROLLBACK"));
	assert_int_equal(reap("silent", after), 1);		/* its successor says so */
	assert_int_equal(DB_RUN(wk, STMT_WORKER_BEAT, NULL, &e, "silent", "43", "30", "t", "host", "t", "0", "1"), 0);
	assert_int_equal(reap("", before), 1);			/* it has beaten since, and lost its lock */
}

#define LEASE "10"
#define AGO(s) "UPDATE worker SET beat_at = beat_at - interval '" s " s', lease_until = lease_until - interval '" s " s'"

static void
beat(const char *who, const char *lock)
{
	struct err e = ERR_INIT;

	assert_int_equal(DB_RUN(wk, STMT_WORKER_BEAT, NULL, &e, who, lock, LEASE, "t", "host", "t", "0", "1"), 0);
}

static int
judged(void)
{
	AUTO(pgres) PGresult *r = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(DB_RUN(wk, STMT_WORKER_REAP, &r, &e, "me", LEASE, "", "0"), 0);
	return PQntuples(r);
}

/* Postgres has stood still, and all go on at once: what one of them asks before the others have beaten says nothing about these. */
static void
nobody_judges_after_a_standstill(void **state)
{
	AUTO(str) char *steady = NULL;

	free(ask("SELECT pg_sleep(extract(epoch FROM pg_postmaster_start_time() + interval '" LEASE ".1 s' - clock_timestamp()))"));
	free(ask("SELECT pg_advisory_lock(46)"));	/* their processes live */
	beat("me", "45");
	beat("other", "46");
	free(ask(AGO("60")));
	assert_int_equal(judged(), 0);		/* what was asked before comes first of all */
	beat("me", "45");
	assert_int_equal(judged(), 0);
	free(ask("UPDATE worker SET steady_at = steady_at - interval '60 s'"));
	beat("me", "45");			/* once more, without a gap; a lease after the one before */
	assert_int_equal(judged(), 1);
	free(ask("UPDATE worker SET steady_at = clock_timestamp() + interval '1 h' WHERE id = 'me'"));
	beat("me", "45");			/* the clock has been put back: from now on, not for an hour */
	steady = ask("SELECT steady_at <= clock_timestamp() FROM worker WHERE id = 'me'");
	assert_string_equal(steady, "t");
	free(ask("SELECT pg_advisory_unlock(46)"));
	free(ask("DELETE FROM worker WHERE id IN ('me', 'other')"));
}

/* A worker's row goes when it leaves, and that is so whether or not a lease is left that it does not know of: others take that at once. */
static void
leavers(void **state)
{
	struct err e = ERR_INIT;

	put("m1", "user.message", "t", NULL);
	first_beat("goes", "44");
	assert_int_equal(DB_RUN(wk, STMT_WORKER_LEAVE, NULL, &e, "goes"), 0);
	is("SELECT count(*) FROM worker WHERE id = 'goes'", "0");
	free(ask("SELECT pg_advisory_lock(44)"));	/* its process still lives */
	first_beat("goes", "44");
	assert_int_equal(claim("goes"), 1);
	assert_int_equal(DB_RUN(wk, STMT_WORKER_LEAVE, NULL, &e, "goes"), 0);
	is("SELECT lease_until < clock_timestamp() AND NOT open FROM worker WHERE id = 'goes'", "t");
	is("SELECT lease_owner FROM work", "goes");
	assert_int_equal(DB_RUN(wk, STMT_WORKER_REAP, NULL, &e, "me", "30", NULL, "0"), 0);
	is("SELECT coalesce(lease_owner, 'nobody') FROM work", "nobody");
	is("SELECT count(*) FROM worker WHERE id = 'goes'", "0");
	free(ask("SELECT pg_advisory_unlock(44)"));
}

static char *
end_session(enum db_stmt stmt, const char *workspace)
{
	AUTO(pgres) PGresult *r = NULL;
	struct err e = ERR_INIT;
	int rc = stmt == STMT_SESSION_DELETE ? DB_RUN(gw, stmt, &r, &e, workspace, session) :
	    DB_RUN(gw, stmt, &r, &e, workspace, session, "{z1}", "{session.status_terminated}", "{\"{\\\"id\\\":\\\"z1\\\"\"}");

	if (rc < 0)
		fail_msg("%s", e.detail);
	return xstrdup(pg_str(r, 0, 0));
}

#define end_is(stmt, ws, want) do { AUTO(str) char *got_ = end_session((stmt), (ws)); assert_string_equal(got_, (want)); } while (0)

/* What only the harness may see is refused by the database itself to the processes that talk to clients. */
static void
private_columns(void **state)
{
	static const struct { const char *user, *sql; bool allowed; } cases[] = {
		{ "roost_gw", "SELECT body FROM event", true },		{ "roost_stream", "SELECT body FROM event", true },
		{ "roost_gw", "SELECT private FROM event", false },	{ "roost_stream", "SELECT private FROM event", false },
		{ "roost_gw", "SELECT fragment FROM event", false },	{ "roost_stream", "SELECT * FROM event", false },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		AUTO(str) char *to = pgr_dsn(cases[i].user);
		PGconn *c = PQconnectdb(to);
		AUTO(pgres) PGresult *r = PQexec(c, cases[i].sql);
		const char *code = PQresultErrorField(r, PG_DIAG_SQLSTATE);

		if (cases[i].allowed)
			assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
		else
			assert_string_equal(code ? code : "none", "42501");	/* insufficient_privilege */
		PQfinish(c);
	}
}

/*
 * These functions, which turns call, run as their owner and by the caller's search path. So no role of a process may create anything anywhere,
 * and no name of ours stands in another schema too.
 */
static void
nothing_shadows(void **state)
{
	static const char *const users[] = { "roost_gw", "roost_stream", "roost_worker", "roost_vault" };
	static const char *const makes[] = { "CREATE TEMP TABLE event (id text)", "CREATE TABLE public.event2 (id text)", "CREATE SCHEMA mine",
		"CREATE FUNCTION public.us(t text) RETURNS bigint LANGUAGE sql RETURN 1", "CREATE FUNCTION pg_temp.us(t text) RETURNS bigint LANGUAGE sql RETURN 1" };

	is("SELECT string_agg(DISTINCT proname, ' ' ORDER BY proname) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef"
	    " AND NOT coalesce(proconfig::text LIKE '%search_path=public, pg_temp%', false)",
	    "message_send message_send_many session_append_many session_append_one session_settle session_take");
	is("SELECT string_agg(DISTINCT r.rolname, ' ') FROM pg_roles r, pg_namespace n WHERE r.rolname LIKE 'roost\\_%' AND r.rolname <> 'roost_admin'"
	    " AND (has_database_privilege(r.oid, current_database(), 'CREATE,TEMPORARY') OR has_schema_privilege(r.oid, n.oid, 'CREATE'))", "");
	is("SELECT string_agg(ours.name, ' ') FROM (SELECT relname AS name, relnamespace AS schema FROM pg_class UNION ALL"
	    " SELECT proname, pronamespace FROM pg_proc UNION ALL SELECT typname, typnamespace FROM pg_type) ours JOIN (SELECT relname AS name,"
	    " relnamespace AS schema FROM pg_class UNION ALL SELECT proname, pronamespace FROM pg_proc UNION ALL SELECT typname, typnamespace FROM pg_type)"
	    " theirs USING (name) WHERE ours.schema = 'public'::regnamespace AND theirs.schema <> 'public'::regnamespace", "");
	is("SELECT count(*) FROM pg_operator WHERE oprnamespace <> 'pg_catalog'::regnamespace", "0");
	for (size_t i = 0; i < sizeof users / sizeof *users; i++) {
		AUTO(str) char *to = pgr_dsn(users[i]);
		PGconn *c = PQconnectdb(to);

		for (size_t k = 0; k < sizeof makes / sizeof *makes; k++) {
			AUTO(pgres) PGresult *r = PQexec(c, makes[k]);
			const char *code = PQresultErrorField(r, PG_DIAG_SQLSTATE);

			assert_string_equal(code ? code : "none", "42501");	/* insufficient_privilege */
		}
		PQfinish(c);
	}
}

static void
ending(void **state)
{
	end_is(STMT_SESSION_ARCHIVE, "w2", "missing");
	put("m1", "user.message", "t", NULL);
	end_is(STMT_SESSION_ARCHIVE, "w1", "running");
	end_is(STMT_SESSION_DELETE, "w1", "running");
	assert_int_equal(claim("wk"), 1);
	append_is(1, &opening, "ok");
	end_is(STMT_SESSION_DELETE, "w1", "running");
	free(ask("UPDATE session SET status = 'idle'"));
	put("u1", "session.updated", "f", NULL);
	end_is(STMT_SESSION_ARCHIVE, "w1", "ok");
	append_is(1, &one, "fenced");
	is("SELECT string_agg(type, ',' ORDER BY seq) FROM event WHERE session_id = (SELECT id FROM session) AND seq > 2",
	    "session.updated,session.status_terminated");
	is("SELECT (body::json ->> 'processed_at' = wire_stamp(processed_at))::text FROM event WHERE type = 'session.updated' AND session_id = (SELECT id FROM session)",
	    "true");
	end_is(STMT_SESSION_ARCHIVE, "w1", "already");
	end_is(STMT_SESSION_DELETE, "w2", "missing");
	end_is(STMT_SESSION_DELETE, "w1", "ok");
	is("SELECT count(*) FROM session", "0");
	end_is(STMT_SESSION_DELETE, "w1", "missing");
}

struct pipe_seen { struct loop *loop; int ok, uncertain, other, last; bool ordered; };

static void
on_beat(void *ctx, const PGresult *r, const struct err *e)
{
	struct pipe_seen *s = ctx;

	if (!e)
		s->ok++;
	else if (e->kind == EK_UNCERTAIN)
		s->uncertain++;
	else
		s->other++;
	if (s->ok + s->uncertain + s->other == 300)
		loop_stop(s->loop);
}

static void
pipelined(void **state)
{
	struct pipe_seen s = { .loop = loop_new() };
	AUTO(str) char *d = pgr_dsn("roost_worker");
	struct dbq *q = dbq_new(s.loop, d, DB_WORKER, 5000);
	int i;

	for (i = 0; i < 100; i++)
		DBQ_RUN(q, STMT_WORKER_BEAT, on_beat, &s, "piped", "43", "30", "t", "host", "t", "0", "1");
	DBQ_RUN(q, STMT_WORKER_BEAT, on_beat, &s, "piped", "not a number", "30", "t", "host", "t", "0", "1");	/* an error touches only itself */
	for (i = 0; i < 99; i++)
		DBQ_RUN(q, STMT_WORKER_BEAT, on_beat, &s, "piped", "43", "30", "t", "host", "t", "0", "1");
	while (s.ok + s.other < 200)
		loop_once(s.loop, 1000);
	assert_int_equal(s.ok, 199);
	assert_int_equal(s.other, 1);
	free(ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'roost_worker' AND query LIKE '%%worker_beat%%' AND pid <> pg_backend_pid()"));
	for (i = 0; i < 100; i++)
		DBQ_RUN(q, STMT_WORKER_BEAT, on_beat, &s, "piped", "43", "30", "t", "host", "t", "0", "1");
	loop_run(s.loop);
	/* each is answered once: a server's goodbye names one statement, the others sent are uncertain, the unsent went through later */
	assert_int_equal(s.ok + s.uncertain + s.other, 300);
	assert_true(s.ok > 199);
	assert_int_equal(dbq_pending(q), 0);
	dbq_free(&q);
	loop_free(&s.loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_turn, fresh_session), cmocka_unit_test_setup(fenced, fresh_session),
		cmocka_unit_test_setup(bounded, fresh_session), cmocka_unit_test_setup(named, fresh_session),
		cmocka_unit_test_setup(woken, fresh_session), cmocka_unit_test_setup(stamps, fresh_session),
		cmocka_unit_test_setup(committed_but_unanswered, fresh_session), cmocka_unit_test_setup(answers, fresh_session),
		cmocka_unit_test_setup(interrupt_frees_the_wait, fresh_session), cmocka_unit_test_setup(reaped, fresh_session),
		cmocka_unit_test_setup(lease_of_nobody, fresh_session),
		cmocka_unit_test_setup(blamed, fresh_session),
		cmocka_unit_test_setup(the_living_are_not_reaped, fresh_session),
		cmocka_unit_test_setup(newcomers_do_not_judge, fresh_session), cmocka_unit_test_setup(sliced, fresh_session),
		cmocka_unit_test_setup(leavers, fresh_session),
		cmocka_unit_test_setup(sliced_at_midnight, fresh_session), cmocka_unit_test_setup(ending, fresh_session),
		cmocka_unit_test(private_columns), cmocka_unit_test(nothing_shadows),
		cmocka_unit_test_setup(pipelined, fresh_session),
		cmocka_unit_test_setup(nobody_judges_after_a_standstill, fresh_session),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
