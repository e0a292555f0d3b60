/*
 * plan_commit: the turn after its batch: what was sent is let go of, what the database has taken is what the turn is from now on.
 *
 * Pure, like plan.c, whose plans it carries over; nothing else changes a turn between two decisions but the outcomes of its calls.
 */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "outcome.h"

static bool
takes(const struct batch *b, const struct arrival *item)
{
	for (int k = 0; k < b->ntaken; k++)
		if (b->taken[k] == item->seq)
			return true;
	return false;
}

void
plan_sent(struct turn *t, const struct batch *b)
{
	for (int i = 0; i < t->ninbox; i++) {
		struct arrival *item = &t->inbox[i];

		if (!takes(b, item))
			continue;
		free(item->stem);
		free(item->fragment);
		item->stem = item->fragment = NULL;
	}
}

static void
drop_taken(struct turn *t, const struct batch *b)
{
	int kept = 0;

	for (int i = 0; i < t->ninbox; i++) {
		if (takes(b, &t->inbox[i]))
			arrival_free(&t->inbox[i]);
		else
			t->inbox[kept++] = t->inbox[i];
	}
	t->ninbox = kept;
}

static void
drop_gone(struct turn *t)
{
	int kept = 0;

	for (int i = 0; i < t->ncalls; i++) {
		struct call *c = &t->calls[i];

		c->state = c->next;
		if (c->state != CALL_GONE) {
			t->calls[kept++] = *c;
			continue;
		}
		turn_call_clear(c);
	}
	t->ncalls = kept;
}

bool
plan_progress(const struct batch *b, const struct plan *p)
{
	bool progress = b->span_ev >= 0 || p->release == RELEASE_IDLE || p->release == RELEASE_DONE ||
	    (b->status != NULL && (strcmp(b->status, "idle") == 0 || strcmp(b->status, "terminated") == 0));

	for (int i = 0; i < b->nev && !progress; i++)
		progress = strcmp(b->ev[i].type, "agent.tool_result") == 0 || strcmp(b->ev[i].type, "user.custom_tool_result") == 0;
	return progress;
}

void
plan_committed(struct turn *t, const struct batch *b, const struct plan *p, int64_t last_seq)
{
	bool was_idle = turn_idle(t), compacted = false, owed = false;

	for (int i = 0; i < b->nev; i++) {
		const struct event *ev = &b->ev[i];
		const char *text = ev->private != NULL ? ev->private : ev->fragment;

		if (text != NULL && strcmp(ev->type, BATCH_COMPACTED) == 0) {
			context_replace(&t->context, text);
			compacted = true;
		} else if (text != NULL && ev->role != 0) {
			context_add(&t->context, ev->role, text);
		}
		owed |= outcome_asks(&t->outcome, ev->type, ev->body);
		outcome_fold(&t->outcome, ev->id, ev->type, ev->body);
	}
	if (b->span_ev >= 0 && !b->tokens.unknown && !t->took_known && !compacted && !t->compacting &&
	    strcmp(b->ev[b->span_ev].type, OUTCOME_END) != 0) {
		t->context.told_tokens = b->tokens.input + b->tokens.cache_read + b->tokens.cache_write_5m + b->tokens.cache_write_1h +
		    b->tokens.output;
		t->context.told_at = t->context.tokens;
	}
	t->context.seq = last_seq;
	if (b->nev > 0)
		t->last_at_us = b->ev[b->nev - 1].at_us;
	t->last_seq = last_seq;
	t->totals = b->after;
	if (b->status != NULL) {
		strncpy(t->status, b->status, sizeof(t->status) - 1);
		t->paused = b->paused;
	}
	drop_taken(t, b);
	drop_gone(t);
	if (plan_progress(b, p))
		t->attempts = 0;
	t->squeeze = !p->compact ? 0 : t->failed && t->fail_long ? t->squeeze + 1 : t->squeeze;
	t->failed = t->fail_long = t->fail_spent = t->took_known = false;
	memcpy(t->span_id, p->span_id, sizeof(t->span_id));
	if (turn_idle(t) || was_idle) {
		t->rounds = t->retries = 0;
		t->owed = false;
		t->stop = NULL;
	}
	/* a verdict asks for a revision or a last word; what was defined is answered by the request of this very batch */
	t->owed |= owed && p->event == TE_REPLIED;
	t->compacting = t->unasked = false;
	t->grading = p->grade && p->event == TE_START;
	if (p->event == TE_START && !p->grade) {
		t->rounds++;
		t->stop = NULL;
		t->compacting = p->compact;
		t->owed |= p->compact && p->owed;
	}
}
