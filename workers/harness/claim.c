/*
 * claim: where this worker's sessions come from: doorbells (by name, or what others have left; by Redis, or from a gateway of this machine),
 * polls, and what falls due. At most one claim is under way; what comes meanwhile is claimed together when it is answered. Before the first
 * one the database is told whom the last worker on our file died with (note.h). A claim that fails is logged and comes again with the next
 * poll: nothing is lost but time.
 */
#include "work_in.h"

#include <stdio.h>
#include <string.h>

#include "beat.h"
#include "cleanup.h"
#include "clock.h"
#include "failpoint.h"
#include "log.h"

#define ROOM_MS 10000		/* how long nothing is claimed so that a suspect may find this worker empty, */
#define ROOM_AGAIN_MS 30000	/* and how long after that it is not tried again */

static void claim(struct work *w, int64_t age_ms);
static void claim_rung(struct work *w);
static void take_suspect(struct work *w);

/* There are some, and this worker has nothing to do that one could take down with it. */
static bool
may_take_suspect(const struct work *w)
{
	return w->suspects && w->n == 0 && !w->wk->draining && beat_since_us(w->wk->beat) > 0;
}

static void
on_claim(void *ctx, const PGresult *r, const struct err *e)
{
	struct work *w = ctx;
	int asked = w->claiming, n;

	w->claiming = 0;
	w->promised = 0;
	w->read_last = false;
	n = e == NULL ? work_take_all(w, r) : 0;
	if (w->by_name) {
		w->claim_again = w->claim_again || n < asked;	/* what was not taken may be too large for its share */
		asked = n + 1;
	}
	if (e != NULL) {
		log_err("claim_failed", e, NULL);
		work_leave_if_done(w);
		return;
	}
	claim_next(w, n >= asked);
}

void
claim_next(struct work *w, bool full)
{
	work_leave_if_done(w);
	w->claim_again = w->claim_again || full;
	if (!w->read_last)
		kept_read(w);	/* in turns with claims, so that neither waits for the other for ever */
	if (w->claiming > 0)
		return;		/* its answer comes back here */
	if (may_take_suspect(w))
		take_suspect(w);
	else if (w->claim_again)
		work_claim(w);
	else if (w->rung.n > 0 || w->rung.others)
		claim_rung(w);
	else if (w->left_again)
		claim(w, standing_later_ms(w));
	kept_read(w);
}

/* Whose turn the last worker on our file died in: told before the first claim, and until the database has heard it. */
static void
on_blamed(void *ctx, const PGresult *r, const struct err *e)
{
	struct work *w = ctx;
	const struct note_left *left = &w->wk->left;

	w->blaming = false;
	if (e != NULL) {
		log_err("blame_failed", e, "session", left->session, NULL);
		return;
	}
	if (PQntuples(r) > 0)
		log_warn("session_blamed", "session", left->session, "worker", left->worker, "attempts", pg_str(r, 0, 0), "ended",
		    pg_str(r, 0, 1) != NULL ? "true" : "false", NULL);
	if (PQntuples(r) > 0 && pg_str(r, 0, 1) != NULL)
		hands_send(w->wk->hands, &(struct hands_request){ .op = "destroy", .session = left->session, .epoch = pg_int(r, 0, 1) });
	for (int i = 0; i < PQntuples(r); i++)
		work_publish(w, r, i, 2);
	note_begin(w->wk->note, w->wk->name);
	w->blamed = true;
	work_claim(w);
}

static bool
blame(struct work *w)
{
	const struct note_left *left = &w->wk->left;

	if (!w->blamed && left->session[0] == '\0') {
		note_begin(w->wk->note, w->wk->name);
		w->blamed = true;
	}
	if (w->blamed || w->blaming)
		return w->blamed;
	w->blaming = true;
	FAILPOINT(BLAME);
	DBQ_RUN(w->wk->db, STMT_WORKER_BLAME, on_blamed, w, left->worker, left->session, DBN(left->epoch), DBN(w->wk->conf.poison_attempts), "t",
	    "crash");
	return false;
}

/* Only who has beaten on its present connection: after a crash of Postgres that is what keeps epochs from coming again. */
static bool
may_claim(struct work *w)
{
	return !w->wk->draining && beat_since_us(w->wk->beat) > 0 && blame(w) && !standing_alone(w) && clock_mono_ms() >= w->room_ms;
}

static int64_t
bytes_left(const struct work *w)
{
	int64_t reserved, taken = w->held + w->promised;

	(void)linger_reserved(w->linger, &reserved);
	taken += reserved;
	return taken < w->wk->conf.turn_bytes ? w->wk->conf.turn_bytes - taken : 0;
}

/* Turns that it has, and those for which room is kept. */
static int
turns_taken(const struct work *w)
{
	int64_t bytes;

	return w->n + linger_reserved(w->linger, &bytes);
}

