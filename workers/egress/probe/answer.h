/*
 * answer: finds the JSON-RPC answer to a request in what an MCP server sends: one JSON text, or an event stream that goes on after it.
 */
#ifndef ROOST_EGRESS_ANSWER_H
#define ROOST_EGRESS_ANSWER_H

#include <stdbool.h>

#include "buf.h"
#include "jx.h"

/* A search in a stream that still grows; looks at each byte once. ANSWER_SCAN(id) to begin with, answer_scan_free() in the end. */
struct answer_scan {
	int id;
	size_t line, seen;	/* where the line that is not whole begins; how far an end of it was looked for */
	struct buf data;	/* of the event under way */
	bool any;
	json_t *found;		/* owned */
};
#define ANSWER_SCAN(n) { .id = (n) }

/* The stream so far; the same as before and more. true: found. Events that are no answer to this id are passed over. */
bool answer_more(struct answer_scan *s, const struct buf *stream);
void answer_scan_free(struct answer_scan *s);

/* The answer with this id that a whole JSON text is, or NULL. The caller owns it. */
json_t *answer_text(const char *text, size_t len, int id);

#endif
