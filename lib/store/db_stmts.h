/* db_stmts: the generated statement table, for db.c and dbq.c. */
#ifndef ROOST_STORE_DB_STMTS_H
#define ROOST_STORE_DB_STMTS_H

#include "db.h"

struct db_stmt_def {
	const char *name;	/* also its name on the server */
	int nparams;
	int users;		/* enum db_user bits */
	bool joins;		/* may share a commit with its neighbours: it locks no row that sessions share (dbq.c) */
	bool replan;		/* not prepared: planned for the values of each call; blocking client only */
	bool shared;		/* a quick read that may go by a connection that many share (dbshare.h) */
	bool grouped;		/* makes something new; may share a transaction with others of its kind (writeq.h) */
	const char *sql;
};

extern const struct db_stmt_def db_stmts[];

/* What a failed result means: SQLSTATE to error kind, the server's message to detail. Always returns -1. */
int db_result_err(const PGresult *r, enum db_stmt stmt, struct err *e);

/*
 * Did the server leave while the connection was idle? Its last words, or the end of the stream, wait to be read. Seen before a statement
 * is sent, a restart of Postgres costs a reconnect and no request.
 */
bool db_left(PGconn *conn);

/* dsn plus our session settings. fixed_plans: prepared statements are never planned for the values of a call. The caller frees. */
char *db_conninfo(const char *dsn, int timeout_ms, int lock_ms, bool fixed_plans);

#endif
