/* head: the size of a request's head, checked before anything else. Shared by roost-gateway and roost-stream. */
#ifndef ROOST_GATEWAY_HEAD_H
#define ROOST_GATEWAY_HEAD_H

#include "err.h"

#define HEAD_URI_MAX 8192	/* path and query; a hundred ids in a query need half of it */
#define HEAD_MAX 16384		/* all header lines together, names and values */

/*
 * EK_URI_LONG (414) or EK_HEAD_LARGE (431). envp: the FastCGI environment. nginx takes twice as much (nginx/limits.inc), because what it
 * refuses itself ends an HTTP/2 connection instead of a request.
 */
int head_check(char *const *envp, struct err *e);

#endif
