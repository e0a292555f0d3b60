/* change: change one object of the workspace (lib/store/object.h) in a transaction of its own. */
#ifndef ROOST_GATEWAY_CHANGE_H
#define ROOST_GATEWAY_CHANGE_H

#include "object.h"
#include "req.h"

/* What is to be done while the row is locked; now: what it holds. An error takes everything back. */
typedef int object_step(struct gw_req *r, const struct object_locked *now, struct err *e);

/*
 * Lock the object that the path parameters name, do step(), commit. EK_NOT_FOUND as lock() says it; EK_FORBIDDEN: the organization
 * is suspended; otherwise step()'s. A crash before the commit leaves nothing.
 */
int object_change(struct gw_req *r, object_lock *lock, object_step *step, struct err *e);

#endif
