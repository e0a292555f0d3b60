/*
 * waiting: requests that wait until their organization may have one more handler thread (shares.h). The request is given away when its key
 * has been looked at and before its body is read, which stays with nginx; whichever thread is free when its turn comes goes on with it.
 */
#ifndef ROOST_GATEWAY_WAITING_H
#define ROOST_GATEWAY_WAITING_H

#include <fcgiapp.h>

#include "park.h"
#include "serve.h"

struct waiting *waiting_open(struct shares *shares, struct park *park);
/* After all park_run() have returned. What still waits is given up. */
void waiting_close(struct waiting **all);

/*
 * Take over a request. True: it will be answered and given back to the park; r and fcgi are no longer the caller's, and the thread has
 * another arena. False: too many of its organization wait, nothing has happened.
 */
bool waiting_take(struct waiting *all, struct gw_thread *t, const struct gw_req *r, FCGX_Request *fcgi, int64_t start_us);

/* Between requests, and when there are none: go on with those whose turn it is. */
void waiting_rest(struct waiting *all, struct gw_thread *t);

#endif
