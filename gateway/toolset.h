/*
 * toolset: an agent's `tools` as it is stored and shown: every default resolved (contract 4.1, 4.2), custom tools checked (4.4), web
 * tools echoed with their keys (4.3), MCP toolsets matched with the servers. Works on trees that have passed their shape.
 */
#ifndef ROOST_GATEWAY_TOOLSET_H
#define ROOST_GATEWAY_TOOLSET_H

#include <jansson.h>
#include <stdbool.h>

#include "err.h"

#define TOOLSET_MAX 256		/* tools over all entries; an agent toolset counts as its eight, an MCP toolset as those it names */

/* Resolve params into *out (the caller owns it). EK_INVALID with a dotted path in pub. */
int toolset_resolve(const json_t *tools, json_t **out, struct err *e);

/* Do resolved tools and mcp_servers belong together: each server with one toolset, each toolset with its server? EK_INVALID. */
int toolset_servers(const json_t *tools, const json_t *servers, struct err *e);

/* Of resolved tools: is this built-in enabled? */
bool toolset_usable(const json_t *tools, const char *builtin);
/* Its own config, or NULL. Borrowed. */
const json_t *toolset_config(const json_t *tools, const char *builtin);

#endif