/* Take what has been due for age_ms. */
static void
claim(struct work *w, int64_t age_ms)
{
	int room = (int)w->wk->conf.turns_max - turns_taken(w);
	int64_t bytes;

	if (w->claiming > 0) {
		w->claim_again = w->claim_again || age_ms == 0;
		w->left_again = w->left_again || age_ms > 0;
		return;
	}
	w->claim_again = w->left_again = false;
	if (age_ms == 0) {
		w->rung.n = 0;		/* they are among what is due */
		w->rung.others = false;
	}
	w->short_of = w->short_of || room <= 0;
	if (room <= 0 || !may_claim(w))
		return;
	w->claiming = room < CLAIM_MAX ? room : CLAIM_MAX;
	w->by_name = false;
	w->promised = bytes = bytes_left(w);
	w->short_of = w->heavy > 0 || bytes < work_heavy_from(w);
	DBQ_RUN(w->wk->db, STMT_SESSION_CLAIM, on_claim, w, w->wk->name, DBN(w->claiming), DBN(bytes), DBN(work_heavy_from(w)),
	    w->heavy > 0 ? "f" : "t", "f", DBN(age_ms), NULL, NULL);
}

void
work_claim(struct work *w)
{
	claim(w, 0);
}

int64_t
claim_room(struct work *w, int n)
{
	int64_t bytes = bytes_left(w), each = bytes / 2 / n;	/* half of it: what is told meanwhile needs room too */

	if (w->short_of || n + turns_taken(w) + w->claiming > w->wk->conf.turns_max || bytes < work_heavy_from(w) || !may_claim(w))
		return -1;
	return each < work_heavy_from(w) ? each : work_heavy_from(w);
}

/*
 * Take those whose doorbells were heard, and no others: by their keys, which costs Postgres less than to look for what is due. Not when
 * there may be more due than was heard, or no room for all of it: then the oldest come first.
 */
static void
claim_rung(struct work *w)
{
	struct rung *g = &w->rung;
	int64_t bytes = bytes_left(w);
	const char *workspaces[CLAIM_MAX], *sessions[CLAIM_MAX];

	if (w->claiming > 0)
		return;		/* its answer comes back here */
	if (g->others || w->short_of || g->n + turns_taken(w) > w->wk->conf.turns_max || bytes < work_heavy_from(w)) {
		work_claim(w);
		return;
	}
	if (g->n == 0 || !may_claim(w)) {
		g->n = 0;
		return;
	}
	for (int i = 0; i < g->n; i++) {
		workspaces[i] = g->workspaces[i];
		sessions[i] = g->sessions[i];
	}
	AUTO(str) char *in = pg_array(workspaces, g->n), *which = pg_array(sessions, g->n);

	w->promised = bytes / 2;	/* as in claim_room */
	bytes = w->promised / g->n;
	w->claiming = g->n;
	w->by_name = true;
	g->n = 0;
	DBQ_RUN(w->wk->db, STMT_SESSION_CLAIM, on_claim, w, w->wk->name, "0", "0", DBN(bytes < work_heavy_from(w) ? bytes : work_heavy_from(w)), "f", "f",
	    "0", in, which);
}

static void
on_rung(void *ctx)
{
	claim_rung(ctx);
}

/*
 * A session that this worker should take at once, with all that are heard of in this round. Anybody who reaches Redis may have written it:
 * what Postgres would refuse must not spoil the others' claim.
 */
static void
hear(struct work *w, const struct entry_job *job)
{
	struct rung *g = &w->rung;

	loop_soon(w->wk->loop, &g->task);
	for (int i = 0; i < g->n; i++)
		if (strcmp(g->sessions[i], job->session) == 0)
			return;
	if (g->n == CLAIM_MAX || !id_is_name(job->workspace) || !id_is_name(job->session)) {
		g->others = true;
		return;
	}
	snprintf(g->workspaces[g->n], ID_MAX, "%s", job->workspace);
	snprintf(g->sessions[g->n++], ID_MAX, "%s", job->session);
}

void
claim_mine(struct work *w)
{
	claim(w, w->peers.behind > 0 ? standing_later_ms(w) : 0);
}

/*
 * Once more while something has been left to others for less than that: to the microsecond, because what is a moment too young for its
 * claim would wait for the next poll.
 */
static void
on_later(void *ctx)
{
	struct work *w = ctx;
	int64_t left = w->rung_us + standing_later_ms(w) * 1000 - clock_mono_us();

	w->later = NULL;
	if (left > 0)
		w->later = loop_after(w->wk->loop, (left + 999) / 1000, on_later, w);
	claim(w, standing_later_ms(w));
}

