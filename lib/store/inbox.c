/*
 * inbox: binds and decodes the statements on waiting events and the log. A batch travels as parallel arrays in one statement, so it is
 * one round trip and all or nothing.
 */
#include "inbox.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"
#include "xalloc.h"

void
inbox_item_free(struct inbox_item *it)
{
	free(it->stem);
	free(it->fragment);
	it->stem = it->fragment = NULL;
}

enum { A_ID, A_TYPE, A_STEM, A_ROLE, A_FRAGMENT, A_RECEIPT, A_WAKES, A_REFERS, A_ANSWER, A_DENIAL, A_HASH, A_COUNT };

static const char *
column(const struct inbox_item *it, int which)
{
	switch (which) {
	case A_ID: return it->id;
	case A_TYPE: return it->type;
	case A_STEM: return it->stem;
	case A_ROLE: return !it->fragment ? NULL : it->role ? it->role : "u";
	case A_FRAGMENT: return it->fragment;
	case A_RECEIPT: return it->on_receipt ? "t" : "f";
	case A_WAKES: return it->wakes ? "t" : "f";
	case A_REFERS: return it->refers_to;
	case A_ANSWER: return it->answer;
	case A_DENIAL: return it->deny_message;
	default: return it->hash[0] ? it->hash : NULL;
	}
}

/* A text that has become a parameter is not needed twice. Column order: A_ROLE asks whether there is a fragment, and comes before it. */
static void
used_up(struct inbox_item *it, int which)
{
	char **text = which == A_STEM ? &it->stem : which == A_FRAGMENT ? &it->fragment : NULL;

	if (text) {
		free(*text);
		*text = NULL;
	}
}

/* One column of the batch as an array parameter. The caller frees it. */
static char *
array_make(struct inbox_item *const *items, int n, int which)
{
	const char **cells = xcalloc((size_t)n, sizeof *cells);
	char *out;

	for (int i = 0; i < n; i++)
		cells[i] = column(items[i], which);
	out = pg_array(cells, n);
	free(cells);
	return out;
}

static void
owner_take(const PGresult *res, char owner[INBOX_OWNER])
{
	snprintf(owner, INBOX_OWNER, "%s", pg_str(res, 0, 0) ? pg_str(res, 0, 0) : "");
}

int
inbox_put_commit(struct db *db, const char *session, struct inbox_item *const *items, int n, char owner[INBOX_OWNER], struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	const char *params[1 + A_COUNT] = { session };
	const struct db_step step = { STMT_INBOX_PUT, 1 + A_COUNT, params, &res };
	char *arrays[A_COUNT];
	int rc;

	for (int a = 0; a < A_COUNT; a++) {
		params[1 + a] = arrays[a] = array_make(items, n, a);
		for (int i = 0; i < n; i++)
			used_up(items[i], a);
	}
	rc = db_run_steps(db, DB_STEPS_COMMIT, &step, 1, e);
	for (int a = 0; a < A_COUNT; a++)
		free(arrays[a]);
	if (rc < 0)
		return err_wrap(e, "put events into session %s", session);
	owner_take(res, owner);
	return 0;
}

void
inbox_step_make(struct inbox_step *s, const char *workspace, const char *session, struct inbox_item *const *items, int n,
    const struct inbox_caps *caps)
{
	static const int columns[INBOX_SEND_ARRAYS] = { A_ID, A_STEM, A_FRAGMENT };
	int64_t waiting = 0, read = 0;

	*s = (struct inbox_step){ .step = { STMT_MESSAGE_SEND, 9, s->params, NULL }, .params = { workspace, session } };
	for (int i = 0; i < n; i++) {
		waiting += (int64_t)strlen(items[i]->stem);
		read += (int64_t)strlen(items[i]->stem) + (items[i]->fragment ? (int64_t)strlen(items[i]->fragment) : 0);
	}
	for (int a = 0; a < INBOX_SEND_ARRAYS; a++)
		s->params[2 + a] = s->arrays[a] = array_make(items, n, columns[a]);
	s->params[5] = db_num(&s->num[0], waiting);
	s->params[6] = db_num(&s->num[1], read);
	s->params[7] = db_num(&s->num[2], caps->events);
	s->params[8] = db_num(&s->num[3], caps->bytes);
}

void
inbox_step_free(struct inbox_step *s)
{
	for (int a = 0; a < INBOX_SEND_ARRAYS; a++)
		free(s->arrays[a]);
}

void
inbox_sent_read(const char *line, size_t len, struct inbox_sent *out)
{
	char text[INBOX_OWNER + 105];	/* five numbers of at most 20 digits */
	const char *facts = memchr(line, ' ', len);
	long long wake_gen, inbox_seq, catalogue, opened_us = 0;

	*out = (struct inbox_sent){ .facts = false };
	snprintf(out->owner, sizeof out->owner, "%.*s", (int)(facts ? facts - line : (ptrdiff_t)len), line);
	if (!facts)
		return;
	snprintf(text, sizeof text, "%.*s", (int)(len - (size_t)(facts - line)), facts);
	out->facts = sscanf(text, "%" SCNu32 " %lld %lld %lld %lld", &out->prior, &wake_gen, &inbox_seq, &catalogue, &opened_us) >= 4;
	if (!out->facts)
		return;
	out->wake_gen = wake_gen;
	out->inbox_seq = inbox_seq;
	out->catalogue = catalogue;
	out->opened_us = opened_us;
}

