/*
 * delta: previews of the message that is being streamed, merged so that a stream gets at most one per window (contract 3.9), one of them
 * up to a sixteenth of the window sooner; then the next may come that much later.
 *
 * Pure: text and the present time go in, finished preview events come out through the sink; the owner arms a timer for
 * delta_due(). The concatenated text of what went out is always a prefix of the text that came in, per block.
 */
#ifndef ROOST_HARNESS_DELTA_H
#define ROOST_HARNESS_DELTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "id.h"

/* type is event_start or event_delta; json is borrowed until return. */
typedef void delta_sink_fn(void *ctx, const char *type, const char *json, size_t len);

struct delta {
	char id[ID_MAX];	/* of the agent.message to come */
	bool opened;		/* its event_start went out */
	int index;		/* the model's text block of `pending` */
	int shown;		/* the same block's place in the message: empty blocks have none */
	struct buf pending;
	int64_t last_ms;	/* when the latest delta went out, or should have */
	int64_t window_ms;
	delta_sink_fn *sink;
	void *ctx;
};

/* Begin a new message whose event will carry this id; forgets what was pending. Memory is released by delta_free. */
void delta_begin(struct delta *d, const char *id, int64_t window_ms, delta_sink_fn *sink, void *ctx);
void delta_free(struct delta *d);

/* A piece of text block `index`. The first piece goes out at once. */
void delta_text(struct delta *d, int64_t now_ms, int index, const char *text, size_t len);

/* The model thinks: a start without deltas. */
void delta_thinking(struct delta *d, const char *id);

/* When delta_flush() wants to be called; 0: nothing is pending. */
int64_t delta_due(const struct delta *d);
void delta_flush(struct delta *d, int64_t now_ms);

#endif
