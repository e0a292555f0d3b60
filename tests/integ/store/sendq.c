/* link: tests/env/pg_rig.c */
/*
 * Messages one by one and as sets leave the same rows: pairs of sessions that are alike, in every state that matters, get the same message,
 * one of each pair alone (message_send), the other together with its neighbours (message_send_many). And what the queue promises:
 * order, nobody's lock waited for, bounds, what is late or lost, an error's set, many threads. Against a real Postgres.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "../../env/pg_rig.h"
#include "clock.h"
#include "dedupe.h"
#include "log.h"
#include "pgwait.h"
#include "sendq.h"
#include "xalloc.h"

#define CAP_EVENTS 20
#define CAP_BYTES 100000
#define DEADLINE_MS 20000
#define LATE_MS 2000		/* long enough for the next to be queued before it is so late */
#define PAUSED_MS 3000		/* a statement's timeout, and a pause is longer */

static struct db *gw;
static struct warmq *q;
static pthread_mutex_t fd_lock = PTHREAD_MUTEX_INITIALIZER;
static int watched = -1;
static const struct inbox_caps caps = { CAP_EVENTS, CAP_BYTES };

/* One message and what it points into. */
struct message {
	struct sendq_send send;
	struct inbox_item items[3], *all[3];
	char session[40];
	atomic_bool answered;
};

static void
watch(void *arg, int fd, bool fresh)
{
	pthread_mutex_lock(&fd_lock);
	watched = fd;
	pthread_mutex_unlock(&fd_lock);
}

static int
watched_now(void)
{
	int fd;

	pthread_mutex_lock(&fd_lock);
	fd = watched;
	watched = -1;
	pthread_mutex_unlock(&fd_lock);
	return fd;
}

static void
connected(void)
{
	int64_t until = clock_mono_ms() + DEADLINE_MS;

	while (!warmq_takes(q)) {
		if (warmq_wants(q))
			warmq_connect(q);
		assert_true(clock_mono_ms() < until);
		(void)poll(NULL, 0, 5);
	}
}

static void
open_patient(int timeout_ms, int late_ms)
{
	AUTO(str) char *dsn = pgr_dsn("roost_gw");

	warmq_close(&q);
	q = sendq_open(dsn, timeout_ms, late_ms, &caps, watch, NULL);
	connected();
}

static void
open_queue(int late_ms)
{
	open_patient(30000, late_ms);
}

static int
start(void **state)
{
	AUTO(str) char *dsn = NULL;

	pgr_start("sendq");
	dsn = pgr_dsn("roost_gw");
	gw = db_open(dsn, DB_GW, 40000);
	log_open("sendq", LOG_WARN_LEVEL);
	run("ALTER DATABASE roost SET track_functions = 'all'");
	run("INSERT INTO organization (id, name) VALUES ('org', 'Org')");
	run("INSERT INTO organization (id, name, state) VALUES ('away', 'Away', 'suspended')");
	run("INSERT INTO workspace (id, organization_id, name) VALUES ('w1', 'org', 'One'), ('w2', 'org', 'Two')");
	open_queue(DEADLINE_MS);
	return 0;
}

static int
stop(void **state)
{
	warmq_close(&q);
	db_close(&gw);
	return pgr_stop();
}

static int
clean(void **state)
{
	open_queue(DEADLINE_MS);
	run("DELETE FROM session");
	run("DELETE FROM work");
	run("DELETE FROM action");
	run("DELETE FROM inbox");
	return 0;
}

static void
make_session(const char *id)
{
	run("INSERT INTO session (id, organization_id, workspace_id, agent_id, agent_version, environment_id, thread_id, agent, last_at, created_at,"
	    " updated_at, context_bytes) VALUES ('%s', 'org', 'w1', 'a', 1, 'e', 't', '{}', stamp(1), stamp(1), stamp(1), 1000)", id);
}

/* n events, the k-th "<text>k"; the second has no fragment. */
static void
make_message(struct message *m, const char *workspace, const char *session, const char *text, int n)
{
	*m = (struct message){ .send = { .item.ticket = m, .workspace = workspace, .session = m->session, .items = m->all, .n = n } };
	snprintf(m->session, sizeof m->session, "%s", session);
	for (int i = 0; i < n; i++) {
		m->all[i] = &m->items[i];
		snprintf(m->items[i].id, sizeof m->items[i].id, "%.20s%d", text, i);
		m->items[i].type = "user.message";
		m->items[i].wakes = true;
		m->items[i].stem = xasprintf("{\"t\":\"%s\\\\é%d", text, i);
		m->items[i].fragment = i == 1 ? NULL : xasprintf("fragment of %s%d", text, i);
	}
}

static void
free_messages(struct message *m, int n)
{
	for (int i = 0; i < n; i++)
		for (int k = 0; k < m[i].send.n; k++)
			inbox_item_free(&m[i].items[k]);
}

