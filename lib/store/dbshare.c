/*
 * dbshare: see dbshare.h. Nobody waits for anybody: a statement is put into a queue, and whoever gets the connection (it is only ever tried)
 * sends what is there and reads what has come, for all. Who does not get it has left a word in `todo` or `readable`, at which the holder
 * looks again after letting go. Connecting is the one thing that takes longer (pgwait.h); meanwhile dbshare_send() says false, as it does while
 * Postgres stands still.
 *
 * A connection that is lost, or given up because its oldest statement is stuck (a lock, a stalled disk), fails what was on its way: the
 * callers read again by connections of their own. They are told one by one, the oldest last: it may hold up the thread that is told. The
 * next send connects anew, at most once in RETRY_MS. A crash loses nothing: nothing here writes.
 */
#include "dbshare.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "clock.h"
#include "db_stmts.h"
#include "log.h"
#include "pgwait.h"
#include "still.h"
#include "xalloc.h"

#define IN_FLIGHT 64
#define LATE_US 20000		/* an answer that takes so long: nobody else is sent behind it */
#define STUCK_US 100000		/* and so long: the connection is given up, so that nobody waits behind it */
#define RETRY_MS 1000
#define LARGE (1UL << 20)	/* of an answer: libpq's buffer has grown and never shrinks */

struct sent {
	const struct db_later *q;
	void *ticket;
	int64_t at_us;
	PGresult *res;		/* read, but its sync has not been */
};

struct dbshare {
	pthread_mutex_t queue_lock;	/* guards queue and nqueue, for a moment */
	struct sent queue[IN_FLIGHT];	/* to be sent */
	unsigned nqueue;
	atomic_int pending;		/* queue and ring */
	atomic_bool todo, readable;	/* for who has the connection: there is something to send; to read */
	atomic_bool up;
	atomic_llong oldest_us;		/* since when the oldest has been on its way; 0: there is none */
	pthread_mutex_t lock;		/* guards what follows; only tried */
	char *conninfo;
	enum db_user user;
	dbshare_watch *watch;
	void *arg;
	PGconn *conn;
	struct pgwait wait;		/* while connecting: nothing is waited for afterwards */
	bool swollen;
	int64_t retry_ms;
	unsigned first, n;		/* of ring; without a connection: those that it has lost */
	struct sent ring[IN_FLIGHT];
};

static void
quiet(void *arg, const PGresult *r)
{
	/* notices are not for our stderr: it holds JSON lines only */
}

struct dbshare *
dbshare_open(const char *dsn, enum db_user user, int timeout_ms, dbshare_watch *watch, void *arg)
{
	AUTO(str) char *conninfo = db_conninfo(dsn, timeout_ms, 0, false);
	struct dbshare *s = xcalloc(1, sizeof *s);

	pthread_mutex_init(&s->queue_lock, NULL);
	pthread_mutex_init(&s->lock, NULL);
	s->conninfo = xasprintf("%s application_name=" DBSHARE_NAME, conninfo);
	s->user = user;
	s->wait = pgwait_of(timeout_ms);
	s->watch = watch;
	s->arg = arg;
	return s;
}

static void
drop(struct dbshare *s)
{
	PQfinish(s->conn);
	s->conn = NULL;
	s->swollen = false;
	atomic_store(&s->up, false);
}

void
dbshare_close(struct dbshare **sp)
{
	struct dbshare *s = *sp;

	if (!s)
		return;
	drop(s);
	for (unsigned i = 0; i < s->n; i++)
		PQclear(s->ring[(s->first + i) % IN_FLIGHT].res);
	free(s->conninfo);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->queue_lock);
	free(s);
	*sp = NULL;
}

static bool
prepare(struct dbshare *s)
{
	for (int i = 0; i < STMT_COUNT; i++) {
		AUTO(pgres) PGresult *r = NULL;

		if (!db_stmts[i].shared || !(db_stmts[i].users & (int)s->user))
			continue;
		r = pgwait_prepare(s->conn, db_stmts[i].name, db_stmts[i].sql, &s->wait);
		if (PQresultStatus(r) != PGRES_COMMAND_OK)
			return false;
	}
	return true;
}

