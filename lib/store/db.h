/*
 * db: one Postgres connection and the named statements of sql/stmts.
 *
 * ops/gen turns every `-- stmt: name` in sql/stmts into STMT_<NAME> (build/gen/stmts.h) with its text; all statements marked
 * for this process are prepared when a connection opens, so a typo stops the start. Parameters are text (NULL = SQL NULL), results
 * are text. Nothing else in C contains SQL.
 *
 * Blocking use (gateway, hub, roostctl): db_open, db_run, db_tx_*. A lost connection is reopened by the next call; a call that lost
 * the connection fails with EK_UNAVAILABLE, or with EK_UNCERTAIN when a commit was under way. One whose answer does not come is given up, a
 * while after the server's own statement_timeout (pgwait.h): it was lost then. While Postgres is known to stand still (still.h) nothing is
 * begun: EK_UNAVAILABLE.
 * Pipelined use (worker): dbq.h.
 */
#ifndef ROOST_STORE_DB_H
#define ROOST_STORE_DB_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "cleanup.h"
#include "err.h"
#include "pgcell.h"
#include "stmts.h"	/* generated: enum db_stmt, struct db_stmt_def, db_stmts[] */

struct db;

/* Who prepares what: a statement names its users in sql/stmts ("-- for: gw stream"). */
enum db_user { DB_GW = 1, DB_STREAM = 2, DB_WORKER = 4, DB_ADMIN = 8, DB_MIGRATE = 16, DB_VAULT = 32 };	/* migrate: before any table exists */

/* Connect lazily: succeeds without a server. dsn is copied. timeout_ms becomes statement_timeout. */
struct db *db_open(const char *dsn, enum db_user user, int timeout_ms);
void db_close(struct db **db);
/* Is called before the calling thread waits for Postgres, but not again within a transaction. */
void db_on_wait(struct db *db, void (*waits)(void));
/* Its statement_timeout is another one from now on: the caller has set it, or it has ended with its transaction. */
void db_patience(struct db *db, int timeout_ms);
/* Every wait from now on ends at this time (clock_mono_ms()) at the latest; db_insist(): and begins even when Postgres is known to stand still. */
void db_until(struct db *db, int64_t mono_ms);
void db_insist(struct db *db, int64_t mono_ms);
/* Was the connection that this one last had, or tried to have, given up for want of an answer? */
bool db_gave_up(const struct db *db);

/*
 * Run one statement; nparams must equal the statement's (checked). *out (owned: AUTO(pgres)) may be NULL when rows do not matter.
 * Errors: unique violation EK_CONFLICT, statement timeout EK_TIMEOUT, connection EK_UNAVAILABLE, deadlock and serialization failure
 * EK_UNDONE, everything else EK_INTERNAL (detail has SQLSTATE and message, pub never has). A statement that is a transaction of its own
 * is never EK_UNDONE: it is run again here, and EK_UNAVAILABLE in the end.
 */
int db_run(struct db *db, enum db_stmt stmt, int nparams, const char *const *params, PGresult **out, struct err *e);

/* DB_RUN(db, STMT_X, &res, e, p1, p2): parameters as const char * values. */
#define DB_RUN(db, stmt, out, e, ...)							\
	db_run((db), (stmt), DB_NARGS(__VA_ARGS__), (const char *const[]){ NULL, ##__VA_ARGS__ } + 1, (out), (e))
#define DB_NARGS(...) ((int)(sizeof((const char *const[]){ NULL, ##__VA_ARGS__ }) / sizeof(char *)) - 1)

/* BEGIN, COMMIT, ROLLBACK. A commit whose reply was lost is EK_UNCERTAIN: re-read by id before any retry. */
int db_begin(struct db *db, struct err *e);
int db_commit(struct db *db, struct err *e);
void db_rollback(struct db *db);

/*
 * Several statements in one round trip, in order; the first that fails ends the run. DB_STEPS_BEGIN opens a transaction before them,
 * DB_STEPS_COMMIT commits after them (EK_UNCERTAIN as db_commit()). After a failure inside a transaction call db_rollback(). Results of
 * statements that succeeded are owned by the caller even when a later one failed.
 */
struct db_step {
	enum db_stmt stmt;
	int nparams;
	const char *const *params;
	PGresult **out;		/* NULL: rows do not matter; else NULL before the call */
};
enum { DB_STEPS_BEGIN = 1, DB_STEPS_COMMIT = 2 };
int db_run_steps(struct db *db, int flags, const struct db_step *steps, int n, struct err *e);

/*
 * One statement as a transaction of its own, in one round trip, whatever stands around the caller: possible if nothing has to be asked
 * before it. EK_UNCERTAIN as db_commit(); any other failure leaves nothing.
 */
bool db_alone(const struct db *db);
int db_run_alone(struct db *db, const struct db_step *step, struct err *e);

/*
 * A transaction around a caller that need not know of it. From db_outer_begin() to db_outer_end() or db_outer_drop() the first statement
 * opens it, with `first` before itself in the same round trip; db_begin() and commits of the caller neither open nor close anything, a
 * rollback ends it. When `first` returns a row, that statement fails with EK_CONFLICT: nothing of it stays, and `hit` has the row.
 * `last` is asked at each commit of the caller, and at the end: true gives the statement that goes before the real COMMIT, in the same
 * round trip (a commit that the caller only believes in stays open until the end, so `last` may wait for its material).
 */
struct db_outer {
	const struct db_step *first;		/* its `out` is not used; NULL: nothing to ask */
	bool (*last)(void *arg, struct db_step *out);
	void *arg;
	PGresult *hit;				/* owned by who owns the struct */
	bool refused;				/* `first` itself failed */
	bool committed;
	bool ending;				/* the caller is done: commit, whatever `last` says */
};
void db_outer_begin(struct db *db, struct db_outer *o);
/* EK_UNCERTAIN as db_commit(). Nothing was run: nothing is done. */
int db_outer_end(struct db *db, struct err *e);
void db_outer_drop(struct db *db);

/*
 * A caller that reads, in two runs: the statement goes another way between them (dbshare.h), and no thread waits for it. In the first run
 * the first statement, if it is marked `shared`, is not run but noted: asked is set, and the call fails; whatever the caller makes of that
 * is to be thrown away. In the second run (res set) that statement, the same again, gets *res. Other statements are run as ever, so a caller
 * whose first statement is not marked is done after its first run. So is one whose connection has not been opened yet: there is to be one
 * when the other way is barred. For callers that change nothing before their first statement.
 * only: that or nothing. Then a first statement that cannot go the other way is not run either: refused is set, and the call fails.
 */
#define DB_LATER_PARAMS 8
struct db_later {
	enum db_stmt stmt;
	int nparams;
	const char *params[DB_LATER_PARAMS];	/* in text */
	char *text;
	bool asked;
	bool only, refused;
	PGresult *res;
};
void db_later_begin(struct db *db, struct db_later *l);
void db_later_end(struct db *db);
void db_later_free(struct db_later *l);

/*
 * A transaction failed, for the runs-th time: was it EK_UNDONE, and may it be run again from its beginning? Waits a moment before it says
 * so, another one each time, and clears e.
 */
bool db_again(int runs, struct err *e);

#endif
