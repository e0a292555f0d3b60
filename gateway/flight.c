/*
 * flight: see flight.h. A thread's arena goes with its request, and the thread takes that of an earlier flight. A crash costs nginx the
 * connections of the requests on their way, as it does for those in a thread's hands.
 */
#include "flight.h"

#include <pthread.h>
#include <stdlib.h>

#include "xalloc.h"

#define ARENA_MAX (256UL << 20)

struct flights {
	pthread_mutex_t lock;	/* guards spare */
	struct flight *spare;
};

struct flights *
flights_new(void)
{
	struct flights *all = xcalloc(1, sizeof *all);

	pthread_mutex_init(&all->lock, NULL);
	return all;
}

void
flights_free(struct flights **allp)
{
	struct flights *all = *allp;

	if (!all)
		return;
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

static struct flight *
get(struct flights *all)
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
put(struct flights *all, struct flight *f)
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

struct flight *
flight_off(struct flights *all, struct gw_thread *t, const struct gw_req *r, FCGX_Request *fcgi, int64_t start_us)
{
	struct flight *f = get(all);

	f->r = *r;
	f->fcgi = fcgi;
	f->start_us = start_us;
	swap_arenas(t, f);
	return f;
}

void
flight_back(struct flights *all, struct gw_thread *t, struct flight *f)
{
	swap_arenas(t, f);
	put(all, f);
}

void
flight_lands(struct flight *f, struct gw_thread *t)
{
	f->r.db = t->db;
	f->r.bus = t->bus;
	f->r.bells = t->bells;
}

void
flight_answered(struct flight *f, struct park *park)
{
	park_done(park, f->fcgi);
	f->fcgi = NULL;
}

void
flight_over(struct flights *all, struct flight *f)
{
	arena_reset(f->arena);
	put(all, f);
}
