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
 */
#include "work_in.h"

#include <stdlib.h>
#include <string.h>

#include "agents.h"
#include "ctxcache.h"
#include "failpoint.h"
#include "told.h"
#include "xalloc.h"

void *
resume_row(const struct sess *s)
{
	const struct turn *t = &s->t;
	struct sess_row *row;

	if (t->agent == NULL || s->files != NULL || t->attempts > 0 || t->ninbox > 0 || t->paused || t->totals.running_since_us != 0 ||
	    strcmp(t->status, "idle") != 0)
		return NULL;
	row = xcalloc(1, sizeof(*row));
	memcpy(row->thread_id, t->thread_id, sizeof(row->thread_id));
	row->last_seq = t->last_seq;
	row->last_at_us = t->last_at_us;
	row->totals = t->totals;
	row->totals.budget_cents = 0;		/* message_send sends to none that has one */
	row->agent = agent_share(t->agent);
	row->connection = dbq_connections(s->wk->db);
	return row;
}

void
resume_forget(void *p)
{
	struct sess_row *row = p;

	agent_free(&row->agent);
	free(row);
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

bool
kept_told(struct work *w, const char *session, const void *bytes, size_t len)
{
	struct kept *k = linger_find(w->linger, session);
	const struct context *c;
	struct sess *s;
	struct told m;
	int64_t weight;

	if (k == NULL || !told_decode(bytes, len, &m) || !dbq_ready(w->wk->db) || (c = known(w, k, &m)) == NULL)
		return false;
	weight = (int64_t)c->bytes + 2 * (int64_t)strlen(m.stem);
	if (weight > claim_room(w, 1))
		return false;
	FAILPOINT(KEPT_TOLD);
	s = sess_resume(w->wk, k->workspace, k->session, k->epoch, k->row, weight);
	if (work_admit(w, s))		/* the lease is kept no longer: k is gone */
		load_told(s, &m);
	standing_pace(w);
	return true;
}
