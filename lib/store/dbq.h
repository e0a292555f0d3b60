/*
 * dbq: a pipelined Postgres connection for an event loop (worker).
 *
 * Each statement is its own transaction as far as callers can see: an error touches only itself, and `done` is called after the
 * commit. Statements marked `joins` in sql/stmts that queue up together share one commit (group commit); when one of such a group
 * fails, the others are run again by themselves. Statements run in the order queued, except that those run again come first.
 *
 * libpq's buffers grow with what passes and never shrink: after something large the connection is renewed when nothing is outstanding.
 *
 * On connection loss every outstanding statement is answered with EK_UNCERTAIN (it may have been committed), the connection is
 * reopened with backoff, and statements queued meanwhile wait. EK_CONFLICT and the others as in db.h.
 *
 * An answer that does not come is waited for, by no thread: when a Postgres that stood still goes on, it says more than EK_UNCERTAIN would, and
 * the locks that the connection holds (a worker's life) have not been lost.
 */
#ifndef ROOST_STORE_DBQ_H
#define ROOST_STORE_DBQ_H

#include "db.h"
#include "loop.h"

struct dbq;

/* res: NULL on error, else borrowed until return. e: NULL on success. */
typedef void dbq_done_fn(void *ctx, const PGresult *res, const struct err *e);

struct dbq *dbq_new(struct loop *loop, const char *dsn, enum db_user user, int timeout_ms);
void dbq_free(struct dbq **q);

/* Queue one statement; parameters are copied. done may be NULL. */
void dbq_run(struct dbq *q, enum db_stmt stmt, int nparams, const char *const *params, dbq_done_fn *done, void *ctx);
/* The same with parameters that are heap strings (or NULL) and change hands: a large one is not copied. */
void dbq_give(struct dbq *q, enum db_stmt stmt, int nparams, char *const *params, dbq_done_fn *done, void *ctx);
#define DBQ_RUN(q, stmt, done, ctx, ...)							\
	dbq_run((q), (stmt), DB_NARGS(__VA_ARGS__), (const char *const[]){ NULL, ##__VA_ARGS__ } + 1, (done), (ctx))

/*
 * Queue a statement that is decided when it is sent, so that more can be put into it until then: fn gives the statement, one that joins,
 * and its parameters as dbq_give() takes them. fn queues nothing here.
 */
#define DBQ_PARAMS_MAX 48
typedef enum db_stmt dbq_late_fn(void *ctx, char **params);
void dbq_late(struct dbq *q, dbq_late_fn *fn, dbq_done_fn *done, void *ctx);

/* Connected and prepared? */
bool dbq_ready(const struct dbq *q);
/* How often it has been connected: another number than before means that session state (locks) is gone. */
unsigned dbq_connections(const struct dbq *q);
/* Statements not yet answered. */
int dbq_pending(const struct dbq *q);

#endif
