/*
 * kept: the leases that this worker keeps for a moment after a turn (linger.h), and what it asks the database about them: a doorbell for
 * one of them is answered by a read instead of a claim (session_kept), and when its moment is over it is given back with the others of
 * that time (session_settle).
 *
 * A kept session is idle, with an empty inbox as of its wake_gen (or runs: a send may open the turn that was prepared for it), and its row in
 * work names this worker: so whoever sends something is told to ring here. It counts as no turn and no bytes. A ring that is lost is made up for by the look at the leases (rounds.c). Nothing here is
 * needed for what is promised: each statement is fenced by owner and epoch, a lease that is gone is forgotten, one that is forgotten is
 * found by that look, and those of a worker that died are ended by the reaper (worker_reap) without a word.
 *
 * A read and a claim are never under way together: both go by the room that there is.
 */
#include "work_in.h"

#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "clock.h"
#include "compact.h"
#include "failpoint.h"
#include "log.h"

#define SETTLE_MAX 256		/* given back by one statement */
#define RESERVED_PART 4		/* of all room, one part may be kept for those whose turn a send may open */
#define LOOK_MS 250		/* how often some are */

/* Parallel arrays of those in a state, the first n of its list. */
struct columns { char *workspaces, *sessions, *epochs, *wake_gens; };

static void
columns_free(struct columns *c)
{
	free(c->workspaces);
	free(c->sessions);
	free(c->epochs);
	free(c->wake_gens);
}

static void
columns_of(const struct linger *l, enum kept_state state, struct columns *out)
{
	const char *workspaces[SETTLE_MAX], *sessions[SETTLE_MAX], *epochs[SETTLE_MAX], *wake_gens[SETTLE_MAX];
	char numbers[2][SETTLE_MAX][24];
	int n = 0;

	for (const struct kept *k = linger_first(l, state); k != NULL && n < SETTLE_MAX; k = TAILQ_NEXT(k, link), n++) {
		workspaces[n] = k->workspace;
		sessions[n] = k->session;
		snprintf(numbers[0][n], sizeof(numbers[0][n]), "%lld", (long long)k->epoch);
		snprintf(numbers[1][n], sizeof(numbers[1][n]), "%lld", (long long)k->wake_gen);
		epochs[n] = numbers[0][n];
		wake_gens[n] = numbers[1][n];
	}
	*out = (struct columns){ pg_array(workspaces, n), pg_array(sessions, n), pg_array(epochs, n), pg_array(wake_gens, n) };
}

/* --- who is kept ----------------------------------------------------------------------------------------------------------------- */

/* Does it wait for what its client's own tools answer? */
static bool
asks_client(const struct turn *t)
{
	for (int i = 0; i < t->ncalls; i++)
		if (t->calls[i].custom && t->calls[i].next == CALL_WAITING)
			return true;
	return false;
}

/*
 * May hands be at a call of this turn that it will not hear is over? Under the same epoch it would go on beside the next turn's calls, or
 * before them; the next claim's epoch ends it.
 */
static bool
strays(const struct work *w, const struct sess *s)
{
	return s->stray || turn_calls_in(&s->t, CALL_LOST) > 0 || (s->provisioned && !hands_up(w->wk->hands));
}

bool
kept_wanted(const struct work *w, const struct sess *s)
{
	const struct conf *c = &w->wk->conf;

	if (c->linger_ms == 0 || !(s->soon || asks_client(&s->t)) || linger_count(w->linger) >= c->linger_max)
		return false;
	if (s->t.attempts > 0 || strays(w, s) || s->batch.ntaken < s->t.ninbox)
		return false;
	return !w->wk->draining && w->hears && !w->full && !w->short_of && !standing_alone(w) && clock_mono_ms() >= w->room_ms &&
	    peers_favourite(&w->peers, s->t.id);
}

/* Without asking for room then: it is kept for a few, a part of what there is. */
int64_t
kept_ready(struct work *w, const struct sess *s)
{
	int64_t reserved, bytes = (int64_t)s->t.context.bytes + s->batch.bytes + 2 * OPENING_MESSAGE;
	int n = linger_reserved(w->linger, &reserved);

	if (!resume_plain(s) || !s->whole || s->t.ncalls > 0 || s->t.outcome.active || s->t.totals.budget_cents != 0 ||
	    !compact_fits(&s->t, s->batch.bytes + OPENING_MESSAGE))
		return 0;
	if (n >= w->wk->conf.turns_max / RESERVED_PART || reserved + bytes > w->wk->conf.turn_bytes / RESERVED_PART || claim_room(w, 1) < bytes)
		return 0;
	return bytes;
}

