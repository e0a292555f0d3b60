/* fit: may a session run this agent in this environment? (contract 2.3, 8.2) */
#ifndef ROOST_GATEWAY_FIT_H
#define ROOST_GATEWAY_FIT_H

#include <jansson.h>

#include "err.h"

/*
 * A new session. agent: a resolved SessionAgent; environment: a stored environment's body. EK_INVALID: its network policy forbids what the
 * agent names, or one of them asks for what this service does not run yet.
 */
int fit_check(const json_t *agent, const json_t *environment, struct err *e);

/* The part that tools and MCP servers decide, for a session that has got others. environment NULL: it is gone, nothing to be checked. */
int fit_tools(const json_t *agent, const json_t *environment, struct err *e);

#endif
