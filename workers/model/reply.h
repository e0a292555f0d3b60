/*
 * reply: a model's reply while it arrives. Adapters open parts and add to them; text goes on to the harness at once.
 *
 * Parts stand in the order they were opened. Empty text parts vanish. Calls into the harness may end the call (model_cancel from
 * inside text()): every function that calls back returns REPLY_STOP then, and the adapter returns at once.
 */
#ifndef ROOST_WORKERS_MODEL_REPLY_H
#define ROOST_WORKERS_MODEL_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "model.h"

#define REPLY_PARTS_MAX 512	/* blocks of one reply; one with more fails, and is paid for */
#define REPLY_INPUT_DEPTH 60	/* nesting of a tool input: it stands inside an event, whose own limit is 64 */

enum { REPLY_OK = 0, REPLY_STOP = -2, REPLY_OVER = -3 };

struct reply_part {
	enum model_block_kind kind;
	int index;		/* TEXT: what text() is told */
	struct buf text;	/* TEXT: the text; TOOL_USE: the input's JSON as it arrived; THINKING: its text */
	struct buf name;	/* TOOL_USE */
	struct buf id;		/* TOOL_USE: the provider's */
	struct buf signature;	/* THINKING; of a redacted block its data */
	bool redacted;
	bool cut;		/* TOOL_USE: the reply ended inside it */
};

struct reply {
	const struct model_events *ev;
	void *ctx;
	struct reply_part *parts;
	int nparts;
	int ntexts;
	size_t max;
	bool begun;		/* a part was opened: another route must not be tried any more */
	bool over;		/* it is larger than allowed: read on for its usage, and of no use */
	bool thinking_told;
	bool dead;		/* the call was cancelled */
	enum model_stop stop;
	struct buf category, explanation;	/* REFUSAL: the provider's, perhaps empty */
	struct model_usage usage;
};

void reply_init(struct reply *r, size_t max_bytes, const struct model_events *ev, void *ctx);
/* Forget what arrived; for the next route. */
void reply_reset(struct reply *r);
void reply_free(struct reply *r);

/* Open a part; its number, or REPLY_OVER. A THINKING part tells the harness (once), so REPLY_STOP is possible. */
int reply_open(struct reply *r, enum model_block_kind kind);
/* Add text to a TEXT part and pass it on. NULs become U+FFFD. */
int reply_text(struct reply *r, int part, const char *text, size_t len);
/* About how many tokens have arrived: a quarter of the bytes, as of a context. */
int64_t reply_tokens(const struct reply *r);
/* The model has begun to think, with no block that could be sent back. */
int reply_thinking(struct reply *r);

/*
 * The reply is whole: build the blocks and call done(). A tool input that is not a JSON object, or was cut off, becomes "{}" with
 * bad_input; stop becomes TOOL_CALLS when there is a tool call and no refusal, and is never TOOL_CALLS without one.
 */
void reply_done(struct reply *r, const char *request_id);

#endif
