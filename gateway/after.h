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
/* The same, and what the owner should be told along with it, if it can be (bell.h): bytes that he may do without. */
void after_ring_told(struct gw_req *r, const char *session, const char *owner, const char *told, size_t told_len);
/* Note an event of a session that ends. */
void after_publish(struct gw_req *r, const char *session, const char *type, int64_t seq, const char *body);

/* Tell what was noted: doorbells of this machine, then the others and the events in order. Nothing of it is left. */
void after_tell(struct gw_req *r);

/*
 * The same for several requests at once: take each one's notes, which stay in its arena, to the end of a list (begin with the address of an
 * empty one; what is returned is the end for the next), and tell them.
 */
struct after **after_take(struct gw_req *r, struct after **end);
void after_tell_all(struct after *all, struct bells *bells, struct bus *bus);

#endif
