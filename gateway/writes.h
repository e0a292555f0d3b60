/*
 * writes: requests that make one new object go through one connection to Postgres, those that come together as one transaction
 * (lib/store/writeq.h), and no thread waits for them: the request is given away when its handler has prepared everything, and whichever
 * thread finds the answer goes on with it. Whatever cannot be done so (the connection is away or late, an error in the set) is done the
 * usual way, by a thread's own connection. Handlers use create.h.
 */
#ifndef ROOST_GATEWAY_WRITES_H
#define ROOST_GATEWAY_WRITES_H

#include <fcgiapp.h>

#include "park.h"
#include "serve.h"
#include "writeq.h"

/*
 * What a handler leaves in r->write when the rest of it waits for a write, and returns 0; r->out is the reply as far as it is known. In the
 * request's arena. written(r, e) is the handler's last part: it looks at write.result, and returns as a handler does.
 */
struct write_later {
	struct writeq_write write;
	const char **kept;		/* of write.params: where what is kept of the answer goes (dedupe_made_params()), or NULLs */
	gw_handler *written;
	const struct dedupe_id *id;	/* of the attempt, if its answer is kept: the frame's (once.c) */
};

struct writes *writes_open(const struct conf *c, struct park *park);
/* After all park_run() have returned. What is still without an answer is given up. */
void writes_close(struct writes **all);

/* Is it of use to prepare one now? */
bool writes_takes(struct writes *all);

/*
 * Take over a request with r->write. True: it will be answered and given back to the park; r and fcgi are no longer the caller's, and the
 * thread has another arena. False: nothing has happened but that write.result says WRITEQ_ALONE.
 */
bool writes_take(struct writes *all, struct gw_thread *t, struct gw_req *r, FCGX_Request *fcgi, int64_t start_us);

/* Between requests, and when there are none: connects; nothing else tells of those that are late or lost. */
void writes_rest(struct writes *all, struct gw_thread *t);

#endif
