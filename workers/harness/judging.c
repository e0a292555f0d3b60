/*
 * judging: TS_JUDGING: a reply is whole, and some of its calls have the policy `auto`. Each is put to the judging model in a request of its
 * own, up to PARALLEL at a time (one by one under a budget); then the reply is appended with the verdicts, and what the judging consumed, in one transaction.
 *
 * So a verdict that is in the log is never asked for again, and a call whose verdict is not in the log is not in the log either. A crash
 * here loses the reply and its judgements: the open span is the gap that metering shows. A failed, late or unreadable judgement, one that
 * the budget does not allow, and every one that an interrupt overtakes, is none: the client is asked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failpoint.h"
#include "judge.h"
#include "log.h"
#include "sess.h"
#include "xalloc.h"

#define PARALLEL 8

struct question {
	struct sess *s;
	int block;
	enum { Q_WAITING, Q_ASKED, Q_DONE } state;
	struct model_call *call;
	struct loop_timer *timeout;
};

struct judging {
	struct model_reply *reply;
	enum tool_verdict *verdicts;	/* by block of the reply */
	struct question *q;
	int n;
	struct judged sum;
};

static void advance(struct sess *s);

static void
settle(struct question *q, enum tool_verdict verdict)
{
	struct judging *j = q->s->judging;

	loop_cancel(q->s->wk->loop, &q->timeout);
	q->state = Q_DONE;
	j->verdicts[q->block] = verdict;
}

static void
on_answer(void *ctx, const struct model_reply *answer)
{
	struct question *q = ctx;
	struct sess *s = q->s;
	struct judged *sum = &s->judging->sum;
	enum tool_verdict verdict = judge_read(answer);

	sess_at_hand(s);
	FAILPOINT_IN(MODEL_DONE, s->t.id);
	q->call = NULL;
	sum->lost |= answer->usage.unknown;
	sum->usage.input += answer->usage.input;
	sum->usage.output += answer->usage.output;
	sum->usage.cache_read += answer->usage.cache_read;
	sum->usage.cache_write_5m += answer->usage.cache_write_5m;
	sum->usage.cache_write_1h += answer->usage.cache_write_1h;
	log_info("call_judged", "session", s->t.id, "tool", s->judging->reply->blocks[q->block].name, "verdict",
	    verdict == VERDICT_ALLOW ? "allow" : verdict == VERDICT_DENY ? "deny" : "none", "request", answer->request_id, NULL);
	settle(q, verdict);
	advance(s);
}

static void
on_failed(void *ctx, const struct model_failure *f)
{
	struct question *q = ctx;
	struct sess *s = q->s;

	sess_at_hand(s);
	q->call = NULL;
	s->judging->sum.lost |= f->begun;
	log_warn("judge_failed", "session", s->t.id, "type", f->type, NULL);
	settle(q, VERDICT_NONE);
	advance(s);
}

static void
on_late(void *ctx)
{
	struct question *q = ctx;
	struct sess *s = q->s;

	q->timeout = NULL;
	sess_at_hand(s);
	log_warn("judge_late", "session", s->t.id, NULL);
	model_cancel(&q->call);
	s->judging->sum.lost = true;
	settle(q, VERDICT_NONE);
	advance(s);
}

static void
on_bytes(void *ctx)
{
	sess_at_hand(((struct question *)ctx)->s);
}

static const struct model_events events = { .done = on_answer, .fail = on_failed, .at_hand = on_bytes };

/* May one more judgement be paid? The reply and what was judged so far count. */
static bool
affordable(const struct sess *s)
{
	const struct judging *j = s->judging;
	int64_t reply[COST_CLASSES], judged[COST_CLASSES];

	if (s->t.totals.budget_cents == 0)
		return true;
	if (!s->t.rates.known || !j->sum.rates.known)
		return false;
	batch_classes(&j->reply->usage, reply);
	batch_classes(&j->sum.usage, judged);
	return !plan_at_cap(&s->t, cost_of_tokens(&s->t.rates, reply) + cost_of_tokens(&j->sum.rates, judged));
}

