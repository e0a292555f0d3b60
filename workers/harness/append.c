/*
 * append: the one way events are written (appendq.h): a batch, fenced by the epoch, stamped with database time; then publication in order,
 * then the state that follows.
 *
 * A lost connection leaves the commit in doubt: the same batch is sent again, and the database says ok if its first event is there. Then
 * it may stand there with the stamps of the first attempt, and these are read before anything is published or summed up.
 * Publication comes after the commit and may be lost in a crash: hubs compare their sequence with the row.
 */
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "clock.h"
#include "failpoint.h"
#include "id.h"
#include "log.h"
#include "sess.h"
#include "xalloc.h"

#define TRIES_MAX 8

/* One append on its way: what appendq reads, beside the session's own batch. */
struct sending {
	struct append a;
	struct sess *s;
	struct append_event *events;
	struct append_call *calls;
	const char **closed;
};

static append_done_fn on_append;
static void again(struct sess *s, const struct err *e);

void
append_free(struct sending **xp)
{
	struct sending *x = *xp;

	if (x == NULL)
		return;
	free(x->events);
	free(x->calls);
	free(x->closed);
	free(x);
	*xp = NULL;
}

void
append_at_hand(struct append *a)
{
	sess_at_hand(((struct sending *)a)->s);
}

/* Between 3/4 and 5/4 of the delay, so that sessions that failed together do not come back together. */
static int64_t
jittered(int64_t delay_ms)
{
	uint32_t r;

	id_random(&r, sizeof(r));
	return delay_ms * 3 / 4 + (int64_t)(r % 1024) * delay_ms / 2048;
}

/* What the model will see once this batch is in the log (plan_committed). */
static int64_t
context_bytes(const struct turn *t, const struct batch *b)
{
	int64_t n = (int64_t)t->context.bytes;

	for (int i = 0; i < b->nev; i++) {
		const struct event *ev = &b->ev[i];
		const char *seen = ev->private != NULL ? ev->private : ev->fragment;

		if (strcmp(ev->type, BATCH_COMPACTED) == 0)
			n = 0;
		n += seen != NULL && ev->role != 0 ? (int64_t)strlen(seen) : 0;
	}
	return n;
}

static const char *
role_of(const struct event *ev)
{
	return ev->role == 0 ? NULL : ev->role == 'u' ? "u" : ev->role == 's' ? "s" : "a";
}

/* The lists of the append: its texts stay the batch's. */
static void
fill_lists(struct sending *x)
{
	const struct batch *b = &x->s->batch;
	const struct turn *t = &x->s->t;

	x->events = xcalloc((size_t)b->nev + 1, sizeof(*x->events));
	for (int i = 0; i < b->nev; i++) {
		const struct event *ev = &b->ev[i];

		x->events[i] = (struct append_event){ ev->id, ev->type, ev->body, role_of(ev), ev->fragment, ev->private };
	}
	x->calls = xcalloc((size_t)b->nactions + 1, sizeof(*x->calls));
	for (int i = 0; i < b->nactions; i++) {
		const struct action_row *c = &b->actions[i];

		x->calls[i] = (struct append_call){ c->id, c->custom ? "custom" : "confirm", c->name, c->input };
	}
	x->closed = xcalloc((size_t)t->ncalls + 1, sizeof(*x->closed));
	x->a.nclosed = calls_closed(t, x->closed, t->ncalls);
	x->a.events = x->events;
	x->a.nevents = b->nev;
	x->a.calls = x->calls;
	x->a.ncalls = b->nactions;
	x->a.closed = x->closed;
}

