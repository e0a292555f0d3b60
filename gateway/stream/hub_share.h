/*
 * hub_share: how many streams an organization or a key holds in this hub, so that none takes them all. Belongs to the hub's loop thread.
 */
#ifndef ROOST_STREAM_HUB_SHARE_H
#define ROOST_STREAM_HUB_SHARE_H

#include <stdint.h>

#include "id.h"

#define HUB_SHARE_BUCKETS 256

struct hub_share {
	struct hub_share *next;
	int64_t held;
	char id[ID_MAX];		/* an organization's or a key's: they never look alike */
};

/* Zero-initialised is valid and empty. */
struct hub_shares {
	struct hub_share *buckets[HUB_SHARE_BUCKETS];
};

/* One stream more for id, unless it holds max already: NULL. */
struct hub_share *hub_share_take(struct hub_shares *all, const char *id, int64_t max);

/* One less; accepts NULL. A share that holds nothing is freed. */
void hub_share_give(struct hub_shares *all, struct hub_share *s);

#endif
