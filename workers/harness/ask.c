/*
 * ask: one model request: previews while it streams, a reply or a failure at its end.
 *
 * The sandbox is asked for a moment later, so that it is there when the first tool call needs it: its start takes milliseconds of a core,
 * which the request on its way out and a quick model's first words shall have. A reply that came sooner and has no calls needs none.
 * Cancelling stops the request at once; what was streamed is not kept, but paid for when it was a client that had it stopped.
 *
 * A request for a summary (compact.h) is the same request with the question behind the context; nobody is shown its answer.
 */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "compact.h"
#include "failpoint.h"
#include "judge.h"
#include "log.h"
#include "present.h"
#include "sess.h"
#include "xalloc.h"

#define SANDBOX_AFTER_MS 20	/* of a request; few models have said anything by then, and most take a second for their first call */

static void
sink(void *ctx, const char *type, const char *json, size_t len)
{
	struct sess *s = ctx;

	busq_publish(s->wk->bus, s->t.id, type, 0, json, len);
}

static void delta_arm(struct sess *s);

static void
on_delta_due(void *ctx)
{
	struct sess *s = ctx;

	s->delta_timer = NULL;
	delta_flush(&s->delta, clock_mono_ms());
}

static void
delta_arm(struct sess *s)
{
	int64_t due = delta_due(&s->delta);

	if (due != 0 && s->delta_timer == NULL)
		s->delta_timer = loop_after(s->wk->loop, due - clock_mono_ms(), on_delta_due, s);
}

static void
on_text(void *ctx, int index, const char *text, size_t len)
{
	struct sess *s = ctx;
	bool first = !s->delta.opened;

	sess_at_hand(s);
	delta_text(&s->delta, clock_mono_ms(), index, text, len);
	if (first && !model_inside(s->model))
		busq_now(s->wk->bus, s->t.id);	/* a reply that came in one piece with them would have them wait for its commit */
	delta_arm(s);
}

static void
on_thinking(void *ctx)
{
	struct sess *s = ctx;

	sess_at_hand(s);
	id_new("sevt_", s->thinking_id);
	delta_thinking(&s->delta, s->thinking_id);
}

static void
provision(struct sess *s)
{
	loop_cancel(s->wk->loop, &s->sandbox_timer);
	if (s->provisioned || !s->t.agent->sandbox)
		return;
	s->provisioned = true;
	hands_send(s->wk->hands, &(struct hands_request){ .op = "provision", .session = s->t.id, .epoch = s->epoch,
	    .files = s->files != NULL ? s->files : "[]" });
}

static void
on_sandbox_due(void *ctx)
{
	struct sess *s = ctx;

	s->sandbox_timer = NULL;
	sess_at_hand(s);
	provision(s);
}

static void
provision_soon(struct sess *s)
{
	if (!s->provisioned && s->t.agent->sandbox && s->sandbox_timer == NULL)
		s->sandbox_timer = loop_after(s->wk->loop, SANDBOX_AFTER_MS, on_sandbox_due, s);
}

static void
on_done(void *ctx, const struct model_reply *reply)
{
	struct sess *s = ctx;
	struct batch_who who = { s->t.thread_id, s->t.agent->name };
	bool quiet = !s->news && !s->peeking && s->t.ninbox == 0 && !s->t.drain;

	sess_at_hand(s);
	FAILPOINT_IN(MODEL_DONE, s->t.id);
	s->model = NULL;
	loop_cancel(s->wk->loop, &s->delta_timer);
	loop_cancel(s->wk->loop, &s->sandbox_timer);
	delta_flush(&s->delta, clock_mono_ms());
	if (judge_count(s->t.agent, reply) > 0) {
		judging_take(s, reply);
		sess_fire(s, TE_JUDGE);
		return;
	}
	batch_free(&s->batch);
	batch_init(&s->batch, who);
	s->again = false;
	s->tries = 0;
	plan_reply(&s->t, reply, NULL, s->message_id, s->thinking_id, quiet, &s->batch, &s->plan);
	if (turn_calls_in(&s->t, CALL_READY) > 0)
		provision(s);		/* while the calls are being committed */
	busq_hold(s->wk->bus, s->t.id, s->requests == 1);	/* the end of the text goes out with the message, a turn's begin with an instant reply */
	sess_fire(s, s->plan.event);
}

