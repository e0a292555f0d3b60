/*
 * hub_round: see hub_round.h. A round goes through the table in parts; a part that nobody follows is passed over. Streams that come while a
 * round is under way are in it or in the next one: they have read last_seq themselves just before.
 */
#include "hub_round.h"

#include <stdlib.h>

#include "hub_feed.h"
#include "hub_share.h"
#include "xalloc.h"

#define PART 256			/* sessions that are compared with the log at a time, roughly */

/* Compare one part of the watches with the log; false: nobody follows any of them. */
static bool
compare(struct hub_round *r, struct hub_part part)
{
	size_t watches = 1, subs = 1;
	const char **sessions, **keys;
	int64_t *seen;
	int n = 0, nkeys = 0;

	for (struct hub_watch *w = NULL; (w = hub_table_next_of(r->watches, part, w)); watches++)
		for (struct hub_sub *s = w->subs; s; s = s->next)
			subs++;
	sessions = xcalloc(watches, sizeof *sessions);
	seen = xcalloc(watches, sizeof *seen);
	keys = xcalloc(subs, sizeof *keys);
	for (struct hub_watch *w = NULL; (w = hub_table_next_of(r->watches, part, w));) {
		int before = nkeys;

		for (struct hub_sub *s = w->subs; s; s = s->next)
			if (s->fd >= 0 && !s->dead)
				keys[nkeys++] = s->key->id;
		if (nkeys == before)
			continue;
		seen[n] = hub_watch_seen(w);
		if (seen[n] < 0)
			seen[n] = w->known;	/* nobody follows just now; the session may be gone all the same */
		sessions[n++] = w->session;
	}
	if (n > 0)
		hub_feed_compare(r->feed, n, sessions, seen, nkeys, keys);
	free(sessions);
	free(keys);
	free(seen);
	return n > 0;
}

/* One part is asked for when the one before is answered: libpq's buffers keep the size of the largest. */
static void
compare_next(struct hub_round *r)
{
	while (r->part.at < r->part.of) {
		r->asked = true;
		if (compare(r, (struct hub_part){ r->part.at++, r->part.of }))
			return;
		r->asked = false;
	}
}

void
hub_round_begin(struct hub_round *r)
{
	if (r->part.at < r->part.of || r->asked)
		return;			/* the round before is not over */
	r->part = (struct hub_part){ 0, 1 };
	while (r->part.of < HUB_PARTS_MAX && r->watches->count / r->part.of > PART)
		r->part.of *= 2;
	compare_next(r);
}

void
hub_round_answered(struct hub_round *r, bool ok)
{
	r->asked = false;
	if (!ok)
		r->part.at = r->part.of;
	compare_next(r);
}
