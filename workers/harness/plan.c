/*
 * plan: see plan.h.
 *
 * The joint asks, in this order: must the turn end by force (interrupt, failed request)? which answers can be consumed, in
 * call order? may calls run? does something still wait for the client? does the model owe a reply (and may it: is the budget's cap not
 * reached)? is the turn over? Each question has one function that writes the events of its case.
 *
 * Whether the billed interval is open decides the form: a running turn continues; an idle or rescheduled session first gets its running
 * pair. (A turn whose worker died is a rescheduled one: the reaper has written the pair, at the end of the billed interval.)
 */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "compact.h"
#include "xalloc.h"

#define BACKOFF_MAX_MS 30000
#define INTERRUPTED_TEXT "The work was interrupted."
#define SQUEEZE_MAX 3		/* a summary of an eighth of the history, and no less */

/* --- the cases ----------------------------------------------------------------------------------------------------------------- */

/* The end of a request without a use. What it cost is unknown, unless it was never made, failed before the provider began to answer, or is told. */
static void
span_cut(const struct turn *t, struct batch *b)
{
	batch_span_end(b, t->span_id, true, t->took_known ? &t->took : NULL, &t->rates);
	if (!t->took_known && !t->unasked && (!t->failed || t->fail_spent))
		b->gap_ev = b->nev - 1;
}

/* The same for an evaluation's request, at the latest event. */
static void
grade_cut(const struct turn *t, struct batch *b)
{
	if (t->grading && !t->took_known && (!t->failed || t->fail_spent))
		b->gap_ev = b->nev - 1;
}

/* The evaluation that is open, or has not begun, ends without a verdict; with it the outcome. */
static void
end_outcome(const struct turn *t, struct batch *b, const char *result, const char *explanation)
{
	const struct outcome *o = &t->outcome;
	bool took = t->grading && t->took_known;

	batch_outcome_end(b, &(struct outcome_end){ .start_id = o->start_id, .outcome_id = o->id, .result = result, .explanation = explanation,
	    .iteration = o->iteration }, took ? &t->took : NULL, took ? &t->rates : NULL);
	grade_cut(t, b);
}

/* Contract 3.6: error results of open calls, the interrupt, idle. What came besides starts the next turn under the same lease. */
static void
end_by_interrupt(struct turn *t, struct batch *b, struct plan *p)
{
	for (int i = 0; i < t->ncalls; i++) {
		struct call *c = &t->calls[i];
		const struct arrival *answer = c->state == CALL_WAITING ? arrival_for(t, c) : NULL;

		if (answer != NULL)
			call_answer(b, c, answer);
		if (c->next == CALL_GONE)
			continue;
		if (c->next != CALL_DONE)
			batch_tool_result(b, c->id, CALL_TEXT_INTERRUPTED, true);
		else
			batch_tool_result(b, c->id, c->content, c->is_error);
		c->next = CALL_GONE;
	}
	if (t->outcome.active)
		end_outcome(t, b, OUTCOME_INTERRUPTED, INTERRUPTED_TEXT);
	for (int i = 0; i < t->ninbox; i++)
		if (arrival_is_note(t, &t->inbox[i]))
			batch_inbox(b, &t->inbox[i], false);
	batch_idle(b, BATCH_STOP_END, turn_running(t));
	p->event = TE_CLOSE;
	p->release = b->ntaken < t->ninbox ? RELEASE_NO : RELEASE_IDLE;
}

static void
close_exhausted(struct turn *t, struct batch *b, struct plan *p, const char *type, const char *message)
{
	batch_error(b, type, message, "exhausted");
	arrivals_put(t, b, false);
	arrivals_flush(t, b);
	batch_idle(b, BATCH_STOP_EXHAUSTED, turn_running(t));
	p->event = TE_CLOSE;
	p->release = RELEASE_IDLE;
}

/* The open interval counts. A model that has lost its price is beyond any cap. */
bool
plan_at_cap(const struct turn *t, int64_t more)
{
	struct cost_spent s = { .token_nano = t->totals.token_nano + more, .active_us = t->totals.active_us };

	if (t->totals.budget_cents == 0)
		return false;
	s.unpriced = t->totals.unpriced || (t->rates_read && !t->rates.known);
	if (turn_running(t) && t->now_us > t->totals.running_since_us)
		s.active_us += t->now_us - t->totals.running_since_us;
	return cost_reached(&s, t->totals.budget_cents);
}

