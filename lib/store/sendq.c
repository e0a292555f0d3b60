/*
 * sendq: see sendq.h. One statement is on its way at a time, so what comes meanwhile becomes the next set; which and how many is decided
 * when the connection is free, and their bytes are counted before they are put together. The lock is held for moments only: connecting is
 * done without it, and a statement fits into the socket's buffer.
 *
 * A statement counts as done when Postgres says it is ready for the next one: that is behind the commit. An error before it took all of
 * it back. Without that word the outcome is unknown, whatever else was heard. A set that failed goes one by one by other connections:
 * which of them was wrong is found out there. A crash of this process leaves each set whole or not at all, and its clients without answer.
 */
#include "sendq.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "db_stmts.h"
#include "failpoint.h"
#include "log.h"
#include "sendset.h"
#include "xalloc.h"

#define QUEUE_MAX 256
#define RETRY_MS 1000

struct sendq {
	char *conninfo;
	int64_t late_us;
	struct inbox_caps caps;
	sendq_watch *watch;
	void *arg;
	atomic_bool readable;
	atomic_bool wanted;		/* by one that came while there was no connection */
	atomic_int pending;
	pthread_mutex_t lock;		/* guards what follows */
	PGconn *conn;
	bool connecting;
	int64_t retry_ms;
	struct sendset queue, set, done, others;	/* waiting; on their way; done; answered otherwise */
	int64_t sent_us;		/* when the set was sent */
	enum db_stmt stmt;		/* by which */
	bool answered, failed;		/* its rows have come; it was an error */
	PGresult *rows;
	enum err_kind error;
};

/* None of them is done: all are answered so. */
static void
answer(struct sendq *q, struct sendset *l, enum sendq_result result)
{
	struct sendq_send *s = l->first;

	sendset_empty(l);
	while (s) {
		struct sendq_send *next = s->next;

		s->result = result;
		sendset_add(&q->others, s);
		s = next;
	}
}

/* --- the connection ---------------------------------------------------------------------------------------------------------- */

static void
quiet(void *arg, const PGresult *r)
{
	/* notices are not for our stderr: it holds JSON lines only */
}

struct sendq *
sendq_open(const char *dsn, int timeout_ms, int late_ms, const struct inbox_caps *caps, sendq_watch *watch, void *arg)
{
	AUTO(str) char *conninfo = db_conninfo(dsn, timeout_ms, late_ms, true);
	struct sendq *q = xcalloc(1, sizeof *q);

	pthread_mutex_init(&q->lock, NULL);
	q->conninfo = xasprintf("%s application_name=" SENDQ_NAME, conninfo);
	q->late_us = (int64_t)late_ms * 1000;
	q->caps = *caps;
	q->watch = watch;
	q->arg = arg;
	sendset_empty(&q->queue);
	sendset_empty(&q->set);
	sendset_empty(&q->done);
	sendset_empty(&q->others);
	return q;
}

static void
rows_drop(struct sendq *q)
{
	PQclear(q->rows);
	q->rows = NULL;
	q->answered = q->failed = false;
}

/* The connection is gone: what was on its way is uncertain, what was not is not. */
static void
lose(struct sendq *q, const char *why)
{
	log_warn("send_connection", "error", why, NULL);
	PQfinish(q->conn);
	q->conn = NULL;
	rows_drop(q);
	answer(q, &q->set, SENDQ_UNCERTAIN);
	answer(q, &q->queue, SENDQ_ALONE);
}

void
sendq_close(struct sendq **qp)
{
	struct sendq *q = *qp;

	if (!q)
		return;
	rows_drop(q);
	PQfinish(q->conn);
	free(q->conninfo);
	pthread_mutex_destroy(&q->lock);
	free(q);
	*qp = NULL;
}

static bool
prepare(PGconn *conn, enum db_stmt stmt)
{
	AUTO(pgres) PGresult *r = PQprepare(conn, db_stmts[stmt].name, db_stmts[stmt].sql, 0, NULL);

	return PQresultStatus(r) == PGRES_COMMAND_OK;
}