static void
failure(struct sess *s, const char *type, const char *message, bool retryable, int64_t after_ms)
{
	struct turn *t = &s->t;

	t->failed = true;
	t->fail_retry = retryable;
	t->fail_after_ms = after_ms;
	sess_copy(t->fail_type, sizeof(t->fail_type), type);
	sess_copy(t->fail_message, sizeof(t->fail_message), message);
	log_warn("model_failed", "session", t->id, "type", type, "retryable", retryable ? "true" : "false", NULL);
	sess_fire(s, TE_FAILED);
}

static void
on_fail(void *ctx, const struct model_failure *f)
{
	struct sess *s = ctx;

	sess_at_hand(s);
	s->model = NULL;
	loop_cancel(s->wk->loop, &s->delta_timer);
	loop_cancel(s->wk->loop, &s->sandbox_timer);
	s->t.fail_spent = f->begun;
	s->t.took_known = f->took_known;
	s->t.took = f->took;
	s->t.fail_long = f->terminal;
	failure(s, f->type, f->message, f->retryable, f->retry_after_ms);
}

/* Its bytes are about to be read, before any of the others is called. */
static void
on_bytes(void *ctx)
{
	sess_at_hand(ctx);
}

static const struct model_events events = { .text = on_text, .thinking = on_thinking, .done = on_done, .fail = on_fail, .at_hand = on_bytes };

static void
no_text(void *ctx, int index, const char *text, size_t len)
{
}

static void
no_thinking(void *ctx)
{
}

static void
on_summary(void *ctx, const struct model_reply *reply)
{
	struct sess *s = ctx;
	struct batch_who who = { s->t.thread_id, s->t.agent->name };
	AUTO(buf) struct buf text = BUF_INIT(0);

	sess_at_hand(s);
	FAILPOINT_IN(MODEL_DONE, "summary");
	s->model = NULL;
	for (int i = 0; i < reply->nblocks && reply->stop != MODEL_REFUSAL; i++)
		if (reply->blocks[i].kind == MODEL_TEXT)
			buf_str(&text, reply->blocks[i].text);
	if (text.len == 0) {
		s->t.took_known = true;
		s->t.took = reply->usage;
		failure(s, "compaction_limit_reached_error", "The model gave no summary of the conversation.", false, 0);
		return;
	}
	batch_free(&s->batch);
	batch_init(&s->batch, who);
	s->again = false;
	s->tries = 0;
	plan_summary(&s->t, text.data, &reply->usage, &s->batch, &s->plan);
	sess_fire(s, s->plan.event);
}

static const struct model_events summary_events = {
	.text = no_text, .thinking = no_thinking, .done = on_summary, .fail = on_fail, .at_hand = on_bytes,
};

/* The same request with fewer items and the question behind them. */
static void
ask_summary(struct sess *s, struct model_request *rq)
{
	static const struct model_item question = { 'u', COMPACT_ASK, sizeof(COMPACT_ASK) - 1 };
	struct model_item *items;
	int from, to;

	if (!compact_range(&s->t, &from, &to)) {
		failure(s, "compaction_limit_reached_error", "The conversation is too long to be summarised.", false, 0);
		return;
	}
	rq->nitems = to - from;
	items = xmalloc((size_t)(rq->nitems + 1) * sizeof(*items));
	memcpy(items, rq->items + from, (size_t)rq->nitems * sizeof(*items));
	items[rq->nitems++] = question;
	rq->items = items;
	rq->kinds = NULL;
	log_info("compaction", "session", s->t.id, "items", LOGN(rq->nitems - 1), "left_out", LOGN(s->t.context.n - rq->nitems + 1), "tokens",
	    LOGN(compact_estimate(&s->t, 0, false)), NULL);
	FAILPOINT_IN(MODEL, "summary");
	s->model = model_start(s->wk->models, rq, &summary_events, s);
	free(items);
}

/* ---- the evaluation of an outcome: the agent's model once more, in a request of its own that has one tool, for the verdict ---- */

static void
on_verdict(void *ctx, const struct model_reply *reply)
{
	struct sess *s = ctx;
	struct batch_who who = { s->t.thread_id, s->t.agent->name };
	AUTO(str) char *explanation = NULL;
	const char *result;

	sess_at_hand(s);
	FAILPOINT_IN(MODEL_DONE, "verdict");
	s->model = NULL;
	/* The request was answered and is paid for: asked for again it would be free, and a rubric can forbid every verdict. */
	if (!outcome_verdict(reply, &result, &explanation)) {
		result = OUTCOME_FAILED;
		explanation = xstrdup("The evaluation gave no verdict.");
	}
	batch_free(&s->batch);
	batch_init(&s->batch, who);
	s->again = false;
	s->tries = 0;
	plan_verdict(&s->t, result, explanation, &reply->usage, &s->batch, &s->plan);
	sess_fire(s, s->plan.event);
}

