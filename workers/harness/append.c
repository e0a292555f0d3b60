/*
 * append: the one way events are written (session_append, sql/functions): a batch, fenced by the epoch, stamped with database time;
 * then publication in order, then the state that follows.
 *
 * A lost connection leaves the commit in doubt: the same batch is sent again, and the database says ok if its first event is there. Then
 * it may stand there with the stamps of the first attempt, and these are read before anything is published or summed up.
 * Publication comes after the commit and may be lost in a crash: hubs compare their sequence with the row.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "failpoint.h"
#include "id.h"
#include "log.h"
#include "sess.h"
#include "xalloc.h"

#define TRIES_MAX 8
#define NPARAMS 33

static void on_append(void *ctx, const PGresult *r, const struct err *e);
static void again(struct sess *s, const struct err *e);

/* One column of the events as a text array. */
enum column { COL_ID, COL_TYPE, COL_BODY, COL_ROLE, COL_FRAGMENT, COL_PRIVATE };

static const char *
cell(const struct event *ev, enum column c)
{
	switch (c) {
	case COL_ID:
		return ev->id;
	case COL_TYPE:
		return ev->type;
	case COL_BODY:
		return ev->body;
	case COL_ROLE:
		return ev->role == 0 ? NULL : ev->role == 'u' ? "u" : ev->role == 's' ? "s" : "a";
	case COL_FRAGMENT:
		return ev->fragment;
	default:
		return ev->private;
	}
}

static char *
column(const struct batch *b, enum column c)
{
	const char **items = xcalloc((size_t)b->nev + 1, sizeof(*items));
	char *out;

	for (int i = 0; i < b->nev; i++)
		items[i] = cell(&b->ev[i], c);
	out = pg_array(items, b->nev);
	free(items);
	return out;
}

enum action_column { ACT_ID, ACT_KIND, ACT_NAME, ACT_INPUT };

static char *
actions(const struct batch *b, enum action_column c)
{
	const char **items = xcalloc((size_t)b->nactions + 1, sizeof(*items));
	char *out;

	for (int i = 0; i < b->nactions; i++) {
		const struct action_row *a = &b->actions[i];

		items[i] = c == ACT_ID ? a->id : c == ACT_KIND ? (a->custom ? "custom" : "confirm") : c == ACT_NAME ? a->name : a->input;
	}
	out = pg_array(items, b->nactions);
	free(items);
	return out;
}

static char *
numbers(const int64_t *v, int n)
{
	struct buf b = BUF_INIT(0);

	buf_ch(&b, '{');
	for (int i = 0; i < n; i++)
		buf_printf(&b, "%s%" PRId64, i > 0 ? "," : "", v[i]);
	buf_ch(&b, '}');
	return buf_steal(&b);
}

static char *
number_or_null(bool present, int64_t v)
{
	return present ? xasprintf("%" PRId64, v) : NULL;
}

