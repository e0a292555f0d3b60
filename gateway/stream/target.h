/* target: what a stream request asks for: which session, by which path, with which previews. */
#ifndef ROOST_STREAM_TARGET_H
#define ROOST_STREAM_TARGET_H

#include <stdint.h>

#include "err.h"
#include "id.h"

enum target_delta { TARGET_MESSAGE = 1, TARGET_THINKING = 2 };

struct target {
	char session[ID_MAX];
	char thread[ID_MAX];		/* "" on the session's own path */
	unsigned deltas;		/* bits of enum target_delta */
	const char *resume;		/* the parameter that says where to resume (a literal), or NULL: live only */
	int64_t after;			/* resume after this seq, or */
	int64_t timeline;		/* of which timeline of the database (hub_frame.h); 0: the first */
	char after_id[ID_MAX];		/* after this event; "" when after is given */
};

/*
 * Match the path (still percent-encoded, without query) with our two routes and copy its ids, unchecked.
 * EK_NOT_FOUND "Not found" for anything else. Fills session and thread only.
 */
int target_route(const char *path, struct target *out, struct err *e);

/* Are the ids well-formed? EK_INVALID as contract 1.7. */
int target_ids(const struct target *t, struct err *e);

/* Read event_deltas[] and after from a query string (may be NULL); other parameters are ignored. */
int target_query(const char *query, struct target *out, struct err *e);

/*
 * Where to resume, from parameter `name` (a literal): the number or the id of an event. Replaces what was given before, so that a
 * header, which a reconnecting client keeps up to date, is read after the query.
 */
int target_resume(const char *name, const char *text, struct target *out, struct err *e);

#endif
