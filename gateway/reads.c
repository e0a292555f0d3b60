/*
 * reads: see reads.h. A request on its way is a flight: the request as its handler saw it, with the arena that holds what it points into
 * (its thread takes over the arena of an earlier flight), and the statement. With the answer the handler runs once more, from its beginning,
 * on the connection of the thread that found it (db_later in lib/store/db.h).
 *
 * A crash costs nginx the connections of the requests on their way, as it does for those in a thread's hands.
 */
#include "reads.h"

#include <pthread.h>
#include <stdlib.h>

#include "dbshare.h"
#include "xalloc.h"

#define TAKEN 16	/* answers at once */
#define ARENA_MAX (256UL << 20)

struct flight {
	struct flight *next;
	struct gw_req r;
	struct db_later q;
	FCGX_Request *fcgi;
	struct arena *arena;
	int64_t start_us;
};

struct reads {
	struct park *park;
	struct dbshare *share;
	pthread_mutex_t lock;	/* guards spare */
	struct flight *spare;
};

static struct flight *
flight_get(struct reads *all)
{
	struct flight *f;

	pthread_mutex_lock(&all->lock);
	f = all->spare;
	if (f)
		all->spare = f->next;
	pthread_mutex_unlock(&all->lock);
	if (f)
		return f;
	f = xcalloc(1, sizeof *f);
	f->arena = arena_new(ARENA_MAX);
	return f;
}

static void
flight_put(struct reads *all, struct flight *f)
{
	pthread_mutex_lock(&all->lock);
	f->next = all->spare;
	all->spare = f;
	pthread_mutex_unlock(&all->lock);
}

static void
swap_arenas(struct gw_thread *t, struct flight *f)
{
	struct arena *a = t->arena;

	t->arena = f->arena;
	f->arena = a;
}

static void
finish(struct reads *all, struct gw_thread *t, struct flight *f)
{
	FCGX_Request *fcgi = f->fcgi;

	f->r.db = t->db;
	f->r.bus = t->bus;
	serve_again(&f->r, &f->q, fcgi, f->start_us);
	db_later_free(&f->q);
	arena_reset(f->arena);
	flight_put(all, f);
	park_done(all->park, fcgi);
}

static void
answer(struct reads *all, struct gw_thread *t)
{
	struct dbshare_answer answers[TAKEN];
	int n;

	while ((n = dbshare_take(all->share, answers, TAKEN)) > 0)
		for (int i = 0; i < n; i++) {
			struct flight *f = answers[i].ticket;

			f->q.res = answers[i].res;
			finish(all, t, f);
		}
}

void
reads_ready(struct reads *all, struct gw_thread *t)
{
	dbshare_readable(all->share);
	answer(all, t);
}

bool
reads_take(struct reads *all, struct gw_thread *t, struct gw_req *r, struct db_later *q, FCGX_Request *fcgi, int64_t start_us)
{
	struct flight *f = flight_get(all);

	f->r = *r;
	f->q = *q;
	f->fcgi = fcgi;
	f->start_us = start_us;
	swap_arenas(t, f);
	if (dbshare_send(all->share, &f->q, f)) {
		answer(all, t);
		return true;
	}
	swap_arenas(t, f);
	flight_put(all, f);
	return false;
}

void
reads_rest(struct reads *all, struct gw_thread *t)
{
	answer(all, t);
}

static void
watch(void *arg, int fd, bool fresh)
{
	struct reads *all = arg;

	park_aside_watch(all->park, fd, fresh);
}

int
reads_pending(struct reads *all)
{
	return dbshare_pending(all->share);
}

struct reads *
reads_open(const struct conf *c, struct park *park)
{
	struct reads *all = xcalloc(1, sizeof *all);

	all->park = park;
	pthread_mutex_init(&all->lock, NULL);
	all->share = dbshare_open(c->pg_dsn, DB_GW, (int)c->pg_timeout_ms, watch, all);
	return all;
}

void
reads_close(struct reads **allp)
{
	struct reads *all = *allp;

	if (!all)
		return;
	dbshare_close(&all->share);
	while (all->spare) {
		struct flight *f = all->spare;

		all->spare = f->next;
		arena_free(f->arena);
		free(f);
	}
	pthread_mutex_destroy(&all->lock);
	free(all);
	*allp = NULL;
}