/* A model request is due and may not be made. What settles calls is recorded; messages wait in the inbox for a higher cap. */
static void
go_pause(struct turn *t, struct batch *b, struct plan *p)
{
	bool news = calls_answer(t, b) > 0;

	news |= calls_put_results(t, b) > 0;
	arrivals_put(t, b, false);
	if (!turn_idle(t) || !t->paused || news)
		batch_idle(b, BATCH_STOP_BUDGET, turn_running(t));
	p->event = b->nev > 0 ? TE_CLOSE : TE_GIVE_UP;
	p->release = RELEASE_IDLE;
}

#define TOO_LONG "The conversation does not fit the model's context, not even after it was summarised."

/* The request did not fit: once more with a summary of the history, or of less of it; at last the end of the turn. */
static void
after_overflow(struct turn *t, const struct plan_limits *lim, struct batch *b, struct plan *p)
{
	if (plan_at_cap(t, 0)) {
		go_pause(t, b, p);
	} else if (compact_possible(t, true) && (!t->compacting || t->squeeze < SQUEEZE_MAX) && t->rounds < lim->rounds_max) {
		p->compact = true;
		p->owed = true;
		batch_span_start(b, p->span_id);
		p->event = TE_START;
	} else {
		close_exhausted(t, b, p, "compaction_limit_reached_error", TOO_LONG);
	}
}

/* Contract 3.7. The span's end stands already in the batch. An unknown_error that no repeat can help is the provider refusing this
 * history for good (context overflow that no summary helps); everything else leaves a session that can go on once the cause is repaired. */
static void
after_failure(struct turn *t, const struct plan_limits *lim, struct batch *b, struct plan *p)
{
	if (t->grading && (!t->fail_retry || t->retries >= lim->retries_max)) {
		end_outcome(t, b, OUTCOME_FAILED, "The evaluation could not be made.");
		close_exhausted(t, b, p, t->fail_type, t->fail_message);
		return;
	}
	if (t->fail_long && turn_running(t) && (compact_possible(t, true) || t->context.summary)) {
		after_overflow(t, lim, b, p);
		return;
	}
	if (t->fail_retry && t->retries < lim->retries_max) {
		int64_t delay = lim->backoff_ms << (t->retries < 16 ? t->retries : 16);

		if (delay > BACKOFF_MAX_MS)
			delay = BACKOFF_MAX_MS;
		if (t->fail_after_ms > delay * 3 / 4)	/* not sooner than asked for, whatever the jitter */
			delay = (t->fail_after_ms * 4 + 2) / 3;
		batch_error(b, t->fail_type, t->fail_message, "retrying");
		grade_cut(t, b);
		batch_rescheduled(b, turn_running(t));
		p->event = TE_YIELD;
		p->release = RELEASE_RETRY;
		p->delay_ms = delay;
	} else if (!t->fail_retry && strcmp(t->fail_type, "unknown_error") == 0) {
		batch_error(b, t->fail_type, t->fail_message, "terminal");
		batch_terminated(b, turn_running(t));
		for (int i = 0; i < t->ninbox; i++)
			batch_flush(b, &t->inbox[i]);
		p->event = TE_END;
		p->release = RELEASE_DONE;
	} else {
		close_exhausted(t, b, p, t->fail_type, t->fail_message);
	}
}

/* Leave the turn where it stands for another worker. Before its first running event there is nothing to say. */
static void
leave(struct turn *t, struct batch *b, struct plan *p)
{
	for (int i = 0; i < t->ncalls; i++)
		t->calls[i].next = t->calls[i].state;
	if (!turn_running(t)) {
		p->event = TE_GIVE_UP;
		return;
	}
	if (t->span_id[0] != '\0')
		span_cut(t, b);
	batch_rescheduled(b, true);
	grade_cut(t, b);
	p->event = TE_YIELD;
	p->release = RELEASE_RETRY;
}

/* Calls may run now: the answers that freed them, the running pair when there is none. */
static void
go_run(struct turn *t, struct batch *b, struct plan *p)
{
	calls_answer(t, b);
	if (!turn_running(t))
		batch_running(b);
	p->event = b->nev > 0 ? TE_WAKE : TE_RUN;
}

/*
 * Calls wait for the client and none may run. While the session is idle a partial answer only repeats the idle with what remains: a
 * rejection's result comes with the others behind the next running pair, and is rebuilt from the log until then.
 */
static void
go_wait(struct turn *t, struct batch *b, struct plan *p)
{
	bool partial = turn_idle(t);
	char *stop;
	bool news = false;

	for (int i = 0; i < t->ninbox; i++)
		news |= arrival_call(t, &t->inbox[i]) != NULL;
	calls_answer(t, b);
	if (!partial)
		calls_put_results(t, b);
	arrivals_put(t, b, false);
	stop = calls_stop(t);
	p->release = RELEASE_IDLE;
	if (!partial)
		batch_idle(b, stop != NULL ? stop : BATCH_STOP_END, turn_running(t));
	else if (news && stop != NULL)
		batch_idle_again(b, stop);
	p->event = b->nev > 0 ? TE_CLOSE : TE_GIVE_UP;
	free(stop);
}