static bool
connected(struct dbshare *s)
{
	int64_t now = clock_mono_ms();

	if (s->conn || s->n > 0)
		return s->conn != NULL;
	if (now < s->retry_ms)
		return false;
	s->retry_ms = now + RETRY_MS;
	s->conn = pgwait_connect(s->conninfo, &s->wait);
	PQsetNoticeReceiver(s->conn, quiet, NULL);
	if (PQstatus(s->conn) != CONNECTION_OK || !prepare(s) || PQsetnonblocking(s->conn, 0) != 0 ||
	    !PQenterPipelineMode(s->conn)) {		/* what is sent fits into the socket's buffer */
		log_warn("shared_connection", "error", PQerrorMessage(s->conn), NULL);
		drop(s);
		return false;
	}
	s->watch(s->arg, PQsocket(s->conn), true);
	atomic_store(&s->up, true);
	return true;
}

/* How long has the oldest been on its way? */
static int64_t
waiting_us(const struct dbshare *s, int64_t now)
{
	int64_t since = atomic_load(&s->oldest_us);

	return since ? now - since : 0;
}

static void
give_up(struct dbshare *s)
{
	AUTO(str) char *behind = xasprintf("%u", s->n > 0 ? s->n - 1 : 0);

	log_warn("shared_connection", "error", "an answer does not come", "behind", behind, NULL);
	drop(s);
	s->retry_ms = clock_mono_ms() + RETRY_MS;
}

/* Try to have a connection. False as well when somebody else is at it. */
static bool
reach(struct dbshare *s)
{
	bool there;

	if (atomic_load(&s->up))
		return true;
	if (pthread_mutex_trylock(&s->lock) != 0)
		return false;
	there = connected(s);
	pthread_mutex_unlock(&s->lock);
	return there;
}

bool
dbshare_send(struct dbshare *s, const struct db_later *q, void *ticket)
{
	int64_t now = clock_mono_us();
	bool room;

	if (still_stands() || waiting_us(s, now) > LATE_US || !reach(s))
		return false;
	pthread_mutex_lock(&s->queue_lock);
	room = atomic_load(&s->pending) < IN_FLIGHT;
	if (room) {
		s->queue[s->nqueue++] = (struct sent){ .q = q, .ticket = ticket, .at_us = now };
		atomic_fetch_add(&s->pending, 1);
		atomic_store(&s->todo, true);
	}
	pthread_mutex_unlock(&s->queue_lock);
	return room;
}

/* The queue goes to the end of the ring. Returns how many it was. */
static unsigned
take_queue(struct dbshare *s)
{
	unsigned n;

	atomic_store(&s->todo, false);
	pthread_mutex_lock(&s->queue_lock);
	n = s->nqueue;
	for (unsigned i = 0; i < n; i++)
		s->ring[(s->first + s->n++) % IN_FLIGHT] = s->queue[i];
	s->nqueue = 0;
	pthread_mutex_unlock(&s->queue_lock);
	return n;
}

static void
send_queue(struct dbshare *s)
{
	unsigned from = s->n, n = take_queue(s);

	if (from == 0 && n > 0)
		atomic_store(&s->oldest_us, s->ring[s->first].at_us);
	for (unsigned i = from; i < from + n && s->conn; i++) {
		const struct db_later *q = s->ring[(s->first + i) % IN_FLIGHT].q;

		if (!PQsendQueryPrepared(s->conn, db_stmts[q->stmt].name, q->nparams, q->params, NULL, NULL, 0) || !PQpipelineSync(s->conn))
			drop(s);
	}
}

/* The oldest statement's answer is complete. */
static void
pop(struct dbshare *s, struct dbshare_answer *out)
{
	struct sent *one = &s->ring[s->first];

	*out = (struct dbshare_answer){ .ticket = one->ticket, .res = one->res };
	s->swollen = s->swollen || PQresultMemorySize(one->res) > LARGE;
	one->res = NULL;
	s->first = (s->first + 1) % IN_FLIGHT;
	s->n--;
	atomic_store(&s->oldest_us, s->n > 0 ? s->ring[s->first].at_us : 0);
	atomic_fetch_sub(&s->pending, 1);
}

