/*
 * check_bill: of one session's log (check_log.h): the meters are exactly the log (operations.md A5), and what the log tells of usage and
 * cost is their sum. Rows come in the order of their events, so one place in each list is all that is remembered.
 */
#include "check_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cost.h"

static const char *const token_meters[NTOKENS] = {
	"tokens.input", "tokens.output", "tokens.cache_read", "tokens.cache_write_5m", "tokens.cache_write_1h",
};

struct meter {
	int64_t seq, quantity, cum_before, start_us, end_us;
	const char *name;
	int64_t nano;		/* list cost of a row of tokens, -1: it had no price */
	bool other;		/* for another purpose than the session's own request: no span tells of it */
};

static bool
meter_peek(const struct walk *w, struct meter *m)
{
	int i = w->meter;

	if (i >= PQntuples(w->meters))
		return false;
	*m = (struct meter){ .seq = pg_int(w->meters, i, 0), .name = pg_str(w->meters, i, 1), .quantity = pg_int(w->meters, i, 2),
	    .cum_before = pg_int(w->meters, i, 3), .start_us = pg_int(w->meters, i, 4), .end_us = pg_int(w->meters, i, 5),
	    .other = pg_bool(w->meters, i, 6), .nano = pg_str(w->meters, i, 7) ? pg_int(w->meters, i, 7) : -1 };
	return true;
}

/* Rows that no event before seq called for. */
static void
meters_before(struct walk *w, int64_t seq)
{
	struct meter m;

	for (; meter_peek(w, &m) && m.seq < seq; w->meter++)
		check_fail(w->ck, CK_TOKENS, w->session, "a row of %s, %" PRId64 " at seq %" PRId64 ", where nothing is billed", m.name,
		    m.quantity, m.seq);
}

/* The row of this name at seq. Rows of one event come in the order of their names. */
static bool
meter_take(struct walk *w, int64_t seq, const char *name, bool other, struct meter *out)
{
	for (int i = w->meter; i < PQntuples(w->meters) && pg_int(w->meters, i, 0) == seq; i++) {
		int at = w->meter;
		bool there;

		w->meter = i;
		there = meter_peek(w, out);
		w->meter = at;
		if (there && strcmp(out->name, name) == 0 && out->other == other)
			return true;
	}
	return false;
}

#define SLICE_US 60000000
#define DAY_US 86400000000

/* The slices up to this seq: each begins where the one before ends, the first where the interval was opened. */
static void
slices_until(struct walk *w, int64_t seq)
{
	const PGresult *r = w->slices;

	for (; w->slice < PQntuples(r) && pg_int(r, w->slice, 0) <= seq; w->slice++) {
		int64_t ms = pg_int(r, w->slice, 1), before = pg_int(r, w->slice, 2), from = pg_int(r, w->slice, 3), to = pg_int(r, w->slice, 4);

		if (w->open_us == 0 || from != w->billed_us || before != w->billed_ms)
			check_fail(w->ck, CK_RUNTIME, w->session, "a row of %" PRId64 " ms on top of %" PRId64 " at seq %" PRId64 ", where %s", ms, before,
			    pg_int(r, w->slice, 0), w->open_us == 0 ? "nothing is billed" : "the interval stands elsewhere");
		if (to - from > SLICE_US || (to > from && from / DAY_US != (to - 1) / DAY_US))
			check_fail(w->ck, CK_SLICES, w->session, "the row at seq %" PRId64 " covers %" PRId64 " us, or two days", pg_int(r, w->slice, 0),
			    to - from);
		w->billed_us = to;
		w->billed_ms += ms;
	}
}

static void
close_interval(struct walk *w, const struct event *ev)
{
	slices_until(w, ev->seq);
	if (w->open_us == 0)
		return;
	w->sum.active_us += ev->at_us - w->open_us;
	if (w->billed_us != ev->at_us || w->billed_ms != w->sum.active_us / 1000)
		check_fail(w->ck, CK_RUNTIME, w->session, "seq %" PRId64 " ends an interval; billed are %" PRId64 " ms up to %" PRId64 " us before it, "
		    "the log says %" PRId64, ev->seq, w->billed_ms, ev->at_us - w->billed_us, w->sum.active_us / 1000);
	w->open_us = 0;
	w->billed_ms = w->sum.active_us / 1000;	/* a difference is told once */
}

/* Rows of one class at a span's end, the span's own and those of what was asked besides; returns the span's own quantity. */
static int64_t
bill_class(struct walk *w, const struct event *ev, int i)
{
	int64_t own = 0;
	struct meter m;

	for (int other = 0; other < 2; other++) {
		if (!meter_take(w, ev->seq, token_meters[i], other != 0, &m))
			continue;
		if (m.cum_before != w->sum.tokens[i])
			check_fail(w->ck, CK_TOKENS, w->session, "%s at seq %" PRId64 " begins at %" PRId64 ", the log has %" PRId64, m.name,
			    ev->seq, m.cum_before, w->sum.tokens[i]);
		w->sum.tokens[i] += m.quantity;
		w->sum.nano += m.nano > 0 ? m.nano : 0;
		w->sum.unpriced |= m.nano < 0;
		own += other != 0 ? 0 : m.quantity;
	}
	return own;
}