/* Every call is settled and the model has something to answer. */
static void
go_ask(struct turn *t, const struct plan_limits *lim, struct batch *b, struct plan *p)
{
	bool begun = turn_running(t);

	if (plan_at_cap(t, 0)) {
		go_pause(t, b, p);
		return;
	}
	calls_answer(t, b);
	if (!begun) {
		arrivals_put(t, b, false);
		batch_running(b);
	}
	calls_put_results(t, b);
	if (begun && t->rounds >= lim->rounds_max) {
		close_exhausted(t, b, p, "tool_use_limit_reached_error", "The turn used its whole number of model requests.");
		return;
	}
	if (begun)
		arrivals_put(t, b, false);
	if (t->window > 0 && compact_estimate(t, b->bytes, true) > t->compact_at &&
	    compact_possible(t, t->owed || t->ncalls > 0)) {
		/* messages wait until the summary is there, and are read word for word */
		p->compact = true;
		p->owed = t->owed || t->ncalls > 0;
	} else if (t->window > 0 && begun && t->context.summary && compact_estimate(t, b->bytes, true) > t->window) {
		close_exhausted(t, b, p, "compaction_limit_reached_error", TOO_LONG);
		return;
	} else {
		arrivals_put(t, b, true);
	}
	batch_span_start(b, p->span_id);
	p->event = TE_START;
}

bool
plan_grade_due(const struct turn *t)
{
	return t->outcome.active && (t->stop == NULL || strcmp(t->stop, BATCH_STOP_END) == 0) && (!turn_idle(t) || t->paused);
}

/* The evaluation begins, or goes on where a failure or another worker's end has left it. */
static void
go_grade(struct turn *t, struct batch *b, struct plan *p)
{
	const struct outcome *o = &t->outcome;

	if (plan_at_cap(t, 0)) {
		go_pause(t, b, p);
		return;
	}
	arrivals_put(t, b, false);
	if (!turn_running(t))
		batch_running(b);
	if (o->start_id[0] == '\0')
		batch_outcome_start(b, OUTCOME_START, o->id, o->iteration, NULL);
	else
		batch_outcome_start(b, OUTCOME_ONGOING, o->id, o->iteration, NULL);
	p->grade = true;
	p->event = TE_START;
}

static void
go_close(struct turn *t, struct batch *b, struct plan *p)
{
	if (t->outcome.active && turn_interrupted(t))
		end_outcome(t, b, OUTCOME_INTERRUPTED, INTERRUPTED_TEXT);
	arrivals_put(t, b, false);
	arrivals_put(t, b, true);		/* a system message by itself: the next turn's request is the first to see it */
	b->stop_details = t->stop_details;
	if (!turn_idle(t))
		batch_idle(b, t->stop != NULL ? t->stop : BATCH_STOP_END, turn_running(t));
	p->event = b->nev > 0 ? TE_CLOSE : TE_GIVE_UP;
	p->release = RELEASE_IDLE;
}

/* Does the model owe a reply? Also when its request was cut off. */
static bool
owes(const struct turn *t)
{
	return t->owed || t->span_id[0] != '\0' || t->ncalls > 0 || arrivals_to_answer(t) > 0;
}

static void
choose(struct turn *t, const struct plan_limits *lim, struct batch *b, struct plan *p)
{
	int waiting, runnable = calls_foresee(t, &waiting);

	if (runnable > 0 && (waiting == 0 || !turn_idle(t)))
		go_run(t, b, p);
	else if (waiting > 0)
		go_wait(t, b, p);
	else if (owes(t))
		go_ask(t, lim, b, p);
	else if (plan_grade_due(t))
		go_grade(t, b, p);
	else
		go_close(t, b, p);
}

void
plan_next(struct turn *t, const struct plan_limits *lim, struct batch *b, struct plan *out)
{
	bool open = !turn_idle(t) || t->ncalls > 0;

	*out = (struct plan){ .event = TE_GIVE_UP };
	for (int i = 0; i < t->ncalls; i++)
		t->calls[i].next = t->calls[i].state;
	if (t->span_id[0] != '\0')
		span_cut(t, b);
	if (open && turn_interrupted(t))
		end_by_interrupt(t, b, out);
	else if (t->failed)
		after_failure(t, lim, b, out);
	else
		choose(t, lim, b, out);
	if (t->drain && (out->event == TE_START || out->event == TE_WAKE || out->event == TE_RUN)) {
		struct batch_who who = b->who;

		batch_free(b);
		batch_init(b, who);
		leave(t, b, out);
	}
}
