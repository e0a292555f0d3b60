/* link: tests/env/pg_rig.c */
/*
 * New objects that are written together: one commit for a set, each with its stamp, and what is kept of their answers as request_store()
 * puts it. An error takes its set back; what is late is passed; what is lost is uncertain and never written twice; two sets whose answers
 * wait for the same calls end. Against a real Postgres.
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

#include "../../env/pg_rig.h"
#include "clock.h"
#include "dedupe.h"
#include "log.h"
#include "writeq.h"
#include "xalloc.h"

#define DEADLINE_MS 20000
#define LATE_MS 2000		/* long enough for the next to be queued before it is so late */
#define AGENT_PARAMS 12
#define BODY 5		/* the first parameter behind an agent's own */

/* A queue and what watches its descriptor. */
struct rig {
	struct warmq *q;
	pthread_mutex_t lock;	/* guards fd */
	int fd;
};

static struct rig one = { .lock = PTHREAD_MUTEX_INITIALIZER }, two = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* A new agent. */
struct new_agent {
	struct writeq_write write;
	const char *params[AGENT_PARAMS];
	char id[40], request[40];
	struct dedupe_id of;
	struct dedupe_made made;
	atomic_bool answered;
};

static void
watch(void *arg, int fd, bool fresh)
{
	struct rig *r = arg;

	pthread_mutex_lock(&r->lock);
	r->fd = fd;
	pthread_mutex_unlock(&r->lock);
}

static int
watched_now(struct rig *r)
{
	int fd;

	pthread_mutex_lock(&r->lock);
	fd = r->fd;
	r->fd = -1;
	pthread_mutex_unlock(&r->lock);
	return fd;
}

static void
open_queue(struct rig *r, int late_ms)
{
	AUTO(str) char *dsn = pgr_dsn("roost_gw");
	int64_t until = clock_mono_ms() + DEADLINE_MS;

	warmq_close(&r->q);
	r->q = writeq_open(dsn, 30000, late_ms, watch, r);
	while (!warmq_takes(r->q)) {
		if (warmq_wants(r->q))
			warmq_connect(r->q);
		assert_true(clock_mono_ms() < until);
		(void)poll(NULL, 0, 5);
	}
}

static int
start(void **state)
{
	pgr_start("writeq");
	log_open("writeq", LOG_WARN_LEVEL);
	run("INSERT INTO organization (id, name) VALUES ('org', 'Org')");
	run("INSERT INTO organization (id, name, state) VALUES ('away', 'Away', 'suspended')");
	run("INSERT INTO workspace (id, organization_id, name) VALUES ('w1', 'org', 'One')");
	/* an agent called "hold ..." waits for a lock, one called "bad" is refused */
	run("CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = '20s' AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(77); RETURN NEW; END $$");
	run("CREATE TRIGGER hold BEFORE INSERT ON agent FOR EACH ROW WHEN (NEW.name LIKE 'hold%%') EXECUTE FUNCTION hold()");
	run("ALTER TABLE agent ADD CONSTRAINT not_this CHECK (name <> 'bad')");
	return 0;
}

static int
stop(void **state)
{
	warmq_close(&one.q);
	warmq_close(&two.q);
	return pgr_stop();
}

static int
clean(void **state)
{
	run("DELETE FROM agent_version");
	run("DELETE FROM agent");
	run("DELETE FROM request_dedupe");
	open_queue(&one, DEADLINE_MS);
	return 0;
}

static void
make_agent(struct new_agent *a, int n, const char *name)
{
	*a = (struct new_agent){ .write = { .stmt = STMT_AGENT_INSERT, .nparams = AGENT_PARAMS, .params = a->params, .item.ticket = a },
	    .params = { "w1", "org", a->id, name, "{\"b\":1}" } };
	snprintf(a->id, sizeof a->id, "agent_%03d", n);
}

