/*
 * work: see work.h.
 *
 * Statements of the worker are answered in the order they were sent (one connection), so when the list of this worker's leases comes,
 * every claim and release that it reflects has been processed here: a lease without a session is one whose claim was lost with a
 * connection, and goes back; a session without a lease has been taken away.
 */
#include "work.h"

#include <stdlib.h>
#include <string.h>

#include "beat.h"
#include "cleanup.h"
#include "clock.h"
#include "failpoint.h"
#include "ctxcache.h"
#include "jx.h"
#include "log.h"
#include "peers.h"
#include "publish.h"
#include "xalloc.h"

#define BUCKETS 4096
#define CLAIM_MAX 64
#define LATER_MS 15		/* how long a session is left to the worker that should take it, for each place in the line (peers.h), */
#define PLACES 8		/* up to so many places */
#define PACE_MS 8		/* a worker in reserve looks at the doorbell so seldom, for each place */
#define FULL_PCT 90		/* a worker so full takes nothing until it is well below */
#define FULL_AGAIN_PCT 75
#define BEATS_MISSED 3		/* whose beat is late by so many takes nothing, as far as others know */
#define LOOK_MS 5000
#define SECOND_MS 1000
#define SLICE_MS 10000		/* how often whole minutes of long turns are billed */
#define SLICE_MAX 200
#define SUSPECT 2		/* attempts from which a session runs alone (also in session_claim) */
#define DRAIN_SOFT_MS 3000	/* model requests may end by themselves for this long */
#define DRAIN_HARD_MS 6000	/* then the process leaves; what is left is reaped */
#define ROOM_MS 10000		/* how long nothing is claimed so that a suspect may find this worker empty, */
#define ROOM_AGAIN_MS 30000	/* and how long after that it is not tried again */
#define EPOCH_LAST 9007199254740991	/* a session that is gone: above every epoch it had */

/* Sessions whose doorbells have been heard and that this worker should take. */
struct rung {
	char workspaces[CLAIM_MAX][ID_MAX], sessions[CLAIM_MAX][ID_MAX];
	int n;
	bool others;		/* and some that stand in no list: whatever is due */
	struct loop_task task;
};

struct work {
	struct wk *wk;
	struct sess *buckets[BUCKETS];
	int n;
	int64_t held;		/* bytes of the light sessions */
	int heavy;		/* sessions of more than heavy_from() bytes */
	int claiming;		/* sessions asked for; 0: no claim under way */
	bool by_name;		/* it is one of named sessions */
	bool short_of;		/* something may be due for which there was no room */
	struct rung rung;	/* to be claimed before the loop waits */
	bool claim_again, left_again;	/* claim once more when the one under way is answered: all, what others have left */
	bool listing, reaping, slicing, dropping;
	bool blamed, blaming;	/* what the last worker on our file died with has been told; is being told */
	bool looking;		/* for suspects that wait */
	struct sess *alone;	/* a suspect, which runs alone until it makes progress */
	int64_t room_ms, room_again_ms;	/* nothing is claimed before the first; no room is made before the second */
	int drops_left;
	int64_t mark;
	int64_t look_ms;		/* when to look for unpublished outputs next */
	int64_t poll_ms, second_ms, slice_ms;	/* when to poll, to look after leases, to bill what runs, next */
	struct loop_timer *tick, *drain;
	struct loop_timer *later;	/* a claim of what others have left, */
	int64_t rung_ms;		/* and when something was left to them last */
	struct peers peers;
	int64_t measured_us, waited_us;	/* when `busy` was measured; how long the loop had waited until then */
	int busy;			/* percent of the time in which the loop does not wait, smoothed */
	bool full;
	struct busq_tail *tail;
};

static unsigned
bucket(const char *id)
{
	return peers_hash(id) % BUCKETS;
}

static struct sess *
find(struct work *w, const char *id)
{
	struct sess *s = w->buckets[bucket(id)];

	while (s != NULL && strcmp(s->t.id, id) != 0)
		s = s->next;
	return s;
}

/* Call fn for every session; fn may remove the one it is given. */
static void
each(struct work *w, void (*fn)(struct work *, struct sess *))
{
	for (int i = 0; i < BUCKETS; i++)
		for (struct sess *s = w->buckets[i], *next; s != NULL; s = next) {
			next = s->next;
			fn(w, s);
		}
}

static void claim(struct work *w, int64_t age_ms);
static void claim_rung(struct work *w);

static void
on_leave(void *ctx)
{
	struct work *w = ctx;

	w->drain = NULL;
	loop_stop(w->wk->loop);
}

