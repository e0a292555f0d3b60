/*
 * load: what a session's turn reads from Postgres: log, inbox, and the end of the log when the turn did not end in order.
 *
 * A claim brings the inbox with it. What else a load asks is sent at once on the one connection and answered in order; a long log comes
 * in pages of a few megabytes, each asked for when the one before has been taken in. What this worker remembers of the session
 * (ctxcache.h) is not read again. A failed read gives the lease back: the session is due again a second later.
 */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "ctxcache.h"
#include "jspan.h"
#include "linger.h"
#include "log.h"
#include "recover.h"
#include "sess.h"
#include "told.h"
#include "xalloc.h"

#define TAIL_EVENTS "1000"		/* more than one reply's calls and their results */
#define CONTEXT_MAX (128u << 20)	/* a history this long fits no model; it must not fill this process */
#define PAGE_ROWS 4096			/* of context_load, and its bytes: */
#define PAGE_BYTES (4u << 20)

/* Columns of an inbox item, in STMT_INBOX_TAKE and behind a claim's session; the first of them stands at: */
enum { IN_SEQ, IN_ID, IN_TYPE, IN_STEM, IN_ROLE, IN_FRAGMENT, IN_ON_RECEIPT, IN_WAKES, IN_REFERS, IN_ANSWER, IN_DENIAL };
#define TAKE_INBOX 1
#define TAKE_BUDGET 13
#define CLAIM_INBOX 24

static void
store_item(struct arrival *item, const PGresult *r, int i, int at)
{
	const char *answer = pg_str(r, i, at + IN_ANSWER), *role = pg_str(r, i, at + IN_ROLE);

	memset(item, 0, sizeof(*item));
	item->seq = pg_int(r, i, at + IN_SEQ);
	sess_copy(item->id, sizeof(item->id), pg_str(r, i, at + IN_ID));
	sess_copy(item->type, sizeof(item->type), pg_str(r, i, at + IN_TYPE));
	item->stem = xstrdup(pg_str(r, i, at + IN_STEM));
	item->role = role != NULL ? role[0] : '\0';
	item->fragment = xstrdup_opt(pg_str(r, i, at + IN_FRAGMENT));
	item->wakes = pg_bool(r, i, at + IN_WAKES);
	sess_copy(item->refers_to, sizeof(item->refers_to), pg_str(r, i, at + IN_REFERS));
	item->deny = answer != NULL && strcmp(answer, "deny") == 0;
	item->deny_message = xstrdup_opt(pg_str(r, i, at + IN_DENIAL));
}

/* The items of n rows from row `from` on; the one row of an empty inbox has none. */
static void
store_inbox(struct turn *t, const PGresult *r, int from, int n, int at)
{
	for (int i = 0; i < t->ninbox; i++)
		arrival_free(&t->inbox[i]);
	t->ninbox = 0;
	t->inbox = xrealloc(t->inbox, (size_t)(n + 1) * sizeof(t->inbox[0]));
	for (int i = from; i < from + n; i++)
		if (pg_str(r, i, at + IN_ID) != NULL)
			store_item(&t->inbox[t->ninbox++], r, i, at);
}

static void
store_taken(struct turn *t, const PGresult *r)
{
	store_inbox(t, r, 0, PQntuples(r), TAKE_INBOX);
	if (PQntuples(r) == 0)
		return;
	t->wake_gen = pg_int(r, 0, 0);
	t->totals.budget_cents = pg_int(r, 0, TAKE_BUDGET);
}

/* One question of the load is answered; after the last one the turn goes on. */
static void
part_done(struct sess *s)
{
	if (--s->loading > 0)
		return;
	if (s->load_failed) {
		sess_fire(s, TE_GIVE_UP);
		return;
	}
	s->whole = true;
	if (s->t.unasked && !s->t.drain && !turn_interrupted(&s->t)) {
		sess_measure(s);
		sess_fire(s, TE_OPENED);
		return;
	}
	if (s->t.context.bytes > CONTEXT_MAX) {
		s->t.failed = true;
		s->t.fail_retry = false;
		sess_copy(s->t.fail_type, sizeof(s->t.fail_type), "unknown_error");
		sess_copy(s->t.fail_message, sizeof(s->t.fail_message), "The session's history is too large to continue.");
	}
	sess_fire(s, TE_LOADED);
}