/* What the span's end tells, against the rows: the two lifetimes of cache writes are one number in the event. */
static void
bill_tokens(struct walk *w, const struct event *ev)
{
	int64_t told[4], billed[NTOKENS] = { 0 };
	struct jspan usage = { "{}", 2 };

	(void)jspan_get(ev->body, ev->type->class == C_EVAL_END ? "usage" : "model_usage", &usage);
	told[0] = check_int_at(usage, "input_tokens");
	told[1] = check_int_at(usage, "output_tokens");
	told[2] = check_int_at(usage, "cache_read_input_tokens");
	told[3] = check_int_at(usage, "cache_creation_input_tokens");
	for (int i = 0; i < NTOKENS; i++)
		billed[i] = bill_class(w, ev, i);
	if (told[0] != billed[0] || told[1] != billed[1] || told[2] != billed[2] || told[3] != billed[3] + billed[4])
		check_fail(w->ck, CK_TOKENS, w->session, "seq %" PRId64 " tells in %" PRId64 " out %" PRId64 " read %" PRId64 " write %" PRId64
		    ", billed are %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64, ev->seq, told[0], told[1], told[2], told[3], billed[0], billed[1],
		    billed[2], billed[3] + billed[4]);
}

void
check_bill(struct walk *w, const struct event *ev)
{
	bool tokens = ev->type->class == C_SPAN_END || ev->type->class == C_EVAL_END;
	struct meter m;

	meters_before(w, ev->seq);
	slices_until(w, ev->seq - 1);
	if (ev->type->class == C_IDLE || ev->type->class == C_LATER || ev->type->class == C_END) {
		close_interval(w, ev);
	} else if (ev->type->class == C_RUNNING) {
		w->open_us = w->billed_us = ev->at_us;
	} else if (tokens) {
		bill_tokens(w, ev);
	}
	for (; meter_peek(w, &m) && m.seq == ev->seq; w->meter++)
		if (!tokens)
			check_fail(w->ck, CK_TOKENS, w->session, "a row of %s, %" PRId64 " at seq %" PRId64 " (%s), where nothing is billed",
			    m.name, m.quantity, m.seq, ev->type_name);
}

void
check_bill_rest(struct walk *w)
{
	meters_before(w, INT64_MAX);
	slices_until(w, INT64_MAX);
}

/* list_cost is the rows' sum and the runtime, rounded once; it is absent when a row has no price. */
static void
check_told_cost(struct walk *w, struct jspan usage)
{
	const struct cost_spent spent = { .token_nano = w->sum.nano, .active_us = w->sum.active_us };
	char said[32] = "none", want[32] = "none";
	struct jspan cost;

	if (jspan_get(usage, "list_cost", &cost))
		check_text_at(cost, "amount", said, sizeof said);
	if (!w->sum.unpriced)
		snprintf(want, sizeof want, "%" PRId64, cost_cents(&spent));
	if (strcmp(said, want) != 0)
		check_fail(w->ck, CK_USAGE, w->session, "seq %" PRId64 " shows a list_cost of %s cents, the log says %s", w->usage_seq, said, want);
}

void
check_usage(struct walk *w)
{
	static const char *const keys[] = { "input_tokens", "output_tokens", "cache_read_input_tokens" };
	struct jspan body = { w->usage_text, strlen(w->usage_text) }, usage = { "{}", 2 }, cache = { "{}", 2 }, seconds = { "", 0 };
	char want[32];

	(void)jspan_get(body, "usage", &usage);
	(void)jspan_get(usage, "cache_creation", &cache);
	(void)jspan_get(usage, "active_seconds", &seconds);
	for (int i = 0; i < 3; i++)
		if (check_int_at(usage, keys[i]) != w->sum.tokens[i])
			check_fail(w->ck, CK_USAGE, w->session, "seq %" PRId64 " shows %s %" PRId64 ", the log says %" PRId64, w->usage_seq, keys[i],
			    check_int_at(usage, keys[i]), w->sum.tokens[i]);
	if (check_int_at(cache, "ephemeral_5m_input_tokens") != w->sum.tokens[3] ||
	    check_int_at(cache, "ephemeral_1h_input_tokens") != w->sum.tokens[4])
		check_fail(w->ck, CK_USAGE, w->session, "seq %" PRId64 " shows other cache writes than the log", w->usage_seq);
	snprintf(want, sizeof want, "%" PRId64 ".%03" PRId64, w->sum.active_us / 1000000, w->sum.active_us / 1000 % 1000);
	check_told_cost(w, usage);
	if (seconds.n != strlen(want) || memcmp(seconds.p, want, seconds.n) != 0)
		check_fail(w->ck, CK_USAGE, w->session, "seq %" PRId64 " shows active_seconds %.*s, the log says %s", w->usage_seq,
		    (int)seconds.n, seconds.p, want);
}
