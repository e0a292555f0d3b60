/* routedoc: what people read about an operation (routedoc.def), and its name for programs. */
#ifndef ROOST_GATEWAY_ROUTEDOC_H
#define ROOST_GATEWAY_ROUTEDOC_H

#include "route.h"

struct routedoc {
	const char *id;			/* operationId; unique */
	const char *tag, *summary;	/* the summary of a route without a row is its id */
};

struct routedoc routedoc_of(const struct route *r);

#endif
