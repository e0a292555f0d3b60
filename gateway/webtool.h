/* webtool: the extra settings of web_search and web_fetch: domain lists, location, URL sources (contract 4.1, 4.3, C-6). */
#ifndef ROOST_GATEWAY_WEBTOOL_H
#define ROOST_GATEWAY_WEBTOOL_H

#include <jansson.h>
#include <stdbool.h>

#include "err.h"

/*
 * Check config's extras and copy them into resolved (null where unset). where is the config's dotted path, tools the whole array (URL
 * sources name its custom tools). name is "web_search" or "web_fetch".
 */
int webtool_resolve(const char *where, const char *name, const json_t *config, const json_t *tools, json_t *resolved, struct err *e);

#endif