bool
sendq_wants(struct sendq *q)
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
sendq_connect(struct sendq *q)
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
	if (PQstatus(conn) != CONNECTION_OK || !prepare(conn, STMT_MESSAGE_SEND) || !prepare(conn, STMT_MESSAGE_SEND_MANY)) {
		log_warn("send_connection", "error", PQerrorMessage(conn), NULL);
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
late(const struct sendq *q)
{
	return q->set.n > 0 && clock_mono_us() - q->sent_us > q->late_us;
}

/* With the lock: what waits leaves, if the connection is free. */
static void
send_next(struct sendq *q)
{
	if (!q->conn || q->set.n > 0 || q->queue.n == 0)
		return;
	if (db_left(q->conn)) {
		lose(q, "the server has left");
		return;
	}
	FAILPOINT(DB_RUN);
	sendset_choose(&q->queue, &q->set);
	q->sent_us = clock_mono_us();
	q->stmt = sendset_stmt(&q->set);
	if (!sendset_send(q->conn, &q->set, &q->caps))
		lose(q, PQerrorMessage(q->conn));
}

/* With the lock: does the queue take one more? */
static bool
open_now(struct sendq *q)
{
	if (!q->conn)
		atomic_store(&q->wanted, true);
	return q->conn && q->queue.n < QUEUE_MAX && !late(q);
}

bool
sendq_takes(struct sendq *q)
{
	bool takes;

	pthread_mutex_lock(&q->lock);
	takes = open_now(q);
	pthread_mutex_unlock(&q->lock);
	return takes;
}

bool
sendq_put(struct sendq *q, struct sendq_send *s)
{
	bool takes;

	pthread_mutex_lock(&q->lock);
	takes = open_now(q);
	if (takes) {
		s->sent = (struct inbox_sent){ .facts = false };
		sendset_add(&q->queue, s);
		atomic_fetch_add(&q->pending, 1);
	}
	pthread_mutex_unlock(&q->lock);
	return takes;
}

bool
sendq_gathers(struct sendq *q)
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
sendq_flush(struct sendq *q)
{
	if (atomic_load(&q->pending) == 0)
		return;
	pthread_mutex_lock(&q->lock);
	send_next(q);
	pthread_mutex_unlock(&q->lock);
}

/* --- answers ----------------------------------------------------------------------------------------------------------------- */

/* One line for each send: inbox_sent_read()'s, or "-" for one that has to be looked at. */
static void
answer_set(struct sendq *q, const char *lines)
{
	struct sendq_send *s = q->set.first;

	sendset_empty(&q->set);
	while (s) {
		struct sendq_send *next = s->next;
		size_t len = strcspn(lines, "\n");

		s->result = len == 1 && lines[0] == '-' ? SENDQ_LOOK : SENDQ_DONE;
		if (s->result == SENDQ_DONE)
			inbox_sent_read(lines, len, &s->sent);
		lines += len + (lines[len] == '\n');
		sendset_add(s->result == SENDQ_DONE ? &q->done : &q->others, s);
		s = next;
	}
}

/* Postgres is ready for the next one: this one is committed, or was taken back. */
static void
answer_ready(struct sendq *q)
{
	struct err e = ERR_INIT;
	const char *lines;

	FAILPOINT(DB_RAN);
	if (q->failed || !q->answered) {
		answer(q, &q->set, q->failed && q->error == EK_CONFLICT && q->stmt == STMT_MESSAGE_SEND ? SENDQ_LOOK : SENDQ_ALONE);
	} else if (FAILPOINT_ERR(DB_COMMITTED, &e) < 0) {
		answer(q, &q->set, SENDQ_UNCERTAIN);
	} else {
		lines = pg_str(q->rows, 0, 0);
		answer_set(q, lines ? lines : "");
	}
	rows_drop(q);
}

static void
take_result(struct sendq *q, PGresult *r)
{
	struct err e = ERR_INIT;

	if (PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1 && !q->answered) {
		q->answered = true;
		q->rows = r;
		return;
	}
	(void)db_result_err(r, q->stmt, &e);
	q->failed = true;
	q->error = e.kind;
	if (e.kind != EK_CONFLICT)
		log_err("send_refused", &e, NULL);
	PQclear(r);
}

static void
read_answers(struct sendq *q)
{
	if (!PQconsumeInput(q->conn) || PQstatus(q->conn) != CONNECTION_OK) {
		lose(q, PQerrorMessage(q->conn));
		return;
	}
	while (q->set.n > 0 && !PQisBusy(q->conn)) {
		PGresult *r = PQgetResult(q->conn);

		if (r)
			take_result(q, r);
		else if (PQstatus(q->conn) == CONNECTION_OK)
			answer_ready(q);
		if (PQstatus(q->conn) != CONNECTION_OK) {
			lose(q, PQerrorMessage(q->conn));
			return;
		}
	}
	q->watch(q->arg, PQsocket(q->conn), false);
}

/* With the lock: see sendq_take(). */
static struct sendq_send *
hand_out(struct sendq *q)
{
	struct sendq_send *s = q->done.first, *rest;

	if (s) {
		atomic_fetch_sub(&q->pending, q->done.n);
		sendset_empty(&q->done);
		return s;
	}
	s = q->others.first;
	if (!s)
		return NULL;
	rest = s->next;
	q->others.first = rest;
	q->others.n--;
	if (!rest)
		sendset_empty(&q->others);
	s->next = NULL;
	atomic_fetch_sub(&q->pending, 1);
	return s;
}

struct sendq_send *
sendq_take(struct sendq *q, bool *out_more)
{
	bool readable = atomic_exchange(&q->readable, false);
	struct sendq_send *s;

	*out_more = false;
	if (!readable && atomic_load(&q->pending) == 0)
		return NULL;
	pthread_mutex_lock(&q->lock);
	if (readable && q->conn)
		read_answers(q);
	if (late(q))
		answer(q, &q->queue, SENDQ_ALONE);
	else if (readable)
		send_next(q);
	s = hand_out(q);
	*out_more = q->others.n > 0;
	pthread_mutex_unlock(&q->lock);
	return s;
}

void
sendq_readable(struct sendq *q)
{
	atomic_store(&q->readable, true);
}

int
sendq_pending(struct sendq *q)
{
	return atomic_load(&q->pending);
}
