/*
 * writeq: the warm connection (warmq.h) by which new objects are made. For single statements that wait for nobody and lock no row that
 * others change: new rows with ids of their own, and what is kept of their answers (request_store), which goes in the order of its locks,
 * so that two sets cannot wait for each other.
 */
#ifndef ROOST_STORE_WRITEQ_H
#define ROOST_STORE_WRITEQ_H

#include "warmq.h"

#define WRITEQ_NAME "writes"	/* what Postgres calls the connection: application_name */
#define WRITEQ_BYTES 65536	/* of one write's parameters, and of a set of several */

/* One write. Never LOOK. */
struct writeq_write {
	struct warmq_item item;		/* first */
	enum db_stmt stmt;		/* marked `grouped` in sql/stmts */
	int nparams;
	const char *const *params;
	int64_t lock;			/* that its statement takes, or 0 */
	size_t bytes;			/* the queue's */
};

/* No connection yet. timeout_ms becomes statement_timeout; late_ms: an answer that takes longer is late. */
struct warmq *writeq_open(const char *dsn, int timeout_ms, int late_ms, warmq_watch *watch, void *arg);

#endif
