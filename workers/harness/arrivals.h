/*
 * arrivals: what waits in a session's inbox, and what each item is to the turn: a message, an answer to one of its calls, or a note.
 *
 * Pure. An item owns its texts. Nothing here takes items out of the turn: they are copied into a batch, which names them as
 * consumed, and go when the database has accepted it (plan_committed).
 */
#ifndef ROOST_HARNESS_ARRIVALS_H
#define ROOST_HARNESS_ARRIVALS_H

#include <stdbool.h>
#include <stdint.h>

#include "id.h"

struct batch;
struct call;
struct turn;

/* An item that waits in a session's inbox, as the database has it. */
struct arrival {
	int64_t seq;
	char id[ID_MAX];
	char type[40];
	char *stem;
	char role;		/* 'u' or 0 */
	char *fragment;
	bool wakes;
	char refers_to[ID_MAX];	/* tool use id that an answer answers, or "" */
	bool deny;		/* a confirmation that denies */
	char *deny_message;	/* or NULL */
};
void arrival_free(struct arrival *item);

/* The open call that this item answers, or NULL. */
struct call *arrival_call(const struct turn *t, const struct arrival *item);
/* What answers this call, or NULL. */
const struct arrival *arrival_for(const struct turn *t, const struct call *c);
/* Recorded and without effect: an update, an interrupt of nothing, an answer to a call that an interrupt has ended. */
bool arrival_is_note(const struct turn *t, const struct arrival *item);

/* Into the batch: all messages, or all notes. Returns how many. */
int arrivals_put(const struct turn *t, struct batch *b, bool messages);
/* How many messages the model has to answer. A system message by itself is nothing to answer. */
int arrivals_to_answer(const struct turn *t);
/* The batch consumes all but the notes without logging them. */
void arrivals_flush(const struct turn *t, struct batch *b);

#endif
