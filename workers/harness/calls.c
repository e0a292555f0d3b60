/*
 * calls: see calls.h. Answers are taken in call order, so that the log has them in the order of the reply, whatever order they came in.
 *
 * Pure. Only `next` and outcomes are written here, which a later plan overwrites; `state` follows when the batch is committed
 * (plan_committed). Running calls are tools.c's.
 */
#include "calls.h"

#include <stdlib.h>

#include "batch.h"
#include "turn.h"
#include "xalloc.h"

void
call_outcome(struct call *c, char *content, bool is_error)
{
	free(c->content);
	c->content = content;
	c->is_error = is_error;
}

void
call_reject(struct call *c, const char *deny_message)
{
	if (deny_message != NULL && deny_message[0] != '\0')
		call_outcome(c, xasprintf("Permission to use %s has been rejected. Rejection message: %s", c->name, deny_message), true);
	else
		call_outcome(c, xasprintf("Permission to use %s has been rejected.", c->name), true);
}

void
call_deny(struct call *c)
{
	call_outcome(c, xasprintf("Permission to use %s has been denied.", c->name), true);
}

void
call_answer(struct batch *b, struct call *c, const struct arrival *answer)
{
	batch_inbox(b, answer, c->custom);
	if (c->custom) {
		c->next = CALL_GONE;
	} else if (answer->deny) {
		call_reject(c, answer->deny_message);
		c->next = CALL_DONE;
	} else {
		c->next = CALL_READY;
	}
}

int
calls_answer(struct turn *t, struct batch *b)
{
	int n = 0;

	for (int i = 0; i < t->ncalls; i++) {
		struct call *c = &t->calls[i];
		const struct arrival *answer;

		if (c->state != CALL_WAITING)
			continue;
		answer = arrival_for(t, c);
		if (answer == NULL)
			break;
		call_answer(b, c, answer);
		n++;
	}
	return n;
}

int
calls_put_results(struct turn *t, struct batch *b)
{
	int n = 0;

	for (int i = 0; i < t->ncalls; i++) {
		struct call *c = &t->calls[i];

		if (c->next != CALL_DONE)
			continue;
		batch_tool_result(b, c->id, c->content, c->is_error);
		c->next = CALL_GONE;
		n++;
	}
	return n;
}

int
calls_closed(const struct turn *t, const char **ids, int max)
{
	int n = 0;

	for (int i = 0; i < t->ncalls && n < max; i++)
		if ((t->calls[i].custom || t->calls[i].confirm) && t->calls[i].next == CALL_GONE)
			ids[n++] = t->calls[i].id;
	return n;
}

char *
calls_stop(const struct turn *t)
{
	const char **ids = xcalloc((size_t)t->ncalls + 1, sizeof(*ids));
	char *stop = NULL;
	int n = 0;

	for (int i = 0; i < t->ncalls; i++)
		if (t->calls[i].next == CALL_WAITING && arrival_for(t, &t->calls[i]) == NULL)
			ids[n++] = t->calls[i].id;
	if (n > 0)
		stop = batch_requires_action(ids, n);
	free(ids);
	return stop;
}

int
calls_foresee(struct turn *t, int *waiting)
{
	bool gap = false;
	int free_to_run = 0;

	*waiting = 0;
	for (int i = 0; i < t->ncalls; i++) {
		struct call *c = &t->calls[i];
		const struct arrival *answer = c->state == CALL_WAITING ? arrival_for(t, c) : NULL;

		if (c->state == CALL_READY || c->state == CALL_LOST)
			free_to_run++;
		if (c->state != CALL_WAITING)
			continue;
		gap |= answer == NULL;
		if (gap)
			++*waiting;
		else
			free_to_run += c->confirm && !answer->deny;
	}
	return free_to_run;
}
