/*
 * hub_feed: what the hub reads from Postgres, without ever waiting: the events a session's subscribers missed, and the round that
 * compares everything watched with the log and re-checks the keys. One pipelined connection.
 */
#ifndef ROOST_STREAM_HUB_FEED_H
#define ROOST_STREAM_HUB_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf.h"
#include "loop.h"

struct hub_feed;

struct hub_feed_fn {
	/* One event of the log, in order; borrowed until return. */
	void (*event)(void *ctx, const char *session, int64_t seq, const char *type, const char *body, size_t len);
	/* The read begun by hub_feed_fetch is over: n events came, or it failed (-1). */
	void (*fetched)(void *ctx, const char *session, int n);
	/* The log of a session goes up to last_seq; -1: the session does not exist any more. */
	void (*moved)(void *ctx, const char *session, int64_t last_seq);
	/* This key would not be let in any more. */
	void (*refused)(void *ctx, const char *key_id);
	/* What hub_feed_compare asked is answered; ok: by Postgres. */
	void (*compared)(void *ctx, bool ok);
	void *ctx;
};

struct hub_feed *hub_feed_new(struct loop *loop, const struct conf *c, const struct hub_feed_fn *fn);
void hub_feed_free(struct hub_feed **f);

/* Read events of a session with seq > after: a bounded batch. Ask again when more are missing. */
void hub_feed_fetch(struct hub_feed *f, const char *session, int64_t after);

/*
 * Compare: n sessions with the seq each has reached, and the ids of the keys in use (duplicates allowed; the array is sorted in
 * place). One at a time: not before `compared` of the one before.
 */
void hub_feed_compare(struct hub_feed *f, int n, const char *const *sessions, const int64_t *seen, int nkeys, const char **keys);

#endif
