/*
 * pgwait: waiting for Postgres, with an end to it. A server that stands still (a disk that hangs, stopped processes) takes statements and
 * answers none; libpq would wait for it for ever.
 *
 * Connections made here are non-blocking, so that sending ends, too. Each wait has a bound that is beyond the server's statement_timeout:
 * where the server can say what became of a statement, that is what its caller hears. Every byte that comes or goes begins it anew. A
 * connection that is given up is closed for both sides and its status is CONNECTION_BAD: to callers it is a lost one. What was sent by it may
 * still be run, when the server goes on.
 */
#ifndef ROOST_STORE_PGWAIT_H
#define ROOST_STORE_PGWAIT_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

struct pgwait {
	int suspect_ms;		/* a wait of so long is a suspicion (still.h) */
	int bound_ms;		/* and after so long it is given up */
	int64_t until_ms;	/* and at this time at the latest (clock_mono_ms()); 0: whenever */
	bool gave_up;		/* the connection was given up */
};

/* For a connection whose statement_timeout this is. */
struct pgwait pgwait_of(int timeout_ms);
/* The bound alone. */
int pgwait_bound(int timeout_ms);

/* As PQconnectdb(), in at most some seconds; never NULL. */
PGconn *pgwait_connect(const char *conninfo, struct pgwait *w);

/* As PQgetResult(). After it there may be bytes that PQgetResult() alone would not wait for either. */
PGresult *pgwait_result(PGconn *conn, struct pgwait *w);
/* The answer to what was sent outside a pipeline, as PQexec() gives it: the last result. NULL: there is none. */
PGresult *pgwait_answer(PGconn *conn, struct pgwait *w);
PGresult *pgwait_prepare(PGconn *conn, const char *name, const char *sql, struct pgwait *w);

/* Close it for both sides; PQfinish() is still to be called. */
void pgwait_give_up(PGconn *conn);

#endif
