/* route: the table of endpoints (routes.def) and the matching of a raw request path. */
#ifndef ROOST_GATEWAY_ROUTE_H
#define ROOST_GATEWAY_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "auth.h"
#include "req.h"
#include "shape.h"

enum route_access { ROUTE_OPEN, ROUTE_WORKSPACE, ROUTE_ADMIN };

struct route {
	const char *method, *path, *name;	/* name: the handler's, for people and openapi.json */
	gw_handler *handler;
	enum route_access access;
	enum auth_beta beta;
	const struct shape *body;	/* &shape_none: takes none */
	const struct query_spec *query;
	const char *reply;		/* name of the reply's schema */
};

extern const struct route routes[];
extern const size_t routes_count;

/*
 * Find the endpoint of a raw path (percent-encoded, without query). EK_NOT_FOUND "Not found": no such path, and for paths with empty or
 * dot segments, encoded slashes or NUL. EK_METHOD: the path is known; allow receives the methods it has. On success *out_route is set
 * and params hold the decoded path parameters (in the arena), not yet checked.
 */
int route_match(const char *method, const char *raw_path, struct arena *a, const struct route **out_route,
    const char *params[REQ_PARAMS], char allow[64], struct err *e);

/* Are the path parameters well-formed ids? EK_INVALID "Invalid agent ID." otherwise. */
int route_check_params(const struct route *r, const char *const params[REQ_PARAMS], struct err *e);

/* Does it change something for its caller? Then its attempts are told apart (once.h). */
bool route_writes(const struct route *r);

/* Does it make something new in a list? */
bool route_makes(const struct route *r);
/* Or does it send events: is it done by few statements, none of which waits for what others may lock for long? */
bool route_sends(const struct route *r);

/* A path that exists but has no such method, by contract: 404. */
gw_handler route_nowhere;
/* What roost-stream serves: listed in openapi.json; 404 should it arrive here. */
gw_handler route_elsewhere;

/* Name of path parameter n within braces, or NULL. Writes it into out. */
const char *route_param_name(const struct route *r, int n, char out[32]);

/* What ids of this path parameter begin with, or NULL when it is no id. */
const char *route_param_prefix(const char *name);

#endif