/* A doorbell that is for any worker: at once, or what the others have left, the next in the line first. */
static void
rung(struct work *w, const struct entry_job *job)
{
	if (work_find(w, job->session) != NULL)
		return;		/* taken while the ring was on its way, and what it tells of with it: later ones are for the owner */
	if (peers_favourite(&w->peers, job->session)) {
		hear(w, job);
		return;
	}
	w->rung_us = clock_mono_us();
	if (w->later == NULL)
		w->later = loop_after(w->wk->loop, standing_later_ms(w), on_later, w);
}

/* A doorbell for this worker, which had the session when it was rung; what was told with it, or NULL. */
static void
rung_mine(struct work *w, const char *session, const void *told, size_t len)
{
	struct sess *s = work_find(w, session);

	if (s != NULL)
		sess_news(s);
	else if (!(told != NULL && kept_told(w, session, told, len)) && !kept_ring(w, session))
		work_claim(w);	/* it has been released since */
}

static void
on_entry(void *ctx, const struct busq_field *f, int n)
{
	struct work *w = ctx;
	struct entry_job job;

	if (entry_job_read(f, n, &job) < 0)
		return;
	if (job.owner == NULL)
		rung(w, &job);
	else if (strcmp(job.owner, w->wk->name) == 0)
		rung_mine(w, job.session, NULL, 0);
}

static void
on_bell(void *ctx, const struct bell_ring *ring)
{
	rung_mine(ctx, ring->session, ring->told, ring->told_len);
}

static void
on_tail_state(void *ctx, bool up)
{
	struct work *w = ctx;

	w->hears = up;
	if (up)
		claim_mine(w);
}

static void
on_due(void *ctx)
{
	work_claim(ctx);
}

void
work_due_in(struct work *w, int64_t ms)
{
	(void)loop_after(w->wk->loop, ms + 1, on_due, w);
}

/* --- suspects: who has killed a worker twice takes no neighbour down again ------------------------------------------------------- */

static void
on_suspect(void *ctx, const PGresult *r, const struct err *e)
{
	struct work *w = ctx;

	w->claiming = 0;
	w->promised = 0;
	w->room_ms = 0;
	if (e != NULL || PQntuples(r) == 0)
		work_leave_if_done(w);
	if (e != NULL) {
		log_err("claim_failed", e, NULL);
		return;
	}
	if (PQntuples(r) > 0) {
		log_warn("suspect_alone", "session", pg_str(r, 0, 0), "attempts", pg_str(r, 0, 9), NULL);
		(void)work_take_all(w, r);
	}
	if (w->claim_again || w->rung.n > 0 || w->rung.others)
		work_claim(w);
	else
		claim_mine(w);
}

/* One for a worker that holds nothing. */
static void
take_suspect(struct work *w)
{
	w->suspects = false;
	w->claiming = 1;
	w->promised = w->wk->conf.turn_bytes;	/* it runs alone */
	DBQ_RUN(w->wk->db, STMT_SESSION_CLAIM, on_suspect, w, w->wk->name, "1", "0", "0", "f", "t", "0", NULL, NULL);
}

static void
on_waits(void *ctx, const PGresult *r, const struct err *e)
{
	struct work *w = ctx;
	int64_t now = clock_mono_ms();

	w->looking = false;
	w->suspects = e == NULL && pg_bool(r, 0, 0);
	if (may_take_suspect(w)) {
		if (w->claiming == 0)
			take_suspect(w);	/* else behind the claim that is under way */
	} else if (e != NULL || !pg_bool(r, 0, 1)) {
		w->room_ms = 0;
	} else if (now >= w->room_again_ms && w->alone == NULL && w->n > 0) {
		log_warn("room_for_suspect", "sessions", LOGN(w->n), NULL);
		w->room_ms = now + ROOM_MS;
		w->room_again_ms = now + ROOM_MS + ROOM_AGAIN_MS;
		work_each(w, work_drain_soft);
	}
}

/* A look first, which costs nothing where there are none: during a claim of one, doorbells would wait for its answer. */
void
claim_suspects(struct work *w)
{
	if (w->wk->draining || beat_since_us(w->wk->beat) == 0 || !w->blamed || w->looking || (w->n > 0 && w->alone != NULL))
		return;
	w->looking = true;
	DBQ_RUN(w->wk->db, STMT_SUSPECT_WAITS, on_waits, w);
}

/* --- life ---------------------------------------------------------------------------------------------------------------------- */

void
claim_begin(struct work *w)
{
	w->rung.task = (struct loop_task){ .fn = on_rung, .ctx = w };
	w->bell = bell_new(w->wk->loop, w->wk->conf.bell_dir, w->wk->name, on_bell, w);
	w->tail = busq_tail_new(w->wk->loop, &w->wk->conf, BUS_JOBS, on_entry, on_tail_state, w);
}

void
claim_end(struct work *w)
{
	loop_cancel(w->wk->loop, &w->later);
	loop_not(w->wk->loop, &w->rung.task);
	bell_free(&w->bell);
	busq_tail_free(&w->tail);
}
