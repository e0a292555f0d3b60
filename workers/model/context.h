/*
 * context: the items of a request as the flat list of blocks that a provider accepts, by text only.
 *
 * Providers refuse what a log may hold: text blocks of white space only, and a user message whose tool results do not stand first.
 * Here blank text is left out ("(blank)" stands in when a whole user message is blank), and within one run of user items the tool
 * results go before everything else, each group in log order. System messages follow the user message they came with. Nothing is parsed into a tree or copied: blocks are spans of the items.
 */
#ifndef ROOST_WORKERS_MODEL_CONTEXT_H
#define ROOST_WORKERS_MODEL_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "jspan.h"
#include "model.h"

enum context_kind { CONTEXT_TEXT, CONTEXT_TOOL_USE, CONTEXT_TOOL_RESULT, CONTEXT_THINKING, CONTEXT_OTHER };

struct context_block {
	char role;
	enum context_kind kind;
	bool files;		/* it may hold files (filesrc.h) */
	struct jspan text;	/* the block's JSON */
};

struct context {
	struct context_block *blocks;
	size_t n;
};

/* Build; the spans are borrowed from the items. Free with context_free. */
void context_build(struct context *c, const struct model_request *rq);
void context_free(struct context *c);

/* The end of the message that begins at block i: neighbouring blocks of one role. */
size_t context_message_end(const struct context *c, size_t i);

#endif
