/*
 * writes: see writes.h. A request on its way is a flight (flight.h); its write is in the flight's arena. What has been written is finished
 * by the thread that found the answers, the next set having left before; what has to go another way may make a thread wait, so each is
 * another's. A crash leaves what writeq.c says.
 */
#include "writes.h"

#include <stdlib.h>

#include "after.h"
#include "flight.h"
#include "once.h"
#include "xalloc.h"

#define LATE_MS 20

struct writes {
	struct park *park;
	int aside;		/* the park's name for us */
	struct writeq *queue;
	struct flights *flights;
};

static void
answer(struct writes *all, struct gw_thread *t)
{
	struct writeq_write *w;
	bool more;

	while ((w = writeq_take(all->queue, &more)) != NULL) {
		if (more)
			park_nudge(all->park);
		while (w) {
			struct flight *f = w->ticket;

			w = w->next;
			flight_lands(f, t);
			f->e = (struct err)ERR_INIT;
			(void)once_sent(&f->r, &f->e);
			after_tell(&f->r);
			serve_reply(&f->r, f->fcgi, &f->e, "", f->start_us);
			flight_over(all->flights, f, all->park);
		}
	}
}

bool
writes_takes(struct writes *all)
{
	return writeq_takes(all->queue);
}

bool
writes_take(struct writes *all, struct gw_thread *t, struct gw_req *r, FCGX_Request *fcgi, int64_t start_us)
{
	struct write_later *l = r->write;
	struct flight *f = flight_off(all->flights, t, r, fcgi, start_us);

	l->write.ticket = f;
	if (writeq_put(all->queue, &l->write)) {
		if (!park_leads(all->park)) {	/* who leads does not know of it, and may be waiting */
			writeq_flush(all->queue);
			park_nudge(all->park);
		}
		return true;
	}
	flight_back(all->flights, t, f);
	l->write.result = WRITEQ_ALONE;
	return false;
}

void
writes_rest(struct writes *all, struct gw_thread *t)
{
	if (writeq_wants(all->queue)) {
		park_yield();
		writeq_connect(all->queue);
	}
	answer(all, t);
}

static void
watch(void *arg, int fd, bool fresh)
{
	struct writes *all = arg;

	park_aside_watch(all->park, all->aside, fd, fresh);
}

static void
ready(void *arg, void *thread_arg)
{
	struct writes *all = arg;

	writeq_readable(all->queue);
	answer(all, thread_arg);
}

static int
pending(void *arg)
{
	const struct writes *all = arg;

	return writeq_pending(all->queue);
}

static bool
gathers(void *arg)
{
	const struct writes *all = arg;

	return writeq_gathers(all->queue);
}

static void
flush(void *arg)
{
	const struct writes *all = arg;

	writeq_flush(all->queue);
}

struct writes *
writes_open(const struct conf *c, struct park *park)
{
	struct writes *all = xcalloc(1, sizeof *all);

	all->park = park;
	all->flights = flights_new();
	all->queue = writeq_open(c->pg_dsn, (int)c->pg_timeout_ms, LATE_MS, watch, all);
	all->aside = park_aside(park, &(const struct park_aside){ .ready = ready, .pending = pending, .gathers = gathers, .flush = flush,
	    .arg = all });
	return all;
}

void
writes_close(struct writes **allp)
{
	struct writes *all = *allp;

	if (!all)
		return;
	writeq_close(&all->queue);
	flights_free(&all->flights);
	free(all);
	*allp = NULL;
}
