/*
 * hub_io: writing to one subscriber without waiting, and noticing that it left. Belongs to the hub's loop thread.
 */
#ifndef ROOST_STREAM_HUB_IO_H
#define ROOST_STREAM_HUB_IO_H

#include <stdint.h>

#include "hub_watch.h"
#include "loop.h"

struct hub_io {
	struct loop *loop;
	int64_t queue_max;		/* unsent bytes of one subscriber before it is choked */
	int64_t held_max;		/* unsent bytes of all: beyond, who holds more than a little is cut */
	int64_t held;
	struct hub_sub *dead;		/* closed in this round, linked by dead_next; the owner frees them in `after` */
	void (*drained)(void *ctx, struct hub_sub *s);	/* a choked one has read all: it may go on from the log */
	void (*after)(void *ctx);	/* called last in every callback that came from a descriptor */
	void *ctx;
};

/* Watch a subscriber whose io and fd are set. */
void hub_io_start(struct hub_sub *s);

/* Write whole records (for any request id: they are re-addressed in place), or keep them for later. */
void hub_io_write(struct hub_sub *s, struct buf *records);

/* It gets nothing more until it has read what is unsent. Only when something is. */
void hub_io_choke(struct hub_sub *s);

/* Cut a choked subscriber that has read nothing since the last call. */
void hub_io_check(struct hub_sub *s);

/* End the response after what was written; the connection closes when all of it is out. */
void hub_io_end(struct hub_sub *s);

/* Say a last thing that is no event of the log, and end. */
void hub_io_goodbye(struct hub_sub *s, const char *text);

/* Close now; it is freed later, because callers up the stack may hold it. */
void hub_io_kill(struct hub_sub *s, const char *why);

#endif
