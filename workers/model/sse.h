/*
 * sse: the lines of a text/event-stream body, cut anywhere, as events.
 *
 * Follows the WHATWG event stream rules: LF, CRLF or CR end a line, a BOM at the start is skipped, lines starting with ':' are
 * comments, several data lines are joined by a newline, an empty line dispatches; id and retry are ignored. Memory is bounded by
 * max_bytes for one event.
 */
#ifndef ROOST_WORKERS_MODEL_SSE_H
#define ROOST_WORKERS_MODEL_SSE_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

#define SSE_EVENT_MAX 64	/* longest event name kept; a longer one is cut */

struct sse {
	struct buf line, data;
	char event[SSE_EVENT_MAX];
	bool has_data;		/* the pending event has a data line */
	bool after_cr;		/* the last byte was CR: a LF that follows belongs to it */
	bool started;		/* the first line was seen (BOM) */
};

/*
 * One event: its name ("" when none was given) and its data, NUL-terminated besides len, borrowed until return. Return non-zero to
 * stop; the rest of the bytes is dropped.
 */
typedef int sse_fn(void *ctx, const char *event, const char *data, size_t len);

void sse_init(struct sse *s, size_t max_bytes);
void sse_free(struct sse *s);

/* Feed bytes. 0; the callback's value when it stopped; -1 when an event is over max_bytes. */
int sse_feed(struct sse *s, const char *bytes, size_t len, sse_fn *fn, void *ctx);

/* The body ended: an event without its closing empty line is dispatched (some servers end with "data: [DONE]" and nothing else). */
int sse_end(struct sse *s, sse_fn *fn, void *ctx);

#endif
