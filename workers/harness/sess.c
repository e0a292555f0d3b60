/*
 * sess: the driver. One function per state enters it; the table of turn.def says which state follows which event.
 *
 * A crash at any line loses memory only: the row, the log and the inbox say where the turn stood (see turn.def, last column).
 */
#include "sess.h"

#include <stdlib.h>
#include <string.h>

#include "agents.h"
#include "clock.h"
#include "ctxcache.h"
#include "failpoint.h"
#include "log.h"
#include "xalloc.h"

/*
 * How much a request of this session may hold: the model's window less room for a reply, which is never more than half of it. And what it
 * costs: while the catalogue has not been read nobody knows, and the request will wait for it.
 */
void
sess_measure(struct sess *s)
{
	struct routes_model m;

	s->t.window = s->t.compact_at = 0;
	s->t.rates = (struct cost_rates){ .known = false };
	s->t.rates_read = routes_ready(s->wk->routes);
	s->t.now_us = stamp_now(&s->wk->stamp, clock_mono_us());
	if (s->t.agent == NULL || !routes_find(s->wk->routes, s->t.agent->model_id, &m))
		return;
	cost_rates_read(m.price, s->t.agent->speed, s->t.agent->geo, &s->t.rates);
	if (m.context_window <= 0)
		return;
	s->t.window = m.context_window - (m.max_output_tokens < m.context_window / 2 ? m.max_output_tokens : m.context_window / 2);
	s->t.compact_at = s->t.window * s->wk->conf.compact_pct / 100;
}

static void
decide(struct sess *s)
{
	struct batch_who who = { s->t.thread_id, s->t.agent != NULL ? s->t.agent->name : "" };

	batch_free(&s->batch);
	batch_init(&s->batch, who);
	s->again = false;
	s->tries = 0;
	sess_measure(s);
	plan_next(&s->t, &s->wk->limits, &s->batch, &s->plan);
	sess_fire(s, s->plan.event);
}

static void
gone(struct sess *s)
{
	log_info("turn_done", "session", s->t.id, "status", s->t.status, "seq", LOGN(s->t.last_seq), "ms", LOGN(clock_mono_ms() - s->began_ms),
	    "requests", LOGN(s->requests), "tools", LOGN(s->tools), "came", s->came, NULL);
	tools_pause(s);
	work_gone(s->wk->work, s);
}

typedef void enter_fn(struct sess *s);

static enter_fn *const enter[TS_COUNT] = {
	[TS_DECIDING] = decide,
	[TS_READING] = load_inbox,
	[TS_STARTING] = append_send,
	[TS_ASKING] = ask_begin,
	[TS_JUDGING] = judging_begin,
	[TS_REPLYING] = append_send,
	[TS_WAKING] = append_send,
	[TS_RUNNING] = tools_begin,
	[TS_STOPPING] = tools_stop,
	[TS_CLOSING] = append_send,
	[TS_YIELDING] = append_send,
	[TS_ENDING] = append_send,
	[TS_RELEASING] = append_release,
	[TS_GONE] = gone,
};

void
sess_at_hand(struct sess *s)
{
	note_set(s->wk->note, s->t.id, s->epoch);
	FAILPOINT_SCOPE(turn_state_name(s->state));
}

void
sess_fire(struct sess *s, enum turn_event event)
{
	int to = turn_next(s->state, event);

	sess_at_hand(s);
	if (to < 0) {
		log_error("turn_impossible", "session", s->t.id, "state", turn_state_name(s->state), "event", turn_event_name(event), NULL);
		must(to >= 0);
	}
	s->state = (enum turn_state)to;
	FAILPOINT_SCOPE(turn_state_name(s->state));
	FAILPOINT_IN(TURN, s->t.id);
	enter[to](s);
}

void
sess_copy(char *out, size_t size, const char *from)
{
	strncpy(out, from != NULL ? from : "", size - 1);
	out[size - 1] = '\0';
}

static struct sess *
begin(struct wk *wk, const char *workspace, const char *session, int64_t epoch)
{
	struct sess *s = xcalloc(1, sizeof(*s));

	note_set(wk->note, session, epoch);
	s->wk = wk;
	s->began_ms = clock_mono_ms();
	s->epoch = epoch;
	sess_copy(s->t.id, sizeof(s->t.id), session);
	sess_copy(s->workspace, sizeof(s->workspace), workspace);
	s->state = TS_LOADING;
	s->t.drain = wk->draining;
	return s;
}

struct sess *
sess_resume(struct wk *wk, const char *workspace, const char *session, int64_t epoch, const struct sess_row *row, int64_t bytes)
{
	struct sess *s = begin(wk, workspace, session, epoch);
	struct turn *t = &s->t;

	memcpy(t->thread_id, row->thread_id, sizeof(t->thread_id));
	sess_copy(t->status, sizeof(t->status), "idle");
	t->last_seq = row->last_seq;
	t->last_at_us = row->last_at_us;
	t->totals = row->totals;
	t->agent = agent_share(row->agent);
	s->bytes = bytes;
	s->came = "told";
	return s;
}

