/*
 * hands: the worker's side of the socket to roost-hands (frames of frame.h; design sections 3.8 and 7).
 *
 * One connection per worker, reconnecting with backoff. A request made while it is down waits up to HANDS_WAIT_MS; one that was sent
 * when it broke is answered with HANDS_LOST, because hands may have acted on it. Nothing is ever sent twice by this module.
 * Callbacks come from the loop, never from inside a request.
 */
#ifndef ROOST_HARNESS_HANDS_H
#define ROOST_HARNESS_HANDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "loop.h"

#define HANDS_WAIT_MS 5000

enum hands_outcome {
	HANDS_OK,	/* doc is the reply */
	HANDS_REFUSED,	/* doc has "error": {kind, message} */
	HANDS_LOST,	/* sent, then the connection broke */
	HANDS_DOWN,	/* never sent: hands was away too long */
};

/* owner and call are the request's; doc is borrowed until return, NULL for LOST and DOWN. */
typedef void hands_done_fn(void *owner, const char *call, enum hands_outcome outcome, const json_t *doc);

struct hands;
struct hands *hands_new(struct loop *loop, const char *socket_path);
void hands_free(struct hands **h);
bool hands_up(const struct hands *h);

struct hands_request {
	const char *op;		/* provision, call, result, ack, cancel, pause, outputs, published, destroy */
	const char *session;	/* NULL: none */
	int64_t epoch;		/* below 0: none */
	const char *call;	/* or NULL */
	const char *tool;	/* call only */
	const char *input;	/* call only: JSON text, spliced */
	const char *files;	/* provision and call: the session's files, JSON text; NULL: not told */
	const char *more;	/* further members: a JSON object's text; NULL: none */
	hands_done_fn *done;	/* NULL: a hint, dropped when the connection is down */
	void *owner;
};

/* Everything in rq is copied. */
void hands_send(struct hands *h, const struct hands_request *rq);
/* No callback of this owner comes any more. */
void hands_forget(struct hands *h, const void *owner);

#endif
