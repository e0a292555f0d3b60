/*
 * event_list: the events of a session's primary thread, or of a named one (contract 3.8): the log by sequence number, then what waits in
 * the inbox with processed_at null. Bodies are copied as stored. A cursor is a pair of positions, in the log and in the inbox, so that an
 * event that moves from the one into the other between two pages is never skipped; it may be seen again, with its stamp.
 */
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "clock.h"
#include "draft.h"
#include "inbox.h"
#include "page.h"
#include "thread.h"

/* Where the page begins. */
static int
position(struct gw_req *r, enum cursor_list list, const char *scope, struct event_filter *f, int64_t *out_at, struct err *e)
{
	struct cursor at = { 0 };
	bool given;

	f->limit = query_int(&r->query, "limit");
	f->bytes = r->conf->page_bytes_max;
	if (page_cursor(r, list, !f->desc, scope, &at, &given, e) < 0)
		return -1;
	*out_at = at.at;
	f->seq = given ? at.a : f->desc ? INT64_MAX : 0;
	f->inbox_seq = given ? at.b : f->desc ? INT64_MAX : 0;
	return 0;
}

/* When an event of the log was processed: its text ends in the stamp. */
static int64_t
stamp_of(const char *text)
{
	char stamp[CLOCK_TEXT] = "";
	int64_t us;

	sscanf(text + draft_stem_len(text), ",\"processed_at\":\"%27[^\"]", stamp);
	return clock_parse(stamp, &us) == 0 ? us : 0;
}

/* at: the time of the position where the page begins, or 0. */
static int
reply(struct gw_req *r, enum cursor_list list, const char *scope, const struct event_filter *f, int64_t at, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct event_page page;
	struct cursor next = { .list = list, .asc = !f->desc, .a = f->seq, .b = f->inbox_seq };
	struct event_row ev = { 0 };
	const char *last = NULL;	/* of the log */

	if (event_page(r->db, r->who.workspace_id, r->param[0], f, &res, &page, e) < 0)
		return -1;
	snprintf(next.scope, sizeof next.scope, "%s", scope);
	page_begin(&r->out);
	for (int i = 0; i < page.n; i++) {
		page_next(&r->out, i);
		event_row(&page, i, &ev);
		if (ev.waiting) {
			draft_echo(&r->out, ev.text, ev.stamp);
			next.b = ev.seq;
		} else {
			buf_str(&r->out, last = ev.text);
			next.a = ev.seq;
			next.b = f->desc ? 0 : next.b;	/* newest first: the inbox lies behind us */
		}
	}
	next.at = page.more && last ? stamp_of(last) : at;
	page_end(r, page.more ? &next : NULL, false, NULL);
	return 0;
}

int
api_event_list(struct gw_req *r, struct err *e)
{
	const char *order = query_text(&r->query, "order"), *const *types;
	int n = query_list(&r->query, "types", &types);
	AUTO(str) char *array = n > 0 ? pg_array(types, n) : NULL;
	int64_t at;
	struct event_filter f = { .types = array, .gt = query_time(&r->query, "created_at[gt]", r->arena),
	    .gte = query_time(&r->query, "created_at[gte]", r->arena), .lt = query_time(&r->query, "created_at[lt]", r->arena),
	    .lte = query_time(&r->query, "created_at[lte]", r->arena), .desc = order && strcmp(order, "desc") == 0 };

	if (position(r, CURSOR_EVENTS, r->param[0], &f, &at, e) < 0)
		return -1;
	return reply(r, CURSOR_EVENTS, r->param[0], &f, at, e);
}

int
api_thread_event_list(struct gw_req *r, struct err *e)
{
	struct event_filter f = { .thread = r->param[1] };
	int64_t at;

	if (position(r, CURSOR_THREAD_EVENTS, r->param[1], &f, &at, e) < 0 ||
	    thread_exists(r->db, r->who.workspace_id, r->param[0], r->param[1], e) < 0)
		return -1;
	return reply(r, CURSOR_THREAD_EVENTS, r->param[1], &f, at, e);
}
