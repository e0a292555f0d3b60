/*
 * warmq: see warmq.h. One set is on its way at a time, so what comes meanwhile becomes the next one; which and how many is decided when the
 * connection is free. The lock is held for moments only: connecting is done without it, and a set fits into the socket's buffer.
 *
 * A set is pipelined up to one sync, and counts as done when that has been answered: that is behind the commit. An error before it took all
 * of it back. Without that word the outcome is unknown, whatever else was heard. A crash of this process leaves each set whole or not at
 * all, and its clients without answer.
 */
#include "warmq.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "clock.h"
#include "db_stmts.h"
#include "failpoint.h"
#include "log.h"
#include "pgwait.h"
#include "still.h"
#include "xalloc.h"

#define QUEUE_MAX 256
#define RETRY_MS 1000

struct warmq {
	const struct warmq_kind *kind;
	void *own;			/* the kind's */
	char *conninfo;
	int timeout_ms;			/* statement_timeout */
	int64_t late_us;
	warmq_watch *watch;
	void *arg;
	atomic_bool readable;
	atomic_bool wanted;		/* by one that came while there was no connection */
	atomic_int pending;
	pthread_mutex_t lock;		/* guards what follows */
	PGconn *conn;
	bool connecting;
	int64_t retry_ms;
	struct warmq_set queue, set, done, others;	/* waiting; on their way; done; answered otherwise */
	int64_t sent_us;		/* when the set was sent */
	struct warmq_item *next;	/* of the set: whose rows come next */
	enum warmq_result outcome;	/* of the set: DONE until it is refused */
};

void
warmq_set_empty(struct warmq_set *l)
{
	*l = (struct warmq_set){ .end = &l->first };
}

void
warmq_set_add(struct warmq_set *l, struct warmq_item *i)
{
	i->next = NULL;
	*l->end = i;
	l->end = &i->next;
	l->n++;
}

/* What they have heard is worth nothing. */
static void
forget_rows(struct warmq_set *l)
{
	for (struct warmq_item *i = l->first; i; i = i->next) {
		PQclear(i->res);
		i->res = NULL;
	}
}

/* All of l are answered so. */
static void
answer(struct warmq *q, struct warmq_set *l, enum warmq_result result)
{
	struct warmq_item *i = l->first, *next;

	for (struct warmq_item *each = i; each; each = each->next)
		each->result = result;
	if (result != WARMQ_DONE)
		forget_rows(l);
	else if (q->kind->read)
		q->kind->read(l);
	warmq_set_empty(l);
	for (; i; i = next) {
		next = i->next;
		warmq_set_add(i->result == WARMQ_DONE ? &q->done : &q->others, i);
	}
}

/* --- the connection ---------------------------------------------------------------------------------------------------------- */

static void
quiet(void *arg, const PGresult *r)
{
	/* notices are not for our stderr: it holds JSON lines only */
}

struct warmq *
warmq_open(const struct warmq_kind *kind, void *own, const char *conninfo, int timeout_ms, int late_ms, warmq_watch *watch, void *arg)
{
	struct warmq *q = xcalloc(1, sizeof *q);

	pthread_mutex_init(&q->lock, NULL);
	q->kind = kind;
	q->own = own;
	q->conninfo = xasprintf("%s application_name=%s", conninfo, kind->name);
	q->timeout_ms = timeout_ms;
	q->late_us = (int64_t)late_ms * 1000;
	q->watch = watch;
	q->arg = arg;
	warmq_set_empty(&q->queue);
	warmq_set_empty(&q->set);
	warmq_set_empty(&q->done);
	warmq_set_empty(&q->others);
	return q;
}

/* The connection is gone: what was on its way is uncertain, what was not is not. */
static void
lose(struct warmq *q, const char *why)
{
	log_warn(q->kind->trouble, "error", why, NULL);
	PQfinish(q->conn);
	q->conn = NULL;
	answer(q, &q->set, WARMQ_UNCERTAIN);
	answer(q, &q->queue, WARMQ_ALONE);
}

void
warmq_close(struct warmq **qp)
{
	struct warmq *q = *qp;

	if (!q)
		return;
	forget_rows(&q->set);
	forget_rows(&q->done);
	PQfinish(q->conn);
	free(q->conninfo);
	free(q->own);
	pthread_mutex_destroy(&q->lock);
	free(q);
	*qp = NULL;
}

