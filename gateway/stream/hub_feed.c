/*
 * hub_feed: see hub_feed.h. All statements are in sql/stmts/stream.sql.
 *
 * Promises: never blocks; every fetch is answered by exactly one `fetched`. While Postgres is away nothing is lost: the hub keeps
 * what each subscriber has, and the next round finds what is missing. Does not retry by itself.
 */
#include "hub_feed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "dbq.h"
#include "failpoint.h"
#include "id.h"
#include "log.h"
#include "xalloc.h"

struct hub_feed {
	struct dbq *db;
	struct hub_feed_fn fn;
	int comparing;			/* answers still to come of what is being compared */
	bool failed;			/* one of those that came was an error */
};

struct fetch {
	struct hub_feed *f;
	char session[ID_MAX];
};

struct hub_feed *
hub_feed_new(struct loop *loop, const struct conf *c, const struct hub_feed_fn *fn)
{
	struct hub_feed *f = xcalloc(1, sizeof *f);

	f->fn = *fn;
	f->db = dbq_new(loop, c->pg_dsn, DB_STREAM, (int)c->pg_timeout_ms);
	return f;
}

void
hub_feed_free(struct hub_feed **fp)
{
	struct hub_feed *f = *fp;

	if (!f)
		return;
	*fp = NULL;
	dbq_free(&f->db);
	free(f);
}

static void
on_events(void *ctx, const PGresult *res, const struct err *e)
{
	struct fetch *job = ctx;
	struct hub_feed *f = job->f;
	int n = res ? PQntuples(res) : -1;

	if (e)
		log_err("fetch_failed", e, "session", job->session, NULL);
	for (int i = 0; i < n; i++)
		f->fn.event(f->fn.ctx, job->session, pg_int(res, i, 0), pg_str(res, i, 1), pg_str(res, i, 2), (size_t)PQgetlength(res, i, 2));
	f->fn.fetched(f->fn.ctx, job->session, n);
	free(job);
}

void
hub_feed_fetch(struct hub_feed *f, const char *session, int64_t after)
{
	struct fetch *job = xcalloc(1, sizeof *job);

	FAILPOINT(HUB_FETCH);
	job->f = f;
	snprintf(job->session, sizeof job->session, "%s", session);
	DBQ_RUN(f->db, STMT_STREAM_EVENTS, on_events, job, session, DBN(after));
}

static void
answered(struct hub_feed *f, bool ok)
{
	f->failed |= !ok;
	if (--f->comparing == 0)
		f->fn.compared(f->fn.ctx, !f->failed);
}

static void
on_moved(void *ctx, const PGresult *res, const struct err *e)
{
	struct hub_feed *f = ctx;

	if (e)
		log_err("compare_failed", e, NULL);
	for (int i = 0; res && i < PQntuples(res); i++)
		f->fn.moved(f->fn.ctx, pg_str(res, i, 0), pg_str(res, i, 1) ? pg_int(res, i, 1) : -1);
	answered(f, !e);
}

static void
on_refused(void *ctx, const PGresult *res, const struct err *e)
{
	struct hub_feed *f = ctx;

	for (int i = 0; res && i < PQntuples(res); i++)
		f->fn.refused(f->fn.ctx, pg_str(res, i, 0));
	answered(f, !e);
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* '{1,2,3}' */
static char *
bigints(int n, const int64_t *v)
{
	struct buf b = BUF_INIT(0);

	buf_ch(&b, '{');
	for (int i = 0; i < n; i++)
		buf_printf(&b, "%s%" PRId64, i ? "," : "", v[i]);
	buf_ch(&b, '}');
	return buf_steal(&b);
}

void
hub_feed_compare(struct hub_feed *f, int n, const char *const *sessions, const int64_t *seen, int nkeys, const char **keys)
{
	AUTO(str) char *ids = NULL, *seqs = NULL, *names = NULL;
	int unique = 0;

	must(f->comparing == 0);
	qsort(keys, (size_t)nkeys, sizeof *keys, by_text);
	for (int i = 0; i < nkeys; i++)
		if (i == 0 || strcmp(keys[i], keys[unique - 1]) != 0)
			keys[unique++] = keys[i];
	ids = pg_array(sessions, n);
	seqs = bigints(n, seen);
	names = pg_array(keys, unique);
	f->comparing = 2;
	f->failed = false;
	DBQ_RUN(f->db, STMT_STREAM_MOVED, on_moved, f, ids, seqs);
	DBQ_RUN(f->db, STMT_STREAM_KEYS_REFUSED, on_refused, f, names);
}
