/*
 * page: see page.h. Stored objects are copied, not parsed: a page costs what its bytes cost. The texts spliced here were written by this
 * program from checked trees.
 */
#include "page.h"

#include <string.h>

#include "xalloc.h"

static int
position_check(const struct gw_req *r, const struct cursor *at, struct err *e)
{
	static const struct { const char *name; int sign; bool equal; } bounds[] = {
		{ "created_at[gt]", 1, false }, { "created_at[gte]", 1, true }, { "created_at[lt]", -1, false }, { "created_at[lte]", -1, true },
	};

	for (size_t i = 0; at->at && i < sizeof bounds / sizeof *bounds; i++) {
		int64_t bound;

		if (!query_has(&r->query, bounds[i].name) || !query_given(&r->query, bounds[i].name))
			continue;
		bound = query_int(&r->query, bounds[i].name);
		if ((at->at == bound && !bounds[i].equal) || (bounds[i].sign > 0 ? at->at < bound : at->at > bound))
			return err_set(e, EK_INVALID, 0, "invalid page cursor: the created_at filter excludes its position");
	}
	return 0;
}

int
page_cursor(struct gw_req *r, enum cursor_list list, bool asc, const char *scope, struct cursor *out, bool *out_given, struct err *e)
{
	const char *text = query_text(&r->query, "page");

	*out_given = text != NULL;
	if (!text)
		return 0;
	if (cursor_read(r->cursor_key, r->who.workspace_id, text, list, asc, scope, out, e) < 0)
		return -1;
	return position_check(r, out, e);
}

void
page_begin(struct buf *b)
{
	buf_str(b, "{\"data\":[");
}

void
page_next(struct buf *b, int item)
{
	if (item > 0)
		buf_ch(b, ',');
}

static void
put_cursor(struct gw_req *r, const char *key, const struct cursor *c)
{
	char text[CURSOR_TEXT];

	page_plain(&r->out, key, c ? cursor_make(r->cursor_key, r->who.workspace_id, c, text) : NULL);
}

void
page_end(struct gw_req *r, const struct cursor *next, bool bidirectional, const struct cursor *prev)
{
	buf_ch(&r->out, ']');
	put_cursor(r, "next_page", next);
	if (bidirectional)
		put_cursor(r, "prev_page", prev);
	buf_ch(&r->out, '}');
}

int
page_rows(struct gw_req *r, const PGresult *res, int64_t found, page_row *row, struct cursor *at, struct err *e)
{
	int n = PQntuples(res);

	page_begin(&r->out);
	for (int i = 0; i < n; i++) {
		page_next(&r->out, i);
		if (row(r, res, i, at, e) < 0)
			return -1;
	}
	page_end(r, n > 0 && found > n ? at : NULL, false, NULL);
	return 0;
}

int
page_list(struct gw_req *r, enum cursor_list list, page_read *read, page_row *row, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct cursor at, next = { .list = list };
	int64_t found;
	bool given;

	if (page_cursor(r, list, false, "", &at, &given, e) < 0)
		return -1;
	if (read(r->db, r->who.workspace_id, given ? at.id : NULL, query_bool(&r->query, "include_archived"), query_int(&r->query, "limit"),
	    r->conf->page_bytes_max, &res, &found, e) < 0)
		return -1;
	return page_rows(r, res, found, row, &next, e);
}

void
page_members(struct buf *b, const char *object)
{
	size_t len = strlen(object);

	must(len >= 2 && object[0] == '{' && object[len - 1] == '}');
	if (len == 2)
		return;
	buf_ch(b, ',');
	buf_put(b, object + 1, len - 2);
}

void
page_plain(struct buf *b, const char *key, const char *value)
{
	if (value)
		buf_printf(b, ",\"%s\":\"%s\"", key, value);
	else
		buf_printf(b, ",\"%s\":null", key);
}
