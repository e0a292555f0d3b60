/*
 * sess: one claimed session in this worker: its turn (pure data), the effects in flight, and the driver that walks turn.def.
 *
 * Owned by work.c's table until its state is GONE; freed when the last database answer it waits for has come.
 */
#ifndef ROOST_HARNESS_SESS_H
#define ROOST_HARNESS_SESS_H

#include "delta.h"
#include "harness.h"
#include "opening.h"
#include "turn.h"

struct sess {
	struct wk *wk;
	struct sess *next;		/* work.c: hash chain */
	struct turn t;
	char workspace[ID_MAX];
	int64_t epoch;
	enum turn_state state;
	int64_t mark;			/* rounds.c: the last one that saw its lease */
	int64_t bytes;			/* work.c: what it counts for in memory, */
	bool heavy;			/* and whether that is much */
	int waiting;			/* database answers outstanding: memory must stay */
	uint32_t xid;			/* that had written its row when it was last appended to; 0: not known */
	const char *came;		/* for the log line: claim, read or told */
	bool news;			/* the inbox has moved since it was read */
	bool peeking;			/* a read of the inbox for interrupts is under way */

	struct batch batch;		/* being appended */
	struct plan plan;
	bool again;			/* the append may have been committed before */
	enum { KEEP_NO, KEEP_YES, KEEP_DOUBT } keep;	/* the append keeps the lease of an idle session; one before it may have done so */
	int tries;
	struct sending *sending;	/* append.c: the append under way */
	int64_t sent_us;		/* when it was sent, for the clock */
	struct loop_timer *retry;
	struct opening *opening;	/* of the next turn, prepared with this append; NULL: not */
	int64_t ready_bytes;		/* what that one may take */

	char *present;			/* present.c: the files of the context that are still there, for this request */
	bool present_wanted;		/* this request waits for that; */
	int present_asked;		/* answers that are still to come */
	struct model_call *model;
	struct delta delta;
	char message_id[ID_MAX], thinking_id[ID_MAX];
	struct judging *judging;	/* judging.c; NULL: no reply is held */
	struct loop_timer *delta_timer;

	char *files;			/* that its sandbox shows: JSON for hands, or NULL */
	bool provisioned;		/* hands was told about this session */
	struct loop_timer *sandbox_timer;	/* ask.c: hands is told when the model has taken so long */
	struct loop_timer *stop_timer;

	int64_t began_ms;
	int requests, tools;		/* for the log line */
	int loading;			/* load.c: questions not answered yet */
	bool load_failed;
	bool soon;			/* its client came back soon after the turn before (linger.h) */
	bool stray;			/* hands may still be at a call that the turn has given up, or will: a later epoch ends it */
	bool whole;			/* the context is the log's, up to t.last_seq */
	char opened[ID_MAX];		/* load.c: the request's start that was prepared: if the log ends with it, nobody has made it; or "" */
	int64_t told_seq;		/* load.c: the event that carries context.told_tokens */
};

/* What a session's row held when its turn was over and its lease kept: all that the next turn needs of it. */
struct sess_row {
	char thread_id[ID_MAX];
	int64_t last_seq, last_at_us;
	struct totals totals;
	struct agent *agent;		/* one of its holders */
	unsigned connection;		/* on which that was heard (dbq_connections) */
	struct opening *opening;	/* of the next turn, which the send may have written; NULL: none was prepared */
};

/* A claimed row (STMT_SESSION_CLAIM) becomes a session. */
struct sess *sess_new(struct wk *wk, const PGresult *row, int i);
/* So does one that is remembered, idle; bytes: what it counts for. */
struct sess *sess_resume(struct wk *wk, const char *workspace, const char *session, int64_t epoch, const struct sess_row *row, int64_t bytes);
/* This session's work begins now: a crash from here to the end of the loop's round is its own (note.h). */
void sess_at_hand(struct sess *s);
/* The inbox has moved. */
void sess_news(struct sess *s);
/* The worker leaves: reach a point where the lease can be given back. hard: cut model requests too. */
void sess_drain(struct sess *s, bool hard);
/* Another worker has the lease: forget everything at once. */
void sess_lost(struct sess *s);
/* work.c has taken a GONE session out of its table: stop what runs for it and free it when nothing points to it. */
void sess_retire(struct sess *s);

/* --- between the driver's files ------------------------------------------------------------------------------------------------- */

/* A text into an array of size bytes, cut to it; NULL: empty. */
void sess_copy(char *out, size_t size, const char *from);
/* Change state (turn.def) and enter the new one. The only place where s->state is written. */
void sess_fire(struct sess *s, enum turn_event event);
/* What its model takes and costs, and what time it is: before a decision. */
void sess_measure(struct sess *s);
/* load.c: TS_LOADING, TS_READING and the look for interrupts in between. */
void load_begin(struct sess *s, const PGresult *claim, int i, int n);	/* its rows of the claim: i and the n - 1 behind it */
/* Without a question: its context stands in the cache, its inbox holds this one message. */
struct told;
void load_told(struct sess *s, const struct told *message);
/* The same, and the send has written the opening of the turn. */
void load_opened(struct sess *s, const struct told *message, struct opening *opening);
void load_inbox(struct sess *s);
void load_peek(struct sess *s);
/* append.c: sends s->batch under s->plan and fires what follows. */
void append_send(struct sess *s);
/* This opening, with this message, is in the log since opened_us: what the turn did not send itself has been committed. */
void append_opened(struct sess *s, struct opening *opening, const struct arrival *message, int64_t opened_us);
void append_release(struct sess *s);
void append_free(struct sending **x);
void append_at_hand(struct append *a);	/* of one of these */
/* ask.c: TS_ASKING. */
void ask_begin(struct sess *s);
void ask_interrupt(struct sess *s);	/* by the client: what it took is paid for */
void ask_cancel(struct sess *s);
/* judging.c: TS_JUDGING. */
void judging_take(struct sess *s, const struct model_reply *reply);
void judging_begin(struct sess *s);
void judging_cut(struct sess *s);	/* without the judgements that have not come */
void judging_drop(struct sess *s);	/* and the reply with them */
/* tools.c: TS_RUNNING, TS_STOPPING. */
void tools_begin(struct sess *s);
void tools_stop(struct sess *s);
void tools_committed(struct sess *s);	/* acknowledge outcomes that are now in the log */
void tools_pause(struct sess *s);

/* work.c: the table of this worker's sessions. */
void work_gone(struct work *w, struct sess *s);
void work_due_in(struct work *w, int64_t ms);
/* kept.c: should the lease stay for a moment when this append ends the turn? It did, for sure or perhaps. */
bool kept_wanted(const struct work *w, const struct sess *s);
/* If it stays: may the send of its next message open the turn? The room that it will take, or 0. */
int64_t kept_ready(struct work *w, const struct sess *s);
void kept_put(struct work *w, struct sess *s, bool sure);

/* For a database answer that must find its session: count it in, and out at the start of the callback. */
#define SESS_WAIT(s) ((s)->waiting++)
/* Returns false when the session is gone (and frees it after the last answer): the callback must return. */
bool sess_answered(struct sess *s);

#endif
