/*
 * once: runs a handler that writes so that all attempts of one call have one effect and one answer (README.md, "Retried requests"). The
 * handler need not know: its transaction becomes part of one that also keeps its reply.
 */
#ifndef ROOST_GATEWAY_ONCE_H
#define ROOST_GATEWAY_ONCE_H

#include <stdbool.h>

#include "dedupe.h"
#include "req.h"

/*
 * Run r's handler, or answer what an earlier attempt was answered (*out_replayed). id: of this attempt; its kind DEDUPE_NONE runs the
 * handler as it is. What the handler noted (after.h) has been told when this returns. EK_CONFLICT: the key was used for another
 * request. EK_BUSY: another attempt is still under way. EK_UNCERTAIN: whether it was committed could not be asked.
 */
int once_run(struct gw_req *r, const struct dedupe_id *id, bool *out_replayed, struct err *e);

/* How many messages may such an attempt leave to be sent with others (r->may_send)? A new object as well, unless 0. */
int once_may_send(const struct dedupe_id *id);

/*
 * The rest of a request whose handler left it to be done later (r->later or r->write, together.h), now that it is known how that went.
 * What it notes is the caller's to tell.
 */
int once_sent(struct gw_req *r, struct err *e);

/* Now and then forget what has expired: at most once a second in this process, a bounded number of rows. Failing is not an error. */
void once_sweep(struct db *db);

#endif
