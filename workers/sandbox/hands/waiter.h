/* waiter: somebody on a connection who is owed a reply. The connection may be gone by then; then the reply is dropped. */
#ifndef ROOST_SANDBOX_WAITER_H
#define ROOST_SANDBOX_WAITER_H

#include <stdbool.h>
#include <stdint.h>

#include "hands.h"

struct waiter {
	struct waiter *next;
	uint64_t conn;		/* server.h: number of the connection, never used twice */
	int64_t n;		/* the request's number */
	bool attach;		/* asked by `result`, which words its reply a little differently */
};

void waiter_add(struct waiter **list, uint64_t conn, int64_t n, bool attach);
/* Take the first off the list into *out; false when empty. */
bool waiter_pop(struct waiter **list, struct waiter *out);

#endif
