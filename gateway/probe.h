/*
 * probe: requests whose answer takes as long as somebody else's server: validating a credential (contract 7.5). A handler checks and calls
 * probe_begin(); when it has returned, the frame gives the request to a thread of its own, which asks roost-egress and answers. No handler
 * thread and no database connection waits meanwhile.
 */
#ifndef ROOST_GATEWAY_PROBE_H
#define ROOST_GATEWAY_PROBE_H

#include <fcgiapp.h>
#include <stdint.h>

#include "err.h"
#include "park.h"
#include "req.h"

struct gw;
struct probes;

/* What is to be validated. In the request's arena. */
struct probe_target {
	const char *vault_id, *credential_id;
};

/*
 * The last act of a handler: let the validation in and note it in r->probe. The ids are the request's own and exist. EK_LIMIT: too many of
 * this organization at the same time, on all gateways together.
 */
int probe_begin(struct gw_req *r, const char *vault_id, const char *credential_id, struct err *e);

/* Of the process. Connections go back to the park. */
struct probes *probes_open(const struct gw *gw, struct park *park);
/* Wait for those under way, ms at most, then cut them. After it no thread of theirs is left. */
void probes_close(struct probes **p, int64_t ms);

/* Take r's request, which has r->probe. 0: fcgi and all that r owns belong to the probe. -1: refused, r is the caller's. */
int probes_take(struct probes *p, const struct gw_req *r, FCGX_Request *fcgi, int64_t start_us, struct err *e);

#endif