static char *
closed(const struct turn *t)
{
	const char **ids = xcalloc((size_t)t->ncalls + 1, sizeof(*ids));
	int n = plan_closed(t, ids, t->ncalls);
	char *out = pg_array(ids, n);

	free(ids);
	return out;
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

static void
fill(struct sess *s, int64_t base, char *p[NPARAMS])
{
	static const char *const releases[] = {
		[RELEASE_NO] = NULL, [RELEASE_IDLE] = "idle", [RELEASE_RETRY] = "retry", [RELEASE_DONE] = "done",
	};
	const struct batch *b = &s->batch;
	const struct turn *t = &s->t;
	int64_t tokens[COST_CLASSES], judged[COST_CLASSES];
	bool retry = s->plan.release == RELEASE_RETRY;
	char **at = p;

	batch_classes(&b->tokens, tokens);
	batch_classes(&b->judged.usage, judged);
	*at++ = xstrdup_opt(t->id);
	*at++ = number_or_null(true, s->epoch);
	*at++ = number_or_null(true, base);
	for (int c = COL_ID; c <= COL_PRIVATE; c++)
		*at++ = column(b, (enum column)c);
	*at++ = numbers(b->taken, b->ntaken);
	*at++ = xstrdup_opt(b->status);
	*at++ = number_or_null(b->interval == INTERVAL_OPEN, b->interval_ev);
	*at++ = number_or_null(b->interval == INTERVAL_CLOSE, b->interval_ev);
	*at++ = b->span_ev >= 0 ? numbers(tokens, COST_CLASSES) : NULL;
	*at++ = number_or_null(b->span_ev >= 0 || b->gap_ev >= 0, b->span_ev >= 0 ? b->span_ev : b->gap_ev);
	*at++ = xstrdup_opt(t->agent != NULL ? t->agent->model_id : NULL);
	for (int c = ACT_ID; c <= ACT_INPUT; c++)
		*at++ = actions(b, (enum action_column)c);
	*at++ = closed(t);
	*at++ = xstrdup_opt(releases[s->plan.release]);
	*at++ = number_or_null(true, t->wake_gen);
	*at++ = number_or_null(retry, stamp_now(&s->wk->stamp, clock_mono_us()) + s->plan.delay_ms * 1000);
	*at++ = xstrdup_opt(s->again ? "t" : "f");
	*at++ = number_or_null(true, context_bytes(t, b));
	*at++ = number_or_null(!b->unpriced, b->token_nano);
	*at++ = b->rates.known ? numbers(b->rates.token, COST_CLASSES) : NULL;
	*at++ = xstrdup_opt(b->paused ? "t" : "f");
	*at++ = xstrdup_opt(b->judged.model[0] != '\0' ? b->judged.model : NULL);
	*at++ = b->judged.model[0] != '\0' ? numbers(judged, COST_CLASSES) : NULL;
	*at++ = b->judged.rates.known ? numbers(b->judged.rates.token, COST_CLASSES) : NULL;
	*at++ = xstrdup_opt(b->judged.lost ? "t" : "f");
	must(at == p + NPARAMS);
}

static void
send_now(void *ctx)
{
	struct sess *s = ctx;
	char *p[NPARAMS];
	int64_t base;

	s->retry = NULL;
	sess_at_hand(s);
	s->sent_us = clock_mono_us();
	base = stamp_base(&s->wk->stamp, s->sent_us, s->t.last_at_us);
	batch_stamp(&s->batch, base, &s->t.totals);
	fill(s, base, p);
	plan_sent(&s->t, &s->batch);
	FAILPOINT_IN(APPEND, turn_state_name(s->state));
	SESS_WAIT(s);
	dbq_give(s->wk->db, STMT_SESSION_APPEND, NPARAMS, p, on_append, s);
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
	sess_fire(s, event);
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
on_append(void *ctx, const PGresult *r, const struct err *e)
{
	struct sess *s = ctx;
	const char *result;

	if (!sess_answered(s))
		return;
	if (e != NULL) {
		again(s, e);
		return;
	}
	result = pg_str(r, 0, 0);
	if (strcmp(result, "ok") == 0 && s->again) {
		SESS_WAIT(s);
		DBQ_RUN(s->wk->db, STMT_EVENT_WRITTEN, on_written, s, s->t.id, s->batch.ev[0].id);
	} else if (strcmp(result, "ok") == 0) {
		committed(s, pg_int(r, 0, 1));
	} else if (strcmp(result, "woken") == 0) {
		woken(s);
	} else if (strcmp(result, "stamp") == 0) {
		/* our idea of the time is off, or the database's clock went back behind the log: then it has to catch up */
		log_warn("stamp_refused", "session", s->t.id, NULL);
		stamp_learn(&s->wk->stamp, s->sent_us, clock_mono_us(), pg_int(r, 0, 2));
		send_after(s, 100);
	} else {
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
		log_err("release_failed", e, "session", s->t.id, NULL);	/* work.c finds the row without a session and repeats it */
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
