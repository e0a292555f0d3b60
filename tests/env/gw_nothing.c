/* gw_nothing: the route table's handlers for tests that only look at the table; none may be called. */
#include "api.h"
#include "xalloc.h"

/* route.c defines these two; they may stand in several rows, so each row's gets a name of its own. */
#define GLUE(a, b) a##b
#define UNUSED(line) GLUE(unused_, line)
#define route_nowhere UNUSED(__LINE__)
#define route_elsewhere UNUSED(__LINE__)
#define ROUTE(method, path, handler, access, beta, body, query, reply)	\
	__attribute__((weak)) int handler(struct gw_req *r, struct err *e) { must(!"handlers are not for unit tests"); return -1; }

#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#include "routes.def"
