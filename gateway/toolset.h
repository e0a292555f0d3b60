/*
 * toolset: an agent's `tools` as it is stored and shown: every default resolved (contract 4.1, 4.2), custom tools checked (4.4), web
 * tools echoed with all their keys (4.3). Works on trees that have passed their shape.
 */
#ifndef ROOST_GATEWAY_TOOLSET_H
#define ROOST_GATEWAY_TOOLSET_H

#include <jansson.h>

#include "err.h"

#define TOOLSET_MAX 256		/* tools over all entries; an agent toolset counts as its eight */

/* Resolve params into *out (the caller owns it). EK_INVALID with a dotted path in pub. */
int toolset_resolve(const json_t *tools, json_t **out, struct err *e);

#endif
