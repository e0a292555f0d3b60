/*
 * plan: how a turn goes on from the joint, as data. The canonical orders of contract 3.5, 3.6 and 3.7 live here and nowhere else.
 *
 * Pure. plan_next() looks at a turn whose inbox has just been read and fills a batch; nothing in the turn changes until
 * plan_committed(), except the outcomes of denied calls and each call's `next`, which a later plan overwrites. So a plan that the
 * database refused is simply made again.
 */
#ifndef ROOST_HARNESS_PLAN_H
#define ROOST_HARNESS_PLAN_H

#include "batch.h"
#include "turn.h"

struct plan_limits {
	int rounds_max;		/* model requests of a turn */
	int retries_max;	/* repeats of a failed request */
	int64_t backoff_ms;	/* first one; doubles */
};

enum plan_release { RELEASE_NO, RELEASE_IDLE, RELEASE_RETRY, RELEASE_DONE };

struct plan {
	enum turn_event event;		/* START, WAKE, RUN, CLOSE, YIELD, END or GIVE_UP */
	enum plan_release release;
	int64_t delay_ms;		/* RETRY: due after this (before jitter) */
	char span_id[ID_MAX];		/* START: the request's span */
	bool grade;			/* START: the request evaluates the outcome; it has no span of its own */
	bool compact;			/* START: the request asks for a summary of the context */
	bool owed;			/* with it: the turn is under way, the model owes a reply besides what waits in the inbox */
	bool firm;			/* FINISHED: the turn is over even when messages wait: they begin the next one */
	int cut;			/* a reply's own events, when idle events follow in the same batch; 0: none */
};

void plan_next(struct turn *t, const struct plan_limits *lim, struct batch *b, struct plan *out);

/* The agent has come to an end: is the outcome still to be evaluated? A refusal is no work to evaluate. */
bool plan_grade_due(const struct turn *t);

/* Contract 9.3: has the session consumed what its budget allows, with `more` nano-dollars that no append has counted yet? */
bool plan_at_cap(const struct turn *t, int64_t more);

/*
 * A model reply: its events, in order; calls are added to the turn. verdicts: a judge's, by block, on calls whose policy is auto; NULL:
 * there are none. message_id and thinking_id are the ids that previews announced.
 * quiet: nothing is known to wait, so idle events may follow at once. out->event is REPLIED or FINISHED.
 */
void plan_reply(struct turn *t, const struct model_reply *reply, const enum tool_verdict *verdicts, const char *message_id,
    const char *thinking_id, bool quiet, struct batch *b, struct plan *out);

/* The summary that was asked for: the span's end, then the event that holds it. out->event is REPLIED. */
void plan_summary(struct turn *t, const char *summary, const struct model_usage *usage, struct batch *b, struct plan *out);

/* The verdict on the outcome: the evaluation's end. out->event is REPLIED. */
void plan_verdict(struct turn *t, const char *result, const char *explanation, const struct model_usage *usage, struct batch *b,
    struct plan *out);

/* The idle events of a FINISHED batch were refused: keep the reply only. */
void plan_cut(struct turn *t, struct batch *b, struct plan *p);

/* Does this append get the turn on: a model's reply, results of tools, the turn's end? (session_append_one has the same rule.) */
bool plan_progress(const struct batch *b, const struct plan *p);

/* The batch is on its way, with copies of what it takes from the inbox: their texts are released here. If it is refused, the inbox is read again. */
void plan_sent(struct turn *t, const struct batch *b);

/* The database has taken the batch: the turn follows. */
void plan_committed(struct turn *t, const struct batch *b, const struct plan *p, int64_t last_seq);

#endif
