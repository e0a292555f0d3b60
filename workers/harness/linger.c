/*
 * linger: see linger.h. A hash table whose entries also stand in the list of their state. Quiet ones are kept for the same time each, so
 * their list is in the order of their ends, but for those that come back into it, which go to its end: they are given back a little late.
 */
#include "linger.h"

#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

#define BUCKETS 1024

struct linger {
	struct kept *buckets[BUCKETS];
	struct kept_list lists[KEPT_STATES];
	int n;
	int reserved;		/* how many have room kept for them, */
	int64_t reserved_bytes;	/* and that */
	void (*forget)(void *row);
};

static unsigned
bucket(const char *id)
{
	return id_hash(id) % BUCKETS;
}

struct linger *
linger_new(void (*forget)(void *row))
{
	struct linger *l = xcalloc(1, sizeof(*l));

	l->forget = forget;
	for (int i = 0; i < KEPT_STATES; i++)
		TAILQ_INIT(&l->lists[i]);
	return l;
}

void
linger_free(struct linger **lp)
{
	if (*lp == NULL)
		return;
	linger_clear(*lp);
	free(*lp);
	*lp = NULL;
}

struct kept *
linger_put(struct linger *l, const char *workspace, const char *session, int64_t epoch, int64_t wake_gen, int64_t until_ms)
{
	struct kept *k = linger_find(l, session);

	if (k != NULL)
		linger_drop(l, k);
	k = xcalloc(1, sizeof(*k));
	strncpy(k->workspace, workspace, sizeof(k->workspace) - 1);
	strncpy(k->session, session, sizeof(k->session) - 1);
	k->epoch = epoch;
	k->wake_gen = wake_gen;
	k->until_ms = until_ms;
	k->chain = l->buckets[bucket(session)];
	l->buckets[bucket(session)] = k;
	TAILQ_INSERT_TAIL(&l->lists[KEPT_QUIET], k, link);
	l->n++;
	return k;
}

struct kept *
linger_find(const struct linger *l, const char *session)
{
	struct kept *k = l->buckets[bucket(session)];

	while (k != NULL && strcmp(k->session, session) != 0)
		k = k->chain;
	return k;
}

void
linger_drop(struct linger *l, struct kept *k)
{
	struct kept **at = &l->buckets[bucket(k->session)];

	while (*at != k)
		at = &(*at)->chain;
	*at = k->chain;
	TAILQ_REMOVE(&l->lists[k->state], k, link);
	l->n--;
	l->reserved -= k->reserved > 0;
	l->reserved_bytes -= k->reserved;
	if (k->row != NULL)
		l->forget(k->row);
	free(k);
}

void
linger_clear(struct linger *l)
{
	for (int i = 0; i < KEPT_STATES; i++)
		while (linger_first(l, i) != NULL)
			linger_drop(l, linger_first(l, i));
}

void
linger_move(struct linger *l, struct kept *k, enum kept_state to)
{
	TAILQ_REMOVE(&l->lists[k->state], k, link);
	k->state = to;
	TAILQ_INSERT_TAIL(&l->lists[to], k, link);
}

void
linger_ring(struct linger *l, struct kept *k)
{
	if (k->state == KEPT_QUIET)
		linger_move(l, k, KEPT_RUNG);
	else if (k->state != KEPT_RUNG)
		k->again = true;
}

struct kept *
linger_first(const struct linger *l, enum kept_state state)
{
	return TAILQ_FIRST(&l->lists[state]);
}

int
linger_count(const struct linger *l)
{
	return l->n;
}

void
linger_reserve(struct linger *l, struct kept *k, int64_t bytes)
{
	l->reserved += (bytes > 0) - (k->reserved > 0);
	l->reserved_bytes += bytes - k->reserved;
	k->reserved = bytes;
}

int
linger_reserved(const struct linger *l, int64_t *bytes)
{
	*bytes = l->reserved_bytes;
	return l->reserved;
}

int
linger_due(struct linger *l, int64_t now_ms, bool all, int max)
{
	struct kept *k;
	int n = 0;

	while (n < max && (k = linger_first(l, KEPT_QUIET)) != NULL && (all || k->until_ms <= now_ms)) {
		linger_move(l, k, KEPT_SETTLING);
		n++;
	}
	return n;
}

bool
linger_soon(int64_t ended_ms, int64_t now_ms, int64_t linger_ms)
{
	return ended_ms > 0 && now_ms - ended_ms <= linger_ms;
}
