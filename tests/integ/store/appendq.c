/* link: tests/env/pg_rig.c */
/*
 * Appends one by one and as sets leave the same rows: pairs of sessions that are alike get the same appends, one of each pair alone
 * (session_append_one), the other together with its neighbours (session_append_many). Everything that an append may write is compared, row
 * by row, over many generated cases: plain ones, and those that must be refused or told apart. And a set waits for nobody's lock.
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
#include "appendq.h"
#include "clock.h"
#include "xalloc.h"

#define ROUNDS 60
#define PAIRS 24		/* of a round: they are queued at once */
#define EVENTS 6
#define INBOX 3
#define FAR_US 7200000000	/* however long a round takes */

static struct loop *loop;
static struct dbq *q;
static struct appendq *appends;
static unsigned seed = 20261120;

/* One append to one session of a pair; what its struct points to. */
struct trial {
	struct append a;
	char session[40], ids[EVENTS][40];
	struct append_event events[EVENTS];
	int64_t taken[INBOX];
	struct append_call call;
	const char *closed;
	bool answered;
	enum append_result result;
	int64_t last_seq;
	uint32_t xid;
	enum err_kind failed;
};

static int
draw(int n)
{
	return (int)((unsigned)rand_r(&seed) >> 3) % n;
}

static bool one_in(int n) { return draw(n) == 0; }

static void
open_queue(void)
{
	AUTO(str) char *worker = pgr_dsn("roost_worker");

	q = dbq_new(loop, worker, DB_WORKER, 30000);
	appends = appendq_new(q, NULL);
	while (!dbq_ready(q))
		loop_once(loop, 1000);
}

static void
close_queue(void)
{
	dbq_free(&q);
	appendq_free(&appends);
}

static int
start(void **state)
{
	pgr_start("appendq");
	run("ALTER DATABASE roost SET track_functions = 'all'");
	run("INSERT INTO organization (id, name) VALUES ('org', 'Org')");
	run("INSERT INTO workspace (id, organization_id, name) VALUES ('w1', 'org', 'One')");
	loop = loop_new();
	open_queue();
	return 0;
}

static int
stop(void **state)
{
	close_queue();
	loop_free(&loop);
	return pgr_stop();
}

static void
drain(void)
{
	while (dbq_pending(q) > 0)
		loop_once(loop, 1000);
}

static void
on_append(struct append *a, enum append_result result, int64_t last_seq, int64_t now_us, const struct err *e)
{
	struct trial *t = (struct trial *)a;

	assert_false(t->answered);
	t->answered = true;
	t->failed = e ? e->kind : EK_NONE;
	t->result = result;
	t->last_seq = !e && result == APPEND_OK ? last_seq : 0;
	t->xid = !e ? a->xid : 0;
	assert_true(e || result != APPEND_STAMP || llabs(now_us - clock_wall_us()) < 60000000);
}

/* Two sessions that are alike but for their ids, sA_n and sB_n, since `since` (us; 0: they do not run), with an inbox, a lease and perhaps a call. */
static void
make_pair(int n, int64_t last_us, int64_t since_us)
{
	int epoch = one_in(12) ? 8 : 7, attempts = one_in(12), wake = one_in(8), call = one_in(4), lease = !one_in(16), used = draw(1000);

	for (int side = 'A'; side <= 'B'; side++) {
		run("INSERT INTO session (id, organization_id, workspace_id, agent_id, agent_version, environment_id, thread_id, agent, status, last_seq, last_at,"
		    " created_at, updated_at, inbox_seq, inbox_events, inbox_bytes, inbox_wakes, wake_gen, running_since, active_us, input_tokens, output_tokens,"
		    " cache_read_tokens, token_nano, at_work) VALUES ('s%c_%d', 'org', 'w1', 'agent_x', 3, 'env_x', 'thread_%d', '{}', '%s', 1, stamp(%lld), stamp(1),"
		    " stamp(1), 4, 4, 60, 2, %d, %s, %d, %d, %d, %d, %d, true)", side, n, n, since_us ? "running" : "idle", (long long)last_us, 5 + wake,
		    since_us ? "stamp(1)" : "NULL", used, used * 3, used * 2, used / 2, used * 7);
		if (since_us)
			run("UPDATE session SET running_since = stamp(%lld) WHERE id = 's%c_%d'", (long long)since_us, side, n);
		run("INSERT INTO event (session_id, seq, id, type, thread_id, processed_at, body) SELECT 's%c_%d', 1, 'start', 'span.model_request_start', 't',"
		    " stamp(%lld), '{}'", side, n, (long long)last_us);
		run("INSERT INTO inbox (session_id, inbox_seq, id, type, stem, received_at, wakes) SELECT 's%c_%d', i, 'm' || i, 'user.message',"
		    " repeat('é', i), stamp(5), i %% 2 = 0 FROM generate_series(1, 4) i", side, n);
		if (lease)
			run("INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch, attempts, bytes) VALUES ('w1', 's%c_%d', stamp(9), 'wk', %d,"
			    " %d, 100)", side, n, epoch, attempts);
		if (call)
			run("INSERT INTO action (session_id, tool_use_id, ordinal, kind, tool_name, input) VALUES ('s%c_%d', 'call', 1, 'confirm', 'bash', '{}')", side, n);
	}
}

