/*
 * rounds: what a worker looks after once a second: its leases, dead workers, dropped sandboxes, what long turns cost so far, suspects,
 * outputs that nobody has published; and the poll for what no doorbell told of (work_in.h).
 *
 * Statements of the worker are answered in the order they were sent (one connection), so when the list of this worker's leases comes,
 * every claim and release that it reflects has been processed here: a lease without a session is one whose claim was lost with a
 * connection, and goes back; a session without a lease has been taken away. A statement that fails is asked again in the next round.
 */
#include "work_in.h"

#include "beat.h"
#include "clock.h"
#include "ctxcache.h"
#include "failpoint.h"
#include "jx.h"
#include "log.h"
#include "publish.h"

#define LOOK_MS 5000
#define SECOND_MS 1000
#define SLICE_MS 10000		/* how often whole minutes of long turns are billed */
#define SLICE_MAX 200
#define EPOCH_LAST 9007199254740991	/* a session that is gone: above every epoch it had */

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

	work_each(w, work_weigh_again);
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
rounds_start(struct work *w)
{
	w->tick = loop_after(w->wk->loop, 0, on_tick, w);
}

void
work_begin(struct work *w)
{
	w->second_ms = clock_mono_ms() + SECOND_MS;
	second(w);
	work_claim(w);
}
