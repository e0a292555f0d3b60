/*
 * create: how a handler makes one new object by one statement, which returns the object's stamp: with others of its kind (together.h), or by
 * its thread's own connection where that cannot be. The reply is composed before, with the request's own id wherever the stamp belongs (no
 * client can know it by then), so that it can be kept by the same statement.
 */
#ifndef ROOST_GATEWAY_CREATE_H
#define ROOST_GATEWAY_CREATE_H

#include "dedupe.h"
#include "together.h"

#define CREATE_PARAMS 24

struct create {
	struct write_later later;		/* first: r->write is this */
	const char *params[CREATE_PARAMS];	/* that outlive the handler: of the request's arena, or constant */
	gw_handler *none;			/* what to do when the statement says that there is no such object to be made */
};

/* In the request's arena; `stmt` takes n parameters, then what is kept of the answer. */
struct create *create_new(struct gw_req *r, enum db_stmt stmt, int n, gw_handler *none);

/* With all of params and r->out complete: leave it to be written, or write it. The handler returns what this returns. */
int create_run(struct gw_req *r, struct create *c, struct err *e);

/* Is there no stamp missing in this reply? */
bool create_stamped(const struct gw_req *r, const char *reply);
/* A Postgres array of r->out's pieces around the stamp. In the request's arena. */
const char *create_pieces(const struct gw_req *r);

#endif
