/*
 * arrivals: see arrivals.h. A note is what is neither a message nor an answer that somebody still waits for; so each item is exactly one of
 * message, answer to an open call, and note.
 *
 * Pure. Does not decide when anything is taken (plan.c), nor what an answer does to its call (calls.c).
 */
#include "arrivals.h"

#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "turn.h"

void
arrival_free(struct arrival *item)
{
	free(item->stem);
	free(item->fragment);
	free(item->deny_message);
	memset(item, 0, sizeof(*item));
}

static bool
is_type(const struct arrival *item, const char *type)
{
	return strcmp(item->type, type) == 0;
}

struct call *
arrival_call(const struct turn *t, const struct arrival *item)
{
	return item->refers_to[0] != '\0' ? turn_call(t, item->refers_to) : NULL;
}

const struct arrival *
arrival_for(const struct turn *t, const struct call *c)
{
	for (int i = 0; i < t->ninbox; i++)
		if (strcmp(t->inbox[i].refers_to, c->id) == 0)
			return &t->inbox[i];
	return NULL;
}

/* What the model reads next: messages. Answers and interrupts have their own rules. */
static bool
is_message(const struct arrival *item)
{
	return item->refers_to[0] == '\0' && !is_type(item, "user.interrupt") && !is_type(item, "session.updated") &&
	    (item->wakes || item->fragment != NULL);
}

bool
arrival_is_note(const struct turn *t, const struct arrival *item)
{
	return !is_message(item) && arrival_call(t, item) == NULL;
}

int
arrivals_put(const struct turn *t, struct batch *b, bool messages)
{
	int n = 0;

	for (int i = 0; i < t->ninbox; i++) {
		const struct arrival *item = &t->inbox[i];

		if (messages ? !is_message(item) : !arrival_is_note(t, item))
			continue;
		batch_inbox(b, item, item->refers_to[0] == '\0');
		n++;
	}
	return n;
}

int
arrivals_to_answer(const struct turn *t)
{
	int n = 0;

	for (int i = 0; i < t->ninbox; i++)
		n += is_message(&t->inbox[i]) && !is_type(&t->inbox[i], "system.message");
	return n;
}

void
arrivals_flush(const struct turn *t, struct batch *b)
{
	for (int i = 0; i < t->ninbox; i++)
		if (!arrival_is_note(t, &t->inbox[i]))
			batch_flush(b, &t->inbox[i]);
}
