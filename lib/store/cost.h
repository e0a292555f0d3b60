/*
 * cost: what a session has consumed at list prices (contract 9.2, 9.3), in whole numbers only. The one rule for gateway and worker.
 *
 * Tokens cost whole nano-dollars each: a price of at most three decimals per million tokens is one. The runtime is priced as a whole from
 * the milliseconds of `running` ($0.08 an hour: 200/9 nano-dollars each), so nothing is rounded before the comparison or the last digit.
 *
 * Pure.
 */
#ifndef ROOST_STORE_COST_H
#define ROOST_STORE_COST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "jspan.h"
#include "jw.h"

enum cost_class { COST_INPUT, COST_OUTPUT, COST_CACHE_READ, COST_CACHE_5M, COST_CACHE_1H, COST_CLASSES };

/* A model's list price for one way of asking it. */
struct cost_rates {
	bool fast;			/* it is for the fast speed */
	bool known;			/* false: there is none, nothing below counts */
	int64_t token[COST_CLASSES];	/* nano-dollars per token */
	int64_t web_search;		/* nano-dollars per search; 0 unless the price names it */
};

/* Digits, perhaps a point and up to three more, as nano-dollars per token. false: it is none, or has more decimals that are not 0. */
bool cost_per_million(const char *text, size_t len, int64_t *out_nano);

/*
 * Read a catalogue's price object (catfile.h). speed NULL, "standard" or "fast"; geo NULL, "global" or "us" (x 1.1, rounded to whole
 * nano-dollars per token). Unknown: no price, another currency than USD, fast without a fast price. A cache class that the price does not
 * name costs as input.
 */
void cost_rates_read(const char *price, const char *speed, const char *geo, struct cost_rates *out);

int64_t cost_of_tokens(const struct cost_rates *rates, const int64_t tokens[COST_CLASSES]);

/* What a session has consumed. */
struct cost_spent {
	int64_t token_nano;
	int64_t active_us;
	bool unpriced;			/* some of it had no list price: the sum is not known */
};

/* Whole cents, to nearest. */
int64_t cost_cents(const struct cost_spent *s);
/* Is the exact sum at or above this many cents? What has no price counts as above. */
bool cost_reached(const struct cost_spent *s, int64_t cents);
/* Is this cap strictly above the exact sum? What had no price does not count: nobody knows it. */
bool cost_below(const struct cost_spent *s, int64_t cents);

/* The value of list_cost and of max_list_cost: {"amount":"12","currency":"USD"}; null when unpriced. */
void cost_write(struct jw *w, const struct cost_spent *s);
/* The value of a session's budget: null when cents is 0. */
void cost_write_budget(struct jw *w, int64_t cents);

/* What contract 9.3 still accepts at the cap. */
bool cost_accepts(const char *event_type);
#define COST_ACCEPTED "`user.tool_confirmation`, `user.tool_result`, `user.custom_tool_result`, or `user.interrupt`"
#define COST_NOT_RAISED "budget.max_list_cost must be greater than the session's consumed list cost"

#endif
