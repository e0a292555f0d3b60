/*
 * writeq: see writeq.h. The statements of a set go one after the other up to the sync, so they are one transaction. A set of many small
 * objects is bounded like one large one, by bytes that were counted when they were queued. Nothing here waits or fails but for the
 * connection; a crash leaves what warmq.c says.
 */
#include "writeq.h"

#include <string.h>

#include "db_stmts.h"
#include "log.h"
#include "xalloc.h"

#define SET_MAX 32

static struct writeq_write *
write_of(struct warmq_item *i)
{
	return (struct writeq_write *)i;
}

static bool
uses(enum db_stmt stmt)
{
	return db_stmts[stmt].grouped;
}

static bool
admits(struct warmq_item *i)
{
	struct writeq_write *w = write_of(i);

	must(db_stmts[w->stmt].grouped && w->nparams == db_stmts[w->stmt].nparams);
	w->bytes = 0;
	for (int p = 0; p < w->nparams; p++)
		w->bytes += w->params[p] ? strlen(w->params[p]) : 0;
	return w->bytes <= WRITEQ_BYTES;
}

static void
sort_in(struct warmq_set *l, struct warmq_item *i)
{
	struct warmq_item **at = &l->first;

	while (*at && write_of(*at)->lock <= write_of(i)->lock)
		at = &(*at)->next;
	i->next = *at;
	*at = i;
	if (!i->next)
		l->end = &i->next;
	l->n++;
}

/* The oldest, up to 32 and WRITEQ_BYTES, in the order of their locks; equal ones as they came. */
static void
choose(struct warmq_set *queue, struct warmq_set *set)
{
	size_t bytes = 0;

	while (queue->first && set->n < SET_MAX && (set->n == 0 || bytes + write_of(queue->first)->bytes <= WRITEQ_BYTES)) {
		struct warmq_item *i = queue->first;

		queue->first = i->next;
		queue->n--;
		bytes += write_of(i)->bytes;
		sort_in(set, i);
	}
	if (!queue->first)
		warmq_set_empty(queue);
}

static bool
send_set(PGconn *conn, const struct warmq_set *set, const void *own)
{
	for (struct warmq_item *i = set->first; i; i = i->next) {
		const struct writeq_write *w = write_of(i);

		if (!PQsendQueryPrepared(conn, db_stmts[w->stmt].name, w->nparams, w->params, NULL, NULL, 0))
			return false;
	}
	return true;
}

static enum warmq_result
refused(const struct warmq_set *set, const struct warmq_item *at, const PGresult *r)
{
	struct err e = ERR_INIT;

	if (PQresultStatus(r) == PGRES_FATAL_ERROR) {
		(void)db_result_err(r, at ? ((const struct writeq_write *)at)->stmt : STMT_COUNT, &e);
		log_err("write_refused", &e, NULL);
	}
	return WARMQ_ALONE;
}

struct warmq *
writeq_open(const char *dsn, int timeout_ms, int late_ms, warmq_watch *watch, void *arg)
{
	static const struct warmq_kind kind = { .name = WRITEQ_NAME, .trouble = "write_connection", .uses = uses, .admits = admits,
	    .choose = choose, .send = send_set, .refused = refused };
	AUTO(str) char *conninfo = db_conninfo(dsn, timeout_ms, 0, true);

	return warmq_open(&kind, NULL, conninfo, timeout_ms, late_ms, watch, arg);
}
