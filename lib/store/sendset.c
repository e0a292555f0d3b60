/*
 * sendset: see sendset.h. What goes into a set is decided by counting, before anything is put together: a set of many small messages is
 * bounded like one large one. Nothing here waits or fails but for the connection; a crash leaves what sendq.c says.
 */
#include "sendset.h"

#include <stdlib.h>
#include <string.h>

#include "db_stmts.h"

#define SET_MAX 32		/* sends of one statement */
#define SET_BYTES (64 << 10)	/* their texts, unless there is but one */
#define LOOKED_AT 64		/* how far into the queue a set reaches */

void
sendset_empty(struct sendset *l)
{
	*l = (struct sendset){ .end = &l->first };
}

void
sendset_add(struct sendset *l, struct sendq_send *s)
{
	s->next = NULL;
	*l->end = s;
	l->end = &s->next;
	l->n++;
}

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

void
sendset_choose(struct sendset *queue, struct sendset *set)
{
	const struct sendq_send *seen[LOOKED_AT] = { NULL };
	struct sendq_send *s = queue->first, *next;
	size_t bytes = 0;
	int n = 0;

	sendset_empty(queue);
	for (; s; s = next) {
		bool fits = n == 0 || (n < LOOKED_AT && set->n < SET_MAX && bytes + bytes_of(s) <= SET_BYTES && joins(s, seen, n));

		next = s->next;
		if (n < LOOKED_AT)
			seen[n++] = s;
		bytes += fits ? bytes_of(s) : 0;
		sendset_add(fits ? set : queue, s);
	}
}

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
keeps(const struct sendset *set)
{
	for (const struct sendq_send *s = set->first; s; s = s->next)
		if (s->kept)
			return true;
	return false;
}

static bool
send_many(PGconn *conn, const struct sendset *set, const struct inbox_caps *caps)
{
	const char *params[M_ARRAYS + 2] = { NULL }, *cells[SET_MAX];
	int arrays = keeps(set) ? M_ARRAYS : M_CAPS;
	struct db_num events, bytes;
	char *made[M_ARRAYS];
	bool sent;

	for (int a = 0; a < arrays; a++) {
		int n = 0;

		for (const struct sendq_send *s = set->first; s; s = s->next)
			cells[n++] = cell(s, a);
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
send_one(PGconn *conn, const struct sendset *set, const struct inbox_caps *caps)
{
	const struct sendq_send *s = set->first;
	struct inbox_step step;
	bool sent;

	inbox_step_make(&step, s->workspace, s->session, s->items, s->n, caps);
	sent = PQsendQueryPrepared(conn, db_stmts[step.step.stmt].name, step.step.nparams, step.params, NULL, NULL, 0);
	inbox_step_free(&step);
	return sent;
}

enum db_stmt
sendset_stmt(const struct sendset *set)
{
	return set->n == 1 && !set->first->kept ? STMT_MESSAGE_SEND : STMT_MESSAGE_SEND_MANY;
}

bool
sendset_send(PGconn *conn, const struct sendset *set, const struct inbox_caps *caps)
{
	return sendset_stmt(set) == STMT_MESSAGE_SEND ? send_one(conn, set, caps) : send_many(conn, set, caps);
}
