/*
 * threads: list, retrieve and archive a session's threads, and the events of one (contract 2.3). A session has its primary thread, whose
 * log is the session's; nothing here depends on it being the only one. An archive is of child threads: the primary ends with its session.
 */
#include <stdio.h>

#include "api.h"
#include "page.h"
#include "session.h"
#include "sessionenc.h"
#include "thread.h"

int
api_thread_get(struct gw_req *r, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct thread_row t;

	if (thread_get(r->db, r->who.workspace_id, r->param[0], r->param[1], &res, &t, e) < 0)
		return -1;
	return thread_encode(&r->out, r->param[0], &t, e);
}

int
api_thread_archive(struct gw_req *r, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct thread_row t;

	if (thread_get(r->db, r->who.workspace_id, r->param[0], r->param[1], &res, &t, e) < 0)
		return -1;
	if (t.archived)		/* with its session; archiving again is nothing, as everywhere (contract 1.12) */
		return thread_encode(&r->out, r->param[0], &t, e);
	return err_set(e, EK_INVALID, 0, "The primary thread cannot be archived; archive the session instead.");
}

static int
encode_row(struct gw_req *r, const PGresult *res, int row, struct cursor *at, struct err *e)
{
	struct thread_row t;

	thread_row(res, row, &t);
	snprintf(at->id, sizeof at->id, "%s", t.id);
	return thread_encode(&r->out, r->param[0], &t, e);
}

int
api_thread_list(struct gw_req *r, struct err *e)
{
	struct cursor at, next = { .list = CURSOR_THREADS };
	const char *const *statuses;
	int count = query_list(&r->query, "statuses", &statuses);
	int64_t found;
	AUTO(str) char *array = count > 0 ? pg_array(statuses, count) : NULL;
	struct thread_filter f = { .statuses = array, .limit = query_int(&r->query, "limit"),
	    .bytes = r->conf->page_bytes_max };
	AUTO(pgres) PGresult *res = NULL;
	bool given;

	if (page_cursor(r, CURSOR_THREADS, false, r->param[0], &at, &given, e) < 0)
		return -1;
	f.before = given ? at.id : NULL;
	if (thread_list(r->db, r->who.workspace_id, r->param[0], &f, &res, &found, e) < 0)
		return -1;
	if (PQntuples(res) == 0 && session_exists(r->db, r->who.workspace_id, r->param[0], NULL, e) < 0)
		return -1;
	snprintf(next.scope, sizeof next.scope, "%s", r->param[0]);
	return page_rows(r, res, found, encode_row, &next, e);
}
