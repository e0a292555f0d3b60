/*
 * hub_preview: event_start and event_delta (contract 3.9) for the subscribers of one session.
 *
 * A preview has a place in the log: after the event that Redis brought last before it (`heard` of the watch). A subscriber gets it only
 * at that place: who is behind gets it when it has caught up to there (it is held meanwhile), who is ahead never.
 */
#ifndef ROOST_STREAM_HUB_PREVIEW_H
#define ROOST_STREAM_HUB_PREVIEW_H

#include "hub_watch.h"

/* Does anybody who follows want any? */
bool hub_preview_asked(const struct hub_watch *w);

/* A preview came: to those who asked and, for a delta, saw the start. len 0 cuts. */
void hub_preview(struct hub_watch *w, const char *type, const char *body, size_t len, const struct hub_out *o);

/* Before the event `seq` is written to a subscriber: the held previews whose place is below it. */
void hub_preview_before(struct hub_watch *w, int64_t seq, const struct hub_out *o);

/* Does any wait for its place? */
bool hub_preview_held(const struct hub_watch *w);

/* Nobody is behind any more: everything held. */
void hub_preview_release(struct hub_watch *w, const struct hub_out *o);

/* The event was written: it closes its own preview; span.model_request_end closes all. */
void hub_preview_after(struct hub_watch *w, const char *type, const char *body, size_t len);

/* Some were lost: no more for the ids that are open (contract 3.9: then no further deltas for that id). */
void hub_preview_cut(struct hub_watch *w);

void hub_preview_free(struct hub_watch *w);

#endif
