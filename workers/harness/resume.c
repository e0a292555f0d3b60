/*
 * resume: a session that is kept after its turn (kept.c) goes on with one message that its gateway has told along with the ring (told.h), and
 * nothing is read.
 *
 * Whoever writes a session's row leaves its transaction in it (xmin). The worker's last append said which one that was; the send says which
 * one it found, under the row's lock. If it is the same, nobody has touched the row in between: no update, archive, slice or other send, for
 * all of them write it. Then what the worker remembers of the row, the message and the numbers of the send are what a read (session_kept)
 * would give as of the send's commit; the send says so only of a session of which nothing else would be read (message_send). The context
 * stands in the cache, as a read would find it there. What was heard on an earlier connection proves nothing: a Postgres that took its place
 * may know less, and give the same numbers to other transactions. Everything else is as behind a read: what comes after the send rings for
 * itself, or is found by the look at the leases, and the turn's first append is fenced by the epoch.
 *
 * Whatever does not match, or a crash, costs a read: the message waits in the inbox under the lease.
 *
 * Where the worker has prepared the turn (opening.h) the send may have opened it: then all of this has been proved by the send itself, under
 * the lock, the turn's beginning is in the log, and the model is asked at once. What is read instead shows a session that runs (kept.c).
 */
#include "work_in.h"

#include <stdlib.h>
#include <string.h>

#include "agents.h"
#include "beat.h"
#include "cleanup.h"
#include "clock.h"
#include "ctxcache.h"
#include "failpoint.h"
#include "told.h"
#include "xalloc.h"

#define LATE_US 1000000		/* a letter that is older has lain */

bool
resume_plain(const struct sess *s)
{
	const struct turn *t = &s->t;

	return t->agent != NULL && s->files == NULL && t->attempts == 0 && t->ninbox == 0 && !t->paused;
}

void *
resume_row(struct sess *s)
{
	const struct turn *t = &s->t;
	struct sess_row *row;

	if (!resume_plain(s) || t->totals.running_since_us != 0 || !turn_idle(t))
		return NULL;
	row = xcalloc(1, sizeof(*row));
	memcpy(row->thread_id, t->thread_id, sizeof(row->thread_id));
	row->last_seq = t->last_seq;
	row->last_at_us = t->last_at_us;
	row->totals = t->totals;
	row->totals.budget_cents = 0;		/* message_send sends to none that has one */
	row->agent = agent_share(t->agent);
	row->connection = dbq_connections(s->wk->db);
	row->opening = steal(s->opening);
	return row;
}

void
resume_forget(void *p)
{
	struct sess_row *row = p;

	agent_free(&row->agent);
	opening_free(&row->opening);
	free(row);
}

struct opening *
resume_opening(struct kept *k)
{
	struct sess_row *row = k->row;

	return row != NULL ? steal(row->opening) : NULL;
}

/* Is it all there: the context whole, no call that waits, the catalogue that the send saw? */
static const struct context *
known(const struct work *w, const struct kept *k, const struct told *m)
{
	const struct sess_row *row = k->row;
	const struct context *c;

	if (k->state != KEPT_QUIET || row == NULL || row->connection != dbq_connections(w->wk->db) || k->xid != m->prior ||
	    m->wake_gen != k->wake_gen + 1 || m->catalogue > routes_generation(w->wk->routes))
		return NULL;
	c = ctxcache_peek(w->wk->contexts, k->session);
	return c != NULL && c->seq == row->last_seq && !c->calls ? c : NULL;
}

/*
 * Of what a send has opened the model is asked at once, fenced by nothing: not by who has stood still since, and whose lease may be another's.
 * What it reads then (kept.c) is fenced. Nor by who is to ask nothing more.
 */
static bool
timely(const struct work *w, int64_t opened_us)
{
	return !w->wk->draining && !standing_alone(w) && stamp_now(&w->wk->stamp, clock_mono_us()) - opened_us < LATE_US && beat_sure(w->wk->beat);
}

static void
begin_opened(struct sess *s, const struct told *m, struct opening *opening)
{
	FAILPOINT(OPENED);
	s->came = "opened";
	load_opened(s, m, opening);
}

static void
begin_told(struct sess *s, const struct told *m)
{
	FAILPOINT(KEPT_TOLD);
	load_told(s, m);
}

bool
kept_told(struct work *w, const char *session, const void *bytes, size_t len)
{
	struct kept *k = linger_find(w->linger, session);
	const struct context *c;
	AUTO(opening) struct opening *opening = NULL;
	struct sess *s;
	struct told m;
	int64_t weight;

	if (k == NULL || !told_decode(bytes, len, &m) || !dbq_ready(w->wk->db) || (c = known(w, k, &m)) == NULL)
		return false;
	weight = (int64_t)c->bytes + 2 * (int64_t)strlen(m.stem);
	if (m.opened_us != 0 ? k->reserved == 0 || !timely(w, m.opened_us) : weight > claim_room(w, 1))
		return false;
	opening = m.opened_us != 0 ? resume_opening(k) : NULL;
	s = sess_resume(w->wk, k->workspace, k->session, k->epoch, k->row, weight);
	if (!work_admit(w, s))		/* the lease is kept no longer: k is gone */
		;
	else if (opening != NULL)
		begin_opened(s, &m, opening);
	else
		begin_told(s, &m);
	standing_pace(w);
	return true;
}
