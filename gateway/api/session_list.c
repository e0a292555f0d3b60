/*
 * session_list: the only list that pages both ways (contract 1.9). A cursor names an item and a direction; reading back runs the other
 * order's statement from there and turns the page round, so pages keep their borders while sessions are created and deleted.
 */
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "page.h"
#include "session.h"
#include "sessionenc.h"

static int
filter_of(struct gw_req *r, struct session_filter *f, struct err *e)
{
	const char *const *statuses;
	int n = query_list(&r->query, "statuses", &statuses);

	*f = (struct session_filter){ .agent_id = query_text(&r->query, "agent_id"), .agent_version = query_int(&r->query, "agent_version"),
	    .gt = query_time(&r->query, "created_at[gt]", r->arena), .gte = query_time(&r->query, "created_at[gte]", r->arena),
	    .lt = query_time(&r->query, "created_at[lt]", r->arena), .lte = query_time(&r->query, "created_at[lte]", r->arena),
	    .archived = query_bool(&r->query, "include_archived"), .limit = query_int(&r->query, "limit"), .bytes = r->conf->page_bytes_max };
	if (f->agent_version && !f->agent_id)
		return err_set(e, EK_INVALID, 0, "agent_version: requires agent_id");
	if (n > 0) {
		AUTO(str) char *array = pg_array(statuses, n);

		f->statuses = arena_strdup(r->arena, array);
	}
	return 0;
}

static void
mark(struct cursor *c, const PGresult *res, int row, bool asc, bool back)
{
	struct session_row s;

	session_row(res, row, &s);
	*c = (struct cursor){ .list = CURSOR_SESSIONS, .asc = asc, .back = back, .at = session_list_created(res, row) };
	snprintf(c->id, sizeof c->id, "%s", s.id);
}

/* res holds the page in reading direction; back turns it round. */
static void
encode(struct gw_req *r, const PGresult *res, int64_t found, bool asc, bool given, bool back)
{
	int n = PQntuples(res), first = back ? n - 1 : 0, last = back ? 0 : n - 1;
	bool more = found > n, has_next = n > 0 && (back || more), has_prev = n > 0 && (back ? more : given);
	struct cursor next, prev;
	struct session_row s;

	page_begin(&r->out);
	for (int i = 0; i < n; i++) {
		page_next(&r->out, i);
		session_row(res, back ? n - 1 - i : i, &s);
		session_encode(&r->out, &s, NULL);
	}
	if (has_next)
		mark(&next, res, last, asc, false);
	if (has_prev)
		mark(&prev, res, first, asc, true);
	page_end(r, has_next ? &next : NULL, true, has_prev ? &prev : NULL);
}

int
api_session_list(struct gw_req *r, struct err *e)
{
	const char *order = query_text(&r->query, "order");
	bool asc = order && strcmp(order, "asc") == 0, given;
	AUTO(pgres) PGresult *res = NULL;
	struct cursor at = { 0 };
	struct session_filter f;
	int64_t found;

	if (filter_of(r, &f, e) < 0 || page_cursor(r, CURSOR_SESSIONS, asc, "", &at, &given, e) < 0)
		return -1;
	if (query_given(&r->query, "deployment_id") || query_given(&r->query, "memory_store_id")) {
		page_begin(&r->out);		/* no session has one yet */
		page_end(r, NULL, true, NULL);
		return 0;
	}
	f.position = given ? at.id : NULL;
	f.asc = asc != at.back;
	if (session_list(r->db, r->who.workspace_id, &f, &res, &found, e) < 0)
		return -1;
	encode(r, res, found, asc, given, at.back);
	return 0;
}
