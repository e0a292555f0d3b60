/* routedoc: see routedoc.h. A lookup in a small table, once per route when the description is made. */
#include "routedoc.h"

#include <string.h>

static const struct routedoc docs[] = {
#define DOC(id, tag, summary) { #id, tag, summary },
#include "routedoc.def"
#undef DOC
};

struct routedoc
routedoc_of(const struct route *r)
{
	const char *id = strncmp(r->name, "api_", 4) == 0 ? r->name + 4 : r->name;

	if (r->handler == route_elsewhere)
		id = strstr(r->path, "/threads/") ? "thread_stream" : "event_stream";
	for (size_t i = 0; i < sizeof docs / sizeof *docs; i++)
		if (strcmp(docs[i].id, id) == 0)
			return docs[i];
	return (struct routedoc){ id, "Other", id };
}
