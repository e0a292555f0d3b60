/*
 * writeq: see writeq.h. One set is on its way at a time. The lock is held for moments only: connecting is done without it, and a set fits
 * into the socket's buffer.
 *
 * A set counts as done when its sync has been answered: that is behind the commit. An error before it took all of it back. Without that
 * word the outcome is unknown, whatever else was heard. A crash of this process leaves each set whole or not at all, and its clients
 * without answer.
 */
#include "writeq.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "db_stmts.h"
#include "failpoint.h"
#include "log.h"
#include "writeset.h"
#include "xalloc.h"

#define QUEUE_MAX 256
#define RETRY_MS 1000

struct writeq {
	char *conninfo;
	int64_t late_us;
	writeq_watch *watch;
	void *arg;
	atomic_bool readable;
	atomic_bool wanted;		/* by one that came while there was no connection */
	atomic_int pending;
	pthread_mutex_t lock;		/* guards what follows */
	PGconn *conn;
	bool connecting;
	int64_t retry_ms;
	struct writeset queue, set, done, others;	/* waiting; on their way; done; answered otherwise */
	int64_t sent_us;		/* when the set was sent */
	struct writeq_write *next;	/* of the set: whose rows come next */
	bool failed;			/* one of the set, and so all of it */
};

/* All of l are answered so; what some of them have heard is worth nothing. */
static void
answer(struct writeq *q, struct writeset *l, enum writeq_result result)
{
	struct writeq_write *w = l->first;

	writeset_empty(l);
	while (w) {
		struct writeq_write *next = w->next;

		if (result != WRITEQ_DONE) {
			PQclear(w->res);
			w->res = NULL;
		}
		w->result = result;
		writeset_add(result == WRITEQ_DONE ? &q->done : &q->others, w);
		w = next;
	}
}

/* --- the connection ---------------------------------------------------------------------------------------------------------- */

static void
quiet(void *arg, const PGresult *r)
{
	/* notices are not for our stderr: it holds JSON lines only */
}

struct writeq *
writeq_open(const char *dsn, int timeout_ms, int late_ms, writeq_watch *watch, void *arg)
{
	AUTO(str) char *conninfo = db_conninfo(dsn, timeout_ms, 0, true);
	struct writeq *q = xcalloc(1, sizeof *q);

	pthread_mutex_init(&q->lock, NULL);
	q->conninfo = xasprintf("%s application_name=" WRITEQ_NAME, conninfo);
	q->late_us = (int64_t)late_ms * 1000;
	q->watch = watch;
	q->arg = arg;
	writeset_empty(&q->queue);
	writeset_empty(&q->set);
	writeset_empty(&q->done);
	writeset_empty(&q->others);
	return q;
}

/* The connection is gone: what was on its way is uncertain, what was not is not. */
static void
lose(struct writeq *q, const char *why)
{
	log_warn("write_connection", "error", why, NULL);
	PQfinish(q->conn);
	q->conn = NULL;
	answer(q, &q->set, WRITEQ_UNCERTAIN);
	answer(q, &q->queue, WRITEQ_ALONE);
}

void
writeq_close(struct writeq **qp)
{
	struct writeq *q = *qp;

	if (!q)
		return;
	writeset_clear(&q->set);
	writeset_clear(&q->done);
	PQfinish(q->conn);
	free(q->conninfo);
	pthread_mutex_destroy(&q->lock);
	free(q);
	*qp = NULL;
}

bool
writeq_wants(struct writeq *q)
{
	bool wants;

	if (!atomic_load(&q->wanted))
		return false;
	pthread_mutex_lock(&q->lock);
	wants = !q->conn && !q->connecting && clock_mono_ms() >= q->retry_ms;
	pthread_mutex_unlock(&q->lock);
	return wants;
}

