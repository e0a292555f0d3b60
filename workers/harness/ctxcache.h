/*
 * ctxcache: contexts of sessions that this worker has worked on and given back, so that the next claim reads only what is new.
 *
 * The log is append-only, so a context that was the log's view up to context.seq stays a prefix of it for ever, unless a compaction
 * came later: the next load starts at that (load.c). Bounded in bytes; the least recently given back goes first. Owns what it holds.
 */
#ifndef ROOST_HARNESS_CTXCACHE_H
#define ROOST_HARNESS_CTXCACHE_H

#include "turn.h"

struct ctxcache;

struct ctxcache *ctxcache_new(size_t bytes_max);
void ctxcache_free(struct ctxcache **c);

/* Takes the context; *context is empty afterwards. */
void ctxcache_put(struct ctxcache *c, const char *session, struct context *context);
/* Gives the context away: it is the caller's. false: there is none, *out is untouched. */
bool ctxcache_take(struct ctxcache *c, const char *session, struct context *out);
/* Look at it, or NULL: good until the cache is touched again. */
const struct context *ctxcache_peek(struct ctxcache *c, const char *session);
/* The session is gone. */
void ctxcache_drop(struct ctxcache *c, const char *session);

/* Bytes held, for the test and the log. */
size_t ctxcache_bytes(const struct ctxcache *c);

#endif
