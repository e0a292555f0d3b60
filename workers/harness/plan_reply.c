/*
 * plan_reply: what came of a model request, as events: a reply with its calls, a summary, a verdict on the outcome (plan.h).
 *
 * Pure, and no decision: whatever follows from it is plan_next()'s, at the joint. The one exception is a reply that ends the turn: it
 * takes its idle events along, so that both are one commit, and plan_cut() takes them off again when the inbox has moved meanwhile.
 */
#include "plan.h"

#include <stdlib.h>

#include "calls.h"
#include "compact.h"
#include "xalloc.h"

static void
put_call(struct turn *t, struct batch *b, const struct model_block *block, enum tool_verdict judged)
{
	struct tool_rule rule = agent_rule(t->agent, block->name);
	struct call *c;
	char id[ID_MAX];

	if (rule.automatic)
		rule = agent_judged(judged);
	id_new("sevt_", id);
	batch_tool_use(b, id, block->name, block->bad_input ? "{}" : block->text, &rule);
	c = turn_call_add(t, id, block->name, block->bad_input ? "{}" : block->text);
	c->custom = rule.kind == TOOL_CUSTOM;
	c->confirm = rule.verdict == VERDICT_ASK;
	if (c->custom || c->confirm) {
		c->state = CALL_WAITING;
	} else if (rule.kind == TOOL_UNKNOWN) {
		call_outcome(c, xasprintf("There is no tool named %s.", block->name), true);
		c->state = CALL_DONE;
	} else if (rule.verdict == VERDICT_DENY) {
		call_deny(c);
		c->state = CALL_DONE;
	} else if (block->bad_input) {
		call_outcome(c, xstrdup("Invalid tool input: it was cut off or is not a JSON object."), true);
		c->state = CALL_DONE;
	}
	c->next = c->state;
}

static void
put_blocks(struct turn *t, struct batch *b, const struct model_reply *reply, const enum tool_verdict *verdicts, const char *message_id,
    const char *thinking_id)
{
	bool first = true;

	for (int i = 0; i < reply->nblocks; i++) {
		if (reply->blocks[i].kind != MODEL_THINKING)
			continue;
		batch_thinking(b, first && thinking_id[0] != '\0' ? thinking_id : NULL, reply->blocks[i].raw);
		first = false;
	}
	batch_message(b, message_id, reply);
	for (int i = 0; i < reply->nblocks && reply->stop != MODEL_REFUSAL; i++)
		if (reply->blocks[i].kind == MODEL_TOOL_USE)
			put_call(t, b, &reply->blocks[i], verdicts != NULL ? verdicts[i] : VERDICT_NONE);
}

void
plan_reply(struct turn *t, const struct model_reply *reply, const enum tool_verdict *verdicts, const char *message_id,
    const char *thinking_id, bool quiet, struct batch *b, struct plan *out)
{
	int waiting;

	*out = (struct plan){ .event = TE_REPLIED };
	put_blocks(t, b, reply, verdicts, message_id, thinking_id);
	batch_span_end(b, t->span_id, false, &reply->usage, &t->rates);
	t->span_id[0] = '\0';
	t->retries = 0;
	t->owed = false;
	t->stop = reply->stop == MODEL_REFUSAL ? BATCH_STOP_REFUSAL : BATCH_STOP_END;
	free(t->stop_details);
	b->stop_details = t->stop_details = xstrdup_opt(reply->refusal);
	out->firm = reply->stop == MODEL_REFUSAL;
	if ((!quiet && !out->firm) || calls_foresee(t, &waiting) > 0 || (waiting == 0 && (t->ncalls > 0 || plan_grade_due(t))))
		return;
	out->cut = b->nev;
	out->event = TE_FINISHED;
	out->release = quiet ? RELEASE_IDLE : RELEASE_NO;
	if (waiting > 0) {
		char *stop = calls_stop(t);

		calls_put_results(t, b);
		batch_idle(b, stop, turn_running(t));
		free(stop);
	} else {
		batch_idle(b, t->stop, turn_running(t));
	}
}

void
plan_summary(struct turn *t, const char *summary, const struct model_usage *usage, struct batch *b, struct plan *out)
{
	char *blocks = compact_blocks(t, summary);

	*out = (struct plan){ .event = TE_REPLIED };
	batch_span_end(b, t->span_id, false, usage, &t->rates);
	batch_compacted(b, blocks);
	free(blocks);
	t->span_id[0] = '\0';
	t->retries = 0;
}

void
plan_verdict(struct turn *t, const char *verdict, const char *explanation, const struct model_usage *usage, struct batch *b,
    struct plan *out)
{
	const struct outcome *o = &t->outcome;
	const char *result = outcome_result(o, verdict);
	AUTO(str) char *say = outcome_feedback(o, result, explanation);

	*out = (struct plan){ .event = TE_REPLIED };
	batch_outcome_end(b, &(struct outcome_end){ .start_id = o->start_id, .outcome_id = o->id, .result = result, .explanation = explanation,
	    .say = say, .iteration = o->iteration }, usage, &t->rates);
	t->retries = 0;
}

void
plan_cut(struct turn *t, struct batch *b, struct plan *p)
{
	batch_truncate(b, p->cut);
	for (int i = 0; i < t->ncalls; i++)
		t->calls[i].next = t->calls[i].state;
	*p = (struct plan){ .event = TE_REPLIED };
}
