/*
 * agents: parsed agents that turns share. A turn begins with the text of its session's agent, mostly one that was read a moment ago.
 */
#ifndef ROOST_HARNESS_AGENTS_H
#define ROOST_HARNESS_AGENTS_H

#include "policy.h"

struct agents;

struct agents *agents_new(void);
/* Accepts NULL, sets *c = NULL. Agents that turns hold live on with them. */
void agents_free(struct agents **c);

/* As agent_parse, but *out may be others' too: agent_free it, change nothing of it. */
int agents_read(struct agents *c, const char *json, struct agent **out, struct err *e);

#endif
