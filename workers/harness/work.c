/*
 * work: see work.h. The table of this worker's sessions, how much memory they may take, how it drains; what it looks after once a second is
 * rounds.c's, where sessions come from claim.c's.
 *
 * Memory is bounded by what is claimed; a session that grows under its lease counts with what it has become.
 */
#include "work_in.h"

#include <stdlib.h>
#include <string.h>

#include "beat.h"
#include "failpoint.h"
#include "log.h"
#include "xalloc.h"

#define BEATS_MISSED 3		/* whose beat is late by so many takes nothing, as far as others know */
#define DRAIN_SOFT_MS 3000	/* model requests may end by themselves for this long */
#define DRAIN_HARD_MS 6000	/* then the process leaves; what is left is reaped */

static unsigned
bucket(const char *id)
{
	return id_hash(id) % BUCKETS;
}

struct sess *
work_find(struct work *w, const char *id)
{
	struct sess *s = w->buckets[bucket(id)];

	while (s != NULL && strcmp(s->t.id, id) != 0)
		s = s->next;
	return s;
}

void
work_each(struct work *w, void (*fn)(struct work *, struct sess *))
{
	for (int i = 0; i < BUCKETS; i++)
		for (struct sess *s = w->buckets[i], *next; s != NULL; s = next) {
			next = s->next;
			fn(w, s);
		}
}

static void
on_leave(void *ctx)
{
	struct work *w = ctx;

	w->drain = NULL;
	loop_stop(w->wk->loop);
}

/* A moment for what was written to other processes to leave the buffers. */
void
work_leave_if_done(struct work *w)
{
	if (!w->wk->draining || w->n > 0 || linger_count(w->linger) > 0)
		return;
	loop_cancel(w->wk->loop, &w->drain);
	w->drain = loop_after(w->wk->loop, 50, on_leave, w);
	if (w->claiming == 0)
		beat_leave(w->wk->beat);
}

/* --- memory: what is claimed is bounded (session_take); what grows under its lease counts against the next claims -------------------- */

int64_t
work_heavy_from(const struct work *w)
{
	return w->wk->conf.turn_bytes / 8;
}

static void
weigh(struct work *w, struct sess *s, int64_t bytes)
{
	s->bytes = bytes;
	s->heavy = bytes > work_heavy_from(w);
	w->heavy += s->heavy;
	w->held += s->heavy ? 0 : s->bytes;
}

static void
unweigh(struct work *w, const struct sess *s)
{
	w->heavy -= s->heavy;
	w->held -= s->heavy ? 0 : s->bytes;
}

void
work_weigh_again(struct work *w, struct sess *s)
{
	int64_t bytes = (int64_t)s->t.context.bytes + (int64_t)s->batch.bytes;

	for (int i = 0; i < s->t.ninbox; i++)
		bytes += s->t.inbox[i].stem != NULL ? (int64_t)strlen(s->t.inbox[i].stem) * 2 : 0;
	if (bytes <= s->bytes)
		return;
	unweigh(w, s);
	weigh(w, s, bytes);
}

void
work_gone(struct work *w, struct sess *s)
{
	struct sess **at = &w->buckets[bucket(s->t.id)];

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	w->n--;
	unweigh(w, s);
	if (w->alone == s)
		w->alone = NULL;
	sess_retire(s);
	if (w->short_of)
		work_due_in(w, 0);
	w->short_of = false;
	standing_pace(w);
	work_leave_if_done(w);
}

/* --- sessions that were claimed ------------------------------------------------------------------------------------------------ */

void
work_publish(struct work *w, const PGresult *r, int row, int col)
{
	const char *body = pg_str(r, row, col + 3);

	if (body != NULL)
		busq_publish(w->wk->bus, pg_str(r, row, col), pg_str(r, row, col + 2), pg_int(r, row, col + 1), body, strlen(body));
}

static void
on_given_up(void *ctx, const PGresult *r, const struct err *e)
{
	if (e != NULL)
		log_err("give_up_failed", e, NULL);	/* the lease has no session here: on_leases gives it back, and it comes again */
	for (int i = 0; e == NULL && i < PQntuples(r); i++)
		work_publish(ctx, r, i, 2);
}

