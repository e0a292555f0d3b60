/*
 * check_log: one session's log while it is read, event by event: what check_walk.c (order), check_pairs.c (spans and calls) and
 * check_bill.c (meters and sums) know of it together. Times in microseconds, runtime rows in milliseconds. Nothing here writes to the database;
 * what is wrong is told by check_fail() and read on.
 */
#ifndef ROOST_OPS_CHECK_LOG_H
#define ROOST_OPS_CHECK_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "jspan.h"

#define NTOKENS 5

enum class {
	C_RUNNING, C_T_RUNNING, C_MESSAGE, C_NOTE, C_SPAN_START, C_THINKING, C_SAY, C_CALL, C_SPAN_END, C_EVAL, C_EVAL_END, C_RESULT, C_COMPACTED,
	C_ERROR, C_T_IDLE, C_USAGE, C_IDLE, C_T_LATER, C_LATER, C_T_END, C_END,
};

enum state {
#define TYPE(type, class, after)
#define STEP(from, class, to)
#define STATE(name, rest, text) S_##name,
#include "check_order.def"
#undef STATE
#undef STEP
#undef TYPE
	S_COUNT
};

/* A type of event, its class, and the state after it wherever it stood. */
struct event_type { const char *name; enum class class; enum state after; };

struct event {
	int64_t seq, at_us;
	const char *id, *type_name;
	const struct event_type *type;
	struct jspan body;
	bool visible;		/* to the model */
};

struct open_call {
	char id[ID_MAX];
	bool answered;
};

struct totals {
	int64_t active_us;
	int64_t tokens[NTOKENS];	/* input, output, cache read, cache write 5 m, 1 h */
	int64_t nano;			/* list cost of the tokens; of the log only */
	bool unpriced;			/* some of them have no price */
};

struct walk {
	struct check *ck;
	const char *session, *status;	/* the row */
	int64_t last_seq, last_at, created_at, running_since;
	struct totals row;
	PGresult *meters, *slices;	/* of tokens; of runtime, in order of time */
	int meter, slice;		/* the next ones */
	int64_t billed_us, billed_ms;	/* where the slices of the open interval end; all of them together */

	enum state state;
	int64_t seq, at_us, open_us;
	const char *said;		/* status by the last status event */
	char span[ID_MAX];
	struct open_call *calls;	/* in call order; answered ones are kept until the turn is over, to find second results */
	int ncalls;
	struct totals sum;
	char *usage_text;		/* the session.usage before */
	int64_t usage_seq;
};

/* The text at key of an event, as it stands between its quotes, cut to size; "" when there is none. The number; 0, or -1 for nonsense. */
void check_text_at(struct jspan body, const char *key, char *out, size_t size);
int64_t check_int_at(struct jspan body, const char *key);

/* check_pairs.c: each event that opens or closes something, in log order. */
void check_span_start(struct walk *w, const struct event *ev);
void check_span_end(struct walk *w, const struct event *ev);
void check_call_open(struct walk *w, const struct event *ev);
/* key: where it names its call. An answer that the model does not see (its call was ended before) is a note, not a result. */
void check_call_result(struct walk *w, const struct event *ev, const char *key);
/* An idle event names only calls that are open. */
void check_awaited(struct walk *w, const struct event *ev);
/* The turn is over: a second result can come no more. */
void check_calls_forget(struct walk *w);
/* After the last event. Calls without a result: fine while somebody works, when they wait for the client, and after the end. */
int check_calls_end(struct walk *w, struct err *e);

/* check_bill.c: after each event, whatever rows stand at its seq have been called for, or not; after the last one, whatever is left. */
void check_bill(struct walk *w, const struct event *ev);
void check_bill_rest(struct walk *w);
/* A session.usage tells the sums up to the session.status_idle behind it. */
void check_usage(struct walk *w);

#endif