static const struct model_events verdict_events = {
	.text = no_text, .thinking = no_thinking, .done = on_verdict, .fail = on_fail, .at_hand = on_bytes,
};

#define GRADE_BYTES (512u << 10)	/* of a question at most; three bytes for each token of a smaller window */

static void
ask_verdict(struct sess *s, const struct model_request *rq)
{
	size_t room = s->t.window > 0 && (size_t)s->t.window * 3 < GRADE_BYTES ? (size_t)s->t.window * 3 : GRADE_BYTES;
	AUTO(str) char *text = outcome_question(&s->t.outcome, rq->items, rq->nitems, room);
	struct model_item item = { 'u', text, strlen(text) };
	struct model_request question = *rq;

	question.system = outcome_system;
	question.items = &item;
	question.nitems = 1;
	question.kinds = NULL;
	question.tools = &outcome_tool;
	question.ntools = 1;
	log_info("outcome_evaluation", "session", s->t.id, "iteration", LOGN(s->t.outcome.iteration), NULL);
	FAILPOINT_IN(MODEL, "verdict");
	s->model = model_start(s->wk->models, &question, &verdict_events, s);
}

static void
begin(struct sess *s)
{
	const struct agent *a = s->t.agent;
	struct routes_model route;
	struct model_request rq = {
		.model_id = a->model_id, .system = a->system, .items = s->t.context.items, .nitems = s->t.context.n,
		.kinds = s->t.context.kinds,
		.tools = a->tools, .ntools = a->ntools, .effort = a->effort, .speed = a->speed, .geo = a->geo,
		.files_there = s->present,
	};

	if (!routes_ready(s->wk->routes)) {
		failure(s, "unknown_error", "The model catalogue has not been read yet.", true, 0);
		return;
	}
	if (!routes_find(s->wk->routes, a->model_id, &route) || route.nroutes == 0) {
		failure(s, "model_request_failed_error", "The agent's model has no usable route in the model catalogue.", false, 0);
		return;
	}
	s->requests++;
	s->t.unasked = false;
	rq.routes = route.routes;
	rq.nroutes = route.nroutes;
	rq.max_output_tokens = route.max_output_tokens;
	if (s->t.compacting) {
		ask_summary(s, &rq);
		return;
	}
	if (s->t.grading) {
		ask_verdict(s, &rq);
		return;
	}
	provision_soon(s);
	id_new("sevt_", s->message_id);
	s->thinking_id[0] = '\0';
	delta_begin(&s->delta, s->message_id, s->wk->conf.delta_ms, sink, s);
	FAILPOINT_IN(MODEL, "reply");
	s->model = model_start(s->wk->models, &rq, &events, s);
}

/* Called again when it is known which files of the context are still there. */
void
ask_begin(struct sess *s)
{
	batch_free(&s->batch);		/* it is in the log; a turn that streams holds no copy of it */
	s->t.fail_long = s->t.fail_spent = s->t.took_known = false;
	if (s->news)
		load_peek(s);
	if (present_ask(s))
		return;
	begin(s);
	present_forget(s);
}

void
ask_cancel(struct sess *s)
{
	loop_cancel(s->wk->loop, &s->delta_timer);
	loop_cancel(s->wk->loop, &s->sandbox_timer);
	present_forget(s);
	if (s->model != NULL)
		model_cancel(&s->model);
}

/*
 * The client has read what was streamed, and the provider charges for it. Of a provider that tells its usage only at the end the input is
 * not counted: nobody measured it.
 */
void
ask_interrupt(struct sess *s)
{
	struct model_usage u;

	if (s->model != NULL && model_spent(s->model, &u) && (!u.unknown || u.output > 0)) {
		log_info("model_interrupted", "session", s->t.id, "told", u.unknown ? "false" : "true", "input", LOGN(u.input), "output",
		    LOGN(u.output), NULL);
		u.unknown = false;
		s->t.took_known = true;
		s->t.took = u;
	}
	ask_cancel(s);
}
