/*
 * work: see work.h.
 *
 * Statements of the worker are answered in the order they were sent (one connection), so when the list of this worker's leases comes,
 * every claim and release that it reflects has been processed here: a lease without a session is one whose claim was lost with a
 * connection, and goes back; a session without a lease has been taken away.
 */
#include "work_in.h"

#include <stdlib.h>
#include <string.h>

#include "beat.h"
#include "clock.h"
#include "failpoint.h"
#include "ctxcache.h"
#include "jx.h"
#include "log.h"
#include "publish.h"
#include "xalloc.h"

#define BEATS_MISSED 3		/* whose beat is late by so many takes nothing, as far as others know */
#define LOOK_MS 5000
#define SECOND_MS 1000
#define SLICE_MS 10000		/* how often whole minutes of long turns are billed */
#define SLICE_MAX 200
#define DRAIN_SOFT_MS 3000	/* model requests may end by themselves for this long */
#define DRAIN_HARD_MS 6000	/* then the process leaves; what is left is reaped */
#define EPOCH_LAST 9007199254740991	/* a session that is gone: above every epoch it had */

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

static void
weigh_again(struct work *w, struct sess *s)
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

/* --- once a second ------------------------------------------------------------------------------------------------------------- */

static void
check_lease(struct work *w, struct sess *s)
{
	if (s->mark != w->mark)
		sess_lost(s);
}

static void
on_leases(void *ctx, const PGresult *r, const struct err *e)
{
	struct work *w = ctx;

	w->listing = false;
	if (e != NULL)
		return;
	w->mark++;
	for (int i = 0; i < PQntuples(r); i++) {
		const char *id = pg_str(r, i, 0), *epoch = pg_str(r, i, 2);
		struct sess *s = work_find(w, id);

		if (s == NULL && kept_lease(w, id, pg_int(r, i, 2), pg_int(r, i, 1)))
			continue;
		if (s == NULL) {
			log_warn("lease_orphan", "session", id, NULL);
			DBQ_RUN(w->wk->db, STMT_SESSION_RELEASE, NULL, NULL, id, epoch,
			    DBN(stamp_now(&w->wk->stamp, clock_mono_us())));
			continue;
		}
		s->mark = s->epoch == pg_int(r, i, 2) ? w->mark : s->mark;
		if (pg_int(r, i, 1) != s->t.wake_gen)
			sess_news(s);
	}
	work_each(w, check_lease);
	kept_unseen(w);
}

static void
on_reaped(void *ctx, const PGresult *r, const struct err *e)
{
	struct work *w = ctx;

	w->reaping = false;
	if (e != NULL) {
		log_err("reap_failed", e, NULL);
		return;
	}
	for (int i = 0; i < PQntuples(r); i++) {
		if (pg_str(r, i, 2) == NULL)
			log_warn("worker_reaped", "worker", pg_str(r, i, 0), "sessions", pg_str(r, i, 1), NULL);
		else
			work_publish(w, r, i, 2);
	}
	if (PQntuples(r) > 0)
		work_claim(w);
}

static void
on_destroyed(void *owner, const char *session, enum hands_outcome outcome, const json_t *doc)
{
	struct work *w = owner;

	w->drops_left--;
	if (outcome == HANDS_OK)
		DBQ_RUN(w->wk->db, STMT_SANDBOX_DROPPED, NULL, NULL, session);
	else if (outcome == HANDS_REFUSED)
		log_warn("destroy_refused", "session", session, "why", jx_str(json_object_get(doc, "error"), "message"), NULL);
}

static void
on_drops(void *ctx, const PGresult *r, const struct err *e)
{
	struct work *w = ctx;

	w->dropping = false;
	if (e != NULL)
		return;
	for (int i = 0; i < PQntuples(r); i++) {
		FAILPOINT(DROP);
		w->drops_left++;
		ctxcache_drop(w->wk->contexts, pg_str(r, i, 0));
		/* the session stands in `call` too: that is what the callback is given */
		hands_send(w->wk->hands, &(struct hands_request){ .op = "destroy", .session = pg_str(r, i, 0), .epoch = EPOCH_LAST,
		    .call = pg_str(r, i, 0), .done = on_destroyed, .owner = w });
	}
}

static void
on_sliced(void *ctx, const PGresult *r, const struct err *e)
{
	struct work *w = ctx;

	w->slicing = false;
	if (e != NULL)
		log_err("slice_failed", e, NULL);
	else if (pg_int(r, 0, 0) == SLICE_MAX)
		w->slice_ms = 0;
}

static void
slice(struct work *w)
{
	int64_t now = clock_mono_ms();

	if (w->n == 0 || w->slicing || now < w->slice_ms)
		return;
	w->slicing = true;
	w->slice_ms = now + SLICE_MS;
	FAILPOINT(SLICE);
	DBQ_RUN(w->wk->db, STMT_SESSION_SLICE, on_sliced, w, w->wk->name, DBN(SLICE_MAX));
}

static void
second(struct work *w)
{
	struct dbq *db = w->wk->db;

	work_each(w, weigh_again);
	standing_measure(w);
	standing_pace(w);
	if (!dbq_ready(db) || !beat_registered(w->wk->beat))
		return;
	claim_suspects(w);
	if (clock_mono_ms() >= w->look_ms) {
		w->look_ms = clock_mono_ms() + LOOK_MS;
		publish_look(w->wk);
	}
	if (!w->listing) {	/* also without a session: a lease may be left of those that it has lost */
		w->listing = true;
		DBQ_RUN(db, STMT_SESSION_WAKES, on_leases, w, w->wk->name);
	}
	peers_refresh(&w->peers, db);
	slice(w);
	if (!w->reaping && beat_since_us(w->wk->beat) > 0) {
		w->reaping = true;
		FAILPOINT(REAP);
		DBQ_RUN(db, STMT_WORKER_REAP, on_reaped, w, w->wk->name, DBN(w->wk->conf.lease_s), w->wk->left.ended,
		    DBN(beat_since_us(w->wk->beat)));
	}
	if (!w->dropping && w->drops_left == 0 && hands_up(w->wk->hands)) {
		w->dropping = true;
		DBQ_RUN(db, STMT_SANDBOX_DROPS, on_drops, w);
	}
}

static void
on_tick(void *ctx)
{
	struct work *w = ctx;
	int64_t every = w->wk->conf.poll_ms < SECOND_MS ? w->wk->conf.poll_ms : SECOND_MS, now = clock_mono_ms();

	w->tick = loop_after(w->wk->loop, every, on_tick, w);
	if (now >= w->second_ms) {
		w->second_ms = now + SECOND_MS;
		second(w);	/* before the claim, behind which it would not look for suspects */
	}
	if (now >= w->poll_ms) {
		w->poll_ms = now + w->wk->conf.poll_ms;
		claim_mine(w);
	}
}

void
work_begin(struct work *w)
{
	w->second_ms = clock_mono_ms() + SECOND_MS;
	second(w);
	work_claim(w);
}

/* --- life ---------------------------------------------------------------------------------------------------------------------- */

struct work *
work_new(struct wk *wk)
{
	struct work *w = xcalloc(1, sizeof(*w));

	w->wk = wk;
	peers_begin(&w->peers, wk->name, wk->host, BEATS_MISSED * wk->conf.beat_ms);
	w->tick = loop_after(wk->loop, 0, on_tick, w);
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