static struct sending *
fill(struct sess *s, int64_t base)
{
	static const char *const releases[] = {
		[RELEASE_NO] = NULL, [RELEASE_IDLE] = "idle", [RELEASE_RETRY] = "retry", [RELEASE_DONE] = "done",
	};
	struct sending *x = xcalloc(1, sizeof(*x));
	const struct batch *b = &s->batch;
	const struct turn *t = &s->t;

	x->s = s;
	x->a = (struct append){
		.done = on_append, .session = t->id, .thread = t->thread_id, .epoch = s->epoch, .base_us = base, .bytes = b->bytes,
		.taken = b->taken, .ntaken = b->ntaken, .taken_wakes = b->taken_wakes, .taken_bytes = b->taken_bytes,
		.status = b->status, .paused = b->paused,
		.open_k = b->interval == INTERVAL_OPEN ? b->interval_ev : -1, .close_k = b->interval == INTERVAL_CLOSE ? b->interval_ev : -1,
		.tokens_k = b->span_ev >= 0 ? b->span_ev : b->gap_ev, .tokens_known = b->span_ev >= 0, .rates = b->rates,
		.unpriced = b->unpriced, .token_nano = b->token_nano, .model = t->agent != NULL ? t->agent->model_id : NULL,
		.judge_model = b->judged.model[0] != '\0' ? b->judged.model : NULL, .judge_rates = b->judged.rates,
		.judge_lost = b->judged.lost, .release = s->keep == KEEP_YES ? "keep" : releases[s->plan.release], .wake_gen = t->wake_gen, .due_us = -1,
		.context_bytes = context_bytes(t, b), .again = s->again, .troubled = t->attempts > 0,
		.ready = s->keep == KEEP_YES && s->opening != NULL ? opening_texts(s->opening) : NULL,
	};
	if (s->plan.release == RELEASE_RETRY)
		x->a.due_us = stamp_now(&s->wk->stamp, clock_mono_us()) + s->plan.delay_ms * 1000;
	batch_classes(&b->tokens, x->a.tokens);
	batch_classes(&b->judged.usage, x->a.judge_tokens);
	fill_lists(x);
	return x;
}

/* What was sent before, and may have been committed, may have kept the lease: then it is given back at once. */
static void
keep(struct sess *s)
{
	if (s->again) {
		s->keep = s->keep == KEEP_NO ? KEEP_NO : KEEP_DOUBT;
		return;
	}
	opening_free(&s->opening);
	s->keep = s->plan.release == RELEASE_IDLE && s->batch.nev > 0 && kept_wanted(s->wk->work, s) ? KEEP_YES : KEEP_NO;
	if (s->keep == KEEP_YES && (s->ready_bytes = kept_ready(s->wk->work, s)) > 0)
		s->opening = opening_new((struct batch_who){ s->t.thread_id, s->t.agent->name }, s->epoch);
}

static void
send_now(void *ctx)
{
	struct sess *s = ctx;
	int64_t base;

	s->retry = NULL;
	sess_at_hand(s);
	s->sent_us = clock_mono_us();
	base = stamp_base(&s->wk->stamp, s->sent_us, s->t.last_at_us);
	batch_stamp(&s->batch, base, &s->t.totals);
	keep(s);
	s->sending = fill(s, base);
	plan_sent(&s->t, &s->batch);
	FAILPOINT_IN(APPEND, turn_state_name(s->state));
	SESS_WAIT(s);
	append_run(s->wk->appends, &s->sending->a);
}

void
append_send(struct sess *s)
{
	if (s->plan.release == RELEASE_RETRY && s->plan.delay_ms > 0)
		s->plan.delay_ms = jittered(s->plan.delay_ms);
	send_now(s);
}

static void
publish(struct sess *s, int64_t last_seq)
{
	const struct batch *b = &s->batch;

	for (int i = 0; i < b->nev; i++)
		busq_publish(s->wk->bus, s->t.id, b->ev[i].type, last_seq - b->nev + 1 + i, b->ev[i].body, strlen(b->ev[i].body));
}

static void
committed(struct sess *s, int64_t last_seq)
{
	enum turn_event event = TE_COMMITTED;

	FAILPOINT_IN(APPENDED, turn_state_name(s->state));
	publish(s, last_seq);
	FAILPOINT_IN(PUBLISHED, turn_state_name(s->state));
	tools_committed(s);
	plan_committed(&s->t, &s->batch, &s->plan, last_seq);
	if (s->state == TS_CLOSING && s->plan.release == RELEASE_NO)
		event = TE_MORE;
	else if (s->state == TS_REPLYING && turn_calls_in(&s->t, CALL_READY) > 0)
		event = TE_TOOLS;
	if (s->state == TS_YIELDING)
		work_due_in(s->wk->work, s->plan.delay_ms);
	if (s->keep != KEEP_NO)
		kept_put(s->wk->work, s, s->keep == KEEP_YES);
	sess_fire(s, event);
}

void
append_opened(struct sess *s, struct opening *opening, const struct arrival *message, int64_t opened_us)
{
	struct turn *t = &s->t;
	int64_t last_seq;

	sess_measure(s);
	opening_take(opening, (struct batch_who){ t->thread_id, t->agent->name }, message, &s->batch, &s->plan);
	last_seq = t->last_seq + s->batch.nev;
	batch_stamp(&s->batch, opened_us, &t->totals);
	publish(s, last_seq);
	plan_committed(t, &s->batch, &s->plan, last_seq);
	t->unasked = true;
	sess_fire(s, TE_OPENED);
}

