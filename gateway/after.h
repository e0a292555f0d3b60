/*
 * after: what a handler wants told once its change is committed: doorbells for workers, events for streams. A handler's commit may be a
 * part of the frame's (once.h), so it notes these, and the frame tells them. All of it is best effort: a lost one costs a poll.
 */
#ifndef ROOST_GATEWAY_AFTER_H
#define ROOST_GATEWAY_AFTER_H

#include <stdint.h>

#include "req.h"

/* Note a doorbell. owner: who has the session, "" for nobody. Everything is copied into the request's arena. */
void after_ring(struct gw_req *r, const char *session, const char *owner);
/* Note an event of a session that ends. */
void after_publish(struct gw_req *r, const char *session, const char *type, int64_t seq, const char *body);

/* Tell what was noted, in order; nothing of it is left. */
void after_tell(struct gw_req *r);

#endif
