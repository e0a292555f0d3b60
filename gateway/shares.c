/*
 * shares: see shares.h. An organization is in the list while it holds a thread or waits for one, so the list is about as long as there are
 * threads. Who holds none comes first, then who has been passed by for the longest: an organization that was served goes to the list's end.
 * Nobody waits while its organization holds nothing and a thread asks, so each queue is emptied. A crash loses what waits, as it does what
 * the threads have in hand.
 */
#include "shares.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "id.h"
#include "xalloc.h"

struct waiter {
	STAILQ_ENTRY(waiter) link;
	void *ticket;
};

struct org {
	TAILQ_ENTRY(org) link;
	char id[ID_MAX];
	int held, nwaiting;
	STAILQ_HEAD(waiters, waiter) waiting;
};

struct shares {
	int threads, spare, waiting_max;
	atomic_int nwaiting;
	pthread_mutex_t lock;		/* guards what follows */
	int held;
	TAILQ_HEAD(orgs, org) orgs;
};

struct shares *
shares_new(int threads, int waiting_max)
{
	struct shares *all = xcalloc(1, sizeof *all);

	all->threads = threads;
	all->spare = threads / 4;
	all->waiting_max = waiting_max;
	pthread_mutex_init(&all->lock, NULL);
	TAILQ_INIT(&all->orgs);
	return all;
}

static struct org *
org_of(struct shares *all, const char *id)
{
	struct org *o = TAILQ_FIRST(&all->orgs);

	while (o && strcmp(o->id, id) != 0)
		o = TAILQ_NEXT(o, link);
	if (o)
		return o;
	o = xcalloc(1, sizeof *o);
	strncpy(o->id, id, sizeof o->id - 1);
	STAILQ_INIT(&o->waiting);
	TAILQ_INSERT_TAIL(&all->orgs, o, link);
	return o;
}

static void
drop_idle(struct shares *all, struct org *o)
{
	if (o->held > 0 || o->nwaiting > 0)
		return;
	TAILQ_REMOVE(&all->orgs, o, link);
	free(o);
}

static void *
first_of(struct shares *all, struct org *o)
{
	struct waiter *w = STAILQ_FIRST(&o->waiting);
	void *ticket = w->ticket;

	STAILQ_REMOVE_HEAD(&o->waiting, link);
	o->nwaiting--;
	atomic_fetch_sub(&all->nwaiting, 1);
	free(w);
	return ticket;
}

void
shares_free(struct shares **allp)
{
	struct shares *all = *allp;

	if (!all)
		return;
	for (struct org *o = TAILQ_FIRST(&all->orgs), *next; o; o = next) {
		next = TAILQ_NEXT(o, link);
		while (o->nwaiting > 0)
			(void)first_of(all, o);
		free(o);
	}
	pthread_mutex_destroy(&all->lock);
	free(all);
	*allp = NULL;
}

static bool
may(const struct shares *all, const struct org *o)
{
	return all->spare == 0 || o->held == 0 || all->threads - all->held > all->spare;
}

static void
hold(struct shares *all, struct org *o)
{
	o->held++;
	all->held++;
}

bool
shares_begin(struct shares *all, const char *organization)
{
	struct org *o;
	bool begins;

	if (!organization[0])
		return true;
	pthread_mutex_lock(&all->lock);
	o = org_of(all, organization);
	begins = o->nwaiting == 0 && may(all, o);	/* not past those that came before it */
	if (begins)
		hold(all, o);
	pthread_mutex_unlock(&all->lock);
	return begins;
}

void
shares_join(struct shares *all, const char *organization)
{
	if (!organization[0])
		return;
	pthread_mutex_lock(&all->lock);
	hold(all, org_of(all, organization));
	pthread_mutex_unlock(&all->lock);
}

void
shares_end(struct shares *all, const char *organization)
{
	struct org *o;

	if (!organization[0])
		return;
	pthread_mutex_lock(&all->lock);
	o = org_of(all, organization);
	must(o->held > 0);
	o->held--;
	all->held--;
	drop_idle(all, o);
	pthread_mutex_unlock(&all->lock);
}

bool
shares_wait(struct shares *all, const char *organization, void *ticket)
{
	struct waiter *w;
	struct org *o;
	bool waits;

	pthread_mutex_lock(&all->lock);
	o = org_of(all, organization);
	waits = o->nwaiting < all->waiting_max;
	if (waits) {
		w = xcalloc(1, sizeof *w);
		w->ticket = ticket;
		STAILQ_INSERT_TAIL(&o->waiting, w, link);
		o->nwaiting++;
		atomic_fetch_add(&all->nwaiting, 1);
	}
	drop_idle(all, o);
	pthread_mutex_unlock(&all->lock);
	return waits;
}

/* Whose turn it is: one that holds nothing, or else the first that may. */
static struct org *
next_org(const struct shares *all)
{
	struct org *found = NULL;

	for (struct org *o = TAILQ_FIRST(&all->orgs); o; o = TAILQ_NEXT(o, link)) {
		if (o->nwaiting == 0 || !may(all, o))
			continue;
		if (o->held == 0)
			return o;
		found = found ? found : o;
	}
	return found;
}

void *
shares_next(struct shares *all)
{
	void *ticket = NULL;
	struct org *o;

	if (shares_waiting(all) == 0)
		return NULL;
	pthread_mutex_lock(&all->lock);
	o = next_org(all);
	if (o) {
		ticket = first_of(all, o);
		hold(all, o);
		TAILQ_REMOVE(&all->orgs, o, link);
		TAILQ_INSERT_TAIL(&all->orgs, o, link);
	}
	pthread_mutex_unlock(&all->lock);
	return ticket;
}

int
shares_waiting(const struct shares *all)
{
	return atomic_load(&all->nwaiting);
}