static void
failed(struct sess *s, const struct err *e)
{
	log_err("load_failed", e, "session", s->t.id, NULL);
	s->load_failed = true;
}

#define OPENED_EVENTS 4

/* A send has opened the turn with what the last one had prepared: its events are told now. r: newest first. */
static void
opened(struct sess *s, const PGresult *r)
{
	if (s->opened[0] == '\0' || strcmp(s->t.span_id, s->opened) != 0 || strcmp(pg_str(r, 0, 1), s->opened) != 0)
		return;
	s->t.unasked = true;
	for (int i = OPENED_EVENTS - 1; i >= 0; i--)
		if (i < PQntuples(r))
			busq_publish(s->wk->bus, s->t.id, pg_str(r, i, 2), pg_int(r, i, 0), pg_str(r, i, 3), (size_t)PQgetlength(r, i, 3));
}

static void
on_tail(void *ctx, const PGresult *r, const struct err *e)
{
	struct sess *s = ctx;
	struct tail_event *ev;
	int n = r != NULL ? PQntuples(r) : 0;

	if (!sess_answered(s))
		return;
	if (e != NULL)
		failed(s, e);
	ev = xcalloc((size_t)n + 1, sizeof(*ev));
	for (int i = 0; i < n; i++)
		ev[i] = (struct tail_event){ .id = pg_str(r, i, 1), .type = pg_str(r, i, 2), .body = pg_str(r, i, 3) };
	recover_tail(&s->t, ev, n);
	free(ev);
	if (n > 0)
		opened(s, r);
	part_done(s);
}

/* The outcome's events, then what was last asked of the model or answered by it. A session that was paused before an evaluation owes no
 * reply, but the evaluation. */
static void
on_outcome(void *ctx, const PGresult *r, const struct err *e)
{
	struct sess *s = ctx;
	int n = r != NULL ? PQntuples(r) : 0;

	if (!sess_answered(s))
		return;
	if (e != NULL)
		failed(s, e);
	for (int i = 0; i < n; i++)
		outcome_fold(&s->t.outcome, pg_str(r, i, 0), pg_str(r, i, 1), pg_str(r, i, 2));
	if (n > 0 && strcmp(pg_str(r, n - 1, 1), "span.model_request_end") == 0 && strstr(pg_str(r, n - 1, 2), "\"is_error\":true") == NULL)
		s->t.owed = false;
	part_done(s);
}

static int64_t
count_at(struct jspan usage, const char *key)
{
	struct jspan v;
	int64_t n = 0;

	return jspan_get(usage, key, &v) && jspan_int(v, &n) ? n : 0;
}

/* What the model counted at the latest reply: the reply is part of the next context too. */
static void
on_usage(void *ctx, const PGresult *r, const struct err *e)
{
	struct sess *s = ctx;
	struct jspan usage, body;

	if (!sess_answered(s))
		return;
	if (e != NULL) {
		failed(s, e);
	} else if (PQntuples(r) > 0) {
		body = (struct jspan){ pg_str(r, 0, 1), strlen(pg_str(r, 0, 1)) };
		if (jspan_get(body, "model_usage", &usage))
			s->t.context.told_tokens = count_at(usage, "input_tokens") + count_at(usage, "output_tokens") +
			    count_at(usage, "cache_creation_input_tokens") + count_at(usage, "cache_read_input_tokens");
		s->told_seq = pg_int(r, 0, 0);
	}
	part_done(s);
}

static void context_ask(struct sess *s);

