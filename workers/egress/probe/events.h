/*
 * events: the events of a text/event-stream body that is still arriving. Each byte is looked at once, however small the pieces are in which a
 * hostile server sends them.
 */
#ifndef ROOST_EGRESS_EVENTS_H
#define ROOST_EGRESS_EVENTS_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

/* Zero to begin with. Of one body, which only grows. */
struct events {
	size_t line, seen;	/* where the present line begins, and how far its end was looked for */
	bool any, told;		/* the event has data; data is an event that was told */
	struct buf data;	/* of the event, its lines joined */
};

/* The next event that is whole, with data: it stands in s->data until the next call. false: there is none yet. */
bool events_next(struct events *s, const struct buf *body);
void events_free(struct events *s);

#endif
