/*
 * cost: see cost.h.
 *
 * The exact sum is token_nano + ms * 200 / 9. It is compared and rounded in ninths of nano-dollars, the whole cents of the tokens taken out
 * first, so that no product leaves 64 bits: milliseconds of a thousand years times 200 stay below 10^16. Fails nowhere.
 */
#include "cost.h"

#include <stdio.h>
#include <string.h>

#define CENT 10000000		/* nano-dollars */
#define RUNTIME 200		/* ninths of nano-dollars per millisecond: 0.08 * 10^9 / 3600000 * 9 */
#define DIGITS 9		/* before the point, as the catalogue takes them */

bool
cost_per_million(const char *text, size_t len, int64_t *out_nano)
{
	const char *end = text + len;
	int whole = 0, part = -1;
	int64_t nano = 0;

	for (; text < end; text++) {
		if (*text == '.' && part < 0 && whole > 0)
			part = 0;
		else if (*text < '0' || *text > '9')
			return false;
		else if (part < 0 && ++whole > DIGITS)
			return false;
		else if (part >= 3 && *text != '0')
			return false;
		else if (part < 3)
			nano = nano * 10 + *text - '0';
		if (part >= 0 && *text != '.')
			part++;
	}
	if (whole == 0 || part == 0)
		return false;
	for (part = part < 0 ? 0 : part; part < 3; part++)
		nano *= 10;
	*out_nano = nano;
	return true;
}

static bool
rate(struct jspan table, const char *key, int64_t *out)
{
	struct jspan v;

	return jspan_get(table, key, &v) && v.n > 2 && cost_per_million(v.p + 1, v.n - 2, out);
}

static bool
is(const char *value, const char *want)
{
	return value != NULL && strcmp(value, want) == 0;
}

void
cost_rates_read(const char *price, const char *speed, const char *geo, struct cost_rates *out)
{
	static const char *const keys[] = { "input", "output", "cache_read", "cache_write_5m", "cache_write_1h" };
	struct jspan whole = { price, price != NULL ? strlen(price) : 0 }, table, v;
	int64_t thousand;

	*out = (struct cost_rates){ .known = false, .fast = is(speed, "fast") };
	if (price == NULL || !jspan_get(whole, "currency", &v) || !jspan_is(v, "USD") ||
	    !jspan_get(whole, out->fast ? "fast_per_million_tokens" : "per_million_tokens", &table) ||
	    !rate(table, "input", &out->token[COST_INPUT]) || !rate(table, "output", &out->token[COST_OUTPUT]))
		return;
	for (int i = COST_CACHE_READ; i < COST_CLASSES; i++)
		if (!rate(table, keys[i], &out->token[i]))
			out->token[i] = out->token[COST_INPUT];
	if (rate(whole, "per_thousand_web_searches", &thousand))
		out->web_search = thousand * 1000;	/* thousandths of a dollar per thousand */
	for (int i = 0; i < COST_CLASSES && is(geo, "us"); i++)
		out->token[i] = (out->token[i] * 11 + 5) / 10;
	out->known = true;
}

int64_t
cost_of_tokens(const struct cost_rates *rates, const int64_t tokens[COST_CLASSES])
{
	int64_t nano = 0;

	for (int i = 0; i < COST_CLASSES; i++)
		nano += tokens[i] * rates->token[i];
	return nano;
}

/* What the whole cents of the tokens leave, with the runtime, in ninths. */
static int64_t
rest(const struct cost_spent *s)
{
	return s->token_nano % CENT * 9 + s->active_us / 1000 * RUNTIME;
}

int64_t
cost_cents(const struct cost_spent *s)
{
	return s->token_nano / CENT + (rest(s) + CENT * 9LL / 2) / (CENT * 9LL);
}

bool
cost_reached(const struct cost_spent *s, int64_t cents)
{
	return s->unpriced || s->token_nano / CENT + rest(s) / (CENT * 9LL) >= cents;
}

bool
cost_below(const struct cost_spent *s, int64_t cents)
{
	return s->token_nano / CENT + rest(s) / (CENT * 9LL) < cents;
}

static void
amount_write(struct jw *w, int64_t cents)
{
	char amount[24];

	snprintf(amount, sizeof(amount), "%lld", (long long)cents);
	jw_obj(w);
	jw_kstr(w, "amount", amount);
	jw_kstr(w, "currency", "USD");
	jw_obj_end(w);
}

void
cost_write(struct jw *w, const struct cost_spent *s)
{
	if (s->unpriced)
		jw_null(w);
	else
		amount_write(w, cost_cents(s));
}

void
cost_write_budget(struct jw *w, int64_t cents)
{
	if (cents == 0) {
		jw_null(w);
		return;
	}
	jw_obj(w);
	jw_kstr(w, "type", "limit");
	jw_key(w, "max_list_cost");
	amount_write(w, cents);
	jw_obj_end(w);
}

bool
cost_accepts(const char *event_type)
{
	return is(event_type, "user.tool_confirmation") || is(event_type, "user.tool_result") ||
	    is(event_type, "user.custom_tool_result") || is(event_type, "user.interrupt");
}