struct sess *
sess_new(struct wk *wk, const PGresult *r, int i)
{
	struct sess *s = begin(wk, pg_str(r, i, 3), pg_str(r, i, 0), pg_int(r, i, 1));
	struct err e = ERR_INIT;
	struct turn *t = &s->t;
	const char *files;

	sess_copy(t->thread_id, sizeof(t->thread_id), pg_str(r, i, 4));
	sess_copy(t->status, sizeof(t->status), pg_str(r, i, 5));
	t->last_seq = pg_int(r, i, 6);
	t->last_at_us = pg_int(r, i, 7);
	t->wake_gen = pg_int(r, i, 8);
	t->attempts = (int)pg_int(r, i, 9);
	t->totals.running_since_us = pg_int(r, i, 12);
	t->totals.active_us = pg_int(r, i, 13);
	t->totals.tokens = (struct model_usage){ .input = pg_int(r, i, 14), .output = pg_int(r, i, 15), .cache_read = pg_int(r, i, 16),
	    .cache_write_5m = pg_int(r, i, 17), .cache_write_1h = pg_int(r, i, 18) };
	t->totals.token_nano = pg_int(r, i, 21);
	t->totals.budget_cents = pg_int(r, i, 36);
	t->totals.unpriced = pg_bool(r, i, 37);
	t->paused = t->owed = pg_bool(r, i, 38);
	s->bytes = pg_int(r, i, 22);
	files = pg_str(r, i, PQfnumber(r, "mounts"));
	s->files = xstrdup_opt(files);
	/* who has files gets a sentence of its own */
	if ((s->files != NULL ? agent_parse(pg_str(r, i, 10), &t->agent, &e) : agents_read(wk->agents, pg_str(r, i, 10), &t->agent, &e)) < 0) {
		log_err("session_broken", &e, "session", t->id, NULL);
		t->broken = true;
	} else if (s->files != NULL) {
		agent_uploads(t->agent);
	}
	return s;
}

static void
sess_free(struct sess *s)
{
	loop_cancel(s->wk->loop, &s->retry);
	loop_cancel(s->wk->loop, &s->delta_timer);
	loop_cancel(s->wk->loop, &s->sandbox_timer);
	loop_cancel(s->wk->loop, &s->stop_timer);
	delta_free(&s->delta);
	append_free(&s->sending);
	opening_free(&s->opening);
	batch_free(&s->batch);
	turn_free(&s->t);
	free(s->files);
	free(s->present);
	free(s);
}

static void
free_later(void *ctx)
{
	struct sess *s = ctx;

	if (--s->waiting == 0)
		sess_free(s);
}

/* The caller may stand deep in this session's own functions, so memory goes in the loop's next round. */
void
sess_retire(struct sess *s)
{
	ask_cancel(s);
	judging_drop(s);
	hands_forget(s->wk->hands, s);
	loop_cancel(s->wk->loop, &s->retry);
	loop_cancel(s->wk->loop, &s->stop_timer);
	s->t.context.calls = s->t.ncalls > 0;
	s->t.context.ended_ms = clock_mono_ms();
	if (s->whole)
		ctxcache_put(s->wk->contexts, s->t.id, &s->t.context);
	s->waiting++;
	(void)loop_after(s->wk->loop, 0, free_later, s);
}

bool
sess_answered(struct sess *s)
{
	s->waiting--;
	if (s->state != TS_GONE) {
		sess_at_hand(s);
		return true;
	}
	if (s->waiting == 0)
		sess_free(s);
	return false;
}

void
sess_lost(struct sess *s)
{
	if (s->state == TS_GONE)
		return;
	log_warn("lease_lost", "session", s->t.id, "state", turn_state_name(s->state), NULL);
	s->state = TS_GONE;
	s->provisioned = false;
	work_gone(s->wk->work, s);
}

void
sess_news(struct sess *s)
{
	sess_at_hand(s);
	s->news = true;
	if (s->state == TS_ASKING || s->state == TS_JUDGING || s->state == TS_RUNNING)
		load_peek(s);
}

void
sess_drain(struct sess *s, bool hard)
{
	s->t.drain = true;
	if (s->state == TS_ASKING && hard) {
		ask_cancel(s);
		sess_fire(s, TE_DRAIN);
	} else if (s->state == TS_JUDGING && hard) {
		judging_drop(s);
		sess_fire(s, TE_DRAIN);
	} else if (s->state == TS_RUNNING || (s->state == TS_STOPPING && hard)) {
		hands_forget(s->wk->hands, s);
		loop_cancel(s->wk->loop, &s->stop_timer);
		sess_fire(s, TE_DRAIN);
	}
}