/* What a handler thread does: take what has come. */
static void
look(int ms)
{
	int fd = watched_now();
	struct pollfd p = { .fd = fd, .events = POLLIN };
	bool more;

	if (poll(&p, 1, ms) > 0 && fd >= 0)
		warmq_readable(q);
	else if (fd >= 0)
		watch(NULL, fd, false);
	for (struct warmq_item *s = warmq_take(q, &more), *next; s; s = next ? next : warmq_take(q, &more)) {
		struct message *m = s->ticket;

		next = s->next;
		assert_true(s->result == WARMQ_DONE || !next);
		assert_false(atomic_load(&m->answered));
		atomic_store(&m->answered, true);
	}
}

static bool
all_answered(struct message *m, int n)
{
	for (int i = 0; i < n; i++)
		if (!atomic_load(&m[i].answered))
			return false;
	return true;
}

static void
until_answered(struct message *m, int n)
{
	int64_t until = clock_mono_ms() + DEADLINE_MS;

	while (!all_answered(m, n)) {
		assert_true(clock_mono_ms() < until);
		look(5);
	}
}

/* All at once: the queue may make one set of them. */
static void
send_together(struct message *m, int n)
{
	for (int i = 0; i < n; i++)
		assert_true(warmq_put(q, &m[i].send.item));
	assert_true(warmq_gathers(q));
	warmq_flush(q);
}

static int
calls_of(const char *function)
{
	AUTO(str) char *calls = NULL;

	warmq_close(&q);
	for (int64_t until = clock_mono_ms() + DEADLINE_MS;;) {
		AUTO(str) char *left = ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = '" SENDQ_NAME "'");

		if (atoi(left) == 0)
			break;
		assert_true(clock_mono_ms() < until);
	}
	open_queue(DEADLINE_MS);
	calls = ask("SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE funcname = '%s'", function);
	return atoi(calls);
}

/* --- the same rows ----------------------------------------------------------------------------------------------------------- */

