/*
 * work_in: what the files of the worker's table share: work.c (the table, life), rounds.c (what is looked after once a second: leases,
 * dead workers, drops), claim.c (where sessions come from), standing.c (what others know of this worker, and it of them), kept.c and
 * resume.c (sessions that it keeps for a moment after a turn). Nobody else includes it.
 */
#ifndef ROOST_HARNESS_WORK_IN_H
#define ROOST_HARNESS_WORK_IN_H

#include "bell.h"
#include "busq_tail.h"
#include "linger.h"
#include "peers.h"
#include "work.h"

#define BUCKETS 4096
#define CLAIM_MAX 64
#define SUSPECT 2		/* attempts from which a session runs alone (also in session_take) */

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
	int claiming;		/* sessions asked for, or being read (kept.c); 0: neither is under way */
	int64_t promised;	/* bytes that they may have */
	bool by_name;		/* it is one of named sessions */
	bool short_of;		/* something may be due for which there was no room */
	struct linger *linger;	/* leases kept after a turn */
	struct loop_task kept_rung;	/* some of them are to be read before the loop waits */
	struct loop_timer *kept_look;
	int64_t kept_each;	/* what each that is being read may have in bytes */
	bool read_last;		/* the last answer was that of a read: a claim is next, if there is one to make */
	bool settling;		/* some are being given back */
	struct rung rung;	/* to be claimed before the loop waits */
	bool claim_again, left_again;	/* claim once more when the one under way is answered: all, what others have left */
	bool listing, reaping, slicing, dropping;
	bool blamed, blaming;	/* what the last worker on our file died with has been told; is being told */
	bool looking;		/* for suspects, */
	bool suspects;		/* and there were some at the last look */
	struct sess *alone;	/* a suspect, which runs alone until it makes progress */
	int64_t room_ms, room_again_ms;	/* nothing is claimed before the first; no room is made before the second */
	int drops_left;
	int64_t mark;
	int64_t look_ms;		/* when to look for unpublished outputs next */
	int64_t poll_ms, second_ms, slice_ms;	/* when to poll, to look after leases, to bill what runs, next */
	struct loop_timer *tick, *drain;
	struct loop_timer *later;	/* a claim of what others have left, */
	int64_t rung_us;		/* and when something was left to them last */
	struct peers peers;
	int64_t measured_us, waited_us;	/* when `busy` was measured; how long the loop had waited until then */
	int busy;			/* percent of the time in which the loop does not wait, smoothed */
	bool full;
	bool hears;			/* the doorbell */
	struct busq_tail *tail;
	struct bell *bell;		/* the doorbell of this machine's gateways; NULL: they use Redis too */
};

/* work.c */
struct sess *work_find(struct work *w, const char *id);
/* Call fn for every session; fn may remove the one it is given. */
void work_each(struct work *w, void (*fn)(struct work *, struct sess *));
/* A session of a claim's answer is taken in: n rows from row i on. */
typedef void work_claimed_fn(struct work *w, const PGresult *r, int i, int n);
work_claimed_fn work_take;
/* A session is in the table from now on, and kept no longer. False: it has ended instead. */
bool work_admit(struct work *w, struct sess *s);
/* Call fn for each session of such an answer. Returns how many. */
int work_each_claimed(struct work *w, const PGresult *r, work_claimed_fn *fn);
/* Every one is taken in. Returns how many. */
int work_take_all(struct work *w, const PGresult *r);
/* An event that a statement has written into the log of a session that nobody holds: id, number, type and body from this column on. */
void work_publish(struct work *w, const PGresult *r, int row, int col);
/* Light sessions are at most this large. */
int64_t work_heavy_from(const struct work *w);
/* What a session has grown to counts. */
void work_weigh_again(struct work *w, struct sess *s);
/* A draining worker that holds nothing leaves. */
void work_leave_if_done(struct work *w);
void work_drain_soft(struct work *w, struct sess *s);

/* rounds.c: from now on, for the life of w->tick. */
void rounds_start(struct work *w);

/* resume.c: the row of a session that is idle now, as the worker knows it; NULL: it does not. */
void *resume_row(struct sess *s);
/* Would that be all that its next turn needs? */
bool resume_plain(const struct sess *s);
void resume_forget(void *row);
/* What was prepared for it, if anything: the caller's now. */
struct opening *resume_opening(struct kept *k);

/* kept.c */
void kept_begin(struct work *w);
void kept_free(struct work *w);
/* A doorbell for this worker's own session: false if it is not kept. */
bool kept_ring(struct work *w, const char *session);
/* The same with what its gateway tells of it (told.h): true if its turn has begun by that; false: it must be rung, that is read. */
bool kept_told(struct work *w, const char *session, const void *told, size_t len);
/* A lease of this worker's in the database: false if it is not one that is kept. Then (kept_unseen) those that were not among them go. */
bool kept_lease(struct work *w, const char *session, int64_t epoch, int64_t wake_gen);
void kept_unseen(struct work *w);
/* Read those for which something has come, unless a claim is under way. */
void kept_read(struct work *w);
/* Give back those whose moment is over: all, once this worker drains or is alone with a suspect. */
void kept_settle(struct work *w);

/* claim.c */
/* The claim under way has been answered: what has come meanwhile is next. full: there may be more of it. */
void claim_next(struct work *w, bool full);
/* Room for so many that are named, beside what is under way: the bytes that each may have, or -1. */
int64_t claim_room(struct work *w, int n);
void claim_begin(struct work *w);
void claim_end(struct work *w);
/* What is due, but for what others should take. */
void claim_mine(struct work *w);
/* A worker without a turn takes a suspect. One that is never without hands its turns over to make room, for a while. */
void claim_suspects(struct work *w);

/* standing.c */
/* Is it with a suspect that has not made progress yet? */
bool standing_alone(const struct work *w);
/* How long others may have a session before this worker takes it for left. */
int64_t standing_later_ms(const struct work *w);
/* Look at the doorbell as often as it has to. */
void standing_pace(struct work *w);
/* How busy it is, once a second. */
void standing_measure(struct work *w);

#endif