static bool
prepare(PGconn *conn, const struct warmq_kind *kind, struct pgwait *wait)
{
	for (int i = 0; i < STMT_COUNT; i++) {
		AUTO(pgres) PGresult *r = NULL;

		if (!kind->uses((enum db_stmt)i))
			continue;
		r = pgwait_prepare(conn, db_stmts[i].name, db_stmts[i].sql, wait);
		if (PQresultStatus(r) != PGRES_COMMAND_OK)
			return false;
	}
	return true;
}

bool
warmq_wants(struct warmq *q)
{
	bool wants;

	if (!atomic_load(&q->wanted) || still_stands())
		return false;
	pthread_mutex_lock(&q->lock);
	wants = !q->conn && !q->connecting && clock_mono_ms() >= q->retry_ms;
	pthread_mutex_unlock(&q->lock);
	return wants;
}

void
warmq_connect(struct warmq *q)
{
	struct pgwait wait = pgwait_of(q->timeout_ms);
	PGconn *conn;
	bool mine;

	pthread_mutex_lock(&q->lock);
	mine = !q->conn && !q->connecting;
	q->connecting = q->connecting || mine;
	q->retry_ms = clock_mono_ms() + RETRY_MS;
	pthread_mutex_unlock(&q->lock);
	if (!mine)
		return;
	conn = pgwait_connect(q->conninfo, &wait);
	PQsetNoticeReceiver(conn, quiet, NULL);
	if (PQstatus(conn) != CONNECTION_OK || !prepare(conn, q->kind, &wait) || PQsetnonblocking(conn, 0) != 0 ||
	    !PQenterPipelineMode(conn)) {
		log_warn(q->kind->trouble, "error", PQerrorMessage(conn), NULL);
		PQfinish(conn);
		conn = NULL;
	}
	pthread_mutex_lock(&q->lock);
	q->connecting = false;
	q->conn = conn;
	atomic_store(&q->wanted, !conn);
	if (conn)
		q->watch(q->arg, PQsocket(conn), true);
	pthread_mutex_unlock(&q->lock);
}

/* --- sending ----------------------------------------------------------------------------------------------------------------- */

/* Has the set been on its way for longer? */
static bool
out_for(const struct warmq *q, int64_t us)
{
	return q->set.n > 0 && clock_mono_us() - q->sent_us > us;
}

static bool
late(const struct warmq *q)
{
	return out_for(q, q->late_us);
}

/* With the lock: what waits leaves, if the connection is free. */
static void
send_next(struct warmq *q)
{
	if (!q->conn || q->set.n > 0 || q->queue.n == 0)
		return;
	if (db_left(q->conn)) {
		lose(q, "the server has left");
		return;
	}
	FAILPOINT(DB_RUN);
	q->kind->choose(&q->queue, &q->set);
	q->sent_us = clock_mono_us();
	q->next = q->set.first;
	q->outcome = WARMQ_DONE;
	if (!q->kind->send(q->conn, &q->set, q->own) || !PQpipelineSync(q->conn))
		lose(q, PQerrorMessage(q->conn));
}

/* With the lock: does the queue take one more? */
static bool
open_now(struct warmq *q)
{
	if (!q->conn)
		atomic_store(&q->wanted, true);
	return q->conn && q->queue.n < QUEUE_MAX && !late(q) && !still_stands();
}

bool
warmq_takes(struct warmq *q)
{
	bool takes;

	pthread_mutex_lock(&q->lock);
	takes = open_now(q);
	pthread_mutex_unlock(&q->lock);
	return takes;
}

bool
warmq_put(struct warmq *q, struct warmq_item *i)
{
	bool takes;

	if (!q->kind->admits(i))
		return false;
	pthread_mutex_lock(&q->lock);
	takes = open_now(q);
	if (takes) {
		i->res = NULL;
		warmq_set_add(&q->queue, i);
		atomic_fetch_add(&q->pending, 1);
	}
	pthread_mutex_unlock(&q->lock);
	return takes;
}

bool
warmq_gathers(struct warmq *q)
{
	bool gathers;

	if (atomic_load(&q->pending) == 0)
		return false;
	pthread_mutex_lock(&q->lock);
	gathers = q->conn && q->queue.n > 0 && q->set.n == 0;
	pthread_mutex_unlock(&q->lock);
	return gathers;
}