/* A moment for what was written to other processes to leave the buffers. */
static void
leave_soon(struct work *w)
{
	loop_cancel(w->wk->loop, &w->drain);
	w->drain = loop_after(w->wk->loop, 50, on_leave, w);
	if (w->claiming == 0)
		beat_leave(w->wk->beat);
}

/* --- memory: what is claimed is bounded (session_claim); what grows under its lease counts against the next claims -------------------- */

static int64_t
heavy_from(const struct work *w)
{
	return w->wk->conf.turn_bytes / 8;
}

static void
weigh(struct work *w, struct sess *s, int64_t bytes)
{
	s->bytes = bytes;
	s->heavy = bytes > heavy_from(w);
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

/* --- what others know of this worker, and it of them (peers.h) ------------------------------------------------------------------------ */

static int
place(const struct work *w)
{
	return w->peers.behind < 1 ? 1 : w->peers.behind < PLACES ? w->peers.behind : PLACES;
}

/* How long others may have a session before this worker takes it for left. */
static int64_t
later_ms(const struct work *w)
{
	return (int64_t)LATER_MS * place(w);
}

/* Nothing to do, and others come before it. */
static bool
in_reserve(const struct work *w)
{
	return w->peers.behind > 0 && w->n == 0;
}

static void
pace(struct work *w)
{
	busq_tail_pace(w->tail, in_reserve(w) ? PACE_MS * place(w) : 0);
}

static int
percent(int64_t of, int64_t all)
{
	return of >= all ? 100 : (int)(of * 100 / all);
}

/* How much of what it may hold it holds. */
static int
filled(const struct work *w)
{
	int turns = percent(w->n, w->wk->conf.turns_max), bytes = percent(w->held, w->wk->conf.turn_bytes);

	return turns > bytes ? turns : bytes;
}

static void
measure(struct work *w)
{
	int64_t now = clock_mono_us(), waited = loop_waited_us(w->wk->loop);

	if (w->measured_us > 0)
		w->busy = (w->busy + 100 - percent(waited - w->waited_us, now - w->measured_us)) / 2;
	w->measured_us = now;
	w->waited_us = waited;
	w->full = filled(w) >= (w->full ? FULL_AGAIN_PCT : FULL_PCT);
}

int
work_load(const struct work *w)
{
	int full = filled(w);

	return w->busy > full ? w->busy : full;
}

int
work_spread(const struct work *w)
{
	return w->peers.spread;
}

/* With a suspect that has not made progress yet. */
static bool
alone(const struct work *w)
{
	return w->alone != NULL && w->alone->t.attempts >= SUSPECT;
}

bool
work_open(const struct work *w)
{
	return !w->wk->draining && dbq_ready(w->wk->db) && w->blamed && !w->full && !alone(w) && clock_mono_ms() >= w->room_ms;
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
	pace(w);
	if (w->wk->draining && w->n == 0)
		leave_soon(w);
}

/* --- claiming ------------------------------------------------------------------------------------------------------------------ */

/* An event that a statement has written into the log of a session that nobody holds: id, number, type and body from this column on. */
static void
publish(struct work *w, const PGresult *r, int row, int col)
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
		publish(ctx, r, i, 2);
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

/* A claimed session: n rows from row i on. */
static void
take(struct work *w, const PGresult *r, int i, int n)
{
	struct sess *s = sess_new(w->wk, r, i), **at = &w->buckets[bucket(s->t.id)];
	struct sess *old = find(w, s->t.id);

	if (old != NULL)
		sess_lost(old);	/* its lease was taken and freed again before we heard of it */
	s->mark = w->mark;
	s->next = *at;
	*at = s;
	w->n++;
	weigh(w, s, s->bytes);
	FAILPOINT(CLAIMED);
	if (give_up(w, s))
		return;
	if (s->t.attempts >= SUSPECT)
		w->alone = s;
	load_begin(s, r, i, n);
}

/* Every session of a claim. Returns how many. */
static int
take_all(struct work *w, const PGresult *r)
{
	int rows = PQntuples(r), taken = 0;

	if (rows > 0 && pg_int(r, 0, PQfnumber(r, "catalogue")) > routes_generation(w->wk->routes))
		routes_refresh(w->wk->routes, w->wk->db);
	for (int i = 0, next; i < rows; i = next, taken++) {
		for (next = i + 1; next < rows && strcmp(pg_str(r, i, 0), pg_str(r, next, 0)) == 0; next++)
			;
		take(w, r, i, next - i);
	}
	pace(w);
	return taken;
}

static void
on_claim(void *ctx, const PGresult *r, const struct err *e)
{
	struct work *w = ctx;
	int asked = w->claiming, n;

	w->claiming = 0;
	n = e == NULL ? take_all(w, r) : 0;
	if (w->by_name) {
		w->claim_again = w->claim_again || n < asked;	/* what was not taken may be too large for its share */
		asked = n + 1;
	}
	if (w->wk->draining && w->n == 0)
		leave_soon(w);
	if (e != NULL) {
		log_err("claim_failed", e, NULL);
		return;
	}
	if (w->claim_again || n >= asked)
		work_claim(w);
	else if (w->rung.n > 0 || w->rung.others)
		claim_rung(w);
	else if (w->left_again)
		claim(w, later_ms(w));
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
		publish(w, r, i, 2);
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
	DBQ_RUN(w->wk->db, STMT_WORKER_BLAME, on_blamed, w, left->worker, left->session, DBN(left->epoch), DBN(w->wk->conf.poison_attempts), "t",
	    "crash");
	return false;
}

/* Only who has beaten on its present connection: after a crash of Postgres that is what keeps epochs from coming again. */
static bool
may_claim(struct work *w)
{
	return !w->wk->draining && beat_since_us(w->wk->beat) > 0 && blame(w) && !alone(w) && clock_mono_ms() >= w->room_ms;
}

static int64_t
bytes_left(const struct work *w)
{
	return w->held < w->wk->conf.turn_bytes ? w->wk->conf.turn_bytes - w->held : 0;
}

/* Take what has been due for age_ms. */
static void
claim(struct work *w, int64_t age_ms)
{
	int room = (int)w->wk->conf.turns_max - w->n;
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
	if (room <= 0 || !may_claim(w))
		return;
	w->claiming = room < CLAIM_MAX ? room : CLAIM_MAX;
	w->by_name = false;
	bytes = bytes_left(w);
	w->short_of = w->heavy > 0 || bytes < heavy_from(w);
	DBQ_RUN(w->wk->db, STMT_SESSION_CLAIM, on_claim, w, w->wk->name, DBN(w->claiming), DBN(bytes), DBN(heavy_from(w)),
	    w->heavy > 0 ? "f" : "t", "f", DBN(age_ms), NULL, NULL);
}

void
work_claim(struct work *w)
{
	claim(w, 0);
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
	if (g->others || w->short_of || g->n + w->n > w->wk->conf.turns_max || bytes < heavy_from(w)) {
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

	bytes /= g->n;
	w->claiming = g->n;
	w->by_name = true;
	g->n = 0;
	DBQ_RUN(w->wk->db, STMT_SESSION_CLAIM, on_claim, w, w->wk->name, "0", "0", DBN(bytes < heavy_from(w) ? bytes : heavy_from(w)), "f", "f",
	    "0", in, which);
}

static void
on_rung(void *ctx)
{
	claim_rung(ctx);
}

/* Anybody who reaches Redis may have written it: what Postgres would refuse must not spoil the others' claim. */
static bool
is_name(const char *id)
{
	size_t n = id != NULL ? strspn(id, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-") : 0;

	return n > 0 && n < ID_MAX && id[n] == '\0';
}

/* A session that this worker should take at once, with all that are heard of in this round. */
static void
hear(struct work *w, const struct entry_job *job)
{
	struct rung *g = &w->rung;

	loop_soon(w->wk->loop, &g->task);
	for (int i = 0; i < g->n; i++)
		if (strcmp(g->sessions[i], job->session) == 0)
			return;
	if (g->n == CLAIM_MAX || !is_name(job->workspace) || !is_name(job->session)) {
		g->others = true;
		return;
	}
	strcpy(g->workspaces[g->n], job->workspace);
	strcpy(g->sessions[g->n++], job->session);
}

/* What is due, but for what others should take. */
static void
claim_mine(struct work *w)
{
	claim(w, w->peers.behind > 0 ? later_ms(w) : 0);
}

/* Once more while something has been left to others for less than that. */
static void
on_later(void *ctx)
{
	struct work *w = ctx;
	int64_t left = w->rung_ms + later_ms(w) - clock_mono_ms();

	w->later = NULL;
	if (left > 0)
		w->later = loop_after(w->wk->loop, left, on_later, w);
	claim(w, later_ms(w));
}

/* A doorbell that is for any worker: at once, or what the others have left, the next in the line first. */
static void
rung(struct work *w, const struct entry_job *job)
{
	if (find(w, job->session) != NULL)
		return;		/* taken while the ring was on its way, and what it tells of with it: later ones are for the owner */
	if (peers_favourite(&w->peers, job->session)) {
		hear(w, job);
		return;
	}
	w->rung_ms = clock_mono_ms();
	if (w->later == NULL)
		w->later = loop_after(w->wk->loop, later_ms(w), on_later, w);
}

static void
on_entry(void *ctx, const struct busq_field *f, int n)
{
	struct work *w = ctx;
	struct entry_job job;
	struct sess *s;

	if (entry_job_read(f, n, &job) < 0)
		return;
	if (job.owner == NULL) {
		rung(w, &job);
	} else if (strcmp(job.owner, w->wk->name) == 0) {
		s = find(w, job.session);
		if (s != NULL)
			sess_news(s);
		else
			work_claim(w);	/* it has been released since the ring was written */
	}
}

static void
on_tail_state(void *ctx, bool up)
{
	if (up)
		claim_mine(ctx);
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
	w->room_ms = 0;
	if (w->wk->draining && w->n == 0 && (e != NULL || PQntuples(r) == 0))
		leave_soon(w);
	if (e != NULL) {
		log_err("claim_failed", e, NULL);
		return;
	}
	if (PQntuples(r) > 0) {
		log_warn("suspect_alone", "session", pg_str(r, 0, 0), "attempts", pg_str(r, 0, 9), NULL);
		(void)take_all(w, r);
	}
	work_claim(w);
}

static void drain_soft(struct work *w, struct sess *s);

static void
on_waits(void *ctx, const PGresult *r, const struct err *e)
{
	struct work *w = ctx;
	int64_t now = clock_mono_ms();

	w->looking = false;
	if (e != NULL || !pg_bool(r, 0, 0)) {
		w->room_ms = 0;
	} else if (now >= w->room_again_ms && w->alone == NULL && w->n > 0) {
		log_warn("room_for_suspect", "sessions", LOGN(w->n), NULL);
		w->room_ms = now + ROOM_MS;
		w->room_again_ms = now + ROOM_MS + ROOM_AGAIN_MS;
		each(w, drain_soft);
	}
}

/* A worker without a turn takes a suspect. One that is never without hands its turns over to make room, for a while. */
static void
look_for_suspects(struct work *w)
{
	if (w->wk->draining || w->claiming > 0 || beat_since_us(w->wk->beat) == 0 || !w->blamed)
		return;
	if (w->n == 0) {
		w->claiming = 1;
		DBQ_RUN(w->wk->db, STMT_SESSION_CLAIM, on_suspect, w, w->wk->name, "1", "0", "0", "f", "t", "0", NULL, NULL);
	} else if (w->alone == NULL && !w->looking) {
		w->looking = true;
		DBQ_RUN(w->wk->db, STMT_SUSPECT_WAITS, on_waits, w);
	}
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
		struct sess *s = find(w, id);

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
	each(w, check_lease);
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
			publish(w, r, i, 2);
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
	DBQ_RUN(w->wk->db, STMT_SESSION_SLICE, on_sliced, w, w->wk->name, DBN(SLICE_MAX));
}

static void
second(struct work *w)
{
	struct dbq *db = w->wk->db;

	each(w, weigh_again);
	measure(w);
	pace(w);
	if (!dbq_ready(db) || !beat_registered(w->wk->beat))
		return;
	look_for_suspects(w);
	if (clock_mono_ms() >= w->look_ms) {
		w->look_ms = clock_mono_ms() + LOOK_MS;
		publish_look(w->wk);
	}
	if (!w->listing && w->n > 0) {
		w->listing = true;
		DBQ_RUN(db, STMT_SESSION_WAKES, on_leases, w, w->wk->name);
	}
	peers_refresh(&w->peers, db);
	slice(w);
	if (!w->reaping && beat_since_us(w->wk->beat) > 0) {
		w->reaping = true;
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
	w->rung.task = (struct loop_task){ .fn = on_rung, .ctx = w };
	peers_begin(&w->peers, wk->name, wk->host, BEATS_MISSED * wk->conf.beat_ms);
	w->tick = loop_after(wk->loop, 0, on_tick, w);
	w->tail = busq_tail_new(wk->loop, &wk->conf, BUS_JOBS, on_entry, on_tail_state, w);
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
	each(w, lose);
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
	loop_cancel(w->wk->loop, &w->later);
	loop_not(w->wk->loop, &w->rung.task);
	busq_tail_free(&w->tail);
	free(w);
	*wp = NULL;
}

static void
drain_soft(struct work *w, struct sess *s)
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
	each(w, drain_hard);
}

void
work_drain(struct work *w)
{
	if (w->drain != NULL)
		return;
	if (w->n == 0) {
		leave_soon(w);
		return;
	}
	w->drain = loop_after(w->wk->loop, DRAIN_SOFT_MS, on_drain_late, w);
	each(w, drain_soft);
}
