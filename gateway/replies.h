/*
 * replies: what a reply's body holds, as data (replies.def), in the form of the request shapes. It makes the reply schemas of
 * GET /openapi.json, against which the tests hold real replies; handlers write their JSON by themselves.
 */
#ifndef ROOST_GATEWAY_REPLIES_H
#define ROOST_GATEWAY_REPLIES_H

#include <stddef.h>

#include "shape.h"

struct reply_doc {
	const char *name;		/* as the schema is called: "Agent" */
	const struct shape *shape;
	const struct shape_union *one;	/* one of the two is NULL */
};

extern const struct reply_doc replies[];
extern const size_t replies_count;

/* The envelope around T of a reply that is named Envelope<T>. */
enum reply_envelope {
	REPLY_PLAIN,
	REPLY_PAGE_CURSOR,		/* data, next_page */
	REPLY_BOTH_WAYS,		/* data, next_page, prev_page */
	REPLY_EITHER,			/* data, next_page, has_more, first_id, last_id: for clients of both kinds */
	REPLY_PAGE,			/* data, has_more, first_id, last_id */
	REPLY_STREAM,			/* "EventStream": server-sent events of StreamEvent */
	REPLY_BINARY,			/* "Binary": bytes of any type */
	REPLY_NONE			/* "" or "OpenAPI": not described */
};

/* What a route's reply is: its envelope and, for those that hold objects, *out (NULL when replies.def does not know the name). */
enum reply_envelope reply_of(const char *name, const struct reply_doc **out);

/* The entry that describes this shape or union, or NULL. */
const struct reply_doc *reply_find(const struct shape *s, const struct shape_union *one);

#endif
