/*
 * event_list: a session's events (contract 3.8): the log by sequence number, then what waits in the inbox with processed_at null. Bodies
 * are copied as stored. A cursor is a pair of positions, in the log and in the inbox, so that an event that moves from the one into the
 * other between two pages is never skipped; it may be seen again, with its stamp.
 */
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "draft.h"
#include "inbox.h"
#include "page.h"
#include "session.h"

static int
filter_of(struct gw_req *r, struct event_filter *f, struct err *e)
{
	const char *order = query_text(&r->query, "order"), *const *types;
	int n = query_list(&r->query, "types", &types);
	struct cursor at = { 0 };
	bool given;

	*f = (struct event_filter){ .gt = query_time(&r->query, "created_at[gt]", r->arena),
	    .gte = query_time(&r->query, "created_at[gte]", r->arena), .lt = query_time(&r->query, "created_at[lt]", r->arena),
	    .lte = query_time(&r->query, "created_at[lte]", r->arena), .limit = query_int(&r->query, "limit"),
	    .bytes = r->conf->page_bytes_max, .desc = order && strcmp(order, "desc") == 0 };
	if (n > 0) {
		AUTO(str) char *array = pg_array(types, n);

		f->types = arena_strdup(r->arena, array);
	}
	if (page_cursor(r, CURSOR_EVENTS, !f->desc, r->param[0], &at, &given, e) < 0)
		return -1;
	f->seq = given ? at.a : f->desc ? INT64_MAX : 0;
	f->inbox_seq = given ? at.b : f->desc ? INT64_MAX : 0;
	return 0;
}

int
api_event_list(struct gw_req *r, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct cursor next = { .list = CURSOR_EVENTS };
	struct event_filter f;
	struct event_row ev;
	int64_t found;
	int n;

	if (filter_of(r, &f, e) < 0 || session_exists(r->db, r->who.workspace_id, r->param[0], e) < 0 ||
	    event_list(r->db, r->param[0], &f, &res, &found, e) < 0)
		return -1;
	next.asc = !f.desc;
	next.a = f.seq;
	next.b = f.inbox_seq;
	snprintf(next.scope, sizeof next.scope, "%s", r->param[0]);
	n = PQntuples(res);
	page_begin(&r->out);
	for (int i = 0; i < n; i++) {
		page_next(&r->out, i);
		event_row(res, i, &ev);
		if (ev.waiting) {
			draft_echo(&r->out, ev.text, ev.stamp);
			next.b = ev.seq;
		} else {
			buf_str(&r->out, ev.text);
			next.a = ev.seq;
			next.b = f.desc ? 0 : next.b;	/* newest first: the inbox lies behind us */
		}
	}
	page_end(r, found > n ? &next : NULL, false, NULL);
	return 0;
}
