/*
 * hub_round: all watched sessions and the keys in use, held against Postgres once a round, a part at a time: the next one is asked for when
 * the one before is answered, because libpq's buffers keep the size of the largest answer. What differs comes back through hub_feed_fn
 * (moved, refused). Loop thread; nothing in it is owned.
 */
#ifndef ROOST_STREAM_HUB_ROUND_H
#define ROOST_STREAM_HUB_ROUND_H

#include <stdbool.h>

#include "hub_watch.h"

struct hub_feed;

struct hub_round {
	struct hub_table *watches;
	struct hub_feed *feed;
	struct hub_part part;		/* which is compared next; at == of: no round is under way */
	bool asked;			/* the one before it is not answered yet */
};

/* Begin a round, unless the one before is not over. */
void hub_round_begin(struct hub_round *r);

/* hub_feed_fn.compared. Without Postgres the rest of the round is left to the next one. */
void hub_round_answered(struct hub_round *r, bool ok);

#endif