/* Of its answer something is kept: it is the first attempt of the call with this number. */
static void
keep(struct new_agent *a, int call, const char *pieces)
{
	a->of = (struct dedupe_id){ .kind = DEDUPE_PLAIN, .lock = call, .request = a->request, .digest = "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11" };
	snprintf(a->request, sizeof a->request, "req_%s", a->id);
	snprintf(a->of.ident, sizeof a->of.ident, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd38%04d", call);
	dedupe_made_params(&a->made, &a->of, pieces, 60, &a->params[BODY]);
	a->write.lock = call;
}

static void
free_agents(struct new_agent *a, int n)
{
	for (int i = 0; i < n; i++)
		PQclear(a[i].write.item.res);
}

/* What a handler thread does: take what has come. */
static void
look(struct rig *r, int ms)
{
	int fd = watched_now(r);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	bool more;

	if (poll(&p, 1, ms) > 0 && fd >= 0)
		warmq_readable(r->q);
	else if (fd >= 0)
		watch(r, fd, false);
	for (struct warmq_item *w = warmq_take(r->q, &more), *next; w; w = next ? next : warmq_take(r->q, &more)) {
		struct new_agent *a = w->ticket;

		next = w->next;
		assert_true(w->result == WARMQ_DONE || !next);
		assert_true((w->result == WARMQ_DONE) == (w->res != NULL));
		assert_false(atomic_load(&a->answered));
		atomic_store(&a->answered, true);
	}
}

static void
until_answered(struct rig *r, struct new_agent *a, int n)
{
	int64_t until = clock_mono_ms() + DEADLINE_MS;

	for (int i = 0; i < n; i++)
		while (!atomic_load(&a[i].answered)) {
			assert_true(clock_mono_ms() < until);
			look(r, 5);
		}
}

static void
write_together(struct rig *r, struct new_agent *a, int n)
{
	for (int i = 0; i < n; i++)
		assert_true(warmq_put(r->q, &a[i].write.item));
	assert_true(warmq_gathers(r->q));
	warmq_flush(r->q);
}

static void
until_waiting(int n)
{
	int64_t until = clock_mono_ms() + DEADLINE_MS;

	for (;;) {
		AUTO(str) char *waiting = ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = '" WRITEQ_NAME "' AND wait_event_type = 'Lock'");

		if (atoi(waiting) == n)
			return;
		assert_true(clock_mono_ms() < until);
	}
}

/* --- what they write ----------------------------------------------------------------------------------------------------------- */

static void
one_commit(void **state)
{
	struct new_agent a[40];

	for (int i = 0; i < 40; i++)
		make_agent(&a[i], i, "A");
	write_together(&one, a, 40);	/* 32 and 8 */
	until_answered(&one, a, 40);
	for (int i = 0; i < 40; i++) {
		AUTO(str) char *stamp = ask("SELECT wire_stamp(created_at) FROM agent WHERE id = '%s' AND version = 1 AND updated_at = created_at", a[i].id);

		assert_int_equal(a[i].write.item.result, WARMQ_DONE);
		assert_int_equal(PQntuples(a[i].write.item.res), 1);
		assert_string_equal(pg_str(a[i].write.item.res, 0, 0), stamp);
	}
	expect("40 2", "SELECT count(*) || ' ' || count(DISTINCT a.xmin::text) FROM agent a JOIN agent_version v ON v.agent_id = a.id AND v.xmin = a.xmin"
	    " AND v.created_at = a.created_at AND v.body = '{\"b\":1}' AND v.workspace_id = 'w1'");
	free_agents(a, 40);
}

/* What there is no place for is told by having no row, and its neighbours are made. */
static void
none_of_one(void **state)
{
	struct new_agent a[3];

	for (int i = 0; i < 3; i++) {
		make_agent(&a[i], i, "A");
		keep(&a[i], 7, "{x,y}");
	}
	a[1].params[1] = "away";
	write_together(&one, a, 3);
	until_answered(&one, a, 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(a[i].write.item.result, WARMQ_DONE);
		assert_int_equal(PQntuples(a[i].write.item.res), i != 1);
	}
	expect("agent_000 agent_002", "SELECT string_agg(id, ' ' ORDER BY id) FROM agent");
	expect("agent_000 agent_002", "SELECT string_agg(object, ' ' ORDER BY object) FROM request_dedupe");
	free_agents(a, 3);
}

/* An answer is kept as request_store() alone would have kept it, with the stamp in its places; a large one by its object only. */
static void
answers_are_kept(void **state)
{
	struct new_agent a[2];
	AUTO(str) char *want = NULL;

	for (int i = 0; i < 2; i++) {
		make_agent(&a[i], i, "A");
		keep(&a[i], 9, i ? NULL : "{\"{\\\"at\\\":\\\"\",\"\\\",\\\"again\\\":\\\"\",\"\\\"}\"}");
		a[i].of.connection = "7 1";
		keep(&a[i], 9, a[i].params[BODY + 4]);
	}
	write_together(&one, a, 2);
	until_answered(&one, a, 2);
	want = xasprintf("{\"at\":\"%s\",\"again\":\"%s\"}", pg_str(a[0].write.item.res, 0, 0), pg_str(a[0].write.item.res, 0, 0));
	expect(want, "SELECT reply FROM request_dedupe WHERE request = 'req_agent_000' AND object = 'agent_000' AND kind = 'p' AND status = 200 AND made_by = 0"
	    " AND seen = 0 AND events IS NULL AND abs(extract(epoch FROM expires_at - clock_timestamp()) - 60) < 30");
	expect("t", "SELECT reply IS NULL FROM request_dedupe WHERE object = 'agent_001'");
	free_agents(a, 2);
}

/* --- errors, lateness, loss ---------------------------------------------------------------------------------------------------- */

static void
an_error_takes_all_back(void **state)
{
	struct new_agent a[4];

	for (int i = 0; i < 4; i++)
		make_agent(&a[i], i, i == 1 ? "bad" : "A");
	write_together(&one, a, 3);
	until_answered(&one, a, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(a[i].write.item.result, WARMQ_ALONE);
	expect("0", "SELECT count(*) FROM agent");
	write_together(&one, a + 3, 1);		/* and it goes on */
	until_answered(&one, a + 3, 1);
	assert_int_equal(a[3].write.item.result, WARMQ_DONE);
	free_agents(a, 4);
}

static void
late_ones_are_passed(void **state)
{
	struct new_agent a[3];
	PGconn *c = pgr_begun("SELECT pg_advisory_xact_lock(77)");

	open_queue(&one, LATE_MS);
	for (int i = 0; i < 3; i++)
		make_agent(&a[i], i, i ? "A" : "hold it");
	write_together(&one, a, 1);
	assert_true(warmq_put(one.q, &a[1].write.item));
	until_waiting(1);
	until_answered(&one, a + 1, 1);
	assert_int_equal(a[1].write.item.result, WARMQ_ALONE);
	assert_false(warmq_put(one.q, &a[2].write.item));
	assert_false(warmq_takes(one.q));
	assert_false(atomic_load(&a[0].answered));
	assert_int_equal(warmq_pending(one.q), 1);
	PQfinish(c);
	until_answered(&one, a, 1);
	assert_int_equal(a[0].write.item.result, WARMQ_DONE);
	assert_true(warmq_takes(one.q));
	free_agents(a, 3);
}

static void
lost_ones_are_uncertain(void **state)
{
	struct new_agent a[3];
	PGconn *c = pgr_begun("SELECT pg_advisory_xact_lock(77)");

	for (int i = 0; i < 3; i++)
		make_agent(&a[i], i, i == 1 ? "hold it" : "A");
	write_together(&one, a, 2);
	assert_true(warmq_put(one.q, &a[2].write.item));
	until_waiting(1);
	run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '" WRITEQ_NAME "'");
	until_answered(&one, a, 3);
	assert_int_equal(a[0].write.item.result, WARMQ_UNCERTAIN);
	assert_int_equal(a[1].write.item.result, WARMQ_UNCERTAIN);
	assert_int_equal(a[2].write.item.result, WARMQ_ALONE);
	assert_int_equal(warmq_pending(one.q), 0);
	expect("0", "SELECT count(*) FROM agent");
	PQfinish(c);
	free_agents(a, 3);
}

/* A server that has left while nothing was on its way is noticed before something is sent. */
static void
a_restart_costs_none(void **state)
{
	struct new_agent a[2];
	struct pollfd p = { .fd = watched_now(&one), .events = POLLRDHUP };

	for (int i = 0; i < 2; i++)
		make_agent(&a[i], i, "A");
	run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '" WRITEQ_NAME "'");
	assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
	write_together(&one, a, 2);
	until_answered(&one, a, 2);
	for (int i = 0; i < 2; i++)
		assert_int_equal(a[i].write.item.result, WARMQ_ALONE);
	expect("0", "SELECT count(*) FROM agent");
}

/* Too large for a set, too large to be taken at all. */
static void
bytes_are_bounded(void **state)
{
	AUTO(str) char *large = xasprintf("%040000d", 1), *too_large = xasprintf("%0*d", WRITEQ_BYTES, 1);
	struct new_agent a[3];

	for (int i = 0; i < 3; i++) {
		make_agent(&a[i], i, "A");
		a[i].params[BODY - 1] = i == 2 ? too_large : large;
	}
	assert_false(warmq_put(one.q, &a[2].write.item));
	write_together(&one, a, 2);
	until_answered(&one, a, 2);
	expect("2 2", "SELECT count(*) || ' ' || count(DISTINCT xmin::text) FROM agent");
	free_agents(a, 2);
}

/* Two sets that keep answers of the same two calls, queued the other way round, while the first lock is somebody else's: none is in a deadlock. */
static void
locks_have_an_order(void **state)
{
	struct new_agent a[2], b[2];
	PGconn *c = pgr_begun("SELECT pg_advisory_xact_lock(1)");

	open_queue(&two, DEADLINE_MS);
	for (int i = 0; i < 2; i++) {
		make_agent(&a[i], i, "A");
		keep(&a[i], 1 + i, "{x}");
		make_agent(&b[i], 10 + i, "B");
		keep(&b[i], 2 - i, "{x}");
	}
	write_together(&one, a, 2);
	write_together(&two, b, 2);
	until_waiting(2);
	PQfinish(c);
	until_answered(&one, a, 2);
	until_answered(&two, b, 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(a[i].write.item.result, WARMQ_DONE);
		assert_int_equal(b[i].write.item.result, WARMQ_DONE);
	}
	expect("4", "SELECT count(*) FROM request_dedupe");
	warmq_close(&two.q);
	free_agents(a, 2);
	free_agents(b, 2);
}

/* --- threads ------------------------------------------------------------------------------------------------------------------- */

#define THREADS 6
#define EACH 150

static struct new_agent crowd[THREADS][EACH];
static atomic_int refused;

/* Writes one after the other, as a handler thread that waits would; whoever comes takes the answers of all. */
static void *
writer(void *arg)
{
	struct new_agent *mine = arg;

	for (int i = 0; i < EACH; i++) {
		while (!warmq_put(one.q, &mine[i].write.item))
			look(&one, 1);
		warmq_flush(one.q);
		while (!atomic_load(&mine[i].answered))
			look(&one, 1);
		atomic_fetch_add(&refused, mine[i].write.item.result != WARMQ_DONE);
	}
	return NULL;
}

static void
threads_share_it(void **state)
{
	AUTO(str) char *want = NULL;
	pthread_t threads[THREADS];

	for (int t = 0; t < THREADS; t++)
		for (int i = 0; i < EACH; i++)
			make_agent(&crowd[t][i], t * EACH + i, "A");
	for (int t = 0; t < THREADS; t++)
		assert_int_equal(pthread_create(&threads[t], NULL, writer, crowd[t]), 0);
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	assert_int_equal(atomic_load(&refused), 0);
	want = xasprintf("%d", THREADS * EACH);
	expect(want, "SELECT count(*) FROM agent");
	expect("t", "SELECT count(DISTINCT xmin::text) < count(*) FROM agent");
	for (int t = 0; t < THREADS; t++)
		free_agents(crowd[t], EACH);
	assert_int_equal(warmq_pending(one.q), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(one_commit, clean),
		cmocka_unit_test_setup(none_of_one, clean),
		cmocka_unit_test_setup(answers_are_kept, clean),
		cmocka_unit_test_setup(an_error_takes_all_back, clean),
		cmocka_unit_test_setup(late_ones_are_passed, clean),
		cmocka_unit_test_setup(lost_ones_are_uncertain, clean),
		cmocka_unit_test_setup(a_restart_costs_none, clean),
		cmocka_unit_test_setup(bytes_are_bounded, clean),
		cmocka_unit_test_setup(locks_have_an_order, clean),
		cmocka_unit_test_setup(threads_share_it, clean),
	};

	return cmocka_run_group_tests_name("store/writeq", tests, start, stop);
}