int
inbox_send(struct db *db, const char *workspace, const char *session, struct inbox_item *const *items, int n, const struct inbox_caps *caps,
    struct inbox_sent *out, struct err *e)
{
	const char *line;

	AUTO(pgres) PGresult *res = NULL;
	struct inbox_step s;
	int rc;

	inbox_step_make(&s, workspace, session, items, n, caps);
	s.step.out = &res;
	rc = db_run_alone(db, &s.step, e);
	inbox_step_free(&s);
	if (rc < 0)
		return err_wrap(e, "send messages to session %s", session);
	line = pg_str(res, 0, 0) ? pg_str(res, 0, 0) : "";
	inbox_sent_read(line, strlen(line), out);
	return 0;
}

void
action_row(const PGresult *res, int row, struct action_row *out)
{
	*out = (struct action_row){ .tool_use_id = pg_str(res, row, 0), .kind = pg_str(res, row, 1), .state = pg_str(res, row, 2),
	    .answer_id = pg_str(res, row, 3), .answer_hash = pg_str(res, row, 4) };
}

int
event_find(struct db *db, const char *session, const char *id, PGresult **res, const char **out_text, bool *out_closed,
    const char **out_stamp, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_EVENT_FIND, &r, e, session, id) < 0)
		return err_wrap(e, "find event %s", id);
	if (PQntuples(r) == 0)
		return err_fault(e, EK_INTERNAL, 0, "event %s of session %s is neither in the log nor in the inbox", id, session);
	*out_closed = pg_str(r, 0, 0) != NULL;
	*out_text = pg_str(r, 0, *out_closed ? 0 : 1);
	*out_stamp = pg_str(r, 0, 2);
	*res = steal(r);
	return 0;
}

#define QUICK_ROWS 100		/* of a longer page, this many are tried */
#define QUICK_BYTES (4 << 20)	/* of such a page: it may go by a connection that others share */

/* Is that the whole page, in order? */
static bool
quick_is_whole(const PGresult *res, const struct event_filter *f, int rows, int n)
{
	if (pg_int(res, 0, 0) > 0 || (n > rows && f->limit > rows))
		return false;
	for (int i = 0; i < n; i++)
		if (!pg_str(res, i, 2) || (i > 0 && (pg_int(res, i, 1) > pg_int(res, i - 1, 1)) == f->desc))
			return false;
	return true;
}

/* Returns 1 when that was it, 0 when the longer way must be gone. */
static int
page_quick(struct db *db, const char *workspace, const char *session, const struct event_filter *f, PGresult **res, struct event_page *out,
    struct err *e)
{
	int rows = f->limit < QUICK_ROWS ? (int)f->limit : QUICK_ROWS, n;
	int64_t bytes = f->bytes < QUICK_BYTES ? f->bytes : QUICK_BYTES;
	AUTO(pgres) PGresult *r = NULL;

	if (f->thread || f->types || f->gt || f->gte || f->lt || f->lte)
		return 0;
	if (DB_RUN(db, f->desc ? STMT_EVENT_PAGE_DESC : STMT_EVENT_PAGE_ASC, &r, e, workspace, session, DBN(f->seq), DBN(rows),
	    DBN(bytes / (rows + 1))) < 0)
		return err_wrap(e, "list events of session %s", session);
	if (PQntuples(r) == 0)
		return err_set(e, EK_NOT_FOUND, 0, "Session not found.");
	n = pg_str(r, 0, 1) ? PQntuples(r) : 0;
	if (!quick_is_whole(r, f, rows, n))
		return 0;
	*out = (struct event_page){ .res = r, .n = n < rows ? n : rows, .more = n > rows, .quick = true };
	*res = steal(r);
	return 1;
}

int
event_page(struct db *db, const char *workspace, const char *session, const struct event_filter *f, PGresult **res, struct event_page *out,
    struct err *e)
{
	int rc = page_quick(db, workspace, session, f, res, out, e);
	char primary[ID_MAX];

	if (rc != 0)
		return rc < 0 ? -1 : 0;
	if (!f->thread && session_exists(db, workspace, session, primary, e) < 0)
		return -1;
	if (DB_RUN(db, f->desc ? STMT_EVENT_LIST_DESC : STMT_EVENT_LIST_ASC, res, e, session, DBN(f->seq), DBN(f->inbox_seq), f->types,
	    f->gt, f->gte, f->lt, f->lte, DBN(f->limit), DBN(f->bytes), f->thread ? f->thread : primary) < 0)
		return err_wrap(e, "list events of session %s", session);
	*out = (struct event_page){ .res = *res, .n = PQntuples(*res) };
	out->more = out->n > 0 && pg_int(*res, 0, 4) > out->n;
	return 0;
}

void
event_row(const struct event_page *page, int row, struct event_row *out)
{
	const PGresult *res = page->res;

	if (page->quick)
		*out = (struct event_row){ .seq = pg_int(res, row, 1), .text = pg_str(res, row, 2) };
	else
		*out = (struct event_row){ .waiting = pg_int(res, row, 0) == 1, .seq = pg_int(res, row, 1), .text = pg_str(res, row, 2),
		    .stamp = pg_str(res, row, 3) };
}
