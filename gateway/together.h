/*
 * together: requests whose last part is written together with that of others, by one warm connection to Postgres (lib/store/warmq.h): those
 * that only put messages into an inbox (sendq.h), and those that make one new object (writeq.h; handlers use create.h). No thread waits for
 * them: the request is given away when its handler has prepared everything, and whichever thread finds the answer goes on with it. Whatever
 * cannot be done so (the connection is away or late, something stands in a message's way, an error in the set) is done the usual way, by a
 * thread's own connection.
 */
#ifndef ROOST_GATEWAY_TOGETHER_H
#define ROOST_GATEWAY_TOGETHER_H

#include <fcgiapp.h>

#include "park.h"
#include "sendq.h"
#include "serve.h"
#include "writeq.h"

/*
 * What a handler leaves in r->later when the rest of it waits for a send, and returns 0. In the request's arena, usually the first member
 * of what its `sent` needs. sent(r, e) is the handler's last part: it looks at the send's result, and returns as a handler does.
 */
struct send_later {
	struct sendq_send send;
	gw_handler *sent;
	const struct dedupe_id *id;	/* of the attempt, if its answer is kept: the frame's (once.c) */
};

/* The same of a write, in r->write; r->out is the reply as far as it is known. */
struct write_later {
	struct writeq_write write;
	const char **kept;		/* of write.params: where what is kept of the answer goes (dedupe_made_params()), or NULLs */
	gw_handler *written;
	const struct dedupe_id *id;
};

/* Those of one connection. */
struct together;
struct together *together_sends(const struct conf *c, struct park *park);
struct together *together_writes(const struct conf *c, struct park *park);
/* After all park_run() have returned. What is still without an answer is given up. */
void together_close(struct together **all);

/* Is it of use to prepare one now? */
bool together_takes(struct together *all);

/*
 * Take over a request with what it waits for: the item of r->later's send, or of r->write's write. True: it will be answered and given back
 * to the park; r and fcgi are no longer the caller's, and the thread has another arena. False: nothing has happened but that the item's
 * result says WARMQ_ALONE.
 */
bool together_take(struct together *all, struct warmq_item *item, struct gw_thread *t, struct gw_req *r, FCGX_Request *fcgi,
    int64_t start_us);

/* Between requests, and when there are none: connects; nothing else tells of those that are late or lost. */
void together_rest(struct together *all, struct gw_thread *t);

#endif