static const struct { const char *what, *prepare; enum warmq_result result; const char *owner; bool facts, opened; } kinds[] = {
	{ "idle", NULL, WARMQ_DONE, "", false, false },
	{ "idle, answered calls", "INSERT INTO action (session_id, tool_use_id, ordinal, kind, tool_name, input, state) VALUES ('%s', 'c', 1, 'confirm', 'b', '{}', 'answered')", WARMQ_DONE, "", false, false },
	{ "running, leased", "INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch, bytes) VALUES ('w1', '%1$s', stamp(9), 'wk', 7, 5);"
	    " UPDATE session SET status = 'running', at_work = true WHERE id = '%1$s'", WARMQ_DONE, "wk", false, false },
	{ "leased, idle as yet", "INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch, bytes) VALUES ('w1', '%s', stamp(9), 'wk', 7, 5)", WARMQ_DONE, "wk", true, false },
	{ "leased, with files", "INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch, bytes) VALUES ('w1', '%1$s', stamp(9), 'wk', 7, 5);"
	    " UPDATE session SET resources = '[1]' WHERE id = '%1$s'", WARMQ_DONE, "wk", false, false },
	{ "leased, with outcomes", "INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch, bytes) VALUES ('w1', '%1$s', stamp(9), 'wk', 7, 5);"
	    " UPDATE session SET outcomes = true WHERE id = '%1$s'", WARMQ_DONE, "wk", false, false },
	{ "leased, a reply is owed", "INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch, bytes) VALUES ('w1', '%1$s', stamp(9), 'wk', 7, 5);"
	    " UPDATE session SET paused = true WHERE id = '%1$s'", WARMQ_DONE, "wk", false, false },
	{ "due, not leased", "INSERT INTO work (workspace_id, session_id, due_at, bytes) VALUES ('w1', '%s', stamp(9), 5)", WARMQ_DONE, "", false, false },
	{ "due in an hour", "INSERT INTO work (workspace_id, session_id, due_at, bytes) VALUES ('w1', '%s', now() + interval '1 hour', 5)", WARMQ_DONE, "", false, false },
	{ "running, a call opened", "INSERT INTO action (session_id, tool_use_id, ordinal, kind, tool_name, input) VALUES ('%1$s', 'c', 1, 'confirm', 'b', '{}');"
	    " UPDATE session SET status = 'running' WHERE id = '%1$s'", WARMQ_DONE, "", false, false },
	{ "idle, a call waits", "INSERT INTO action (session_id, tool_use_id, ordinal, kind, tool_name, input) VALUES ('%s', 'c', 1, 'confirm', 'b', '{}')", WARMQ_LOOK, "", false, false },
	{ "archived", "UPDATE session SET archived_at = stamp(5) WHERE id = '%s'", WARMQ_LOOK, "", false, false },
	{ "terminated", "UPDATE session SET status = 'terminated' WHERE id = '%s'", WARMQ_LOOK, "", false, false },
	{ "with a budget", "UPDATE session SET budget_cents = 5 WHERE id = '%s'", WARMQ_LOOK, "", false, false },
	{ "one place left", "UPDATE session SET inbox_events = 19 WHERE id = '%s'", WARMQ_DONE, "", false, false },
	{ "full", "UPDATE session SET inbox_events = 20 WHERE id = '%s'", WARMQ_LOOK, "", false, false },
	{ "full of bytes", "UPDATE session SET inbox_bytes = 99990 WHERE id = '%s'", WARMQ_LOOK, "", false, false },
	{ "of a suspended organization", "UPDATE session SET organization_id = 'away' WHERE id = '%s'", WARMQ_LOOK, "", false, false },
	{ "another workspace's", "UPDATE session SET workspace_id = 'w2' WHERE id = '%s'", WARMQ_LOOK, "", false, false },
	{ "prepared", "INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch, bytes) VALUES ('w1', '%1$s', stamp(9), 'wk', 7, 5);"
	    " UPDATE session SET prior = pg_current_xact_id()::xid, at_work = true, ready = ARRAY['{\"id\":\"r1\",\"a\":1', '{\"id\":\"r2\",\"a\":1', '{\"id\":\"r3\",\"a\":1', '7'] WHERE id = '%1$s'", WARMQ_DONE, "wk", true, true },
	{ "prepared under another lease", "INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch, bytes) VALUES ('w1', '%1$s', stamp(9), 'wk', 7, 5);"
	    " UPDATE session SET prior = pg_current_xact_id()::xid, at_work = true, ready = ARRAY['{\"id\":\"r1\",\"a\":1', '{\"id\":\"r2\",\"a\":1', '{\"id\":\"r3\",\"a\":1', '6'] WHERE id = '%1$s'", WARMQ_DONE, "wk", true, false },
	{ "prepared, with files", "INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch, bytes) VALUES ('w1', '%1$s', stamp(9), 'wk', 7, 5);"
	    " UPDATE session SET prior = pg_current_xact_id()::xid, at_work = true, ready = ARRAY['{\"id\":\"r1\",\"a\":1', '{\"id\":\"r2\",\"a\":1', '{\"id\":\"r3\",\"a\":1', '7'], resources = '[1]' WHERE id = '%1$s'", WARMQ_DONE, "wk", false, false },
	{ "prepared, with outcomes", "INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch, bytes) VALUES ('w1', '%1$s', stamp(9), 'wk', 7, 5);"
	    " UPDATE session SET prior = pg_current_xact_id()::xid, at_work = true, ready = ARRAY['{\"id\":\"r1\",\"a\":1', '{\"id\":\"r2\",\"a\":1', '{\"id\":\"r3\",\"a\":1', '7'], outcomes = true WHERE id = '%1$s'", WARMQ_DONE, "wk", false, false },
	{ "prepared, a reply is owed", "INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch, bytes) VALUES ('w1', '%1$s', stamp(9), 'wk', 7, 5);"
	    " UPDATE session SET prior = pg_current_xact_id()::xid, at_work = true, ready = ARRAY['{\"id\":\"r1\",\"a\":1', '{\"id\":\"r2\",\"a\":1', '{\"id\":\"r3\",\"a\":1', '7'], paused = true WHERE id = '%1$s'", WARMQ_DONE, "wk", false, false },
	{ "prepared, something waits", "INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch, bytes) VALUES ('w1', '%1$s', stamp(9), 'wk', 7, 5);"
	    " UPDATE session SET prior = pg_current_xact_id()::xid, at_work = true, ready = ARRAY['{\"id\":\"r1\",\"a\":1', '{\"id\":\"r2\",\"a\":1', '{\"id\":\"r3\",\"a\":1', '7'], inbox_events = 1 WHERE id = '%1$s'", WARMQ_DONE, "wk", true, false },
	{ "prepared, no place left", "INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch, bytes) VALUES ('w1', '%1$s', stamp(9), 'wk', 7, 5);"
	    " UPDATE session SET prior = pg_current_xact_id()::xid, at_work = true, ready = ARRAY['{\"id\":\"r1\",\"a\":1', '{\"id\":\"r2\",\"a\":1', '{\"id\":\"r3\",\"a\":1', '7'], inbox_events = 20 WHERE id = '%1$s'", WARMQ_LOOK, "", false, false },
	{ "prepared, running", "INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch, bytes) VALUES ('w1', '%1$s', stamp(9), 'wk', 7, 5);"
	    " UPDATE session SET prior = pg_current_xact_id()::xid, at_work = true, ready = ARRAY['{\"id\":\"r1\",\"a\":1', '{\"id\":\"r2\",\"a\":1', '{\"id\":\"r3\",\"a\":1', '7'], status = 'running' WHERE id = '%1$s'", WARMQ_DONE, "wk", false, false },
	{ "prepared, archived", "INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch, bytes) VALUES ('w1', '%1$s', stamp(9), 'wk', 7, 5);"
	    " UPDATE session SET prior = pg_current_xact_id()::xid, at_work = true, ready = ARRAY['{\"id\":\"r1\",\"a\":1', '{\"id\":\"r2\",\"a\":1', '{\"id\":\"r3\",\"a\":1', '7'], archived_at = stamp(5) WHERE id = '%1$s'", WARMQ_LOOK, "", false, false },
	{ "prepared, with a budget", "INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch, bytes) VALUES ('w1', '%1$s', stamp(9), 'wk', 7, 5);"
	    " UPDATE session SET prior = pg_current_xact_id()::xid, at_work = true, ready = ARRAY['{\"id\":\"r1\",\"a\":1', '{\"id\":\"r2\",\"a\":1', '{\"id\":\"r3\",\"a\":1', '7'], budget_cents = 5 WHERE id = '%1$s'", WARMQ_LOOK, "", false, false },
	{ "prepared, suspended", "INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch, bytes) VALUES ('w1', '%1$s', stamp(9), 'wk', 7, 5);"
	    " UPDATE session SET prior = pg_current_xact_id()::xid, at_work = true, ready = ARRAY['{\"id\":\"r1\",\"a\":1', '{\"id\":\"r2\",\"a\":1', '{\"id\":\"r3\",\"a\":1', '7'], organization_id = 'away' WHERE id = '%1$s'", WARMQ_LOOK, "", false, false },
	{ "prepared, written since", "BEGIN; INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch, bytes) VALUES ('w1', '%1$s', stamp(9), 'wk', 7, 5);"
	    " UPDATE session SET prior = pg_current_xact_id()::xid, at_work = true, ready = ARRAY['{\"id\":\"r1\",\"a\":1', '{\"id\":\"r2\",\"a\":1', '{\"id\":\"r3\",\"a\":1', '7'] WHERE id = '%1$s'; COMMIT; BEGIN; UPDATE session SET title = 't' WHERE id = '%1$s'; COMMIT", WARMQ_DONE, "wk", true, false },
	{ "unknown", "DELETE FROM session WHERE id = '%s'", WARMQ_LOOK, "", false, false },
};
#define KINDS ((int)(sizeof kinds / sizeof *kinds))

