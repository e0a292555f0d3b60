/* waiter: see waiter.h. Order of asking is order of answering. */
#include "waiter.h"

#include <stdlib.h>

#include "xalloc.h"

void
waiter_add(struct waiter **list, uint64_t conn, int64_t n, bool attach)
{
	struct waiter *w = xcalloc(1, sizeof *w);

	w->conn = conn;
	w->n = n;
	w->attach = attach;
	while (*list)
		list = &(*list)->next;
	*list = w;
}

bool
waiter_pop(struct waiter **list, struct waiter *out)
{
	struct waiter *w = *list;

	if (!w)
		return false;
	*list = w->next;
	*out = *w;
	free(w);
	return true;
}
