/* thread: the threads of a session as the API sees them. Today each session has one, the primary, which is the session's own row. */
#ifndef ROOST_STORE_THREAD_H
#define ROOST_STORE_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "cost.h"
#include "db.h"
#include "err.h"

/* Strings are borrowed from the result. agent is JSON text: a SessionAgent. */
struct thread_row {
	const char *id, *parent_id, *agent, *status, *created, *updated, *archived, *workflow_run_id;
	int64_t active_us, duration_us;
	int64_t input, output, cache_read, cache_5m, cache_1h;	/* tokens */
	bool moved;			/* its status has changed at least once */
	struct cost_spent spent;	/* of it the tokens count: a thread's runtime is not priced */
};
void thread_row(const PGresult *res, int row, struct thread_row *out);

/* NULL for no filter; statuses is a Postgres array. */
struct thread_filter { const char *id, *statuses, *before; int64_t limit, bytes; };

/* Rows of thread_row(), newest first; found as in agent_list(). The caller owns *res. None does not say whether the session exists. */
int thread_list(struct db *db, const char *workspace, const char *session, const struct thread_filter *f, PGresult **res, int64_t *found,
    struct err *e);

/* One thread. EK_NOT_FOUND "Session not found." or "Thread not found: ...". The caller owns *res. */
int thread_get(struct db *db, const char *workspace, const char *session, const char *id, PGresult **res, struct thread_row *out,
    struct err *e);

/* Is it there? EK_NOT_FOUND as thread_get(). */
int thread_exists(struct db *db, const char *workspace, const char *session, const char *id, struct err *e);

#endif
