/*
 * appendq: appends to sessions' logs on a pipelined connection, the one way events are written (sql/functions/session_append_one.sql).
 *
 * Appends that queue up together travel as one statement (session_append_many) if they are plain, which most are. The others, and one that
 * is alone, go by session_append_one. Either way each is done or refused by itself, in the order of its session's appends, and answered
 * after its commit; one that fails takes nobody with it. A set is bounded in appends and bytes before it is put together.
 *
 * An append and all it points to are the caller's and stay as they are until it is answered.
 */
#ifndef ROOST_STORE_APPENDQ_H
#define ROOST_STORE_APPENDQ_H

#include "cost.h"
#include "dbq.h"

struct append_event {
	const char *id, *type, *body;
	const char *role;		/* "u", "a", "s" or NULL */
	const char *fragment, *private;	/* may be NULL */
};

/* A call that now waits for the client. */
struct append_call { const char *id, *kind, *name, *input; };

enum append_result { APPEND_OK, APPEND_FENCED, APPEND_WOKEN, APPEND_STAMP };

#define APPEND_READY 4

struct append;
/* e: NULL on success, else nothing of it was written, or, of kind EK_UNCERTAIN, nobody knows. last_seq: of APPEND_OK, the log's; now_us: of
 * APPEND_STAMP, the database's time. */
typedef void append_done_fn(struct append *a, enum append_result result, int64_t last_seq, int64_t now_us, const struct err *e);

/* As the arguments of session_append_one. Where a number may be absent, -1 says so. */
struct append {
	append_done_fn *done;
	const char *session, *thread;
	int64_t epoch, base_us;
	const struct append_event *events;
	int nevents;
	size_t bytes;			/* about, of all texts */
	const int64_t *taken;		/* consumed items of the inbox, */
	int ntaken, taken_wakes;
	int64_t taken_bytes;		/* and of their stems */
	const char *status;		/* or NULL */
	bool paused;
	int open_k, close_k, tokens_k;
	bool tokens_known;
	int64_t tokens[COST_CLASSES];
	struct cost_rates rates;
	bool unpriced;			/* token_nano is not known */
	int64_t token_nano;
	const char *model;		/* or NULL */
	const struct append_call *calls;
	int ncalls;
	const char *const *closed;	/* calls that wait no longer */
	int nclosed;
	const char *judge_model;	/* or NULL */
	int64_t judge_tokens[COST_CLASSES];
	struct cost_rates judge_rates;
	bool judge_lost;
	const char *release;		/* "idle", "keep", "retry", "done" or NULL */
	int64_t wake_gen, due_us;
	const char *const *ready;	/* with "keep": its next turn, as session_append_one's p_ready has it; NULL: not prepared */
	int64_t context_bytes;
	bool again;			/* it may have been committed before */
	bool troubled;			/* its session has crashed a worker since it last made progress */
	/* by done, of APPEND_OK: */
	uint32_t xid;			/* xmin of the session's row as this append left it; 0: not known, it had been committed before */
};

struct appendq;
/* at_hand, if any, is told of each append whose texts are about to be read after append_run() has returned. */
struct appendq *appendq_new(struct dbq *db, void (*at_hand)(struct append *a));
/* After its dbq: nothing is answered any more. */
void appendq_free(struct appendq **q);
/* Queue it. */
void append_run(struct appendq *q, struct append *a);

#endif
