/*
 * suffix: which names are public suffixes (com, co.uk), under which others register domains: the ICANN part of the public suffix list, as
 * the distribution ships it. Loaded once, before threads start; read-only afterwards.
 */
#ifndef ROOST_GATEWAY_SUFFIX_H
#define ROOST_GATEWAY_SUFFIX_H

#include <stdbool.h>

#include "err.h"

/* Read the list. A path that is empty or names nothing: no suffix is known then. EK_INTERNAL when it is there and cannot be read. */
int suffix_load(const char *path, struct err *e);

/* Is this host name (ASCII, any case) itself a public suffix by the list? */
bool suffix_public(const char *host);

#endif
