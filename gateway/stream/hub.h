/*
 * hub: thousands of subscribers in one loop. It tails Redis, writes events to those who follow the session, pings, compares with the
 * log, and ends streams.
 *
 * hub_join, hub_leave, hub_start are for other threads (the doors); they pass messages to the loop thread, which alone touches
 * subscribers. The order that loses nothing: hub_join, then read last_seq, then hub_start, whose first bytes are the 200.
 */
#ifndef ROOST_STREAM_HUB_H
#define ROOST_STREAM_HUB_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "conf.h"
#include "err.h"
#include "loop.h"

#define HUB_PING "event: ping\ndata: {}\n\n"

struct hub;
struct hub_sub;

struct hub *hub_new(struct loop *loop, const struct conf *c);
void hub_free(struct hub **h);

/* Who wants to follow which session (which may turn out not to exist). */
struct hub_guest {
	const char *session, *organization_id, *key_id;
};

/*
 * Register a subscriber. NULL with EK_UNAVAILABLE when full or stopping, EK_LIMIT when its organization or key holds as many streams of
 * this hub as it may. Waits for the loop thread. Must be followed by hub_leave or hub_start.
 */
struct hub_sub *hub_join(struct hub *h, const struct hub_guest *guest, struct err *e);
void hub_leave(struct hub *h, struct hub_sub *s);

struct hub_start {
	int fd;				/* taken: the FastCGI connection, nothing sent yet */
	struct buf head;		/* taken: the first records of the response */
	unsigned request;		/* FastCGI request id */
	int64_t seen;			/* events above it follow: last_seq when it was read, or less for one who resumes */
	int64_t known;			/* last_seq when it was read */
	unsigned wants;			/* enum target_delta */
	bool as_message;		/* name every event `message` */
};
void hub_start(struct hub *h, struct hub_sub *s, const struct hub_start *with);

/* Loop thread: end all streams with a retry hint, refuse new ones, stop the loop when all is written or after max_ms. */
void hub_stop(struct hub *h, int64_t max_ms);

#endif
