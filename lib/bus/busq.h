/*
 * busq: writing to Redis in an event loop (worker): a connection of its own, which reconnects with backoff (redisq.h). Reading is
 * busq_tail's, because a blocking XREAD owns its connection. Writes while disconnected are dropped and counted: they are hints.
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

#endif
