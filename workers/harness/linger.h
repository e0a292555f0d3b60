/*
 * linger: the sessions whose leases a worker keeps for a moment after a turn, in case their clients come back. A table, and nothing else:
 * what is asked of the database about them is kept.c. *(pure)*
 *
 * Each is in one of four states, and in that state's list. Owns what it holds; a pointer to a lease is good until that lease is dropped.
 */
#ifndef ROOST_HARNESS_LINGER_H
#define ROOST_HARNESS_LINGER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "id.h"

enum kept_state {
	KEPT_QUIET,	/* nothing has been heard; in the order in which they were kept */
	KEPT_RUNG,	/* something came: to be read */
	KEPT_READING,	/* is being read */
	KEPT_SETTLING,	/* is being given back */
	KEPT_STATES
};

struct kept {
	TAILQ_ENTRY(kept) link;
	struct kept *chain;
	enum kept_state state;
	char workspace[ID_MAX], session[ID_MAX];
	int64_t epoch, wake_gen;
	int64_t until_ms;	/* monotonic: given back then */
	int64_t mark;		/* rounds.c: the last one that saw the lease */
	bool again;		/* something came while it was being read or given back */
	uint32_t xid;		/* what had written the session's row when it was left (xmin); 0: not known */
	int64_t reserved;	/* bytes that its next turn may take without asking; 0: none are kept for it */
	void *row;		/* and that row, in so far as the next turn needs it (resume.c); NULL: not known */
};

TAILQ_HEAD(kept_list, kept);

struct linger;
/* forget: called with the row of a lease that is dropped, if it has one. */
struct linger *linger_new(void (*forget)(void *row));
void linger_free(struct linger **l);

/* A lease is kept: quiet. One of the same session that was there is dropped. */
struct kept *linger_put(struct linger *l, const char *workspace, const char *session, int64_t epoch, int64_t wake_gen, int64_t until_ms);
/* NULL: not here. */
struct kept *linger_find(const struct linger *l, const char *session);
void linger_drop(struct linger *l, struct kept *k);
void linger_clear(struct linger *l);
/* Behind all that are in that state. */
void linger_move(struct linger *l, struct kept *k, enum kept_state to);
/* Something came for it: to be read now, or looked at again when what is under way has been answered. */
void linger_ring(struct linger *l, struct kept *k);
/* The first in a state, or NULL. */
struct kept *linger_first(const struct linger *l, enum kept_state state);
int linger_count(const struct linger *l);
/* Room is kept for its next turn, until it is dropped. */
void linger_reserve(struct linger *l, struct kept *k, int64_t bytes);
/* For how many it is kept; *bytes: how much. */
int linger_reserved(const struct linger *l, int64_t *bytes);
/* From the first quiet one on, up to max whose time has come (all: whether or not it has) are to be given back. Returns how many. */
int linger_due(struct linger *l, int64_t now_ms, bool all, int max);

/* Has a client come back soon enough to be waited for the next time? ended_ms 0: it is not known. */
bool linger_soon(int64_t ended_ms, int64_t now_ms, int64_t linger_ms);

#endif
