/* api: the handlers named in routes.def. Each is declared here by the table itself; their contract is gw_handler's (req.h). */
#ifndef ROOST_GATEWAY_API_H
#define ROOST_GATEWAY_API_H

#include "req.h"

#define ROUTE(method, path, handler, access, beta, body, query, reply) gw_handler handler;
#include "routes.def"
#undef ROUTE

#endif
