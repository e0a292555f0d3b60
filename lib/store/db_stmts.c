/*
 * db_stmts: the generated table of statements and what their failures mean. Shared by the blocking and the pipelined client, so that
 * an SQLSTATE becomes an error kind in one place. Functions of ours raise SQLSTATE RS001.. for refusals that callers tell apart.
 */
#include "db_stmts.h"

#include <string.h>

#include "xalloc.h"

const struct db_stmt_def db_stmts[] = {
#include "stmts.inc"
	[STMT_COUNT] = { NULL, 0, 0, false, false, false, NULL },
};

static const struct {
	const char *state;	/* SQLSTATE or its class */
	enum err_kind kind;
} states[] = {
	{ "23505", EK_CONFLICT },	/* unique_violation */
	{ "57014", EK_TIMEOUT },	/* query_canceled: statement_timeout */
	{ "55P03", EK_TIMEOUT },	/* lock_not_available */
	{ "40001", EK_UNDONE },		/* serialization_failure */
	{ "40P01", EK_UNDONE },		/* deadlock_detected */
	{ "40", EK_UNAVAILABLE },	/* another rollback */
	{ "25006", EK_UNAVAILABLE },	/* read only: a standby, or a primary that was made one */
	{ "53", EK_UNAVAILABLE },	/* out of connections, memory, disk */
	{ "57", EK_UNAVAILABLE },	/* shutting down, crash recovery */
	{ "08", EK_UNAVAILABLE },	/* connection */
};

int
db_result_err(const PGresult *r, enum db_stmt stmt, struct err *e)
{
	const char *state = r ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
	const char *text = r ? PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	enum err_kind kind = EK_INTERNAL;
	size_t i;

	for (i = 0; state && i < sizeof states / sizeof *states; i++)
		if (strncmp(state, states[i].state, strlen(states[i].state)) == 0) {
			kind = states[i].kind;
			break;
		}
	if (!state)
		kind = EK_UNAVAILABLE;
	return err_fault(e, kind, 0, "%s: %s %s", stmt < STMT_COUNT ? db_stmts[stmt].name : "control", state ? state : "no connection",
	    text ? text : "");
}

char *
db_conninfo(const char *dsn, int timeout_ms, int lock_ms, bool fixed_plans)
{
	/*
	 * No sequential scans: a plan made while the tables were small is kept for long by a connection that is. No compilation: statements
	 * are short, and a scan that cannot be avoided counts as dear enough for it. Nobody of ours pauses inside a transaction: one that
	 * does has been stopped, and its locks must not outlast it by much. Where plans are fixed, none is made for the values of one call:
	 * of a statement that takes an array Postgres believes for ever that the next such plan will be worth its making (half of a turn's cost).
	 */
	return xasprintf("%s options='-c enable_seqscan=off -c jit=off -c statement_timeout=%d -c lock_timeout=%d "
	    "-c idle_in_transaction_session_timeout=10000%s'", dsn, timeout_ms, lock_ms, fixed_plans ? " -c plan_cache_mode=force_generic_plan" : "");
}