/* A session that is to end instead of being run: without reading more of it than its row. */
static bool
give_up(struct work *w, struct sess *s)
{
	bool end = s->t.broken || s->t.attempts >= w->wk->conf.poison_attempts;

	if (!end)
		return false;
	log_error("session_given_up", "session", s->t.id, "attempts", LOGN(s->t.attempts), "why", s->t.broken ? "unreadable" : "crash", NULL);
	DBQ_RUN(w->wk->db, STMT_WORKER_BLAME, on_given_up, w, w->wk->name, s->t.id, DBN(s->epoch), DBN(w->wk->conf.poison_attempts), "f",
	    s->t.broken ? "unreadable" : "crash");
	sess_lost(s);
	return true;
}

bool
work_admit(struct work *w, struct sess *s)
{
	struct sess **at = &w->buckets[bucket(s->t.id)];
	struct sess *old = work_find(w, s->t.id);
	struct kept *kept = linger_find(w->linger, s->t.id);

	if (kept != NULL)
		linger_drop(w->linger, kept);
	if (old != NULL)
		sess_lost(old);	/* its lease was taken and freed again before we heard of it */
	s->mark = w->mark;
	s->next = *at;
	*at = s;
	w->n++;
	weigh(w, s, s->bytes);
	FAILPOINT(CLAIMED);
	if (give_up(w, s))
		return false;
	if (s->t.attempts >= SUSPECT) {
		w->alone = s;
		kept_settle(w);
	}
	return true;
}

void
work_take(struct work *w, const PGresult *r, int i, int n)
{
	struct sess *s = sess_new(w->wk, r, i);

	s->came = w->read_last ? "read" : "claim";
	if (work_admit(w, s))
		load_begin(s, r, i, n);
}

int
work_each_claimed(struct work *w, const PGresult *r, work_claimed_fn *fn)
{
	int rows = PQntuples(r), taken = 0;

	if (rows > 0 && pg_int(r, 0, PQfnumber(r, "catalogue")) > routes_generation(w->wk->routes))
		routes_refresh(w->wk->routes, w->wk->db);
	for (int i = 0, next; i < rows; i = next, taken++) {
		for (next = i + 1; next < rows && strcmp(pg_str(r, i, 0), pg_str(r, next, 0)) == 0; next++)
			;
		fn(w, r, i, next - i);
	}
	return taken;
}

int
work_take_all(struct work *w, const PGresult *r)
{
	int taken = work_each_claimed(w, r, work_take);

	standing_pace(w);
	return taken;
}

/* --- life ---------------------------------------------------------------------------------------------------------------------- */

struct work *
work_new(struct wk *wk)
{
	struct work *w = xcalloc(1, sizeof(*w));

	w->wk = wk;
	peers_begin(&w->peers, wk->name, wk->host, BEATS_MISSED * wk->conf.beat_ms);
	rounds_start(w);
	kept_begin(w);
	claim_begin(w);
	return w;
}

static void
lose(struct work *w, struct sess *s)
{
	(void)w;
	sess_lost(s);
}

void
work_lose_all(struct work *w)
{
	work_each(w, lose);
	linger_clear(w->linger);
}

void
work_free(struct work **wp)
{
	struct work *w = *wp;

	if (w == NULL)
		return;
	work_lose_all(w);
	loop_cancel(w->wk->loop, &w->tick);
	loop_cancel(w->wk->loop, &w->drain);
	claim_end(w);
	kept_free(w);
	free(w);
	*wp = NULL;
}

void
work_drain_soft(struct work *w, struct sess *s)
{
	(void)w;
	sess_drain(s, false);
}

static void
drain_hard(struct work *w, struct sess *s)
{
	(void)w;
	sess_drain(s, true);
}

static void
on_drain_end(void *ctx)
{
	struct work *w = ctx;

	w->drain = NULL;
	log_warn("drain_incomplete", "sessions", LOGN(w->n), NULL);
	loop_stop(w->wk->loop);
}

static void
on_drain_late(void *ctx)
{
	struct work *w = ctx;

	w->drain = loop_after(w->wk->loop, DRAIN_HARD_MS - DRAIN_SOFT_MS, on_drain_end, w);
	work_each(w, drain_hard);
}

void
work_drain(struct work *w)
{
	if (w->drain != NULL)
		return;
	kept_settle(w);
	if (w->n == 0 && linger_count(w->linger) == 0) {
		work_leave_if_done(w);
		return;
	}
	w->drain = loop_after(w->wk->loop, DRAIN_SOFT_MS, on_drain_late, w);
	work_each(w, work_drain_soft);
}
