/*
 * beat: see beat.h.
 *
 * The lock is asked for again with each beat: it costs nothing when held. A connection that was lost has lost it, so the first thing a
 * new one carries is a beat, as soon as it is there: until then this process looks dead. A beat that finds its row gone means that
 * another worker has declared this one dead and given its sessions away: every lease is forgotten here at once (the epoch would refuse
 * their appends anyway).
 */
#include "beat.h"

#include <stdlib.h>

#include "clock.h"
#include "failpoint.h"
#include "id.h"
#include "log.h"
#include "work.h"
#include "xalloc.h"

struct beat {
	struct wk *wk;
	struct dbq *db;
	struct loop_timer *timer;
	int64_t lock_key;
	int64_t sent_us;
	int64_t next_ms;	/* when the next beat is due */
	int64_t since_us;
	int64_t renewed_us;	/* when the latest beat that was answered was sent */
	unsigned connection;	/* the one that the latest beat went out on */
	bool busy, registered, locked;
	bool hands, open;	/* told: hands are reachable, it takes sessions, */
	int spread;		/* how many should be at work */
	bool leaving;
};

#define LOOK_MS 100		/* how often the connection is looked at */

static void
on_lock(void *ctx, const PGresult *r, const struct err *e)
{
	struct beat *b = ctx;

	b->locked = e == NULL && pg_bool(r, 0, 0);
	b->sent_us = clock_mono_us();	/* the beat runs on the server from about now */
}

static void
leave(struct beat *b)
{
	b->busy = true;
	DBQ_RUN(b->db, STMT_WORKER_LEAVE, NULL, NULL, b->wk->name);
}

static void
on_beat(void *ctx, const PGresult *r, const struct err *e)
{
	struct beat *b = ctx;

	b->busy = false;
	if (b->leaving) {
		leave(b);
		return;
	}
	if (e != NULL) {
		log_err("beat_failed", e, NULL);
		b->next_ms = 0;
		return;
	}
	stamp_learn(&b->wk->stamp, b->sent_us, clock_mono_us(), pg_int(r, 0, 0));
	if (!b->locked) {
		log_warn("beat_unlocked", "worker", b->wk->name, NULL);	/* the server has not noticed yet that the old connection is gone */
		b->next_ms = 0;
		return;
	}
	b->renewed_us = b->sent_us;
	if (b->since_us == 0)
		b->since_us = pg_int(r, 0, 0);
	if (!pg_bool(r, 0, 1) && b->registered) {
		log_warn("beat_row_gone", "worker", b->wk->name, NULL);
		work_lose_all(b->wk->work);
	}
	if (!b->registered) {
		b->registered = true;
		log_info("worker_ready", "worker", b->wk->name, NULL);
		work_begin(b->wk->work);
	}
}

static void
send_beat(struct beat *b)
{
	const struct wk *wk = b->wk;

	FAILPOINT(BEAT);
	b->busy = true;
	b->hands = hands_up(wk->hands);
	b->open = work_open(wk->work);
	b->spread = work_spread(wk->work);
	DBQ_RUN(b->db, STMT_WORKER_LOCK, on_lock, b, DBN(b->lock_key));
	DBQ_RUN(b->db, STMT_WORKER_BEAT, on_beat, b, wk->name, DBN(b->lock_key), DBN(wk->conf.lease_s), b->hands ? "t" : "f", wk->host,
	    b->open ? "t" : "f", DBN(work_load(wk->work)), DBN(b->spread));
}

/* A beat is due, or what the others go by has changed since the last one. */
static void
look(void *ctx)
{
	struct beat *b = ctx;
	const struct wk *wk = b->wk;
	int64_t now = clock_mono_ms();

	b->timer = loop_after(wk->loop, LOOK_MS, look, b);
	if (!dbq_ready(b->db) || b->busy)
		return;
	if (dbq_connections(b->db) != b->connection) {
		b->connection = dbq_connections(b->db);
		b->next_ms = 0;		/* the lock went with the connection before */
		b->since_us = 0;
	}
	if (now < b->next_ms && hands_up(wk->hands) == b->hands && work_open(wk->work) == b->open && work_spread(wk->work) == b->spread)
		return;
	b->next_ms = now + (b->registered ? wk->conf.beat_ms : 0);
	send_beat(b);
}

void
beat_leave(struct beat *b)
{
	if (b->leaving)
		return;
	b->leaving = true;
	if (!b->busy)
		leave(b);
}

struct beat *
beat_new(struct wk *wk)
{
	struct beat *b = xcalloc(1, sizeof(*b));

	b->wk = wk;
	b->db = dbq_new(wk->loop, wk->conf.pg_dsn, DB_WORKER, (int)wk->conf.pg_timeout_ms);
	id_random(&b->lock_key, sizeof(b->lock_key));
	b->lock_key &= INT64_MAX;
	b->timer = loop_after(wk->loop, 0, look, b);
	return b;
}

void
beat_free(struct beat **bp)
{
	struct beat *b = *bp;

	if (b == NULL)
		return;
	loop_cancel(b->wk->loop, &b->timer);
	dbq_free(&b->db);
	free(b);
	*bp = NULL;
}

bool
beat_registered(const struct beat *b)
{
	return b->registered;
}

int64_t
beat_since_us(const struct beat *b)
{
	return dbq_ready(b->db) && dbq_connections(b->db) == b->connection ? b->since_us : 0;
}

bool
beat_sure(const struct beat *b)
{
	return beat_since_us(b) > 0 && clock_mono_us() - b->renewed_us < b->wk->conf.lease_s * 500000;
}
