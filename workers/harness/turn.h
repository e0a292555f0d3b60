/*
 * turn: a session's turn as plain data, and the table of its states (turn.def).
 *
 * Pure: nothing here does I/O. plan.c fills a batch from a struct turn and applies what the database has accepted; sess.c and the
 * files beside it own the effects. A struct turn owns everything it points to.
 */
#ifndef ROOST_HARNESS_TURN_H
#define ROOST_HARNESS_TURN_H

#include <stdbool.h>
#include <stdint.h>

#include "arrivals.h"
#include "batch.h"
#include "outcome.h"
#include "policy.h"

enum turn_state {
	TS_LOADING, TS_DECIDING, TS_READING, TS_STARTING, TS_ASKING, TS_JUDGING, TS_REPLYING, TS_WAKING, TS_RUNNING, TS_STOPPING,
	TS_CLOSING, TS_YIELDING, TS_ENDING, TS_RELEASING, TS_GONE,
	TS_COUNT
};

enum turn_event {
	TE_LOADED, TE_OPENED, TE_GIVE_UP, TE_START, TE_WAKE, TE_RUN, TE_CLOSE, TE_YIELD, TE_END, TE_COMMITTED, TE_REPLIED, TE_FINISHED, TE_FAILED,
	TE_JUDGE, TE_INTERRUPT, TE_DRAIN, TE_TOOLS, TE_SETTLED, TE_MORE, TE_WOKEN, TE_CUT,
	TE_COUNT
};

const char *turn_state_name(enum turn_state s);
const char *turn_event_name(enum turn_event e);

/* The state that follows, or -1 when the table has no such row. */
int turn_next(enum turn_state from, enum turn_event event);

/* Each row, for the test and the picture in README.md. */
struct turn_row {
	enum turn_state from;
	enum turn_event event;
	enum turn_state to;
	const char *why, *crash;
};
const struct turn_row *turn_rows(int *n);

/* A tool call of the latest reply whose result is not in the log. */
enum call_state {
	CALL_WAITING,	/* for the client: a custom tool or a confirmation */
	CALL_READY,	/* may run, has not been sent */
	CALL_LOST,	/* an earlier owner may have sent it: ask hands, never send again */
	CALL_RUNNING,	/* sent or asked for; hands will answer */
	CALL_DONE,	/* outcome known, not yet in the log */
	CALL_GONE,	/* in the log */
};

struct call {
	char id[ID_MAX];
	char *name, *input;
	bool custom, confirm;	/* waits, or waited, for the client: has an action row */
	enum call_state state;
	enum call_state next;	/* by plan.c: after the batch is committed */
	char *content;		/* outcome */
	bool is_error;
	bool sent;		/* hands knows it: acknowledge when its result is in the log */
	bool asked;		/* hands was asked for the outcome, not told to run it */
};

/* What the model sees, in log order. */
struct context {
	struct model_item *items;	/* blocks are owned */
	model_kind *kinds;		/* of the items */
	int n, cap;
	size_t bytes;
	int64_t seq;			/* the log's view up to this event */
	int64_t tokens;			/* by estimate (model_item_tokens) */
	int64_t told_tokens;		/* what the model counted at its latest reply, the reply included; 0: unknown */
	int64_t told_at;		/* `tokens` at that time */
	bool summary;			/* the first item stands for what was compacted */
	int64_t ended_ms;		/* of one that is kept (ctxcache.h): when its session was given back, monotonic */
	bool calls;			/* of one that is kept (ctxcache.h): at `seq` calls may wait for answers, or their answers for the turn */
};

struct turn {
	char id[ID_MAX], thread_id[ID_MAX];
	struct agent *agent;
	char status[16];		/* on the row */
	int64_t last_seq, last_at_us;
	int64_t wake_gen;		/* of the latest read of the inbox */
	int attempts;			/* crashes it was blamed for since it last made progress */
	struct totals totals;
	struct cost_rates rates;	/* list price of its model now */
	bool rates_read;		/* the catalogue has been read: without a price there is none */
	bool paused;			/* idle at its budget's cap; the model owes a reply */
	int64_t now_us;			/* the database's time at this decision */
	struct context context;

	struct call *calls;
	int ncalls;
	struct arrival *inbox;	/* read and not consumed */
	int ninbox;

	char span_id[ID_MAX];		/* an open model request, or "" */
	bool unasked;			/* and nobody has made it: what it cost is nothing */
	int rounds, retries;		/* model requests of this turn; failures in a row */
	bool owed;			/* the log ends with something the model has not answered */
	const char *stop;		/* BATCH_STOP_* when this turn ends now */
	char *stop_details;		/* its details, JSON, or NULL */
	bool drain;			/* the worker leaves */
	bool broken;			/* its agent is no agent: the row cannot be read as a session */

	int64_t window, compact_at;	/* tokens a request may fill, and from where on a summary is asked for; 0: unknown */
	bool compacting;		/* the open request asks for a summary */
	int squeeze;			/* how often that summary's own request was too long */

	struct outcome outcome;		/* what the session works toward */
	bool grading;			/* the open request evaluates it */

	bool failed;			/* the latest request failed: */
	char fail_type[48], fail_message[256];
	bool fail_retry;
	bool fail_long;			/* the request did not fit the model */
	bool fail_spent;		/* after the provider had begun to answer */
	int64_t fail_after_ms;		/* the provider's wish, or 0 */

	bool took_known;		/* the open request, interrupted or of no use, is to be paid for all the same: */
	struct model_usage took;
};

void turn_free(struct turn *t);
void context_add(struct context *c, char role, const char *blocks);
/* blocks stand for everything so far. */
void context_replace(struct context *c, const char *blocks);
/* Forget everything; *c is empty. */
void context_clear(struct context *c);
struct call *turn_call_add(struct turn *t, const char *id, const char *name, const char *input);
/* By its id; NULL: there is none, or id is NULL. */
struct call *turn_call(const struct turn *t, const char *id);
/* Release what a call owns; its place in the turn is the caller's to close. */
void turn_call_clear(struct call *c);
/* Does the row say idle? */
bool turn_idle(const struct turn *t);
/* Is the billed interval open? */
bool turn_running(const struct turn *t);
/* Does the inbox hold an interrupt? */
bool turn_interrupted(const struct turn *t);
int turn_calls_in(const struct turn *t, enum call_state state);

#endif