void
writeq_connect(struct writeq *q)
{
	PGconn *conn;
	bool mine;

	pthread_mutex_lock(&q->lock);
	mine = !q->conn && !q->connecting;
	q->connecting = q->connecting || mine;
	q->retry_ms = clock_mono_ms() + RETRY_MS;
	pthread_mutex_unlock(&q->lock);
	if (!mine)
		return;
	conn = PQconnectdb(q->conninfo);
	PQsetNoticeReceiver(conn, quiet, NULL);
	if (PQstatus(conn) != CONNECTION_OK || !writeset_prepare(conn) || !PQenterPipelineMode(conn)) {
		log_warn("write_connection", "error", PQerrorMessage(conn), NULL);
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

static bool
late(const struct writeq *q)
{
	return q->set.n > 0 && clock_mono_us() - q->sent_us > q->late_us;
}

/* With the lock: what waits leaves, if the connection is free. */
static void
send_next(struct writeq *q)
{
	if (!q->conn || q->set.n > 0 || q->queue.n == 0)
		return;
	if (db_left(q->conn)) {
		lose(q, "the server has left");
		return;
	}
	FAILPOINT(DB_RUN);
	writeset_choose(&q->queue, &q->set);
	q->sent_us = clock_mono_us();
	q->next = q->set.first;
	q->failed = false;
	if (!writeset_send(q->conn, &q->set))
		lose(q, PQerrorMessage(q->conn));
}

/* With the lock: does the queue take one more? */
static bool
open_now(struct writeq *q)
{
	if (!q->conn)
		atomic_store(&q->wanted, true);
	return q->conn && q->queue.n < QUEUE_MAX && !late(q);
}

bool
writeq_takes(struct writeq *q)
{
	bool takes;

	pthread_mutex_lock(&q->lock);
	takes = open_now(q);
	pthread_mutex_unlock(&q->lock);
	return takes;
}

bool
writeq_put(struct writeq *q, struct writeq_write *w)
{
	bool takes;

	must(db_stmts[w->stmt].grouped && w->nparams == db_stmts[w->stmt].nparams);
	w->bytes = 0;
	for (int i = 0; i < w->nparams; i++)
		w->bytes += w->params[i] ? strlen(w->params[i]) : 0;
	pthread_mutex_lock(&q->lock);
	takes = w->bytes <= WRITEQ_BYTES && open_now(q);
	if (takes) {
		w->res = NULL;
		writeset_add(&q->queue, w);
		atomic_fetch_add(&q->pending, 1);
	}
	pthread_mutex_unlock(&q->lock);
	return takes;
}

bool
writeq_gathers(struct writeq *q)
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
writeq_flush(struct writeq *q)
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
take_sync(struct writeq *q)
{
	struct err e = ERR_INIT;

	FAILPOINT(DB_RAN);
	if (q->failed || q->next)
		answer(q, &q->set, WRITEQ_ALONE);
	else
		answer(q, &q->set, FAILPOINT_ERR(DB_COMMITTED, &e) < 0 ? WRITEQ_UNCERTAIN : WRITEQ_DONE);
}

static void
take_result(struct writeq *q, PGresult *r)
{
	struct err e = ERR_INIT;

	if (PQresultStatus(r) == PGRES_TUPLES_OK && q->next && !q->failed) {
		q->next->res = r;
		q->next = q->next->next;
		return;
	}
	if (!q->failed && PQresultStatus(r) == PGRES_FATAL_ERROR) {
		(void)db_result_err(r, q->next ? q->next->stmt : STMT_COUNT, &e);
		log_err("write_refused", &e, NULL);
	}
	q->failed = true;
	PQclear(r);
}

static void
read_answers(struct writeq *q)
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

/* With the lock: see writeq_take(). */
static struct writeq_write *
hand_out(struct writeq *q)
{
	struct writeq_write *w = q->done.first, *rest;

	if (w) {
		atomic_fetch_sub(&q->pending, q->done.n);
		writeset_empty(&q->done);
		return w;
	}
	w = q->others.first;
	if (!w)
		return NULL;
	rest = w->next;
	q->others.first = rest;
	q->others.n--;
	if (!rest)
		writeset_empty(&q->others);
	w->next = NULL;
	atomic_fetch_sub(&q->pending, 1);
	return w;
}

struct writeq_write *
writeq_take(struct writeq *q, bool *out_more)
{
	bool readable = atomic_exchange(&q->readable, false);
	struct writeq_write *w;

	*out_more = false;
	if (!readable && atomic_load(&q->pending) == 0)
		return NULL;
	pthread_mutex_lock(&q->lock);
	if (readable && q->conn)
		read_answers(q);
	if (late(q))
		answer(q, &q->queue, WRITEQ_ALONE);
	else if (readable)
		send_next(q);
	w = hand_out(q);
	*out_more = q->others.n > 0;
	pthread_mutex_unlock(&q->lock);
	return w;
}

void
writeq_readable(struct writeq *q)
{
	atomic_store(&q->readable, true);
}

int
writeq_pending(struct writeq *q)
{
	return atomic_load(&q->pending);
}