static void
draw_events(struct trial *t, int n)
{
	static const char *const roles[] = { "u", "a", "s", NULL };
	static const char *const types[] = { "agent.message", "agent.tool_result", "user.message", "session.error", "session.usage" };
	static const char *const texts[] = { "{\"a\":\"b\\\\c\"}", "NULL", "{,}", "", "é\n'\"", "plain" };

	for (int i = 0; i < n; i++) {
		snprintf(t->ids[i], sizeof t->ids[i], "e%d_%d", i, draw(1000000));
		t->events[i] = (struct append_event){ .id = t->ids[i], .type = types[draw(5)], .body = texts[draw(6)], .role = roles[draw(4)],
		    .fragment = one_in(2) ? texts[draw(6)] : NULL, .private = one_in(4) ? texts[draw(6)] : NULL };
	}
	if (n > 1 && one_in(120))
		t->events[1].id = t->events[0].id;	/* fails: it is there already */
	t->a.events = t->events;
	t->a.nevents = n;
}

static void
draw_tokens(struct append *a, int n)
{
	a->tokens_k = draw(n);
	a->tokens_known = !one_in(12);
	for (int i = 0; i < COST_CLASSES; i++)
		a->tokens[i] = one_in(2) ? draw(500) : 0;
	a->rates.known = !one_in(4);
	for (int i = 0; i < COST_CLASSES; i++)
		a->rates.token[i] = draw(20);
	a->unpriced = one_in(8);
	a->token_nano = draw(10000);
	if (one_in(10) && a->tokens_known) {
		a->judge_model = "judge";
		for (int i = 0; i < COST_CLASSES; i++)
			a->judge_tokens[i] = draw(30);
	}
}

static const char *const prepared[APPEND_READY] = { "{\"id\":\"a\",\"x\":\"{}\"", "b,\\", "", "7" };

static void
draw_append(struct trial *t, int n, int64_t base_us, bool runs)
{
	static const char *const releases[] = { "idle", "idle", "keep", "retry", "done", NULL, NULL, NULL, NULL, NULL };
	struct append *a = &t->a;
	int events = one_in(16) ? 0 : 1 + draw(EVENTS);

	*t = (struct trial){ .a = { .done = on_append, .epoch = 7, .base_us = base_us, .open_k = -1, .close_k = -1, .tokens_k = -1, .due_us = -1, .model = "m" } };
	draw_events(t, events);
	a->bytes = 100;
	for (int i = 0; i < INBOX; i++)
		if (one_in(3)) {
			t->taken[a->ntaken++] = i + 1;
			a->taken_wakes += (i + 1) % 2 == 0;
			a->taken_bytes += (i + 1) * 2;
		}
	a->taken = t->taken;
	a->release = releases[draw(10)];
	a->wake_gen = 5;
	if (a->release && strcmp(a->release, "keep") == 0 && one_in(2))
		a->ready = prepared;
	a->context_bytes = draw(1000);
	if (events > 0 && runs && one_in(2))
		a->close_k = draw(events);
	if (events > 0 && !runs && one_in(2))
		a->open_k = draw(events);
	if (one_in(2))
		a->status = a->release && strcmp(a->release, "done") == 0 ? "terminated" : one_in(2) ? "idle" : "running";
	a->paused = one_in(3);
	if (events > 0 && one_in(2))
		draw_tokens(a, events);
	if (a->release && strcmp(a->release, "retry") == 0)
		a->due_us = base_us + 3600000000;
	if (one_in(12)) {
		t->call = (struct append_call){ "use", "custom", "tool", "{}" };
		a->calls = &t->call;
		a->ncalls = 1;
	}
	if (one_in(12)) {
		t->closed = "call";
		a->nclosed = 1;
	}
	a->again = one_in(20);
}

/* The same append to the other session of its pair. */
static void
aim(struct trial *t, const struct trial *from, int side, int n)
{
	*t = *from;
	snprintf(t->session, sizeof t->session, "s%c_%d", side, n);
	t->a.session = t->session;
	t->a.thread = xasprintf("thread_%d", n);
	for (int i = 0; i < t->a.nevents; i++)
		t->events[i].id = t->ids[from->events[i].id == from->ids[0] ? 0 : i];
	t->a.events = t->events;
	t->a.taken = t->taken;
	t->a.calls = &t->call;
	t->a.closed = &t->closed;
}

