/* respond: a request's last words. */
#ifndef ROOST_GATEWAY_RESPOND_H
#define ROOST_GATEWAY_RESPOND_H

#include <fcgiapp.h>

#include "err.h"
#include "req.h"

/* Reply or envelope, the log line; frees what r owns. allow: methods, of a 405, or "". */
void respond(struct gw_req *r, FCGX_Request *fcgi, struct err *e, const char *allow, int64_t start_us);

#endif
