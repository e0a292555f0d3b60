/*
 * hub_replay: subscribers who read the log for themselves until they have caught up: those who resume at an earlier event, and those
 * who were choked. Belongs to the hub's loop thread.
 *
 * Each gets a bounded piece when it has read the one before; a few pieces are read at a time, in turn, on a connection of their own:
 * neither the number of those who replay nor the length of a log delays anybody who follows.
 */
#ifndef ROOST_STREAM_HUB_REPLAY_H
#define ROOST_STREAM_HUB_REPLAY_H

#include "conf.h"
#include "hub_io.h"
#include "hub_watch.h"
#include "loop.h"

enum hub_replay_state {
	REPLAY_NONE,		/* it follows */
	REPLAY_QUEUED,		/* a piece is to be read for it */
	REPLAY_READING,
	REPLAY_UNREAD,		/* it is choked with its last piece */
};

struct hub_replay;

/* live: the subscriber has caught up and follows now. c and io are borrowed for its life. */
struct hub_replay *hub_replay_new(struct loop *loop, const struct conf *c, struct hub_io *io, void (*live)(void *ctx, struct hub_sub *s),
    void *ctx);
/* After all subscribers were forgotten. Accepts NULL, sets *r = NULL. */
void hub_replay_free(struct hub_replay **r);

/* From s->seen on, at the pace at which it reads. Also when one who replays has read its piece. */
void hub_replay_start(struct hub_replay *r, struct hub_sub *s);

/* Before a subscriber is freed, whether it replays or not. */
void hub_replay_forget(struct hub_replay *r, struct hub_sub *s);

#endif