/* All that an append writes, of the sessions of one side; times that it takes from the clock are left out. */
static char *
rows(int side)
{
	return ask("SELECT string_agg(replace(r, 's%c_', 's_'), E'\\n' ORDER BY r) FROM ("
	    " SELECT 'session ' || (to_jsonb(x) - 'prior')::text AS r FROM session x WHERE id LIKE 's%c_%%'"
	    " UNION ALL SELECT 'event ' || x::text FROM event x WHERE session_id LIKE 's%c_%%'"
	    " UNION ALL SELECT 'inbox ' || x::text FROM inbox x WHERE session_id LIKE 's%c_%%'"
	    " UNION ALL SELECT 'meter ' || (to_jsonb(x) - 'recorded_at')::text FROM meter_event x WHERE session_id LIKE 's%c_%%'"
	    " UNION ALL SELECT 'gap ' || x::text FROM meter_gap x WHERE session_id LIKE 's%c_%%'"
	    " UNION ALL SELECT 'action ' || x::text FROM action x WHERE session_id LIKE 's%c_%%'"
	    " UNION ALL SELECT 'work ' || (to_jsonb(x) - 'due_at')::text || (due_at > now() + interval '1 minute') FROM work x WHERE session_id LIKE 's%c_%%') y",
	    side, side, side, side, side, side, side, side);
}

static struct { int ok, refused[4], failed, prepared; } seen;

/* An append says which transaction it has left in its session's row, unless it had been committed before; so does a row with a turn prepared. */
static void
same_xid(const struct trial *t)
{
	AUTO(str) char *xmin = ask("SELECT coalesce((SELECT xmin::text FROM session WHERE id = '%s'), '')", t->session);
	bool written = t->failed == EK_NONE && t->result == APPEND_OK;

	if (written ? t->xid != strtoul(xmin, NULL, 10) && !(t->xid == 0 && t->a.again) : t->xid != 0)
		fail_msg("%s: said %u, is %s", t->session, t->xid, xmin);
	if (written && t->a.ready) {
		AUTO(str) char *prepares = ask("SELECT prior = xmin AND ready = ARRAY['{\"id\":\"a\",\"x\":\"{}\"', 'b,\\', '', '7'] FROM session WHERE id = '%s'", t->session);

		assert_string_equal(prepares, "t");
		seen.prepared++;
	}
}

static void
one_round(int from)
{
	struct trial *alone = xcalloc(PAIRS, sizeof *alone), *together = xcalloc(PAIRS, sizeof *together), t;
	int64_t now = clock_wall_us();

	for (int i = 0; i < PAIRS; i++) {
		bool runs = one_in(2);
		int64_t base = one_in(16) ? now + FAR_US : one_in(16) ? now - FAR_US : now;	/* stamps too far from the clock are refused */
		int64_t last = one_in(16) ? base : base - 1 - draw(3000000), since = !runs ? 0 : one_in(8) ? last - 70000000 : last - draw(2000000);

		make_pair(from + i, last, since);
		draw_append(&t, from + i, base, runs);
		aim(&alone[i], &t, 'A', from + i);
		aim(&together[i], &t, 'B', from + i);
	}
	for (int i = 0; i < PAIRS; i++) {
		append_run(appends, &alone[i].a);
		drain();
	}
	for (int i = 0; i < PAIRS; i++)
		append_run(appends, &together[i].a);
	drain();
	for (int i = 0; i < PAIRS; i++) {
		assert_true(alone[i].answered && together[i].answered);
		assert_int_equal(alone[i].failed, together[i].failed);
		assert_int_equal(alone[i].result, together[i].result);
		assert_int_equal(alone[i].last_seq, together[i].last_seq);
		same_xid(&alone[i]);
		same_xid(&together[i]);
		seen.failed += alone[i].failed != EK_NONE;
		seen.refused[alone[i].result] += alone[i].failed == EK_NONE;
		free((char *)alone[i].a.thread);
		free((char *)together[i].a.thread);
	}
	free(alone);
	free(together);
}

/* How often that function was called: a connection that has ended has told its counts. */
static int
calls_of(const char *function)
{
	AUTO(str) char *calls = NULL;

	close_queue();
	for (int64_t until = clock_mono_ms() + 30000;;) {
		AUTO(str) char *left = ask("SELECT count(*) FROM pg_stat_activity WHERE usename = 'roost_worker'");

		if (atoi(left) == 0)
			break;
		assert_true(clock_mono_ms() < until);
	}
	open_queue();
	calls = ask("SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE funcname = '%s'", function);
	return atoi(calls);
}

