/*
 * outcome: what a session works toward under user.define_outcome, and its evaluation (contract 6): what the agent reads, what the grader
 * is asked and answers, where an evaluation stands.
 *
 * The grader is the agent's model in a request of its own: it sees outcome, rubric and a transcript, has one tool, `grade`, and none of the
 * agent's. Its verdict is an event; everything here is rebuilt from the log by outcome_fold().
 *
 * Pure.
 */
#ifndef ROOST_HARNESS_OUTCOME_H
#define ROOST_HARNESS_OUTCOME_H

#include <stdbool.h>
#include <stddef.h>

#include "id.h"
#include "model.h"

#define OUTCOME_DEFINED "user.define_outcome"
#define OUTCOME_START "span.outcome_evaluation_start"
#define OUTCOME_ONGOING "span.outcome_evaluation_ongoing"
#define OUTCOME_END "span.outcome_evaluation_end"

#define OUTCOME_SATISFIED "satisfied"
#define OUTCOME_REVISE "needs_revision"
#define OUTCOME_SPENT "max_iterations_reached"
#define OUTCOME_FAILED "failed"
#define OUTCOME_INTERRUPTED "interrupted"

struct outcome {
	bool active;			/* defined, and no final verdict yet */
	char id[ID_MAX];		/* outc_ */
	char *description, *rubric;
	int iteration, max;		/* the cycle it is in, from 0; how many there are */
	char start_id[ID_MAX];		/* an evaluation without its end, or "" */
};

void outcome_clear(struct outcome *o);

/* An event of the log, oldest first, each once; other types are ignored. */
void outcome_fold(struct outcome *o, const char *id, const char *type, const char *body);

/* Does such an event ask something of the agent: to work, to revise, a last word? o: folded up to it or beyond it. */
bool outcome_asks(const struct outcome *o, const char *type, const char *body);

/* The verdict as the log shows it: a revision that nobody may make any more is the end of all cycles. */
const char *outcome_result(const struct outcome *o, const char *verdict);

/* What the agent reads behind a verdict, as a block; NULL: nothing, the turn is over. The caller frees. */
char *outcome_feedback(const struct outcome *o, const char *result, const char *explanation);

/* The grader's request but for model and routes: `question` is the one item's blocks, at most about `room` bytes, the newest part of a
 * longer transcript. The caller frees it. */
extern const struct model_tool outcome_tool;
extern const char outcome_system[];
char *outcome_question(const struct outcome *o, const struct model_item *items, int n, size_t room);

/* The verdict in a reply. false: there is none. The caller frees *out_explanation. */
bool outcome_verdict(const struct model_reply *reply, const char **out_result, char **out_explanation);

#endif
