/*
 * waiting: see waiting.h. A request that waits is a flight (flight.h) which lands in the thread that goes on with it as if that had
 * accepted it: with the arena it came with. A thread that has handled one looks for the next before it waits for what else happens, so
 * one that waits is late by nothing but those before it. A crash costs nginx the connections of those that wait.
 */
#include "waiting.h"

#include <stdlib.h>

#include "flight.h"
#include "shares.h"
#include "xalloc.h"

struct waiting {
	struct park *park;
	struct shares *shares;
	struct flights *flights;
};

/* A thread that stops waits for these, too. */
static int
pending(void *arg)
{
	const struct waiting *all = arg;

	return shares_waiting(all->shares);
}

struct waiting *
waiting_open(struct shares *shares, struct park *park)
{
	struct waiting *all = xcalloc(1, sizeof *all);

	all->park = park;
	all->shares = shares;
	all->flights = flights_new();
	(void)park_aside(park, &(const struct park_aside){ .pending = pending, .arg = all });
	return all;
}

void
waiting_close(struct waiting **allp)
{
	struct waiting *all = *allp;

	if (!all)
		return;
	flights_free(&all->flights);
	free(all);
	*allp = NULL;
}

bool
waiting_take(struct waiting *all, struct gw_thread *t, const struct gw_req *r, FCGX_Request *fcgi, int64_t start_us)
{
	struct flight *f = flight_off(all->flights, t, r, fcgi, start_us);

	if (shares_wait(all->shares, f->r.who.organization_id, f))
		return true;
	flight_back(all->flights, t, f);
	return false;
}

void
waiting_rest(struct waiting *all, struct gw_thread *t)
{
	struct flight *f;

	while ((f = shares_next(all->shares)) != NULL) {
		FCGX_Request *fcgi = f->fcgi;
		int64_t start_us = f->start_us;
		struct gw_req r;

		flight_lands(f, t);
		r = f->r;
		flight_back(all->flights, t, f);
		if (serve_on(t, &r, fcgi, start_us))
			park_done(all->park, fcgi);
	}
}