/* All that a message may write, of the sessions of one side; times from the clock and transactions are left out. */
static char *
rows(int side)
{
	return ask("SELECT string_agg(replace(r, 's%c_', 's_'), E'\\n' ORDER BY r) FROM ("
	    " SELECT 'session ' || (to_jsonb(x) - 'prior' - CASE WHEN running_since IS NULL THEN '{}' ELSE '{running_since,last_at,updated_at}'::text[] END)::text ||"
	    " coalesce(us(last_at) - us(running_since) || ' ' || us(updated_at) - us(running_since), '') AS r FROM session x WHERE id LIKE 's%c_%%'"
	    " UNION ALL SELECT 'event ' || (to_jsonb(x) - 'processed_at' - 'body')::text || replace(body, wire_stamp(processed_at), 'at')"
	    " || us(processed_at) - (SELECT us(s.running_since) FROM session s WHERE s.id = session_id) FROM event x WHERE session_id LIKE 's%c_%%'"
	    " UNION ALL SELECT 'inbox ' || (to_jsonb(x) - 'received_at')::text FROM inbox x WHERE session_id LIKE 's%c_%%'"
	    " UNION ALL SELECT 'work ' || (to_jsonb(x) - 'due_at')::text || (due_at > now() + interval '1 minute') FROM work x WHERE session_id LIKE 's%c_%%') y",
	    side, side, side, side, side);
}

static void
prepare(int kind, int side, char id[40])
{
	AUTO(str) char *sql = NULL;

	snprintf(id, 40, "s%c_%02d", side, kind);
	make_session(id);
	if (!kinds[kind].prepare)
		return;
	must(asprintf(&sql, kinds[kind].prepare, id) >= 0);
	run("%s", sql);
}

