/*
 * batch: the events of one append, built as text in their canonical order (contract 3.5-3.7) and stamped at the end.
 *
 * Pure: ids come from the kernel's randomness, everything else from the caller. A batch owns its bytes. An event is kept as a stem
 * (no processed_at, no closing brace) so that batch_stamp() may run again with a later base when the database refuses the first one.
 * What the append changes besides (status, billed interval, meters, inbox items, waiting actions) is collected beside the events.
 */
#ifndef ROOST_HARNESS_BATCH_H
#define ROOST_HARNESS_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "cost.h"
#include "id.h"
#include "model.h"
#include "policy.h"

/* Who speaks: the primary thread. Borrowed for the life of the batch. */
struct batch_who {
	const char *thread_id, *agent_name;
};

/* Running totals of a session, as on its row, and the cap they are held against. */
struct totals {
	int64_t active_us;		/* closed billed intervals */
	int64_t running_since_us;	/* 0: no interval is open */
	struct model_usage tokens;
	int64_t token_nano;		/* the tokens at list price */
	bool unpriced;			/* some of them had none */
	int64_t budget_cents;		/* 0: no budget */
};

struct event {
	char id[ID_MAX];
	char type[40];
	char *stem;			/* NULL: session.usage, rendered by batch_stamp, or already part of the body */
	char *body;			/* finished by batch_stamp */
	size_t stem_len;		/* how much of the body was the stem; 0: not stamped, or session.usage */
	int64_t at_us;
	char role;			/* 'u', 'a' or 0 */
	char *fragment, *private;	/* may be NULL */
};

enum interval { INTERVAL_KEEP, INTERVAL_OPEN, INTERVAL_CLOSE };

struct action_row {
	char id[ID_MAX];
	int event;		/* which event is the tool use */
	bool custom;
	char *name, *input;
};

/* What the judging of a reply's calls consumed. */
struct judged {
	char model[129];
	struct model_usage usage;
	struct cost_rates rates;
	bool lost;		/* of some request nobody knows what it cost */
};

struct batch {
	struct batch_who who;
	struct event *ev;
	int nev;
	int64_t *taken;		/* inbox_seq consumed */
	int ntaken, taken_wakes;	/* how many; how many of them wake */
	int64_t taken_bytes;	/* of their stems */
	struct action_row *actions;	/* tool uses that now wait for the client */
	int nactions;
	const char *status;	/* the session's new status, or NULL */
	enum interval interval;
	int interval_ev;	/* the event whose stamp opens or closes the interval */
	int span_ev;		/* the event that carries `tokens`; -1: none */
	int gap_ev;		/* the end of a request whose cost nobody knows (meter_gap); -1: none */
	struct model_usage tokens;
	struct cost_rates rates;	/* what a token of `tokens` costs */
	struct judged judged;	/* beside `tokens`, at the same event; all 0: nothing was judged */
	int64_t token_nano;	/* list cost of both; by batch_stamp */
	bool unpriced;		/* some of them have none */
	bool paused;		/* with status idle: at the budget's cap, the model still owes a reply */
	const char *stop_details;	/* of idle events; JSON, or NULL */
	struct totals after;	/* by batch_stamp */
	size_t bytes;
};

void batch_init(struct batch *b, struct batch_who who);
void batch_free(struct batch *b);

/* session.status_running, session.thread_status_running; opens the billed interval. */
void batch_running(struct batch *b);
/* session.thread_status_idle, session.usage, session.status_idle; closes the interval if one is open. stop: BATCH_STOP_*, or the
 * text of batch_requires_action(). */
void batch_idle(struct batch *b, const char *stop, bool interval_open);
/* Only session.usage and session.status_idle: the wait goes on with fewer ids (contract 3.5). */
void batch_idle_again(struct batch *b, const char *stop);
/* session.thread_status_rescheduled, session.status_rescheduled. */
void batch_rescheduled(struct batch *b, bool interval_open);
/* session.thread_status_terminated, session.status_terminated. */
void batch_terminated(struct batch *b, bool interval_open);

#define BATCH_STOP_END "{\"type\":\"end_turn\"}"
#define BATCH_STOP_EXHAUSTED "{\"type\":\"retries_exhausted\"}"
#define BATCH_STOP_REFUSAL "{\"type\":\"refusal\"}"
#define BATCH_STOP_BUDGET "{\"type\":\"budget_reached\"}"
/* {"type":"requires_action","event_ids":[...]} of n ids; the caller frees. */
char *batch_requires_action(const char *const *ids, int n);

#define BATCH_COMPACTED "agent.thread_context_compacted"

/* span.model_request_start; its id goes to out. */
void batch_span_start(struct batch *b, char out[ID_MAX]);
/* span.model_request_end; usage NULL: nothing is known of it, all zero. rates: of the model that answered; NULL as unknown. */
void batch_span_end(struct batch *b, const char *start_id, bool is_error, const struct model_usage *usage, const struct cost_rates *rates);

/* The same event's reply held calls that were judged. */
void batch_judged(struct batch *b, const struct judged *judged);

/* id NULL: a fresh one. raw: what the provider wants back. */
void batch_thinking(struct batch *b, const char *id, const char *raw);
/* agent.thread_context_compacted; blocks: what the model sees from now on in place of everything before. */
void batch_compacted(struct batch *b, const char *blocks);
/* The text blocks of a reply as one message; nothing when there is no text. */
void batch_message(struct batch *b, const char *id, const struct model_reply *reply);
/* One tool call. A verdict of ASK and a custom tool leave an action behind. */
void batch_tool_use(struct batch *b, const char *id, const char *name, const char *input, const struct tool_rule *rule);
/* agent.tool_result with one text block. */
void batch_tool_result(struct batch *b, const char *tool_use_id, const char *text, bool is_error);
/* span.outcome_evaluation_start or, when that stands already, _ongoing; the id goes to out unless it is NULL. */
void batch_outcome_start(struct batch *b, const char *type, const char *outcome_id, int iteration, char *out);
/* span.outcome_evaluation_end. usage NULL: nothing was measured (interrupted, or no evaluation could be made). say: the block that the
 * model reads of it, or NULL. */
struct outcome_end {
	const char *start_id, *outcome_id, *result, *explanation, *say;
	int iteration;
};
void batch_outcome_end(struct batch *b, const struct outcome_end *end, const struct model_usage *usage, const struct cost_rates *rates);

/* session.error; retry: retrying, exhausted or terminal. */
void batch_error(struct batch *b, const char *type, const char *message, const char *retry);

/* Drop the events from nev on, and the status and interval they stood for. */
void batch_truncate(struct batch *b, int nev);

struct arrival;
/* Move an inbox item (arrivals.h) into the log. keep_fragment false: the model does not see it. */
void batch_inbox(struct batch *b, const struct arrival *item, bool keep_fragment);
/* Forget an inbox item without logging it (contract 3.5: queued inputs are flushed). */
void batch_flush(struct batch *b, const struct arrival *item);

/*
 * Give event k the stamp base + k, finish the bodies, compute the totals after this append. May be called again.
 * before: the totals so far.
 */
void batch_stamp(struct batch *b, int64_t base_us, const struct totals *before);

/* What a list of five counts has in the order of enum cost_class. */
void batch_classes(const struct model_usage *u, int64_t out[COST_CLASSES]);

#endif