static void
sets_are_single_appends(void **state)
{
	for (int i = 0; i < ROUNDS; i++) {
		AUTO(str) char *a = NULL, *b = NULL;

		one_round(i * PAIRS);
		a = rows('A');
		b = rows('B');
		if (strcmp(a, b) != 0)
			for (char *x = strtok(a, "\n"), *y = b; x; x = strtok(NULL, "\n"), y += strcspn(y, "\n") + 1)
				if (strncmp(x, y, strlen(x)) != 0)
					fail_msg("round %d\nalone    %s\ntogether %.*s", i, x, (int)strcspn(y, "\n"), y);
		run("DELETE FROM session");
		run("DELETE FROM work");
	}
	print_message("# ok %d, fenced %d, woken %d, stamp %d, failed %d\n", seen.refused[0], seen.refused[1], seen.refused[2], seen.refused[3], seen.failed);
	for (int i = 0; i < 4; i++)
		assert_true(seen.refused[i] > 10);
	assert_true(seen.failed > 2);
	assert_true(calls_of("session_append_many") >= ROUNDS - seen.failed);	/* one that fails is not counted */
}

/* A session of the clock's time with a lease, for an append of one event. */
static void
make_plain(struct trial *t, int side, int n, const char *body)
{
	struct trial drawn = { .ids = { "e" } };

	run("INSERT INTO session (id, organization_id, workspace_id, agent_id, agent_version, environment_id, thread_id, agent, last_at, created_at,"
	    " updated_at, at_work) SELECT 's%c_%d', 'org', 'w1', 'a', 1, 'e', 't', '{}', t, t, t, true"
	    " FROM (SELECT clock_timestamp() - interval '1 s' AS t) x", side, n);
	run("INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch) VALUES ('w1', 's%c_%d', now(), 'wk', 7)", side, n);
	drawn.events[0] = (struct append_event){ .id = drawn.ids[0], .type = "agent.message", .body = body };
	drawn.a = (struct append){ .done = on_append, .epoch = 7, .base_us = clock_wall_us(), .nevents = 1, .bytes = strlen(body), .open_k = -1,
	    .close_k = -1, .tokens_k = -1, .due_us = -1 };
	aim(t, &drawn, side, n);
}

/* n appends of one event of so many bytes each, all at once: all are done. */
static void
append_large(int side, int n, int bytes)
{
	struct trial *t = xcalloc((size_t)n, sizeof *t);
	AUTO(str) char *body = xasprintf("%0*d", bytes, 0);

	for (int i = 0; i < n; i++)
		make_plain(&t[i], side, i, body);
	for (int i = 0; i < n; i++)
		append_run(appends, &t[i].a);
	drain();
	for (int i = 0; i < n; i++) {
		assert_true(t[i].answered && t[i].failed == EK_NONE && t[i].result == APPEND_OK && t[i].last_seq == 1);
		free((char *)t[i].a.thread);
	}
	free(t);
}

/* A set holds at most a quarter of a megabyte, and nothing large: that goes alone. */
static void
sets_are_bounded(void **state)
{
	int many = calls_of("session_append_many"), one = calls_of("session_append_one");

	append_large('D', 100, 10000);
	assert_int_equal(calls_of("session_append_many"), many + 4);
	append_large('E', 3, 40000);
	assert_int_equal(calls_of("session_append_one"), one + 3);
}

/* A row that somebody else has locked holds up its own append only: that one is sent alone, and waits. */
static void
a_lock_holds_up_its_own(void **state)
{
	struct trial t[3];
	PGconn *other = NULL;
	AUTO(str) char *admin = pgr_dsn("roost_admin");

	for (int i = 0; i < 3; i++)
		make_plain(&t[i], 'C', i, "{}");
	other = PQconnectdb(admin);
	PQclear(PQexec(other, "BEGIN"));
	PQclear(PQexec(other, "SELECT 1 FROM session WHERE id = 'sC_1' FOR UPDATE"));
	for (int i = 0; i < 3; i++)
		append_run(appends, &t[i].a);
	for (int64_t until = clock_mono_ms() + 30000; !(t[0].answered && t[2].answered) && clock_mono_ms() < until;)
		loop_once(loop, 100);
	assert_true(t[0].answered && t[2].answered && t[0].result == APPEND_OK && t[2].result == APPEND_OK);
	assert_false(t[1].answered);
	PQclear(PQexec(other, "COMMIT"));
	drain();
	assert_true(t[1].answered);
	assert_int_equal(t[1].failed, EK_NONE);
	for (int i = 0; i < 3; i++)
		free((char *)t[i].a.thread);
	PQfinish(other);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(sets_are_single_appends), cmocka_unit_test(sets_are_bounded),
		cmocka_unit_test(a_lock_holds_up_its_own) };

	return cmocka_run_group_tests(tests, start, stop);
}
