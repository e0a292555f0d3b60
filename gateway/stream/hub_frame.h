/*
 * hub_frame: server-sent events as FastCGI STDOUT records, built once and written to many subscribers.
 */
#ifndef ROOST_STREAM_HUB_FRAME_H
#define ROOST_STREAM_HUB_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

/*
 * The database's timeline: how often it was restored to an earlier time. A place in the log is written as `17`, on a later timeline as
 * `17.2`, because a restore makes numbers come again. One value for the life of a process: a restore stops them all.
 */
void hub_frame_timeline(int64_t timeline);
void hub_frame_place(struct buf *out, int64_t seq);

/* seq 0: it has no place in the log, and no `id:` line. len 0: only its number is known. */
struct hub_event {
	int64_t seq;
	const char *type, *json;
	size_t len;
};

/* One event or several in a row. They and their texts are borrowed for the life of the frame. */
struct hub_frame {
	const struct hub_event *ev;
	int n;
	struct buf bytes[2];		/* by name form: the event's type, or `message` for old SDKs; built on first use */
};

void hub_frame_init(struct hub_frame *f, const struct hub_event *ev, int n);
/* The records, addressed to request id 1. Borrowed until hub_frame_free. */
struct buf *hub_frame_bytes(struct hub_frame *f, bool as_message);
void hub_frame_free(struct hub_frame *f);

/* Any text as STDOUT records for request id 1. */
void hub_frame_text(struct buf *out, const char *text, size_t len);
/* The end of a response: an empty STDOUT record and END_REQUEST. */
void hub_frame_end(struct buf *out);
/* Address a run of whole records to another request id (nginx always uses 1). */
void hub_frame_address(char *records, size_t len, unsigned id);

#endif