static void
ask(struct question *q)
{
	struct sess *s = q->s;
	struct judging *j = s->judging;
	AUTO(str) char *text = judge_question(&s->t, j->reply, q->block);
	struct model_item item = { 'u', text, text != NULL ? strlen(text) : 0 };
	struct model_request rq = { .model_id = j->sum.model, .system = judge_prompt, .items = &item, .nitems = 1,
	    .geo = s->t.agent->geo };
	struct routes_model m;

	if (text == NULL || !routes_find(s->wk->routes, j->sum.model, &m) || m.nroutes == 0 || !affordable(s)) {
		settle(q, VERDICT_NONE);
		return;
	}
	rq.routes = m.routes;
	rq.nroutes = m.nroutes;
	rq.max_output_tokens = m.max_output_tokens < JUDGE_OUTPUT_TOKENS ? m.max_output_tokens : JUDGE_OUTPUT_TOKENS;
	log_debug("judge_asked", "session", s->t.id, "model", j->sum.model, NULL);
	q->state = Q_ASKED;
	FAILPOINT_IN(MODEL, "judgement");
	q->call = model_start(s->wk->models, &rq, &events, q);
	q->timeout = loop_after(s->wk->loop, s->wk->conf.judge_timeout_ms, on_late, q);
}

/* Every call has a verdict or none: the reply goes into the log. */
static void
finish(struct sess *s)
{
	struct batch_who who = { s->t.thread_id, s->t.agent->name };
	bool quiet = !s->news && !s->peeking && s->t.ninbox == 0 && !s->t.drain;
	struct judging *j = s->judging;

	batch_free(&s->batch);
	batch_init(&s->batch, who);
	s->again = false;
	s->tries = 0;
	plan_reply(&s->t, j->reply, j->verdicts, s->message_id, s->thinking_id, quiet, &s->batch, &s->plan);
	batch_judged(&s->batch, &j->sum);
	judging_drop(s);
	sess_fire(s, s->plan.event);
}

static void
advance(struct sess *s)
{
	struct judging *j = s->judging;
	int parallel = s->t.totals.budget_cents != 0 ? 1 : PARALLEL;	/* each is held against the cap with what the others cost */
	int asked = 0, left = 0;

	for (int i = 0; i < j->n; i++)
		asked += j->q[i].state == Q_ASKED;
	for (int i = 0; i < j->n; i++) {
		if (j->q[i].state == Q_WAITING && asked < parallel) {
			ask(&j->q[i]);
			asked += j->q[i].state == Q_ASKED;
		}
		left += j->q[i].state != Q_DONE;
	}
	if (left == 0)
		finish(s);
}

void
judging_take(struct sess *s, const struct model_reply *reply)
{
	struct judging *j = s->judging = xcalloc(1, sizeof(*j));
	const char *model = s->wk->conf.judge_model[0] != '\0' ? s->wk->conf.judge_model : s->t.agent->model_id;
	struct routes_model m;

	j->reply = model_reply_copy(reply);
	j->verdicts = xcalloc((size_t)reply->nblocks + 1, sizeof(*j->verdicts));
	j->q = xcalloc((size_t)reply->nblocks + 1, sizeof(*j->q));
	snprintf(j->sum.model, sizeof(j->sum.model), "%s", model);
	if (routes_find(s->wk->routes, model, &m))
		cost_rates_read(m.price, NULL, s->t.agent->geo, &j->sum.rates);
	for (int i = 0; i < reply->nblocks; i++)
		if (judge_wanted(s->t.agent, &reply->blocks[i]))
			j->q[j->n++] = (struct question){ .s = s, .block = i };
}

void
judging_begin(struct sess *s)
{
	if (s->news)
		load_peek(s);
	advance(s);
}

void
judging_cut(struct sess *s)
{
	struct judging *j = s->judging;

	for (int i = 0; i < j->n; i++) {
		if (j->q[i].call != NULL) {
			j->sum.lost = true;
			model_cancel(&j->q[i].call);
		}
		if (j->q[i].state != Q_DONE)
			settle(&j->q[i], VERDICT_NONE);
	}
	finish(s);
}

void
judging_drop(struct sess *s)
{
	struct judging *j = s->judging;

	if (j == NULL)
		return;
	for (int i = 0; i < j->n; i++) {
		if (j->q[i].call != NULL)
			model_cancel(&j->q[i].call);
		loop_cancel(s->wk->loop, &j->q[i].timeout);
	}
	model_reply_free(&j->reply);
	free(j->verdicts);
	free(j->q);
	free(j);
	s->judging = NULL;
}
