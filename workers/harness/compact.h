/*
 * compact: when a context no longer fits its model: is it time, what is the model asked, what stands in the context's place.
 *
 * Sizes are estimates: what the model counted at its latest reply, plus a quarter of the bytes of newer text; images count as what
 * providers ask for one. The window is what a request may fill: the model's context window less room for the reply.
 *
 * Pure.
 */
#ifndef ROOST_HARNESS_COMPACT_H
#define ROOST_HARNESS_COMPACT_H

#include "turn.h"

/* Tokens of the next request: the context, `more` bytes of new blocks, and with `waiting` the messages in the inbox. */
int64_t compact_estimate(const struct turn *t, size_t more, bool waiting);

/* Does a message of so many bytes leave it as it is? */
bool compact_fits(const struct turn *t, size_t message);

/* Is there anything that a summary could replace? under_way: the message that is being worked on stays in any case. */
bool compact_possible(const struct turn *t, bool under_way);

/*
 * The items that the request for a summary shows: all, or the newest that fit the window; or, when the newest does not fit by itself, the
 * oldest that do. false: nothing fits.
 */
bool compact_range(const struct turn *t, int *out_from, int *out_to);

/* The question, as the last user item's block. */
#define COMPACT_ASK "{\"type\":\"text\",\"text\":\"" MODEL_SUMMARY_ASK " State what the user wants and has decided, what has been done and found " \
	"out with names, paths, ids and numbers that will be needed, what is under way, and what is still to do. Answer with the summary only; " \
	"do not call tools.\"}"

/*
 * The blocks that replace everything so far: the summary, and while a turn is under way (t->owed) the user's message that it answers,
 * word for word. The caller frees.
 */
char *compact_blocks(const struct turn *t, const char *summary);

#endif
