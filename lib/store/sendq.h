/*
 * sendq: one warm connection to Postgres by which all threads of a process send messages (message_send). One that comes alone goes at
 * once; those that come while a statement is on its way wait for its answer and go as one set, in one statement and one commit
 * (message_send_many). A thread queues and goes on; whoever finds the connection readable takes the answers, for all.
 *
 * A set waits for nobody's lock, and holds one send of a session at most: later ones of the same session follow it in a later set, in the
 * order they were queued. While an answer is late (a disk, a lock), nothing more is taken, and what waits is given back to go by its
 * thread's own connection.
 *
 * Nothing is ever run twice here: what was on its way when the connection was lost comes back as uncertain.
 *
 * All functions may be called by several threads at once.
 */
#ifndef ROOST_STORE_SENDQ_H
#define ROOST_STORE_SENDQ_H

#include "db.h"
#include "inbox.h"

#define SENDQ_NAME "sends"	/* what Postgres calls the connection: application_name */

struct sendq;

enum sendq_result {
	SENDQ_DONE,		/* committed; `sent` says who must be told */
	SENDQ_LOOK,		/* nothing was written: something stands in its way (inbox_send()'s EK_CONFLICT), or its session is locked */
	SENDQ_ALONE,		/* nothing was written: go by another connection, which finds out what is wrong, if anything is */
	SENDQ_UNCERTAIN,	/* it may have been committed (EK_UNCERTAIN) */
};

/* One send: inbox_send()'s, queued; with `kept` of one event. The caller's, with what it points into, until sendq_take() gives it back. */
struct sendq_send {
	const char *workspace, *session;
	struct inbox_item *const *items;
	int n;
	const char *const *kept;	/* NULL, or the parameters of a dedupe_store_step() (of a first attempt told by content): stored with it */
	void *ticket;			/* the caller's own */
	enum sendq_result result;
	struct inbox_sent sent;
	struct sendq_send *next;	/* of sendq_take()'s list; else the queue's */
};

/* As dbshare_watch: a new connection's descriptor, or one to be watched again; one report each time. Called with a lock held. */
typedef void sendq_watch(void *arg, int fd, bool fresh);

/*
 * No connection yet. timeout_ms becomes statement_timeout; late_ms: an answer that takes longer is late, and one that goes alone waits no
 * longer for its session's lock; caps as for inbox_send().
 */
struct sendq *sendq_open(const char *dsn, int timeout_ms, int late_ms, const struct inbox_caps *caps, sendq_watch *watch, void *arg);
/* What has not been given back is forgotten. */
void sendq_close(struct sendq **q);

/* Would sendq_put() take one? */
bool sendq_takes(struct sendq *q);
/* Has one been wanted while there was no connection, and is it time to try? Then sendq_connect(), which waits for Postgres. */
bool sendq_wants(struct sendq *q);
void sendq_connect(struct sendq *q);

/* Queue it. False: not taken (no connection, something late, too many). It leaves with the next sendq_flush(), or behind an answer. */
bool sendq_put(struct sendq *q, struct sendq_send *s);

/* Is there something that sendq_flush() would send? Several that are queued before it travel together. */
bool sendq_gathers(struct sendq *q);
void sendq_flush(struct sendq *q);

/* The watched descriptor is readable: for the next sendq_take(). */
void sendq_readable(struct sendq *q);

/*
 * What has been answered, or NULL: all that are done, in order, or else one of the others, which may make its thread wait; *out_more: there
 * are more of those, for other threads. Behind an answer the next set leaves. Does not wait. To be called until it gives NULL, and now and
 * then, for what is late or lost.
 */
struct sendq_send *sendq_take(struct sendq *q, bool *out_more);

/* How many have been queued and not been given back. */
int sendq_pending(struct sendq *q);

#endif
