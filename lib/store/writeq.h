/*
 * writeq: one warm connection to Postgres by which all threads of a process make new objects. What waits when the connection is free
 * leaves together: its statements are pipelined up to one sync, so they are one transaction and one commit. Those that come meanwhile are
 * the next set. A thread queues and goes on; whoever finds the connection readable takes the answers, for all.
 *
 * For single statements that wait for nobody and lock no row that others change: new rows with ids of their own, and what is kept of their
 * answers (request_store), which goes in the order of its locks, so that two sets cannot wait for each other.
 *
 * An error takes its whole set back, and each goes alone, by its thread's own connection: which of them was wrong is found out there. What
 * was on its way when the connection was lost is uncertain. Nothing is ever run twice here. While an answer is late (a disk, a lock),
 * nothing more is taken, and what waits is given back.
 *
 * All functions may be called by several threads at once.
 */
#ifndef ROOST_STORE_WRITEQ_H
#define ROOST_STORE_WRITEQ_H

#include "db.h"

#define WRITEQ_NAME "writes"	/* what Postgres calls the connection: application_name */
#define WRITEQ_BYTES 65536	/* of one write's parameters, and of a set of several */

struct writeq;

enum writeq_result {
	WRITEQ_DONE,		/* committed; res has its rows */
	WRITEQ_ALONE,		/* nothing was written: run it by another connection */
	WRITEQ_UNCERTAIN,	/* it may have been committed (EK_UNCERTAIN) */
};

/* One write. The caller's, with what it points into, until writeq_take() gives it back. */
struct writeq_write {
	enum db_stmt stmt;		/* marked `grouped` in sql/stmts */
	int nparams;
	const char *const *params;
	int64_t lock;			/* that its statement takes, or 0 */
	void *ticket;			/* the caller's own */
	enum writeq_result result;
	PGresult *res;			/* the caller's, when DONE */
	size_t bytes;			/* the queue's */
	struct writeq_write *next;	/* of writeq_take()'s list; else the queue's */
};

/* As dbshare_watch: a new connection's descriptor, or one to be watched again; one report each time. Called with a lock held. */
typedef void writeq_watch(void *arg, int fd, bool fresh);

/* No connection yet. timeout_ms becomes statement_timeout; late_ms: an answer that takes longer is late. */
struct writeq *writeq_open(const char *dsn, int timeout_ms, int late_ms, writeq_watch *watch, void *arg);
/* What has not been given back is forgotten. */
void writeq_close(struct writeq **q);

/* Would writeq_put() take a small one? */
bool writeq_takes(struct writeq *q);
/* Has one been wanted while there was no connection, and is it time to try? Then writeq_connect(), which waits for Postgres. */
bool writeq_wants(struct writeq *q);
void writeq_connect(struct writeq *q);

/* Queue it. False: not taken (no connection, something late, too many, too large). It leaves with writeq_flush(), or behind an answer. */
bool writeq_put(struct writeq *q, struct writeq_write *w);

/* Is there something that writeq_flush() would send? Several that are queued before it travel together. */
bool writeq_gathers(struct writeq *q);
void writeq_flush(struct writeq *q);

/* The watched descriptor is readable: for the next writeq_take(). */
void writeq_readable(struct writeq *q);

/*
 * What has been answered, or NULL: all that are done, or else one of the others, which may make its thread wait; *out_more: there are more
 * of those, for other threads. Behind an answer the next set leaves. Does not wait. To be called until it gives NULL, and now and then, for
 * what is late or lost.
 */
struct writeq_write *writeq_take(struct writeq *q, bool *out_more);

/* How many have been queued and not been given back. */
int writeq_pending(struct writeq *q);

#endif