static void
on_look(void *ctx)
{
	struct work *w = ctx;

	w->kept_look = NULL;
	kept_settle(w);
	kept_read(w);
	work_leave_if_done(w);
	if (linger_count(w->linger) > 0)
		w->kept_look = loop_after(w->wk->loop, LOOK_MS, on_look, w);
}

static void
ring(struct work *w, struct kept *k)
{
	linger_ring(w->linger, k);
	loop_soon(w->wk->loop, &w->kept_rung);
}

void
kept_put(struct work *w, struct sess *s, bool sure)
{
	struct kept *k = linger_put(w->linger, s->workspace, s->t.id, s->epoch, s->t.wake_gen, clock_mono_ms() + (sure ? w->wk->conf.linger_ms : 0));

	k->mark = w->mark;
	k->xid = s->xid;
	k->row = resume_row(s);
	if (k->row != NULL && ((struct sess_row *)k->row)->opening != NULL)
		linger_reserve(w->linger, k, s->ready_bytes);
	FAILPOINT(KEPT);
	if (s->news)
		ring(w, k);
	if (w->kept_look == NULL)
		w->kept_look = loop_after(w->wk->loop, LOOK_MS, on_look, w);
}

bool
kept_ring(struct work *w, const char *session)
{
	struct kept *k = linger_find(w->linger, session);

	if (k == NULL)
		return false;
	ring(w, k);
	return true;
}

bool
kept_lease(struct work *w, const char *session, int64_t epoch, int64_t wake_gen)
{
	struct kept *k = linger_find(w->linger, session);

	if (k == NULL || k->epoch != epoch)
		return false;
	k->mark = w->mark;
	if (k->state == KEPT_QUIET && k->wake_gen != wake_gen)
		ring(w, k);
	return true;
}

void
kept_unseen(struct work *w)
{
	for (struct kept *k = linger_first(w->linger, KEPT_QUIET), *next; k != NULL; k = next) {
		next = TAILQ_NEXT(k, link);
		if (k->mark != w->mark)
			linger_drop(w->linger, k);
	}
}

/* --- what came for them ---------------------------------------------------------------------------------------------------------- */

/* Due at once, for whoever has room. */
static void
give_back(struct work *w, struct kept *k)
{
	DBQ_RUN(w->wk->db, STMT_SESSION_RELEASE, NULL, NULL, k->session, DBN(k->epoch), DBN(stamp_now(&w->wk->stamp, clock_mono_us())));
	linger_drop(w->linger, k);
	w->claim_again = true;
}

/* The send has opened its turn, for which room was kept. A worker that leaves, or is alone with a suspect, takes it to give it up in the log. */
static void
accept_opened(struct work *w, struct kept *k, const PGresult *r, int i, int n)
{
	AUTO(opening) struct opening *opening = resume_opening(k);
	struct sess *s = sess_new(w->wk, r, i);

	sess_copy(s->opened, sizeof(s->opened), opening_span(opening));
	s->came = "read";
	s->t.drain = s->t.drain || standing_alone(w);
	if (work_admit(w, s))
		load_begin(s, r, i, n);
}

/* One that was read: n rows from row i on. */
static void
accept(struct work *w, const PGresult *r, int i, int n)
{
	struct kept *k = linger_find(w->linger, pg_str(r, i, 0));
	struct sess *s;
	bool again, opened;

	if (k == NULL || k->state != KEPT_READING)
		return;		/* every lease has been lost meanwhile */
	again = k->again;
	k->again = false;
	opened = k->reserved > 0 && strcmp(pg_str(r, i, 5), "running") == 0;
	if (!opened && (pg_int(r, i, PQfnumber(r, "bytes")) > w->kept_each || pg_int(r, i, 9) >= SUSPECT)) {
		give_back(w, k);
	} else if (pg_int(r, i, 8) == k->wake_gen) {
		linger_move(w->linger, k, again ? KEPT_RUNG : KEPT_QUIET);
	} else {
		if (opened) {
			accept_opened(w, k, r, i, n);
		} else {
			linger_drop(w->linger, k);
			work_take(w, r, i, n);
		}
		s = again ? work_find(w, pg_str(r, i, 0)) : NULL;
		if (s != NULL)
			sess_news(s);
	}
}

