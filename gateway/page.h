/* page: list replies: {"data":[...],"next_page":...}, and objects whose stored text is spliced in. */
#ifndef ROOST_GATEWAY_PAGE_H
#define ROOST_GATEWAY_PAGE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "cursor.h"
#include "req.h"

/*
 * The cursor of the request's `page` parameter; *out_given false when there is none. EK_INVALID, also for a created_at filter that leaves
 * out the cursor's position: it would silently end the list.
 */
int page_cursor(struct gw_req *r, enum cursor_list list, bool asc, const char *scope, struct cursor *out, bool *out_given,
    struct err *e);

void page_begin(struct buf *b);
/* Before each item but the first. */
void page_next(struct buf *b, int item);
/* next NULL: the last page. bidirectional adds prev_page (prev NULL: the first page). */
void page_end(struct gw_req *r, const struct cursor *next, bool bidirectional, const struct cursor *prev);

/* One item of a list: encode this row, and leave its position in *at, which has the list's kind and scope. */
typedef int page_row(struct gw_req *r, const PGresult *res, int row, struct cursor *at, struct err *e);
/* The whole reply of a list forwards: res has its first rows of `found`. at: the list and its scope. */
int page_rows(struct gw_req *r, const PGresult *res, int64_t found, page_row *row, struct cursor *at, struct err *e);

/* A whole list of a workspace in the order of ids: query include_archived and limit. */
typedef int page_read(struct db *db, const char *workspace, const char *after, bool archived, int64_t limit, int64_t bytes, PGresult **res,
    int64_t *out_found, struct err *e);
int page_list(struct gw_req *r, enum cursor_list list, page_read *read, page_row *row, struct err *e);

/* The members of a stored JSON object ("{...}") behind what is already in b: `,"a":1`. */
void page_members(struct buf *b, const char *object);

/* ,"key":"value" or ,"key":null; value holds nothing that needs escaping (ids, stamps). */
void page_plain(struct buf *b, const char *key, const char *value);

#endif
