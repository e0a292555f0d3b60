/* weburl: addresses of servers as clients write them: which are taken, and which mean the same. */
#ifndef ROOST_GATEWAY_WEBURL_H
#define ROOST_GATEWAY_WEBURL_H

#include <stdbool.h>

#include "arena.h"
#include "err.h"

#include <jansson.h>

/* An http or https URL with a host, without user or password, whitespace or what never stands in one. */
bool weburl_ok(const char *url);

/*
 * What two URLs of one server have in common (contract 7.2): host in small letters, no default port, no slashes at the path's end, no
 * fragment. Of an URL that weburl_ok() takes. In the arena.
 */
char *weburl_key(const char *url, struct arena *a);

/*
 * Entries of an allowed_hosts list: exact host names, IPv4 addresses, or *. before a name; no URL, port, path or IPv6 address (contract
 * 7.3, 8.2). EK_INVALID names the entry.
 */
int weburl_hosts(const json_t *hosts, struct err *e);

#endif
