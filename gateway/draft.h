/*
 * draft: client events on their way into a session's inbox: the semantic checks that need no data (contract 3.2), ids, the stored text,
 * what the model will see of them, and the echo.
 */
#ifndef ROOST_GATEWAY_DRAFT_H
#define ROOST_GATEWAY_DRAFT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "inbox.h"

#define DRAFT_FILES 100		/* documents from files in one request (contract 1.15) */

/*
 * Check events that have passed their shape. list names them in messages ("events" -> events.0.user_message...). EK_INVALID, or
 * EK_FORBIDDEN for what API keys may not send.
 */
int draft_check(const char *list, const json_t *events, struct err *e);

/*
 * Make its inbox item: id, stem, fragment, references, hash of an answer. Files that it names have been resolved (filerefs.h). event must outlive the item, and loses its content, which may
 * be as large as a body may be. Release with inbox_item_free().
 */
void draft_make(json_t *event, struct inbox_item *out);

/* A session.updated with what changed. NULL: not changed; title JSON null: cleared; agent: the snapshot's text. */
struct draft_changes {
	const json_t *title, *metadata;
	const char *agent;
	bool budget;			/* changed, to this many cents; 0: removed */
	int64_t budget_cents;
};
void draft_updated(const struct draft_changes *c, struct inbox_item *out);

/* The item as the API shows it: stem, processed_at, brace. stamp NULL writes null. */
void draft_echo(struct buf *b, const char *stem, const char *stamp);

/* How long the stem is of an event's complete text, which ends in its processed_at. */
size_t draft_stem_len(const char *text);

#endif
