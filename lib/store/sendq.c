/*
 * sendq: see sendq.h. What goes into a set is decided by counting, before anything is put together: a set of many small messages is bounded
 * like one large one. Nothing here waits or fails but for the connection; a crash leaves what warmq.c says.
 */
#include "sendq.h"

#include <stdlib.h>
#include <string.h>

#include "db_stmts.h"
#include "log.h"
#include "xalloc.h"

#define SET_MAX 32		/* sends of one statement */
#define SET_BYTES (64 << 10)	/* their texts, unless there is but one */
#define LOOKED_AT 64		/* how far into the queue a set reaches */

static struct sendq_send *
send_of(struct warmq_item *i)
{
	return (struct sendq_send *)i;
}

static bool
uses(enum db_stmt stmt)
{
	return stmt == STMT_MESSAGE_SEND || stmt == STMT_MESSAGE_SEND_MANY;
}

static bool
admits(struct warmq_item *i)
{
	send_of(i)->sent = (struct inbox_sent){ .facts = false };
	return true;
}

/* --- which go together ------------------------------------------------------------------------------------------------------- */

static size_t
bytes_of(const struct sendq_send *s)
{
	size_t bytes = 0;

	for (int i = 0; i < s->n; i++)
		bytes += strlen(s->items[i]->stem) + (s->items[i]->fragment ? strlen(s->items[i]->fragment) : 0);
	return bytes;
}

/* May it go with the oldest, which is seen[0]? Not if one of its session was passed by, or goes. */
static bool
joins(const struct sendq_send *s, const struct sendq_send *const *seen, int n)
{
	if (s->n > 1 || seen[0]->n > 1)
		return false;
	for (int i = 0; i < n; i++)
		if (strcmp(seen[i]->session, s->session) == 0)
			return false;
	return true;
}

/* The oldest, and with it, if it is of one event, others of one event whose session has not been passed by, up to 32 and 64 kB. */
static void
choose(struct warmq_set *queue, struct warmq_set *set)
{
	const struct sendq_send *seen[LOOKED_AT] = { NULL };
	struct warmq_item *i = queue->first, *next;
	size_t bytes = 0;
	int n = 0;

	warmq_set_empty(queue);
	for (; i; i = next) {
		const struct sendq_send *s = send_of(i);
		bool fits = n == 0 || (n < LOOKED_AT && set->n < SET_MAX && bytes + bytes_of(s) <= SET_BYTES && joins(s, seen, n));

		next = i->next;
		if (n < LOOKED_AT)
			seen[n++] = s;
		bytes += fits ? bytes_of(s) : 0;
		warmq_set_add(fits ? set : queue, i);
	}
}

/* --- the statement they become ----------------------------------------------------------------------------------------------- */

enum { M_WORKSPACE, M_SESSION, M_ID, M_STEM, M_FRAGMENT, M_LOCK, M_IDENT, M_REQUEST, M_DIGEST, M_EVENTS, M_KEEP, M_CONNECTION, M_ARRAYS };
#define M_CAPS M_LOCK		/* stand between the messages and what is kept of them */

static const char *
cell(const struct sendq_send *s, int which)
{
	/* of what is kept: the parameter of request_store */
	static const int kept[M_ARRAYS] = { [M_LOCK] = 0, [M_IDENT] = 1, [M_REQUEST] = 2, [M_DIGEST] = 5, [M_EVENTS] = 8, [M_KEEP] = 10,
	    [M_CONNECTION] = 11 };

	switch (which) {
	case M_WORKSPACE: return s->workspace;
	case M_SESSION: return s->session;
	case M_ID: return s->items[0]->id;
	case M_STEM: return s->items[0]->stem;
	case M_FRAGMENT: return s->items[0]->fragment;
	default: return s->kept ? s->kept[kept[which]] : NULL;
	}
}

static bool
keeps(const struct warmq_set *set)
{
	for (struct warmq_item *i = set->first; i; i = i->next)
		if (send_of(i)->kept)
			return true;
	return false;
}

