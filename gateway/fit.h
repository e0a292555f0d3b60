/* fit: may a session run this agent in this environment? (contract 2.3, 8.2) */
#ifndef ROOST_GATEWAY_FIT_H
#define ROOST_GATEWAY_FIT_H

#include <jansson.h>

#include "err.h"

/*
 * agent: a resolved SessionAgent. environment: a stored environment body, or NULL when it is gone (then its rules are not checked).
 * EK_INVALID: its network policy forbids what the agent names, or one of them asks for what this service does not run yet.
 */
int fit_check(const json_t *agent, const json_t *environment, struct err *e);

#endif
