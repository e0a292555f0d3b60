/*
 * together: see together.h. A request on its way is a flight (flight.h); what it waits for is in the flight's arena. What has been written
 * is finished by the thread that found the answers, the next set having left before; what has to go another way may make a thread wait, so
 * each is another's. A crash leaves what warmq.c says.
 */
#include "together.h"

#include <stdlib.h>

#include "after.h"
#include "respond.h"
#include "flight.h"
#include "once.h"
#include "shares.h"
#include "xalloc.h"

#define LATE_MS 20

struct together {
	struct park_seat seat;
	struct warmq *queue;
	struct flights *flights;
	void (*finish)(struct together *all, struct gw_thread *t, const struct warmq_item *first);	/* those that were answered together */
};

static void
go_on(struct flight *f, struct gw_thread *t)
{
	flight_lands(f, t);
	f->e = (struct err)ERR_INIT;
	shares_join(t->gw->shares, f->r.who.organization_id);
	(void)once_sent(&f->r, &f->e);
	shares_end(t->gw->shares, f->r.who.organization_id);
}

static void
reply(struct together *all, struct flight *f)
{
	respond(&f->r, f->fcgi, &f->e, "", f->start_us);
	flight_answered(f, all->seat.park);
}

/*
 * The replies leave first: a worker that hears of a message is busy at once, and on few cores the reply would wait for it (acknowledged
 * 0.9x, the turn 0.99x). A crash behind them leaves messages without a doorbell, which a worker's poll finds within a second.
 */
static void
finish_sends(struct together *all, struct gw_thread *t, const struct warmq_item *first)
{
	struct after *notes = NULL, **end = &notes;
	const struct warmq_item *next;

	for (const struct warmq_item *i = first; i; i = i->next) {
		struct flight *f = i->ticket;

		go_on(f, t);
		end = after_take(&f->r, end);
	}
	for (const struct warmq_item *i = first; i; i = i->next)
		reply(all, i->ticket);
	after_tell_all(notes, t->bells, t->bus);
	for (; first; first = next) {
		next = first->next;	/* it is in the flight's arena, as are the notes */
		flight_over(all->flights, first->ticket);
	}
}

static void
finish_writes(struct together *all, struct gw_thread *t, const struct warmq_item *first)
{
	while (first) {
		struct flight *f = first->ticket;

		first = first->next;
		go_on(f, t);
		after_tell(&f->r);
		reply(all, f);
		flight_over(all->flights, f);
	}
}

static void
answer(struct together *all, struct gw_thread *t)
{
	const struct warmq_item *i;
	bool more;

	while ((i = warmq_take(all->queue, &more)) != NULL) {
		if (more)
			park_nudge(all->seat.park);
		all->finish(all, t, i);
	}
}

bool
together_takes(struct together *all)
{
	return warmq_takes(all->queue);
}

bool
together_take(struct together *all, struct warmq_item *item, struct gw_thread *t, struct gw_req *r, FCGX_Request *fcgi,
    int64_t start_us)
{
	struct flight *f = flight_off(all->flights, t, r, fcgi, start_us);

	item->ticket = f;
	if (warmq_put(all->queue, item)) {
		if (!park_leads(all->seat.park)) {	/* who leads does not know of it, and may be waiting */
			warmq_flush(all->queue);
			park_nudge(all->seat.park);
		}
		return true;
	}
	flight_back(all->flights, t, f);
	item->result = WARMQ_ALONE;
	return false;
}

void
together_rest(struct together *all, struct gw_thread *t)
{
	if (warmq_wants(all->queue)) {
		park_yield();
		warmq_connect(all->queue);
	}
	answer(all, t);
}

static void
note(void *arg)
{
	const struct together *all = arg;

	warmq_readable(all->queue);
}

static void
ready(void *arg, void *thread_arg)
{
	note(arg);
	answer(arg, thread_arg);
}

static int
pending(void *arg)
{
	const struct together *all = arg;

	return warmq_pending(all->queue);
}

static bool
gathers(void *arg)
{
	const struct together *all = arg;

	return warmq_gathers(all->queue);
}

static void
flush(void *arg)
{
	const struct together *all = arg;

	warmq_flush(all->queue);
}

/* The queue is still to be opened. */
static struct together *
open_at(struct park *park, void (*finish)(struct together *, struct gw_thread *, const struct warmq_item *))
{
	struct together *all = xcalloc(1, sizeof *all);

	all->flights = flights_new();
	all->finish = finish;
	all->seat = park_aside(park, &(const struct park_aside){ .ready = ready, .note = note, .pending = pending, .gathers = gathers,
	    .flush = flush, .arg = all });
	return all;
}

struct together *
together_sends(const struct conf *c, struct park *park)
{
	const struct inbox_caps caps = { c->inbox_max_events, c->inbox_max_bytes };
	struct together *all = open_at(park, finish_sends);

	all->queue = sendq_open(c->pg_dsn, (int)c->pg_timeout_ms, LATE_MS, &caps, park_aside_watch, &all->seat);
	return all;
}

struct together *
together_writes(const struct conf *c, struct park *park)
{
	struct together *all = open_at(park, finish_writes);

	all->queue = writeq_open(c->pg_dsn, (int)c->pg_timeout_ms, LATE_MS, park_aside_watch, &all->seat);
	return all;
}

void
together_close(struct together **allp)
{
	struct together *all = *allp;

	if (!all)
		return;
	warmq_close(&all->queue);
	flights_free(&all->flights);
	free(all);
	*allp = NULL;
}