/* The newest statement has lost its connection. */
static void
pop_lost(struct dbshare *s, struct dbshare_answer *out)
{
	struct sent *one = &s->ring[(s->first + --s->n) % IN_FLIGHT];

	*out = (struct dbshare_answer){ .ticket = one->ticket };
	PQclear(one->res);
	one->res = NULL;
	if (s->n == 0)
		atomic_store(&s->oldest_us, 0);
	atomic_fetch_sub(&s->pending, 1);
}

/* One statement's result, or the sync behind it. False: the connection says something else; it is of no use any more. */
static bool
take_result(struct dbshare *s, PGresult *r, struct dbshare_answer *out, int *n)
{
	struct sent *one = &s->ring[s->first];

	switch (PQresultStatus(r)) {
	case PGRES_PIPELINE_SYNC:
		PQclear(r);
		pop(s, &out[(*n)++]);
		return true;
	case PGRES_TUPLES_OK:
		if (one->res)
			break;
		one->res = r;
		return true;
	default:
		PQclear(r);
		return PQstatus(s->conn) == CONNECTION_OK;	/* that statement failed: it is answered with NULL */
	}
	PQclear(r);
	return false;
}

static int
read_answers(struct dbshare *s, struct dbshare_answer *out, int max)
{
	int n = 0;

	if (!PQconsumeInput(s->conn)) {
		drop(s);
		return 0;
	}
	while (n < max && s->n > 0 && !PQisBusy(s->conn)) {
		PGresult *r = PQgetResult(s->conn);	/* NULL separates a statement's result from its sync */

		if (r && !take_result(s, r, out, &n)) {
			drop(s);
			return n;
		}
	}
	if (n == max)
		atomic_store(&s->readable, true);
	else
		s->watch(s->arg, PQsocket(s->conn), false);
	return n;
}

/* With the connection in hand: send, read. Returns how many answers. */
static int
work(struct dbshare *s, struct dbshare_answer *out, int max)
{
	int n = 0;

	if (s->conn)
		send_queue(s);
	else
		(void)take_queue(s);
	if (max > 0 && atomic_exchange(&s->readable, false) && s->conn)
		n = read_answers(s, out, max);
	if (s->conn && s->swollen && s->n == 0)
		drop(s);
	if (!s->conn && n == 0 && max > 0 && s->n > 0)
		pop_lost(s, &out[n++]);
	return n;
}

/* Has the connection been lost with something on its way, or is it to be given up now? */
static bool
lost(struct dbshare *s)
{
	if (atomic_load(&s->pending) == 0)
		return false;
	if (atomic_load(&s->up) && waiting_us(s, clock_mono_us()) > STUCK_US && pthread_mutex_trylock(&s->lock) == 0) {
		if (s->conn && waiting_us(s, clock_mono_us()) > STUCK_US)
			give_up(s);
		pthread_mutex_unlock(&s->lock);
	}
	return !atomic_load(&s->up);
}

/* Is there something for who has the connection? What is asked first may have kept it from somebody who left a word. */
static bool
wanted(struct dbshare *s, bool room)
{
	bool gone = room && lost(s);

	return gone || atomic_load(&s->todo) || (room && atomic_load(&s->readable));
}

int
dbshare_take(struct dbshare *s, struct dbshare_answer *out, int max)
{
	int n = 0;

	while (wanted(s, n < max) && pthread_mutex_trylock(&s->lock) == 0) {
		n += work(s, out + n, max - n);
		pthread_mutex_unlock(&s->lock);
		if (!atomic_load(&s->up) && n > 0)
			break;
	}
	return n;
}

void
dbshare_readable(struct dbshare *s)
{
	atomic_store(&s->readable, true);
}

int
dbshare_pending(struct dbshare *s)
{
	return atomic_load(&s->pending);
}
