/*
 * thread: binds and decodes the statement on threads. One statement, on one session of one workspace; whether nothing was found because
 * there is no such session is asked afterwards.
 */
#include "thread.h"

#include "session.h"

void
thread_row(const PGresult *res, int row, struct thread_row *out)
{
	*out = (struct thread_row){ .id = pg_str(res, row, 0), .parent_id = pg_str(res, row, 1), .agent = pg_str(res, row, 2),
	    .status = pg_str(res, row, 3), .created = pg_str(res, row, 4), .updated = pg_str(res, row, 5), .archived = pg_str(res, row, 6),
	    .active_us = pg_int(res, row, 7), .duration_us = pg_int(res, row, 8), .input = pg_int(res, row, 9),
	    .output = pg_int(res, row, 10), .cache_read = pg_int(res, row, 11), .cache_5m = pg_int(res, row, 12),
	    .cache_1h = pg_int(res, row, 13), .moved = pg_bool(res, row, 14), .workflow_run_id = pg_str(res, row, 15) };
	spent_text(pg_str(res, row, 16), &out->spent);
}

static int
no_thread(const char *id, struct err *e)
{
	return err_set(e, EK_NOT_FOUND, 0, "Thread not found: %.64s", id);
}

int
thread_list(struct db *db, const char *workspace, const char *session, const struct thread_filter *f, PGresult **res, int64_t *found,
    struct err *e)
{
	if (DB_RUN(db, STMT_THREAD_LIST, res, e, workspace, session, f->id, f->statuses, f->before, DBN(f->limit), DBN(f->bytes)) < 0)
		return err_wrap(e, "list threads of session %s", session);
	*found = PQntuples(*res) ? pg_int(*res, 0, 17) : 0;
	return 0;
}

int
thread_get(struct db *db, const char *workspace, const char *session, const char *id, PGresult **res, struct thread_row *out,
    struct err *e)
{
	const struct thread_filter f = { .id = id, .limit = 1 };
	AUTO(pgres) PGresult *r = NULL;
	int64_t found;

	if (thread_list(db, workspace, session, &f, &r, &found, e) < 0)
		return -1;
	if (PQntuples(r) == 0)
		return session_exists(db, workspace, session, NULL, e) < 0 ? -1 : no_thread(id, e);
	thread_row(r, 0, out);
	*res = steal(r);
	return 0;
}

int
thread_exists(struct db *db, const char *workspace, const char *session, const char *id, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_THREAD_EXISTS, &r, e, workspace, session, id) < 0)
		return err_wrap(e, "find thread %s", id);
	if (PQntuples(r) == 0)
		return err_set(e, EK_NOT_FOUND, 0, "Session not found.");
	return pg_bool(r, 0, 0) ? 0 : no_thread(id, e);
}
