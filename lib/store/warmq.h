/*
 * warmq: one warm connection to Postgres by which all threads of a process have something written. A request that comes alone goes at once;
 * those that come while a set is on its way wait for its answer and go as the next set, in one transaction and one commit. A thread queues
 * and goes on; whoever finds the connection readable takes the answers, for all. What a request says, which of them may go together and
 * what their answers mean is its kind's: sendq.h, writeq.h.
 *
 * An error takes its whole set back, and each goes alone, by its thread's own connection: which of them was wrong is found out there. What
 * was on its way when the connection was lost is uncertain. Nothing is ever run twice here. While an answer is late (a disk, a lock),
 * nothing more is taken, and what waits is given back to go by its thread's own connection. A connection whose answer does not come at all is
 * given up (pgwait.h).
 *
 * All functions may be called by several threads at once.
 */
#ifndef ROOST_STORE_WARMQ_H
#define ROOST_STORE_WARMQ_H

#include "db.h"

struct warmq;

enum warmq_result {
	WARMQ_DONE,		/* committed */
	WARMQ_LOOK,		/* nothing was written: something stands in its way, of which more is found out by looking (sendq.h) */
	WARMQ_ALONE,		/* nothing was written: go by another connection, which finds out what is wrong, if anything is */
	WARMQ_UNCERTAIN,	/* it may have been committed (EK_UNCERTAIN) */
};

/* One request: the first member of its kind's. The caller's, with what it points into, until warmq_take() gives it back. */
struct warmq_item {
	void *ticket;			/* the caller's own */
	enum warmq_result result;
	PGresult *res;			/* its statement's rows, the caller's, when DONE; the queue's before */
	struct warmq_item *next;	/* of warmq_take()'s list; else the queue's */
};

/* As dbshare_watch: a new connection's descriptor, or one to be watched again; one report each time. Called with a lock held. */
typedef void warmq_watch(void *arg, int fd, bool fresh);

/* What has not been given back is forgotten. */
void warmq_close(struct warmq **q);

/* Would warmq_put() take one that is not too large? */
bool warmq_takes(struct warmq *q);
/* Has one been wanted while there was no connection, and is it time to try? Then warmq_connect(), which waits for Postgres. */
bool warmq_wants(struct warmq *q);
void warmq_connect(struct warmq *q);

/* Queue it. False: not taken (no connection, something late, too many, too large). It leaves with warmq_flush(), or behind an answer. */
bool warmq_put(struct warmq *q, struct warmq_item *i);

/* Is there something that warmq_flush() would send? Several that are queued before it travel together. */
bool warmq_gathers(struct warmq *q);
void warmq_flush(struct warmq *q);

/* The watched descriptor is readable: for the next warmq_take(). */
void warmq_readable(struct warmq *q);

/*
 * What has been answered, or NULL: all that are done, in order, or else one of the others, which may make its thread wait; *out_more: there
 * are more of those, for other threads. Behind an answer the next set leaves. Does not wait. To be called until it gives NULL, and now and
 * then, for what is late or lost.
 */
struct warmq_item *warmq_take(struct warmq *q, bool *out_more);

/* How many have been queued and not been given back. */
int warmq_pending(struct warmq *q);

/* --- for its kinds ----------------------------------------------------------------------------------------------------------- */

/* Requests in order, linked by `next`. */
struct warmq_set {
	struct warmq_item *first, **end;
	int n;
};
void warmq_set_empty(struct warmq_set *l);
void warmq_set_add(struct warmq_set *l, struct warmq_item *i);

/* All but admits() are called with the queue's lock held; none of them waits. */
struct warmq_kind {
	const char *name;		/* what Postgres calls the connection: application_name */
	const char *trouble;		/* the event that tells of a connection that is lost or cannot be made */
	bool joint;			/* a set is one statement, whose only row answers all of it; it is the first one's `res` for read() */
	bool (*uses)(enum db_stmt stmt);	/* to be prepared */
	bool (*admits)(struct warmq_item *i);	/* make it ready to be queued; false: it is too large */
	/* Move what goes next from the queue, which has something, into the empty set. The rest stays, in order. */
	void (*choose)(struct warmq_set *queue, struct warmq_set *set);
	/* Its statements, pipelined; the sync is the queue's. False: the connection is of no use any more. */
	bool (*send)(PGconn *conn, const struct warmq_set *set, const void *own);
	/* The first result that is none, for `at` (NULL: behind the last): tell of it, and say what that makes of all of them. */
	enum warmq_result (*refused)(const struct warmq_set *set, const struct warmq_item *at, const PGresult *r);
	/* All are DONE: look into what they heard, which may make some LOOK. NULL: that is the caller's. */
	void (*read)(struct warmq_set *set);
};

/*
 * No connection yet. own: send()'s, on the heap or NULL, now the queue's. conninfo: db_conninfo()'s, with this timeout_ms; late_ms: an answer
 * that takes longer is late.
 */
struct warmq *warmq_open(const struct warmq_kind *kind, void *own, const char *conninfo, int timeout_ms, int late_ms, warmq_watch *watch,
    void *arg);

#endif
