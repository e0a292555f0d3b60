/*
 * reads: requests that only read one thing quickly go through one shared connection to Postgres (lib/store/dbshare.h), and no thread waits
 * for them: the request is given away, and whichever thread finds the answer goes on with it. Whatever cannot be done so (the connection is
 * away or late, the answer is an error) is done the usual way, by a thread's own connection.
 */
#ifndef ROOST_GATEWAY_READS_H
#define ROOST_GATEWAY_READS_H

#include <fcgiapp.h>

#include "park.h"
#include "serve.h"

struct reads *reads_open(const struct conf *c, struct park *park);
/* After all park_run() have returned. What is still without an answer is given up. */
void reads_close(struct reads **all);

/*
 * Take over a request whose handler has asked for one statement (q; its text is taken as well). True: it will be answered and given back to
 * the park, perhaps already has been; r, q and fcgi are no longer the caller's, and the thread has another arena. False: nothing has
 * happened.
 */
bool reads_take(struct reads *all, struct gw_thread *t, struct gw_req *r, struct db_later *q, FCGX_Request *fcgi, int64_t start_us);

/* Between requests, and when there are none: nothing else tells of those whose connection is gone or stuck. */
void reads_rest(struct reads *all, struct gw_thread *t);
#endif