/*
 * The release was refused because the inbox moved. Nothing was written. A session that was idle goes back: with what came in, its agent
 * may have changed too, and a claim reads both.
 */
static void
woken(struct sess *s)
{
	if (s->plan.firm) {
		s->plan.release = RELEASE_NO;
		s->again = false;
		s->news = true;
		send_now(s);
	} else if (s->plan.cut > 0) {
		plan_cut(&s->t, &s->batch, &s->plan);
		s->again = false;
		s->news = true;
		sess_fire(s, TE_CUT);
	} else if (strcmp(s->t.status, "idle") == 0) {
		s->plan.release = RELEASE_NO;
		sess_fire(s, TE_GIVE_UP);
	} else {
		sess_fire(s, TE_WOKEN);
	}
}

/* The batch that an earlier attempt has committed: what is published and added up is what stands in the log. */
static void
on_written(void *ctx, const PGresult *r, const struct err *e)
{
	struct sess *s = ctx;

	if (!sess_answered(s))
		return;
	if (e != NULL) {
		again(s, e);		/* it says ok once more */
	} else if (PQntuples(r) == 0) {
		sess_lost(s);		/* deleted meanwhile */
	} else {
		batch_stamp(&s->batch, pg_int(r, 0, 1), &s->t.totals);
		committed(s, pg_int(r, 0, 0) + s->batch.nev - 1);
	}
}

static void
send_after(struct sess *s, int64_t ms)
{
	s->retry = loop_after(s->wk->loop, ms, send_now, s);
}

/* In doubt or refused by a fault: again, the same events. After TRIES_MAX faults the lease goes back and another claim tries. */
static void
again(struct sess *s, const struct err *e)
{
	s->again = s->batch.nev > 0;
	if (e->kind == EK_UNCERTAIN) {
		send_now(s);	/* waits in the queue for the connection */
		return;
	}
	log_err("append_failed", e, "session", s->t.id, NULL);
	if (++s->tries < TRIES_MAX) {
		send_after(s, 50 << s->tries);
		return;
	}
	DBQ_RUN(s->wk->db, STMT_SESSION_RELEASE, NULL, NULL, s->t.id, DBN(s->epoch),
	    DBN(stamp_now(&s->wk->stamp, clock_mono_us()) + 1000000));
	sess_lost(s);
}

static void
on_append(struct append *a, enum append_result result, int64_t last_seq, int64_t now_us, const struct err *e)
{
	struct sess *s = ((struct sending *)a)->s;

	s->xid = e == NULL && !s->again ? a->xid : 0;
	append_free(&s->sending);
	if (!sess_answered(s))
		return;
	if (e != NULL) {
		again(s, e);
		return;
	}
	switch (result) {
	case APPEND_OK:
		if (!s->again) {
			committed(s, last_seq);
			break;
		}
		SESS_WAIT(s);
		DBQ_RUN(s->wk->db, STMT_EVENT_WRITTEN, on_written, s, s->t.id, s->batch.ev[0].id);
		break;
	case APPEND_WOKEN:
		woken(s);
		break;
	case APPEND_STAMP:
		/* our idea of the time is off, or the database's clock went back behind the log: then it has to catch up */
		log_warn("stamp_refused", "session", s->t.id, NULL);
		stamp_learn(&s->wk->stamp, s->sent_us, clock_mono_us(), now_us);
		send_after(s, 100);
		break;
	case APPEND_FENCED:
		sess_lost(s);
	}
}

static void
on_release(void *ctx, const PGresult *r, const struct err *e)
{
	struct sess *s = ctx;

	(void)r;
	if (!sess_answered(s))
		return;
	if (e != NULL)
		log_err("release_failed", e, "session", s->t.id, NULL);	/* rounds.c finds the row without a session and repeats it */
	work_due_in(s->wk->work, s->load_failed ? 1000 : 0);
	sess_fire(s, TE_COMMITTED);
}

void
append_release(struct sess *s)
{
	if (s->plan.release == RELEASE_IDLE) {
		append_send(s);		/* no event: due again only when the inbox moves */
		return;
	}
	FAILPOINT(RELEASE);
	SESS_WAIT(s);
	DBQ_RUN(s->wk->db, STMT_SESSION_RELEASE, on_release, s, s->t.id, DBN(s->epoch),
	    DBN(stamp_now(&s->wk->stamp, clock_mono_us()) + (s->load_failed ? 1000000 : 0)));
}
