/*
 * Durable appends of one event of 500 bytes, over many sessions. The worker's way (appendq: one pipelined connection, neighbours share a
 * statement and a commit) against sixteen threads with a blocking connection each; three interleaved rounds, medians. Both do the same
 * work and each append is answered after its commit.
 */
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appendq.h"
#include "clock.h"
#include "db_stmts.h"
#include "drive.h"
#include "parts.h"
#include "xalloc.h"

#define THREADS 16
#define SESSIONS 256			/* with an append under way each, as in a busy worker */
#define ROUNDS 3
#define ROUND_US 2e6

static char *dsn;
static atomic_long number;
static atomic_bool over;

static void
sql(const char *text)
{
	PGconn *c = PQconnectdb(dsn);
	PGresult *r = PQexec(c, text);

	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
		die("%s", PQerrorMessage(c));
	PQclear(r);
	PQfinish(c);
}

/* Leased to nobody who lives: no worker looks at them. */
static void
make_sessions(void)
{
	AUTO(str) char *session = xasprintf("INSERT INTO session (id, organization_id, workspace_id, agent_id, agent_version, environment_id, thread_id,"
	    " agent, last_at, created_at, updated_at, status, at_work) SELECT 'sesn_bench%d_' || i, o.id, w.id, 'a', 1, 'e', 't', '{}', t, t, t,"
	    " 'running', true FROM generate_series(0, %d) i, (SELECT clock_timestamp() - interval '1 minute' AS t) x,"
	    " (SELECT id FROM organization LIMIT 1) o, (SELECT id FROM workspace LIMIT 1) w", (int)getpid(), SESSIONS - 1);
	AUTO(str) char *work = xasprintf("INSERT INTO work (workspace_id, session_id, due_at, lease_owner, lease_epoch) SELECT workspace_id, id, now(),"
	    " 'bench', 1 FROM session WHERE id LIKE 'sesn_bench%d_%%'", (int)getpid());

	sql(session);
	sql(work);
}

static void
drop_sessions(void)
{
	sql("DELETE FROM work WHERE lease_owner = 'bench'");
	sql("DELETE FROM event WHERE session_id LIKE 'sesn_bench%'");
	sql("DELETE FROM session WHERE id LIKE 'sesn_bench%'");
}

#define NPARAMS 27

struct theirs { char session[32], base[24], ids[64], bodies[640]; const char *params[64]; };

/* Parameters behind the first 27 have defaults of no effect here: the statement is the worker's own, so all are given. */
static void
make(struct theirs *a, int session)
{
	const int n = db_stmts[STMT_SESSION_APPEND_ONE].nparams;

	snprintf(a->session, sizeof a->session, "sesn_bench%d_%d", (int)getpid(), session);
	snprintf(a->base, sizeof a->base, "%lld", (long long)clock_wall_us());
	snprintf(a->ids, sizeof a->ids, "{sevt_bench%d_%ld}", session, atomic_fetch_add(&number, 1));
	snprintf(a->bodies, sizeof a->bodies, "{%0500d}", session);
	for (int i = 0; i < n; i++)
		a->params[i] = NULL;
	a->params[0] = a->session;
	a->params[1] = "1";
	a->params[2] = a->base;
	a->params[3] = a->ids;
	a->params[4] = "{agent.message}";
	a->params[5] = a->bodies;
	a->params[6] = a->params[7] = a->params[8] = "{NULL}";
	a->params[9] = a->params[16] = a->params[17] = a->params[18] = a->params[19] = a->params[20] = "{}";
	a->params[22] = "0";
	a->params[24] = "f";
	a->params[26] = a->params[33] = a->params[34] = "0";
}

/* --- sixteen threads --------------------------------------------------------------------------------------------------------------- */

static void *
blocking(void *arg)
{
	int first = (int)(intptr_t)arg;
	long *done = xcalloc(1, sizeof *done);
	PGconn *c = PQconnectdb(dsn);
	struct theirs a;

	PQclear(PQprepare(c, "append", db_stmts[STMT_SESSION_APPEND_ONE].sql, 0, NULL));
	PQclear(PQexec(c, "SET plan_cache_mode = force_generic_plan"));
	for (int i = 0; !atomic_load(&over); i++) {
		make(&a, (first + i * THREADS) % SESSIONS);
		PGresult *r = PQexecPrepared(c, "append", db_stmts[STMT_SESSION_APPEND_ONE].nparams, a.params, NULL, NULL, 0);

		if (PQresultStatus(r) != PGRES_TUPLES_OK || strncmp(PQgetvalue(r, 0, 0), "{-", 2) == 0)
			die("append: %s%s", PQerrorMessage(c), PQntuples(r) ? PQgetvalue(r, 0, 0) : "");
		PQclear(r);
		++*done;
	}
	PQfinish(c);
	return done;
}

