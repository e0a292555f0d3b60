/*
 * hub_live: what Redis brought for a session, to those who follow it: events in a row, previews, the end. Order and gaps are hub_watch's,
 * which previews are let through hub_preview's. Loop thread.
 */
#ifndef ROOST_STREAM_HUB_LIVE_H
#define ROOST_STREAM_HUB_LIVE_H

#include <stdbool.h>

#include "entry.h"
#include "hub_watch.h"

/* An entry of this session. again: its previews were told before. Reads `all` to its end. */
void hub_live_tell(struct hub_watch *w, struct entry_events *all, bool again, const struct hub_out *o);

/* The session does not exist any more, and its own last event was lost with its publisher: it gets one of ours. */
void hub_live_gone(struct hub_watch *w, const struct hub_out *o);

#endif
