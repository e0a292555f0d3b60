/*
 * sends: requests that only put messages into an inbox go through one connection to Postgres, those that come together as one statement and
 * one commit (lib/store/sendq.h), and no thread waits for them: the request is given away when its handler has prepared everything, and
 * whichever thread finds the answer goes on with it. Whatever cannot be done so (the connection is away or late, something stands in the
 * message's way, an error) is done the usual way, by a thread's own connection.
 */
#ifndef ROOST_GATEWAY_SENDS_H
#define ROOST_GATEWAY_SENDS_H

#include <fcgiapp.h>

#include "park.h"
#include "sendq.h"
#include "serve.h"

/*
 * What a handler leaves in r->later when the rest of it waits for a send, and returns 0. In the request's arena, usually the first member
 * of what its `sent` needs. sent(r, e) is the handler's last part: it looks at send.result, and returns as a handler does.
 */
struct send_later {
	struct sendq_send send;
	gw_handler *sent;
	const struct dedupe_id *id;	/* of the attempt, if its answer is kept: the frame's (once.c) */
};

struct sends *sends_open(const struct conf *c, struct park *park);
/* After all park_run() have returned. What is still without an answer is given up. */
void sends_close(struct sends **all);

/* Is it of use to prepare one now? */
bool sends_takes(struct sends *all);

/*
 * Take over a request with r->later. True: it will be answered and given back to the park; r and fcgi are no longer the caller's, and the
 * thread has another arena. False: nothing has happened but that send.result says SENDQ_ALONE.
 */
bool sends_take(struct sends *all, struct gw_thread *t, struct gw_req *r, FCGX_Request *fcgi, int64_t start_us);

/* Between requests, and when there are none: connects; nothing else tells of those that are late or lost. */
void sends_rest(struct sends *all, struct gw_thread *t);

#endif