static double
threads(void)
{
	pthread_t t[THREADS];
	double t0 = now_us();
	long sum = 0;
	void *got;

	atomic_store(&over, false);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, blocking, (void *)(intptr_t)i);
	usleep((useconds_t)ROUND_US);
	atomic_store(&over, true);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(t[i], &got);
		sum += *(long *)got;
		free(got);
	}
	return (double)sum / (now_us() - t0) * 1e6;
}

/* --- one pipelined connection ------------------------------------------------------------------------------------------------------ */

static struct dbq *q;
static struct appendq *appends_q;
static long answered;

struct ours { struct append a; struct append_event event; char session[32], id[64], body[640]; };

static void again(struct ours *o);

static void
on_append(struct append *a, enum append_result result, int64_t last_seq, int64_t now_us, const struct err *e)
{
	if (e || result != APPEND_OK)
		die("append: %s", e ? e->detail : "refused");
	answered++;
	if (!atomic_load(&over))
		again((struct ours *)a);
}

static void
again(struct ours *o)
{
	o->a.base_us = clock_wall_us();
	snprintf(o->id, sizeof o->id, "sevt_%s_%ld", o->session, atomic_fetch_add(&number, 1));
	append_run(appends_q, &o->a);
}

static void
begin(struct ours *o, int session)
{
	snprintf(o->session, sizeof o->session, "sesn_bench%d_%d", (int)getpid(), session);
	snprintf(o->body, sizeof o->body, "%0500d", session);
	o->event = (struct append_event){ .id = o->id, .type = "agent.message", .body = o->body };
	o->a = (struct append){ .done = on_append, .session = o->session, .thread = "t", .epoch = 1, .events = &o->event, .nevents = 1,
	    .bytes = 500, .open_k = -1, .close_k = -1, .tokens_k = -1 };
	again(o);
}

static double
pipelined(struct loop *loop)
{
	struct ours *all = xcalloc(SESSIONS, sizeof *all);
	double t0 = now_us();

	answered = 0;
	atomic_store(&over, false);
	for (int i = 0; i < SESSIONS; i++)
		begin(&all[i], i);
	while (now_us() - t0 < ROUND_US)
		loop_once(loop, 10);
	atomic_store(&over, true);
	while (dbq_pending(q) > 0)
		loop_once(loop, 100);
	free(all);
	return (double)answered / (now_us() - t0) * 1e6;
}

void
appends(void)
{
	struct loop *loop = loop_new();
	struct samples ours = { 0 }, theirs = { 0 };

	must(db_stmts[STMT_SESSION_APPEND_ONE].nparams >= NPARAMS && db_stmts[STMT_SESSION_APPEND_ONE].nparams <= 64);
	dsn = xasprintf("host=%s/pg dbname=roost user=roost_admin", getenv("ROOST_RUN"));
	make_sessions();
	q = dbq_new(loop, dsn, DB_WORKER, 10000);
	appends_q = appendq_new(q, NULL);
	while (!dbq_ready(q))
		loop_once(loop, 1000);
	(void)pipelined(loop);			/* warms up */
	for (int i = 0; i < ROUNDS; i++) {
		samples_add(&theirs, threads());
		samples_add(&ours, pipelined(loop));
	}
	dbq_free(&q);
	appendq_free(&appends_q);
	loop_free(&loop);
	drop_sessions();
	AUTO(str) char *a = xasprintf("%.0f /s", samples_at(&theirs, 0.5)), *b = xasprintf("%.0f /s", samples_at(&ours, 0.5));
	AUTO(str) char *ratio = xasprintf("%.2f ×", samples_at(&ours, 0.5) / samples_at(&theirs, 0.5));
	row("durable appends, sixteen threads with a blocking connection each (floor)", -1, -1, a, "", "");
	judged(samples_at(&ours, 0.5) >= 2 * samples_at(&theirs, 0.5), "durable appends, the worker's pipelined connection", -1, -1, b, ratio, "≥ 2 ×");
	free(dsn);
}
