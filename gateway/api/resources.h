/* resources: attaching files while a session is made (session_create.c); the endpoints are in resources.c. */
#ifndef ROOST_GATEWAY_API_RESOURCES_H
#define ROOST_GATEWAY_API_RESOURCES_H

#include "db.h"
#include "req.h"

/* May a session of this agent (a resolved SessionAgent) have these resources (NULL or empty: yes)? EK_INVALID (contract C-10). */
int resources_check(const json_t *resources, const json_t *agent, struct err *e);

/*
 * Attach them (not empty, checked) to the session, in the transaction that has locked or made it. *out_shown: the session's resources as
 * JSON text, borrowed from *res, which the caller owns. After a failure the transaction must be rolled back.
 */
int resources_attach(struct gw_req *r, const char *session, const json_t *resources, PGresult **res, const char **out_shown, struct err *e);

#endif