/* What a send says to a kept session's owner: which transaction it found in the row, what it left there, and when it has opened the turn. */
static void
same_facts(int kind, const char *session, const char *before, const struct inbox_sent *sent)
{
	const char *what = kinds[kind].what;
	bool want = kinds[kind].facts;
	AUTO(str) char *at = ask("SELECT us(running_since) FROM session WHERE id = '%s'", session);
	AUTO(str) char *said = xasprintf("%u %lld %lld %lld", sent->prior, (long long)sent->wake_gen, (long long)sent->inbox_seq,
	    (long long)sent->catalogue);
	AUTO(str) char *is = ask("SELECT '%s ' || wake_gen || ' ' || inbox_seq || ' ' || (SELECT generation FROM catalogue) FROM session WHERE id = '%s'",
	    before, session);

	if (sent->facts != want || (want && strcmp(said, is) != 0))
		fail_msg("%s: said %d \"%s\", is \"%s\"", what, sent->facts, said, is);
	if (sent->opened_us != (kinds[kind].opened ? atoll(at) : 0))
		fail_msg("%s: opened at %lld, is %s", what, (long long)sent->opened_us, at);
}

static char *
xmin_of(const char *session)
{
	return ask("SELECT xmin FROM session WHERE id = '%s'", session);
}

static void
sets_are_single_sends(void **state)
{
	int many = calls_of("message_send_many");
	struct message m[KINDS];
	AUTO(str) char *a = NULL, *b = NULL;
	char *before[KINDS];

	for (int i = 0; i < KINDS; i++) {
		AUTO(str) char *text = xasprintf("m%02d", i);
		struct message one;
		struct err e = ERR_INIT;
		struct inbox_sent sent = { .facts = false };
		char id[40];
		int rc;

		prepare(i, 'A', id);
		before[i] = xmin_of(id);
		make_message(&one, "w1", id, text, 1);
		rc = inbox_send(gw, "w1", id, one.all, 1, &caps, &sent, &e);
		if ((rc == 0) != (kinds[i].result == WARMQ_DONE) || (rc < 0 && e.kind != EK_CONFLICT) || strcmp(sent.owner, kinds[i].owner) != 0)
			fail_msg("alone, %s: %d %s \"%s\"", kinds[i].what, rc, e.detail, sent.owner);
		same_facts(i, id, before[i], &sent);
		free(before[i]);
		free_messages(&one, 1);
		prepare(i, 'B', id);
		before[i] = xmin_of(id);
		make_message(&m[i], "w1", id, text, 1);
	}
	send_together(m, KINDS);
	until_answered(m, KINDS);
	for (int i = 0; i < KINDS; i++) {
		if (m[i].send.item.result != kinds[i].result || strcmp(m[i].send.sent.owner, kinds[i].owner) != 0)
			fail_msg("together, %s: %d \"%s\"", kinds[i].what, (int)m[i].send.item.result, m[i].send.sent.owner);
		same_facts(i, m[i].session, before[i], &m[i].send.sent);
		free(before[i]);
	}
	a = rows('A');
	b = rows('B');
	assert_string_equal(a, b);
	free_messages(m, KINDS);
	assert_int_equal(calls_of("message_send_many"), many + 1);
}

