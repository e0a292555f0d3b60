/*
 * dbshare: one connection to Postgres that the requests of many threads share. Statements are sent as they come, without waiting for the
 * answers to those before them (a pipeline, each statement a transaction of its own); answers are taken by whichever thread finds the
 * connection readable. One warm backend answers several requests each time it wakes, where a connection per thread wakes one each time.
 *
 * For quick reads only (`shared` in sql/stmts): answers come in order, so a slow one holds up those behind it. While one is late, nothing
 * more is sent here: dbshare_send() says false, and the statement goes by the caller's own connection. One that is stuck costs the
 * connection.
 *
 * All functions may be called by several threads at once.
 */
#ifndef ROOST_STORE_DBSHARE_H
#define ROOST_STORE_DBSHARE_H

#include "db.h"

#define DBSHARE_NAME "shared"	/* what Postgres calls it: application_name */

struct dbshare;

/* fresh: a new connection's descriptor, to be watched; else it is to be watched again. One report each time. Called with a lock held. */
typedef void dbshare_watch(void *arg, int fd, bool fresh);

/* Connects when it is first used. timeout_ms becomes statement_timeout. */
struct dbshare *dbshare_open(const char *dsn, enum db_user user, int timeout_ms, dbshare_watch *watch, void *arg);
/* What has no answer yet is forgotten. */
void dbshare_close(struct dbshare **s);

/*
 * Have a statement sent by the next dbshare_take(), which the caller makes. q and what it points into stay until the answer. False: not taken
 * (no connection, too much on its way, or something late). ticket comes back with the answer, perhaps before this returns.
 */
bool dbshare_send(struct dbshare *s, const struct db_later *q, void *ticket);

/* The watched descriptor is readable: for the next dbshare_take(). */
void dbshare_readable(struct dbshare *s);

/*
 * Send what waits, and take up to max answers (owned; NULL: failed, or the connection was lost: run it by another one), unless another thread
 * is at it, which then does it all. Returns how many; there may be more unless it is 0. Does not wait. To be called now and then, for what
 * has been lost or is stuck.
 */
struct dbshare_answer {
	void *ticket;
	PGresult *res;
};
int dbshare_take(struct dbshare *s, struct dbshare_answer *out, int max);

/* How many statements are on their way. */
int dbshare_pending(struct dbshare *s);

#endif
