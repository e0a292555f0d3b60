/*
 * hub_frame: one server-sent event as FastCGI STDOUT records, built once and written to many subscribers.
 */
#ifndef ROOST_STREAM_HUB_FRAME_H
#define ROOST_STREAM_HUB_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

/* type and json are borrowed for the life of the frame. seq 0: it has no place in the log, and no `id:` line. */
struct hub_frame {
	const char *type, *json;
	size_t len;
	int64_t seq;
	struct buf bytes[2];		/* by name form: the event's type, or `message` for old SDKs; built on first use */
};

void hub_frame_init(struct hub_frame *f, int64_t seq, const char *type, const char *json, size_t len);
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