static void
on_read(void *ctx, const PGresult *r, const struct err *e)
{
	struct work *w = ctx;
	struct kept *k;

	w->claiming = 0;
	w->promised = 0;
	w->read_last = true;
	if (e != NULL)
		log_err("read_kept_failed", e, NULL);
	else
		work_each_claimed(w, r, accept);
	while ((k = linger_first(w->linger, KEPT_READING)) != NULL) {
		if (e != NULL) {
			linger_move(w->linger, k, KEPT_QUIET);	/* the look at the leases sees that it has moved */
		} else {
			linger_drop(w->linger, k);		/* another has it, or nobody: then it may be due */
			w->claim_again = true;
		}
	}
	standing_pace(w);
	claim_next(w, false);
}

/* All are given back but those whose turn may be open already. Returns how many of these are to be read now. */
static int
no_room(struct work *w)
{
	int n = 0;

	for (struct kept *k = linger_first(w->linger, KEPT_RUNG), *next; k != NULL; k = next) {
		next = TAILQ_NEXT(k, link);
		if (k->reserved == 0)
			give_back(w, k);
		else
			n++;
	}
	return n < CLAIM_MAX ? n : CLAIM_MAX;
}

void
kept_read(struct work *w)
{
	int n = 0;
	struct kept *k;
	struct columns c;

	for (k = linger_first(w->linger, KEPT_RUNG); k != NULL && n < CLAIM_MAX; k = TAILQ_NEXT(k, link))
		n++;
	if (n == 0 || w->claiming > 0 || !dbq_ready(w->wk->db))
		return;
	w->kept_each = claim_room(w, n);
	if (w->kept_each < 0) {
		w->kept_each = 0;
		n = no_room(w);
		if (n == 0) {
			claim_next(w, false);
			return;
		}
	}
	for (int i = 0; i < n; i++)
		linger_move(w->linger, linger_first(w->linger, KEPT_RUNG), KEPT_READING);
	columns_of(w->linger, KEPT_READING, &c);
	w->claiming = n;
	w->promised = w->kept_each * n;
	FAILPOINT(KEPT_READ);
	DBQ_RUN(w->wk->db, STMT_SESSION_KEPT, on_read, w, w->wk->name, DBN(w->kept_each), c.workspaces, c.sessions, c.epochs);
	columns_free(&c);
}

static void
on_rung(void *ctx)
{
	kept_read(ctx);
}

/* --- their end ------------------------------------------------------------------------------------------------------------------- */

static void
on_settled(void *ctx, const PGresult *r, const struct err *e)
{
	struct work *w = ctx;
	struct kept *k;

	w->settling = false;
	if (e != NULL)
		log_err("settle_failed", e, NULL);
	for (int i = 0; e == NULL && i < PQntuples(r); i++) {
		k = linger_find(w->linger, pg_str(r, i, 0));
		if (k != NULL && k->state == KEPT_SETTLING) {
			k->again = false;
			linger_move(w->linger, k, KEPT_RUNG);
		}
	}
	while ((k = linger_first(w->linger, KEPT_SETTLING)) != NULL) {
		if (e != NULL && !w->wk->draining) {
			linger_move(w->linger, k, KEPT_QUIET);
			continue;
		}
		w->claim_again = w->claim_again || k->again;	/* told of by a ring from before it was given back */
		linger_drop(w->linger, k);
	}
	if (e == NULL)
		kept_settle(w);
	kept_read(w);
	claim_next(w, false);
}

void
kept_settle(struct work *w)
{
	bool all = w->wk->draining || standing_alone(w);
	struct columns c;

	if (w->wk->draining && !dbq_ready(w->wk->db))
		linger_clear(w->linger);	/* the reaper ends them */
	if (w->settling || !dbq_ready(w->wk->db) || linger_due(w->linger, clock_mono_ms(), all, SETTLE_MAX) == 0)
		return;
	columns_of(w->linger, KEPT_SETTLING, &c);
	w->settling = true;
	FAILPOINT(SETTLE);
	DBQ_RUN(w->wk->db, STMT_SESSION_SETTLE, on_settled, w, c.sessions, c.epochs, c.wake_gens);
	columns_free(&c);
}

/* --- life ------------------------------------------------------------------------------------------------------------------------ */

void
kept_begin(struct work *w)
{
	w->linger = linger_new(resume_forget);
	w->kept_rung = (struct loop_task){ .fn = on_rung, .ctx = w };
}

void
kept_free(struct work *w)
{
	loop_cancel(w->wk->loop, &w->kept_look);
	loop_not(w->wk->loop, &w->kept_rung);
	linger_free(&w->linger);
}
