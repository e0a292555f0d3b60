/*
 * hub_watch: who follows a session, and what each of them gets next. Pure logic: output goes through struct hub_out, time and
 * descriptors are the hub's. Everything belongs to the hub's loop thread.
 *
 * A subscriber gets the events of the log in the order of their seq, each once, from the seq it started at: `seen` is the last one it
 * got. One that missed something is *behind*: it gets nothing until the missing events are read from the log. One that does not read
 * is *choked*: it falls behind on purpose, so that what it holds in memory is bounded. One that *replays* (it resumed at an earlier
 * event, or was choked) is left to hub_replay until it has caught up: nobody waits for it and it holds nobody back.
 */
#ifndef ROOST_STREAM_HUB_WATCH_H
#define ROOST_STREAM_HUB_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "buf.h"
#include "hub_frame.h"
#include "id.h"

#define HUB_LAST_EVENT "session.status_terminated"	/* nothing follows: the stream ends */

struct hub_sub {
	struct hub_sub *next, **at;		/* in the watch's list */
	struct hub_sub *slot_next, **slot_at;	/* in the hub's list of one ping slot */
	struct hub_sub *dead_next;
	struct hub_watch *watch;
	TAILQ_ENTRY(hub_sub) replays;		/* hub_replay's: its place in the queue */
	struct hub_replay_read *read;		/* hub_replay's: the read under way */
	struct hub_io *io;
	struct buf out;				/* unsent records; memory only while there are some */
	size_t held;				/* what `out` takes, as it was added to io->held */
	size_t out_mark;			/* how much was unsent at the last ping while choked */
	int64_t seen;
	int fd;					/* -1 until it is started */
	uint16_t request;			/* FastCGI request id */
	uint8_t wants;				/* bits of enum target_delta */
	uint8_t replay;				/* enum hub_replay_state; 0: it follows */
	uint8_t started;			/* previews it has seen begin: bits of the watch's preview slots */
	bool as_message;			/* names every event `message` (contract A2) */
	bool choked;				/* too much is unsent: gets nothing, and reads the log when it has drained */
	bool ended;				/* the end is queued; nothing more is sent */
	bool dead;				/* closed; freed at the end of the loop round */
	bool told;				/* something was written to it since its last turn to be pinged */
	struct hub_share *organization, *key;	/* the hub's counts that it is part of; the key is re-checked on each round */
};

struct hub_watch {
	struct hub_watch *next;			/* in the table's bucket */
	struct hub_sub *subs;
	struct hub_previews *previews;		/* NULL while no model streams */
	int64_t known;				/* the highest seq that the log has, as far as we know */
	int64_t heard;				/* the highest that Redis brought: the place of previews */
	int64_t fetching_from;			/* a read of the log after this seq is under way */
	bool fetching;				/* it keeps the watch alive */
	char session[ID_MAX];
};

/* Where output goes. end: close after what was sent. Both may mark the subscriber ended or dead, never free it. */
struct hub_out {
	void (*send)(void *ctx, struct hub_sub *s, struct hub_frame *f);
	void (*end)(void *ctx, struct hub_sub *s);
	void *ctx;
};

/* Can it be written to? */
static inline bool
hub_sub_live(const struct hub_sub *s)
{
	return s->fd >= 0 && !s->ended && !s->dead;
}

/* Does it take what comes? */
static inline bool
hub_sub_follows(const struct hub_sub *s)
{
	return hub_sub_live(s) && !s->choked && !s->replay;
}

/* Committed events, from Redis (live: some of a session, in a row) or read from the log. len 0: only its number is known. */
void hub_watch_live(struct hub_watch *w, const struct hub_event *ev, int n, const struct hub_out *o);
void hub_watch_event(struct hub_watch *w, const struct hub_event *ev, const struct hub_out *o);

/* The session is gone: its last event to everyone, whatever they missed (nothing is left to read), and the end. */
void hub_watch_deleted(struct hub_watch *w, const char *body, size_t len, const struct hub_out *o);

/* The lowest seen of those who follow and are behind, or -1 when none is. */
int64_t hub_watch_behind(const struct hub_watch *w);
/* The lowest seen of all who follow, or -1 when nobody does. */
int64_t hub_watch_seen(const struct hub_watch *w);

void hub_watch_add(struct hub_watch *w, struct hub_sub *s);
void hub_watch_remove(struct hub_sub *s);

/*
 * Watches by session id. Zero-initialised is valid and empty. Most of what a hub reads can be for sessions that it has no watch of: `seen`
 * tells so without looking at the watches of the bucket, whose memory is cold.
 */
struct hub_bucket { struct hub_watch *first; uint64_t seen; };	/* a bit per hash that is in it, or was */
struct hub_table {
	struct hub_bucket *buckets;
	size_t nbuckets, count;
};

struct hub_watch *hub_table_find(const struct hub_table *t, const char *session);
/* Find or make. */
struct hub_watch *hub_table_get(struct hub_table *t, const char *session);
/* Free a watch without subscribers. */
void hub_table_drop(struct hub_table *t, struct hub_watch *w);
/* Iterate: start with NULL; NULL at the end. The table must not change meanwhile. */
struct hub_watch *hub_table_next(const struct hub_table *t, const struct hub_watch *w);
/* The same for one of several parts of it; a watch stays in its part while the table grows. */
#define HUB_PARTS_MAX 64
struct hub_part { size_t at, of; };	/* of: a power of two, HUB_PARTS_MAX at most */
struct hub_watch *hub_table_next_of(const struct hub_table *t, struct hub_part part, const struct hub_watch *w);
void hub_table_free(struct hub_table *t);

#endif
