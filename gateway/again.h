/*
 * again: a request whose transaction Postgres took back for another's sake (a deadlock, a serialization failure) may be run again from its
 * handler on, as if it had not been run: its client need not hear of it.
 */
#ifndef ROOST_GATEWAY_AGAIN_H
#define ROOST_GATEWAY_AGAIN_H

#include <stdbool.h>

#include "req.h"

/*
 * r's handler has failed with e, for the runs-th time. True: that was EK_UNDONE; a moment has passed, e is clear, and nothing of the run is
 * left in r. False: e is r's answer, also when it cannot be run again (too often, a body that was too large to be kept).
 */
bool again(struct gw_req *r, int runs, struct err *e);

#endif