static void
take_row(struct sess *s, const PGresult *r, int i)
{
	struct context *c = &s->t.context;
	const char *role = pg_str(r, i, 1);
	int64_t seq = pg_int(r, i, 0), told = c->told_tokens;

	if (pg_bool(r, i, 3)) {
		context_replace(c, pg_str(r, i, 2));
		c->told_tokens = s->told_seq > seq ? told : 0;	/* the request for the summary counted what it replaces */
	} else {
		context_add(c, role != NULL ? role[0] : 'u', pg_str(r, i, 2));
	}
	c->seq = seq;
	if (seq <= s->told_seq)
		c->told_at = c->tokens;
}

static void
on_context(void *ctx, const PGresult *r, const struct err *e)
{
	struct sess *s = ctx;
	int n = r != NULL ? PQntuples(r) : 0;
	size_t bytes = 0;

	if (!sess_answered(s))
		return;
	if (e != NULL) {
		failed(s, e);
		part_done(s);
		return;
	}
	for (int i = 0; i < n; i++) {
		take_row(s, r, i);
		bytes += (size_t)PQgetlength(r, i, 2);
	}
	if ((n == PAGE_ROWS || bytes >= PAGE_BYTES) && s->t.context.bytes <= CONTEXT_MAX) {
		context_ask(s);
		return;
	}
	s->t.context.seq = s->t.last_seq;
	part_done(s);
}

static void
context_ask(struct sess *s)
{
	SESS_WAIT(s);
	DBQ_RUN(s->wk->db, STMT_CONTEXT_LOAD, on_context, s, s->t.id, DBN(s->t.context.seq));
}

static void
on_turn(void *ctx)
{
	struct sess *s = ctx;

	s->retry = NULL;
	part_done(s);
}

static void
on_first_inbox(void *ctx, const PGresult *r, const struct err *e)
{
	struct sess *s = ctx;

	if (!sess_answered(s))
		return;
	if (e != NULL)
		failed(s, e);
	else
		store_taken(&s->t, r);
	part_done(s);
}

static void
tail_ask(struct sess *s)
{
	s->loading++;
	SESS_WAIT(s);
	DBQ_RUN(s->wk->db, STMT_EVENT_TAIL, on_tail, s, s->t.id, TAIL_EVENTS);
}

static void
on_calls(void *ctx, const PGresult *r, const struct err *e)
{
	struct sess *s = ctx;

	if (!sess_answered(s))
		return;
	if (e != NULL)
		failed(s, e);
	else if (pg_bool(r, 0, 0))
		tail_ask(s);
	part_done(s);
}

/* The log's end is read where a turn did not end in order, or calls wait: known of a session that nobody has worked on since we did. */
static void
calls_ask(struct sess *s, bool remembered)
{
	if (strcmp(s->t.status, "idle") != 0 || (remembered && s->t.context.calls)) {
		tail_ask(s);
	} else if (!remembered && s->t.last_seq > 0) {
		s->loading++;
		SESS_WAIT(s);
		DBQ_RUN(s->wk->db, STMT_CALLS_WAIT, on_calls, s, s->t.id);
	}
}

void
load_begin(struct sess *s, const PGresult *claim, int i, int n)
{
	struct dbq *db = s->wk->db;
	bool known;

	s->news = false;
	s->loading = 1;
	store_inbox(&s->t, claim, i, n, CLAIM_INBOX);
	known = ctxcache_take(s->wk->contexts, s->t.id, &s->t.context);
	s->soon = known && linger_soon(s->t.context.ended_ms, clock_mono_ms(), s->wk->conf.linger_ms);
	if (known && s->t.context.seq > s->t.last_seq)
		context_clear(&s->t.context);	/* a restored backup */
	known = known && s->t.context.seq == s->t.last_seq;
	if (s->t.context.seq < s->t.last_seq) {
		s->told_seq = s->t.context.seq;
		s->loading += 2;
		SESS_WAIT(s);
		DBQ_RUN(db, STMT_CONTEXT_USAGE, on_usage, s, s->t.id);
		context_ask(s);
	}
	if (pg_bool(claim, i, PQfnumber(claim, "outcomes"))) {		/* before the tail, which is read by its light */
		s->loading++;
		SESS_WAIT(s);
		DBQ_RUN(db, STMT_OUTCOME_LOAD, on_outcome, s, s->t.id);
	}
	calls_ask(s, known);
	/* work.c has asked for the newer catalogue: its answer comes before this one's */
	if (pg_int(claim, i, PQfnumber(claim, "catalogue")) > routes_generation(s->wk->routes)) {
		s->loading++;
		SESS_WAIT(s);
		DBQ_RUN(db, STMT_INBOX_TAKE, on_first_inbox, s, s->t.id);
	}
	if (s->heavy)
		s->retry = loop_after(s->wk->loop, 0, on_turn, s);	/* when the claim's own copy is gone */
	else
		part_done(s);
}