/* What is kept of an answer stands there as request_store() would have put it, and of no other. */
static void
answers_are_kept(void **state)
{
	struct dedupe_id id = { .kind = DEDUPE_PLAIN, .request = "req_a", .connection = "7 1", .lock = 5,
	    .ident = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", .digest = "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11" };
	const struct dedupe_kept kept = { .status = 200, .events = "m1_0 -\n" };
	struct dedupe_id ids[4];
	struct dedupe_step steps[4], alone;
	struct message m[4];
	struct err e = ERR_INIT;

	run("DELETE FROM request_dedupe");
	for (int i = 0; i < 4; i++) {
		AUTO(str) char *s = xasprintf("s%d", i), *text = xasprintf("m%d_", i);

		make_session(s);
		make_message(&m[i], "w1", s, text, 1);
		ids[i] = id;
		ids[i].request = i == 1 ? "req_1" : i == 2 ? "req_2" : "req_3";
		dedupe_store_step(&steps[i], &ids[i], &kept, 60);
		m[i].send.kept = i > 0 ? steps[i].params : NULL;
	}
	run("UPDATE session SET archived_at = stamp(5) WHERE id = 's2'");
	dedupe_store_step(&alone, &id, &kept, 60);
	assert_int_equal(db_run_alone(gw, &alone.step, &e), 0);
	send_together(m, 3);
	until_answered(m, 3);
	send_together(m + 3, 1);
	until_answered(m + 3, 1);
	for (int i = 0; i < 4; i++)
		assert_int_equal(m[i].send.item.result, i == 2 ? WARMQ_LOOK : WARMQ_DONE);
	expect("req_1 req_3 req_a", "SELECT string_agg(request, ' ' ORDER BY request) FROM request_dedupe");
	expect("1", "SELECT count(DISTINCT to_jsonb(x) - 'request' - 'expires_at') FROM request_dedupe x");
	expect("0", "SELECT count(*) FROM request_dedupe WHERE abs(extract(epoch FROM expires_at - clock_timestamp()) - 60) > 30");
	free_messages(m, 4);
}

/* --- order and bounds -------------------------------------------------------------------------------------------------------- */

/* Of one session, some of several events, with another session's between them: each in its place. */
static void
order_is_kept(void **state)
{
	struct message m[12];

	make_session("s1");
	make_session("s2");
	for (int i = 0; i < 12; i++) {
		AUTO(str) char *text = xasprintf("m%02d_", i);

		make_message(&m[i], "w1", i % 3 == 2 ? "s2" : "s1", text, i % 4 == 1 ? 3 : 1);
	}
	send_together(m, 12);
	until_answered(m, 12);
	for (int i = 0; i < 12; i++)
		assert_int_equal(m[i].send.item.result, WARMQ_DONE);
	expect("m00_0 m01_0 m01_1 m01_2 m03_0 m04_0 m06_0 m07_0 m09_0 m09_1 m09_2 m10_0",
	    "SELECT string_agg(id, ' ' ORDER BY inbox_seq) FROM inbox WHERE session_id = 's1'");
	expect("m02_0 m05_0 m05_1 m05_2 m08_0 m11_0", "SELECT string_agg(id, ' ' ORDER BY inbox_seq) FROM inbox WHERE session_id = 's2'");
	expect("s1 12 12, s2 6 6", "SELECT string_agg(s.id || ' ' || s.inbox_seq || ' ' || (SELECT max(inbox_seq) FROM inbox i WHERE i.session_id = s.id), ', '"
	    " ORDER BY s.id) FROM session s");
	free_messages(m, 12);
}

/* 64 kB of texts and 32 messages at most. */
static void
sets_are_bounded(void **state)
{
	int many = calls_of("message_send_many"), one = calls_of("message_send");
	struct message m[70];

	for (int i = 0; i < 70; i++) {
		AUTO(str) char *id = xasprintf("s%d", i), *text = i < 3 ? xasprintf("%0*d", 15000, i) : xasprintf("m%d", i);

		make_session(id);
		make_message(&m[i], "w1", id, text, 1);
	}
	send_together(m, 3);		/* twice 30 kB and the third one: two sets would be 2 and 1 */
	until_answered(m, 3);
	send_together(m + 3, 67);	/* 32, 32, 3 */
	until_answered(m + 3, 67);
	for (int i = 0; i < 70; i++)
		assert_int_equal(m[i].send.item.result, WARMQ_DONE);
	free_messages(m, 70);
	assert_int_equal(calls_of("message_send_many"), many + 4);
	assert_int_equal(calls_of("message_send"), one + 1);
}

/* --- locks, lateness, loss --------------------------------------------------------------------------------------------------- */

/* Three messages to s0, s1, s2. */
static void
three(struct message m[3])
{
	for (int i = 0; i < 3; i++) {
		AUTO(str) char *id = xasprintf("s%d", i), *text = xasprintf("m%d_", i);

		make_session(id);
		make_message(&m[i], "w1", id, text, 1);
	}
}

/* A session that somebody else has locked is left to its thread; the others do not wait for it. */
static void
a_lock_holds_up_its_own(void **state)
{
	struct message m[3];
	PGconn *c;

	three(m);
	c = pgr_begun("SELECT 1 FROM session WHERE id = 's1' FOR UPDATE");
	send_together(m, 3);
	until_answered(m, 3);
	assert_int_equal(m[0].send.item.result, WARMQ_DONE);
	assert_int_equal(m[1].send.item.result, WARMQ_LOOK);
	assert_int_equal(m[2].send.item.result, WARMQ_DONE);
	PQfinish(c);
	expect("s0 s2", "SELECT string_agg(session_id, ' ' ORDER BY session_id) FROM inbox");
	free_messages(m, 3);
}

/* One that goes alone waits for it, but not for long. */
static void
alone_it_waits_a_moment(void **state)
{
	struct message m[3];
	PGconn *c;

	open_queue(20);
	three(m);
	c = pgr_begun("SELECT 1 FROM session WHERE id = 's1' FOR UPDATE");
	send_together(m + 1, 1);
	until_answered(m + 1, 1);
	assert_int_equal(m[1].send.item.result, WARMQ_ALONE);
	PQfinish(c);
	expect("", "SELECT string_agg(session_id, ' ') FROM inbox");
	free_messages(m, 3);
}

static void
until_waiting(void)
{
	int64_t until = clock_mono_ms() + DEADLINE_MS;

	for (;;) {
		AUTO(str) char *n = ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = '" SENDQ_NAME "' AND wait_event_type = 'Lock'");

		if (strcmp(n, "1") == 0)
			return;
		assert_true(clock_mono_ms() < until);
	}
}

/* A claim under way is waited for, and its worker told. */
static void
a_claim_is_told(void **state)
{
	struct message m[3];
	PGconn *c;

	three(m);
	run("INSERT INTO work (workspace_id, session_id, due_at) VALUES ('w1', 's1', stamp(9))");
	c = pgr_begun("UPDATE work SET lease_owner = 'claimer', lease_epoch = 3 WHERE session_id = 's1'");
	send_together(m, 3);
	until_waiting();
	PQclear(PQexec(c, "COMMIT"));
	PQfinish(c);
	until_answered(m, 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(m[i].send.item.result, WARMQ_DONE);
		assert_string_equal(m[i].send.sent.owner, i == 1 ? "claimer" : "");
	}
	expect("s0 s1 s2", "SELECT string_agg(session_id, ' ' ORDER BY session_id) FROM work");
	free_messages(m, 3);
}

/* A send that waits for the session's lock says which transaction it found behind it, not which one had been there when it began. */
static void
a_change_is_seen(void **state)
{
	struct message m[3];
	AUTO(str) char *before = NULL, *after = NULL;
	PGconn *c;

	three(m);
	run("INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch) VALUES ('w1', 's1', stamp(9), 'wk', 7)");
	before = xmin_of("s1");
	c = pgr_begun("UPDATE session SET title = 'changed' WHERE id = 's1'");
	send_together(&m[1], 1);
	until_waiting();
	PQclear(PQexec(c, "COMMIT"));
	PQfinish(c);
	until_answered(&m[1], 1);
	assert_int_equal(m[1].send.item.result, WARMQ_DONE);
	assert_true(m[1].send.sent.facts);
	after = xasprintf("%u", m[1].send.sent.prior);
	assert_string_not_equal(after, before);
	expect(after, "SELECT prior FROM session WHERE id = 's1'");
	expect("t", "SELECT title = 'changed' AND prior::text::bigint < xmin::text::bigint FROM session WHERE id = 's1'");
	free_messages(m, 3);
}

/* An error takes the whole set back, and each goes alone. */
static void
an_error_takes_all_back(void **state)
{
	struct message m[3];

	three(m);
	run("ALTER TABLE inbox ADD CONSTRAINT not_this CHECK (id <> 'm1_0') NOT VALID");
	send_together(m, 3);
	until_answered(m, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(m[i].send.item.result, WARMQ_ALONE);
	expect("", "SELECT string_agg(session_id, ' ') FROM inbox");
	expect("0", "SELECT sum(inbox_seq) FROM session");
	run("ALTER TABLE inbox DROP CONSTRAINT not_this");
	free_messages(m, 3);
}

/* One that does not answer in time holds up nobody else: what waits is given back, and nothing more is taken. */
static void
late_ones_are_passed(void **state)
{
	struct message m[3];
	PGconn *c;

	open_queue(LATE_MS);
	three(m);
	run("CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(77); RETURN NEW; END $$");
	run("CREATE TRIGGER linger BEFORE INSERT ON inbox FOR EACH ROW WHEN (NEW.session_id = 's0') EXECUTE FUNCTION linger()");
	run("ALTER FUNCTION linger() SET lock_timeout = '20s'");
	c = pgr_begun("SELECT pg_advisory_xact_lock(77)");
	send_together(m, 1);
	assert_true(warmq_put(q, &m[1].send.item));
	until_waiting();
	until_answered(m + 1, 1);
	assert_int_equal(m[1].send.item.result, WARMQ_ALONE);
	assert_false(warmq_put(q, &m[2].send.item));
	assert_false(warmq_takes(q));
	assert_false(atomic_load(&m[0].answered));
	assert_int_equal(warmq_pending(q), 1);
	PQfinish(c);
	until_answered(m, 1);
	assert_int_equal(m[0].send.item.result, WARMQ_DONE);
	assert_true(warmq_takes(q));
	free_messages(m, 3);
}

/* This process itself was stopped, with the answer there: it has come in time, and is no trouble of the connection's. */
static void
a_pause_loses_none(void **state)
{
	struct message m[3];
	struct pollfd p = { .events = POLLIN };
	int64_t until;

	open_patient(PAUSED_MS, LATE_MS);
	three(m);
	p.fd = watched_now();
	send_together(m, 1);
	until = clock_mono_ms() + pgwait_bound(PAUSED_MS);
	assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
	while (clock_mono_ms() <= until)
		(void)poll(NULL, 0, 50);	/* the pause */
	look(0);
	assert_true(all_answered(m, 1));
	assert_int_equal(m[0].send.item.result, WARMQ_DONE);
	assert_true(warmq_takes(q));
	free_messages(m, 3);
}

/* The connection is killed with a set on its way: all of it is uncertain, what waited is not, nothing is sent twice, and it goes on. */
static void
lost_ones_are_uncertain(void **state)
{
	struct message m[3], next[3];
	PGconn *c;

	three(m);
	c = pgr_begun("SELECT pg_advisory_xact_lock(77)");
	send_together(m, 2);
	assert_true(warmq_put(q, &m[2].send.item));
	until_waiting();
	run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '" SENDQ_NAME "'");
	until_answered(m, 3);
	assert_int_equal(m[0].send.item.result, WARMQ_UNCERTAIN);
	assert_int_equal(m[1].send.item.result, WARMQ_UNCERTAIN);
	assert_int_equal(m[2].send.item.result, WARMQ_ALONE);
	PQfinish(c);
	assert_int_equal(warmq_pending(q), 0);
	run("DROP TRIGGER linger ON inbox");
	free_messages(m, 3);
	clean(NULL);
	three(next);
	send_together(next, 3);
	until_answered(next, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(next[i].send.item.result, WARMQ_DONE);
	expect("3", "SELECT count(*) FROM inbox");
	free_messages(next, 3);
}

/* A server that has left while nothing was on its way is noticed before something is sent. */
static void
a_restart_costs_none(void **state)
{
	struct message m[3];
	struct pollfd p = { .events = POLLRDHUP };

	three(m);
	p.fd = watched_now();
	run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '" SENDQ_NAME "'");
	assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
	send_together(m, 3);
	until_answered(m, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(m[i].send.item.result, WARMQ_ALONE);
	expect("", "SELECT string_agg(session_id, ' ') FROM inbox");
	free_messages(m, 3);
}

/* --- threads ----------------------------------------------------------------------------------------------------------------- */

#define THREADS 6
#define EACH 150
#define SESSIONS 9

static struct message crowd[THREADS][EACH];
static atomic_int refused;

/* Sends one after the other, as a handler thread that waits would; whoever comes takes the answers of all. */
static void *
sender(void *arg)
{
	struct message *mine = arg;

	for (int i = 0; i < EACH; i++) {
		while (!warmq_put(q, &mine[i].send.item))
			look(1);
		warmq_flush(q);
		while (!atomic_load(&mine[i].answered))
			look(1);
		atomic_fetch_add(&refused, mine[i].send.item.result != WARMQ_DONE);
	}
	return NULL;
}

static void
threads_share_it(void **state)
{
	pthread_t threads[THREADS];
	AUTO(str) char *done = NULL;
	int n = 0;

	for (int i = 0; i < SESSIONS; i++) {
		AUTO(str) char *id = xasprintf("s%d", i);

		make_session(id);
	}
	run("UPDATE session SET inbox_events = -100000");	/* room */
	for (int t = 0; t < THREADS; t++)
		for (int i = 0; i < EACH; i++) {
			AUTO(str) char *id = xasprintf("s%d", (t * 7 + i) % SESSIONS), *text = xasprintf("m%d_%d_", t, i);

			make_message(&crowd[t][i], "w1", id, text, 1);
		}
	for (int t = 0; t < THREADS; t++)
		assert_int_equal(pthread_create(&threads[t], NULL, sender, crowd[t]), 0);
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	for (int t = 0; t < THREADS; t++) {
		for (int i = 0; i < EACH; i++)
			n += crowd[t][i].send.item.result == WARMQ_DONE;
		free_messages(crowd[t], EACH);
	}
	assert_int_equal(n, THREADS * EACH - atomic_load(&refused));
	assert_true(n > THREADS * EACH / 2);
	done = ask("SELECT count(*) || ' ' || count(DISTINCT id) || ' ' || (SELECT sum(inbox_seq) FROM session) FROM inbox");
	AUTO(str) char *want = xasprintf("%d %d %d", n, n, n);
	assert_string_equal(done, want);
	assert_int_equal(warmq_pending(q), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(sets_are_single_sends, clean),
		cmocka_unit_test_setup(answers_are_kept, clean),
		cmocka_unit_test_setup(order_is_kept, clean),
		cmocka_unit_test_setup(sets_are_bounded, clean),
		cmocka_unit_test_setup(a_lock_holds_up_its_own, clean),
		cmocka_unit_test_setup(alone_it_waits_a_moment, clean),
		cmocka_unit_test_setup(a_claim_is_told, clean),
		cmocka_unit_test_setup(a_change_is_seen, clean),
		cmocka_unit_test_setup(an_error_takes_all_back, clean),
		cmocka_unit_test_setup(late_ones_are_passed, clean),
		cmocka_unit_test_setup(a_pause_loses_none, clean),
		cmocka_unit_test_setup(lost_ones_are_uncertain, clean),
		cmocka_unit_test_setup(a_restart_costs_none, clean),
		cmocka_unit_test_setup(threads_share_it, clean),
	};

	return cmocka_run_group_tests_name("store/sendq", tests, start, stop);
}