static bool
send_many(PGconn *conn, const struct warmq_set *set, const struct inbox_caps *caps)
{
	const char *params[M_ARRAYS + 2] = { NULL }, *cells[SET_MAX];
	int arrays = keeps(set) ? M_ARRAYS : M_CAPS;
	struct db_num events, bytes;
	char *made[M_ARRAYS];
	bool sent;

	for (int a = 0; a < arrays; a++) {
		int n = 0;

		for (struct warmq_item *i = set->first; i; i = i->next)
			cells[n++] = cell(send_of(i), a);
		params[a < M_CAPS ? a : a + 2] = made[a] = pg_array(cells, n);
	}
	params[M_CAPS] = db_num(&events, caps->events);
	params[M_CAPS + 1] = db_num(&bytes, caps->bytes);
	sent = PQsendQueryPrepared(conn, db_stmts[STMT_MESSAGE_SEND_MANY].name, M_ARRAYS + 2, params, NULL, NULL, 0);
	for (int a = 0; a < arrays; a++)
		free(made[a]);
	return sent;
}

static bool
send_one(PGconn *conn, const struct sendq_send *s, const struct inbox_caps *caps)
{
	struct inbox_step step;
	bool sent;

	inbox_step_make(&step, s->workspace, s->session, s->items, s->n, caps);
	sent = PQsendQueryPrepared(conn, db_stmts[step.step.stmt].name, step.step.nparams, step.params, NULL, NULL, 0);
	inbox_step_free(&step);
	return sent;
}

/* message_send of one, message_send_many of several, or of one whose answer is kept. */
static enum db_stmt
stmt_of(const struct warmq_set *set)
{
	return set->n == 1 && !send_of(set->first)->kept ? STMT_MESSAGE_SEND : STMT_MESSAGE_SEND_MANY;
}

static bool
send_set(PGconn *conn, const struct warmq_set *set, const void *own)
{
	return stmt_of(set) == STMT_MESSAGE_SEND ? send_one(conn, send_of(set->first), own) : send_many(conn, set, own);
}

/* --- what it answers --------------------------------------------------------------------------------------------------------- */

static enum warmq_result
refused(const struct warmq_set *set, const struct warmq_item *at, const PGresult *r)
{
	struct err e = ERR_INIT;

	(void)db_result_err(r, stmt_of(set), &e);
	if (e.kind != EK_CONFLICT)
		log_err("send_refused", &e, NULL);
	return e.kind == EK_CONFLICT && stmt_of(set) == STMT_MESSAGE_SEND ? WARMQ_LOOK : WARMQ_ALONE;
}

/* One line for each send: inbox_sent_read()'s, or "-" for one that has to be looked at. */
static void
read_lines(struct warmq_set *set)
{
	AUTO(pgres) PGresult *res = steal(set->first->res);
	const char *lines = pg_str(res, 0, 0);

	lines = lines ? lines : "";
	for (struct warmq_item *i = set->first; i; i = i->next) {
		size_t len = strcspn(lines, "\n");

		if (len == 1 && lines[0] == '-')
			i->result = WARMQ_LOOK;
		else
			inbox_sent_read(lines, len, &send_of(i)->sent);
		lines += len + (lines[len] == '\n');
	}
}

struct warmq *
sendq_open(const char *dsn, int timeout_ms, int late_ms, const struct inbox_caps *caps, warmq_watch *watch, void *arg)
{
	static const struct warmq_kind kind = { .name = SENDQ_NAME, .trouble = "send_connection", .joint = true, .uses = uses, .admits = admits,
	    .choose = choose, .send = send_set, .refused = refused, .read = read_lines };
	AUTO(str) char *conninfo = db_conninfo(dsn, timeout_ms, late_ms, true);
	struct inbox_caps *own = xcalloc(1, sizeof *own);

	*own = *caps;
	return warmq_open(&kind, own, conninfo, timeout_ms, late_ms, watch, arg);
}
