/*
 * hub_share: see hub_share.h. A small table by id; a share lives as long as someone holds a stream of it, so its size is bounded by the
 * number of streams.
 */
#include "hub_share.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

static struct hub_share **
bucket(struct hub_shares *all, const char *id)
{
	return &all->buckets[id_hash(id) % HUB_SHARE_BUCKETS];	/* ids are ours, not the client's */
}

struct hub_share *
hub_share_take(struct hub_shares *all, const char *id, int64_t max)
{
	struct hub_share **at = bucket(all, id), *s;

	for (s = *at; s; s = s->next)
		if (strcmp(s->id, id) == 0)
			break;
	if (max <= 0 || (s && s->held >= max))
		return NULL;
	if (!s) {
		s = xcalloc(1, sizeof *s);
		snprintf(s->id, sizeof s->id, "%s", id);
		s->next = *at;
		*at = s;
	}
	s->held++;
	return s;
}

void
hub_share_give(struct hub_shares *all, struct hub_share *s)
{
	struct hub_share **at;

	if (!s || --s->held > 0)
		return;
	for (at = bucket(all, s->id); *at != s; at = &(*at)->next)
		;
	*at = s->next;
	free(s);
}
