/*
 * busq: Redis in an event loop (worker, hub): a non-blocking hiredis context, driven by loop.h.
 *
 * Two kinds of connection, because a blocking XREAD owns its connection: a writer (busq_publish) and a tail (busq_tail_new).
 * Both reconnect with backoff. Writes while disconnected are dropped and counted: they are hints.
 */
#ifndef ROOST_BUS_BUSQ_H
#define ROOST_BUS_BUSQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus.h"
#include "entry.h"
#include "loop.h"

struct busq;
struct busq *busq_new(struct loop *loop, const struct conf *c);
void busq_free(struct busq **b);
/*
 * Append to sse:0 before the loop waits again; what one session publishes until then becomes one entry. seq 0: a preview (no seq). body of
 * len bytes, copied; over BUS_BODY_MAX it is left out for the hub to fetch.
 */
void busq_publish(struct busq *b, const char *session, const char *type, int64_t seq, const char *body, size_t len);
/* What this session has published goes out before anything else is done, and by itself: nothing that follows it can hold it up. */
void busq_now(struct busq *b, const char *session);
/*
 * What this session has published and is not out yet may wait for what it publishes next, for some milliseconds; not when there are
 * committed events in it, unless these may wait too.
 */
void busq_hold(struct busq *b, const char *session, bool events_too);
bool busq_up(const struct busq *b);
/* Items not stored since busq_new: Redis was away or too much waited unsent; and the refusals that were heard (redisq_quiet). */
int64_t busq_dropped(const struct busq *b);

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
