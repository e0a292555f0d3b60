/*
 * sends: see sends.h. A request on its way is a flight (flight.h); its send is in the flight's arena. What has been sent is finished by the
 * thread that found the answers, the next set having left before; what has to go another way may make a thread wait, so each is another's.
 */
#include "sends.h"

#include <stdlib.h>

#include "after.h"
#include "flight.h"
#include "once.h"
#include "xalloc.h"

#define LATE_MS 20

struct sends {
	struct park *park;
	int aside;		/* the park's name for us */
	struct sendq *queue;
	struct flights *flights;
};

/* Those that were answered together: all doorbells leave before the first reply is written, so that their workers are at it meanwhile. */
static void
answer_set(struct sends *all, struct gw_thread *t, const struct sendq_send *first)
{
	struct after *notes = NULL, **end = &notes;
	const struct sendq_send *next;
	struct flight *f;

	for (const struct sendq_send *s = first; s; s = s->next) {
		f = s->ticket;
		flight_lands(f, t);
		f->e = (struct err)ERR_INIT;
		(void)once_sent(&f->r, &f->e);
		end = after_take(&f->r, end);
	}
	after_tell_all(notes, t->bells, t->bus);
	for (; first; first = next) {
		next = first->next;	/* it is in the flight's arena */
		f = first->ticket;
		serve_reply(&f->r, f->fcgi, &f->e, "", f->start_us);
		flight_over(all->flights, f, all->park);
	}
}

static void
answer(struct sends *all, struct gw_thread *t)
{
	const struct sendq_send *s;
	bool more;

	while ((s = sendq_take(all->queue, &more)) != NULL) {
		if (more)
			park_nudge(all->park);
		answer_set(all, t, s);
	}
}

bool
sends_takes(struct sends *all)
{
	return sendq_takes(all->queue);
}

bool
sends_take(struct sends *all, struct gw_thread *t, struct gw_req *r, FCGX_Request *fcgi, int64_t start_us)
{
	struct send_later *l = r->later;
	struct flight *f = flight_off(all->flights, t, r, fcgi, start_us);

	l->send.ticket = f;
	if (sendq_put(all->queue, &l->send)) {
		if (!park_leads(all->park)) {	/* who leads does not know of it, and may be waiting */
			sendq_flush(all->queue);
			park_nudge(all->park);
		}
		return true;
	}
	flight_back(all->flights, t, f);
	l->send.result = SENDQ_ALONE;
	return false;
}

void
sends_rest(struct sends *all, struct gw_thread *t)
{
	if (sendq_wants(all->queue)) {
		park_yield();
		sendq_connect(all->queue);
	}
	answer(all, t);
}

static void
watch(void *arg, int fd, bool fresh)
{
	struct sends *all = arg;

	park_aside_watch(all->park, all->aside, fd, fresh);
}

static void
ready(void *arg, void *thread_arg)
{
	struct sends *all = arg;

	sendq_readable(all->queue);
	answer(all, thread_arg);
}

static int
pending(void *arg)
{
	const struct sends *all = arg;

	return sendq_pending(all->queue);
}

static bool
gathers(void *arg)
{
	const struct sends *all = arg;

	return sendq_gathers(all->queue);
}

static void
flush(void *arg)
{
	const struct sends *all = arg;

	sendq_flush(all->queue);
}

struct sends *
sends_open(const struct conf *c, struct park *park)
{
	const struct inbox_caps caps = { c->inbox_max_events, c->inbox_max_bytes };
	struct sends *all = xcalloc(1, sizeof *all);

	all->park = park;
	all->flights = flights_new();
	all->queue = sendq_open(c->pg_dsn, (int)c->pg_timeout_ms, LATE_MS, &caps, watch, all);
	all->aside = park_aside(park, &(const struct park_aside){ .ready = ready, .pending = pending, .gathers = gathers, .flush = flush,
	    .arg = all });
	return all;
}

void
sends_close(struct sends **allp)
{
	struct sends *all = *allp;

	if (!all)
		return;
	sendq_close(&all->queue);
	flights_free(&all->flights);
	free(all);
	*allp = NULL;
}
