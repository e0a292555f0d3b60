/*
 * reads: see reads.h. A request on its way is a flight (flight.h) with its statement. With the answer the handler runs once more, from its
 * beginning, on the connection of the thread that found it (db_later in lib/store/db.h).
 */
#include "reads.h"

#include <stdlib.h>

#include "dbshare.h"
#include "flight.h"
#include "xalloc.h"

#define TAKEN 16	/* answers at once */

struct reads {
	struct park_seat seat;
	struct dbshare *share;
	struct flights *flights;
};

static void
finish(struct reads *all, struct gw_thread *t, struct flight *f)
{
	flight_lands(f, t);
	serve_again(t, &f->r, &f->q, f->fcgi, f->start_us);
	db_later_free(&f->q);
	flight_answered(f, all->seat.park);
	flight_over(all->flights, f);
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

bool
reads_take(struct reads *all, struct gw_thread *t, struct gw_req *r, struct db_later *q, FCGX_Request *fcgi, int64_t start_us)
{
	struct flight *f = flight_off(all->flights, t, r, fcgi, start_us);

	f->q = *q;
	if (dbshare_send(all->share, &f->q, f)) {
		answer(all, t);
		return true;
	}
	flight_back(all->flights, t, f);
	return false;
}

void
reads_rest(struct reads *all, struct gw_thread *t)
{
	answer(all, t);
}

static int
pending(void *arg)
{
	const struct reads *all = arg;

	return dbshare_pending(all->share);
}

static void
note(void *arg)
{
	const struct reads *all = arg;

	dbshare_readable(all->share);
}

static void
ready(void *arg, void *thread_arg)
{
	note(arg);
	answer(arg, thread_arg);
}

struct reads *
reads_open(const struct conf *c, struct park *park)
{
	struct reads *all = xcalloc(1, sizeof *all);

	all->flights = flights_new();
	all->seat = park_aside(park, &(const struct park_aside){ .ready = ready, .note = note, .pending = pending, .arg = all });
	all->share = dbshare_open(c->pg_dsn, DB_GW, (int)c->pg_timeout_ms, park_aside_watch, &all->seat);
	return all;
}

void
reads_close(struct reads **allp)
{
	struct reads *all = *allp;

	if (!all)
		return;
	dbshare_close(&all->share);
	flights_free(&all->flights);
	free(all);
	*allp = NULL;
}
