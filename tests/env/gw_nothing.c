/* gw_nothing: the route table's handlers for tests that only look at the table; none may be called. */
#include "api.h"
#include "xalloc.h"

#define route_nowhere unused_nowhere	/* route.c defines these two */
#define route_elsewhere unused_elsewhere
#define ROUTE(method, path, handler, access, beta, body, query, reply)	\
	__attribute__((weak)) int handler(struct gw_req *r, struct err *e) { must(!"handlers are not for unit tests"); return -1; }

int unused_nowhere(struct gw_req *r, struct err *e);
int unused_elsewhere(struct gw_req *r, struct err *e);
#include "routes.def"
