/*
 * db_in: what the files of the blocking client share: db.c (the connection, one statement at a time) and dbtx.c (transactions). Nobody else
 * includes it.
 */
#ifndef ROOST_STORE_DB_IN_H
#define ROOST_STORE_DB_IN_H

#include "db.h"
#include "pgwait.h"

#define DB_LARGE (4UL << 20)	/* bytes of one statement's parameters or rows after which the connection is renewed */

struct db {
	char *conninfo;
	enum db_user user;
	PGconn *conn;
	struct pgwait wait;	/* how long for an answer */
	bool insists;		/* also when Postgres is known to stand still */
	bool in_tx;
	struct db_outer *outer;	/* a transaction around the caller's, or NULL */
	void (*waits)(void);	/* is told before we do, or NULL */
	struct db_later *later;	/* the caller's first statement goes another way, or NULL */
	bool swollen;		/* libpq's buffers have grown and never shrink: reconnect when idle */
};

/* db.c: there is a connection that can be used, all prepared; or there is none any more. */
int db_ensure(struct db *db, struct err *e);
void db_drop(struct db *db);
bool db_large(int nparams, const char *const *params);
/* It was a transaction of its own, and has been run again already if that was of use. Returns -1. */
int db_no_more(struct err *e);

/* dbtx.c: is there an outer transaction that has not been committed? */
bool db_around(const struct db *db);

#endif