/* Its context stands in the cache. */
static void
remember(struct sess *s)
{
	(void)ctxcache_take(s->wk->contexts, s->t.id, &s->t.context);
	s->soon = linger_soon(s->t.context.ended_ms, clock_mono_ms(), s->wk->conf.linger_ms);
}

static void
store_told(struct arrival *item, const struct told *m)
{
	item->seq = m->inbox_seq;
	sess_copy(item->id, sizeof(item->id), m->id);
	sess_copy(item->type, sizeof(item->type), "user.message");
	item->stem = xstrdup(m->stem);
	item->role = m->fragment != NULL ? 'u' : '\0';
	item->fragment = xstrdup_opt(m->fragment);
	item->wakes = true;
}

void
load_opened(struct sess *s, const struct told *m, struct opening *opening)
{
	struct arrival item = { 0 };

	store_told(&item, m);
	s->t.wake_gen = m->wake_gen;
	remember(s);
	s->whole = true;
	append_opened(s, opening, &item, m->opened_us);
	arrival_free(&item);
}

void
load_told(struct sess *s, const struct told *m)
{
	struct turn *t = &s->t;

	t->inbox = xcalloc(1, sizeof(*t->inbox));
	store_told(t->inbox, m);
	t->ninbox = 1;
	t->wake_gen = m->wake_gen;
	remember(s);
	s->loading = 1;
	part_done(s);
}

static void
again(void *ctx)
{
	struct sess *s = ctx;

	s->retry = NULL;
	load_inbox(s);
}

static void
on_inbox(void *ctx, const PGresult *r, const struct err *e)
{
	struct sess *s = ctx;

	if (!sess_answered(s))
		return;
	if (e != NULL) {
		log_err("inbox_failed", e, "session", s->t.id, NULL);
		s->retry = loop_after(s->wk->loop, 200, again, s);
		return;
	}
	store_taken(&s->t, r);
	sess_fire(s, TE_LOADED);
}

void
load_inbox(struct sess *s)
{
	s->news = false;
	SESS_WAIT(s);
	DBQ_RUN(s->wk->db, STMT_INBOX_TAKE, on_inbox, s, s->t.id);
}

static void
on_peek(void *ctx, const PGresult *r, const struct err *e)
{
	struct sess *s = ctx;

	if (!sess_answered(s))
		return;
	s->peeking = false;
	if (e != NULL || (s->state != TS_ASKING && s->state != TS_JUDGING && s->state != TS_RUNNING)) {
		s->news = true;
		return;
	}
	store_taken(&s->t, r);
	if (turn_interrupted(&s->t) && s->state == TS_JUDGING) {
		judging_cut(s);
	} else if (turn_interrupted(&s->t)) {
		ask_interrupt(s);
		sess_fire(s, TE_INTERRUPT);
	} else if (s->news) {
		load_peek(s);
	}
}

/* Only an interrupt matters while the model or a tool works; everything else waits for the joint. */
void
load_peek(struct sess *s)
{
	if (s->peeking)
		return;
	s->peeking = true;
	s->news = false;
	SESS_WAIT(s);
	DBQ_RUN(s->wk->db, STMT_INBOX_TAKE, on_peek, s, s->t.id);
}
