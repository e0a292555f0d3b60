/*
 * writeset: see writeset.h. A set of many small objects is bounded like one large one, by bytes that were counted when they were queued.
 * Nothing here waits or fails but for the connection; a crash leaves what writeq.c says.
 */
#include "writeset.h"

#include "db_stmts.h"

#define SET_MAX 32

void
writeset_empty(struct writeset *l)
{
	*l = (struct writeset){ .end = &l->first };
}

void
writeset_add(struct writeset *l, struct writeq_write *w)
{
	w->next = NULL;
	*l->end = w;
	l->end = &w->next;
	l->n++;
}

void
writeset_clear(struct writeset *l)
{
	for (struct writeq_write *w = l->first; w; w = w->next) {
		PQclear(w->res);
		w->res = NULL;
	}
}

static void
sort_in(struct writeset *l, struct writeq_write *w)
{
	struct writeq_write **at = &l->first;

	while (*at && (*at)->lock <= w->lock)
		at = &(*at)->next;
	w->next = *at;
	*at = w;
	if (!w->next)
		l->end = &w->next;
	l->n++;
}

void
writeset_choose(struct writeset *queue, struct writeset *set)
{
	size_t bytes = 0;

	while (queue->first && set->n < SET_MAX && (set->n == 0 || bytes + queue->first->bytes <= WRITEQ_BYTES)) {
		struct writeq_write *w = queue->first;

		queue->first = w->next;
		queue->n--;
		bytes += w->bytes;
		sort_in(set, w);
	}
	if (!queue->first)
		writeset_empty(queue);
}

bool
writeset_prepare(PGconn *conn)
{
	for (int i = 0; i < STMT_COUNT; i++) {
		AUTO(pgres) PGresult *r = NULL;

		if (!db_stmts[i].grouped)
			continue;
		r = PQprepare(conn, db_stmts[i].name, db_stmts[i].sql, 0, NULL);
		if (PQresultStatus(r) != PGRES_COMMAND_OK)
			return false;
	}
	return true;
}

bool
writeset_send(PGconn *conn, const struct writeset *set)
{
	for (const struct writeq_write *w = set->first; w; w = w->next)
		if (!PQsendQueryPrepared(conn, db_stmts[w->stmt].name, w->nparams, w->params, NULL, NULL, 0))
			return false;
	return PQpipelineSync(conn);
}
