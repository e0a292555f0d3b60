/*
 * busq_tail: following one stream of Redis in an event loop (worker, hub), by a connection of its own that reconnects with backoff
 * (redisq.h). What it brings is news, never the truth: entries may be missing whenever `state` has said so.
 */
#ifndef ROOST_BUS_BUSQ_TAIL_H
#define ROOST_BUS_BUSQ_TAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "entry.h"
#include "loop.h"

/* One entry of the tailed stream: n field/value pairs (entry.h reads them), borrowed until return. */
typedef void busq_entry_fn(void *ctx, const struct busq_field *fields, int n);
/*
 * up true: connected, entries follow. up false: the connection was lost, or Redis was flushed or restarted so that its ids went
 * backwards; entries may be missing then, and up true follows when reading goes on. The first call is up true.
 */
typedef void busq_state_fn(void *ctx, bool up);

struct busq_tail;
/*
 * Tail `stream` from its present end on, with explicit ids across reconnects: what is still in the stream is not missed. state may be
 * NULL. Callbacks must not free the tail.
 */
struct busq_tail *busq_tail_new(struct loop *loop, const struct conf *c, const char *stream,
    busq_entry_fn *entry, busq_state_fn *state, void *ctx);
/*
 * Look at most once in ms milliseconds for what is new (0: it comes at once). For who is told of everything and seldom has to act: one
 * wake-up for all that came meanwhile.
 */
void busq_tail_pace(struct busq_tail *t, int64_t ms);
void busq_tail_free(struct busq_tail **t);

#endif