void
warmq_flush(struct warmq *q)
{
	if (atomic_load(&q->pending) == 0)
		return;
	pthread_mutex_lock(&q->lock);
	send_next(q);
	pthread_mutex_unlock(&q->lock);
}

/* --- answers ----------------------------------------------------------------------------------------------------------------- */

/* The sync: the set is committed, or was taken back. */
static void
take_sync(struct warmq *q)
{
	struct err e = ERR_INIT;

	FAILPOINT(DB_RAN);
	if (q->outcome == WARMQ_DONE && q->next)
		q->outcome = WARMQ_ALONE;
	if (q->outcome == WARMQ_DONE && FAILPOINT_ERR(DB_COMMITTED, &e) < 0)
		q->outcome = WARMQ_UNCERTAIN;
	answer(q, &q->set, q->outcome);
}

static void
take_result(struct warmq *q, PGresult *r)
{
	bool rows = PQresultStatus(r) == PGRES_TUPLES_OK && (PQntuples(r) == 1 || !q->kind->joint);

	if (rows && q->next && q->outcome == WARMQ_DONE) {
		q->next->res = r;
		q->next = q->kind->joint ? NULL : q->next->next;
		return;
	}
	if (q->outcome == WARMQ_DONE)
		q->outcome = q->kind->refused(&q->set, q->next, r);
	PQclear(r);
}

static void
read_answers(struct warmq *q)
{
	if (!PQconsumeInput(q->conn) || PQstatus(q->conn) != CONNECTION_OK) {
		lose(q, PQerrorMessage(q->conn));
		return;
	}
	while (q->set.n > 0 && !PQisBusy(q->conn)) {
		PGresult *r = PQgetResult(q->conn);	/* NULL separates a statement's result from what follows it */

		if (PQstatus(q->conn) != CONNECTION_OK) {
			PQclear(r);
			lose(q, PQerrorMessage(q->conn));
			return;
		}
		if (r && PQresultStatus(r) == PGRES_PIPELINE_SYNC) {
			PQclear(r);
			take_sync(q);
		} else if (r) {
			take_result(q, r);
		}
	}
	q->watch(q->arg, PQsocket(q->conn), false);
}

/* With the lock, of one that is late: as long as a thread would wait for it, and no longer (pgwait.h). */
static void
look_at_late(struct warmq *q)
{
	const struct pgwait wait = pgwait_of(q->timeout_ms);

	if (out_for(q, wait.suspect_ms * 1000LL))
		still_suspect();
	if (out_for(q, wait.bound_ms * 1000LL)) {
		read_answers(q);	/* a process that was stopped itself looks late at what came in time */
		if (q->set.n == 0)
			return;
		pgwait_give_up(q->conn);
		lose(q, "an answer does not come");
	}
}

/* With the lock: see warmq_take(). */
static struct warmq_item *
hand_out(struct warmq *q)
{
	struct warmq_item *i = q->done.first, *rest;

	if (i) {
		atomic_fetch_sub(&q->pending, q->done.n);
		warmq_set_empty(&q->done);
		return i;
	}
	i = q->others.first;
	if (!i)
		return NULL;
	rest = i->next;
	q->others.first = rest;
	q->others.n--;
	if (!rest)
		warmq_set_empty(&q->others);
	i->next = NULL;
	atomic_fetch_sub(&q->pending, 1);
	return i;
}

struct warmq_item *
warmq_take(struct warmq *q, bool *out_more)
{
	bool readable = atomic_exchange(&q->readable, false);
	struct warmq_item *i;

	*out_more = false;
	if (!readable && atomic_load(&q->pending) == 0)
		return NULL;
	pthread_mutex_lock(&q->lock);
	if (readable && q->conn)
		read_answers(q);
	if (late(q)) {
		answer(q, &q->queue, WARMQ_ALONE);
		look_at_late(q);
	} else if (readable)
		send_next(q);
	i = hand_out(q);
	*out_more = q->others.n > 0;
	pthread_mutex_unlock(&q->lock);
	return i;
}

void
warmq_readable(struct warmq *q)
{
	atomic_store(&q->readable, true);
}

int
warmq_pending(struct warmq *q)
{
	return atomic_load(&q->pending);
}
