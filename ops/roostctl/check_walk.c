/*
 * check_walk: reads the log of each session from its first event to its last and proves what only the order can show: numbering, stamps,
 * the order of contract 3.5 (check_order.def), pairs (spans, calls), and that the meters are exactly the log (operations.md A5).
 *
 * Memory is bounded by one page of events, one session's meter rows and its open calls. The caller holds a snapshot, so a session and
 * its log belong together. A log that is broken in one place is reported there and read on.
 */
#include "check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "cost.h"
#include "jspan.h"
#include "xalloc.h"

#define SESSIONS_PAGE "500"
#define EVENTS_PAGE "2000"
#define EVENTS_PAGE_N 2000
#define SESSIONS_PAGE_N 500
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
#undef TYPE
	S_COUNT
};

static const struct { const char *text; bool rest; } states[S_COUNT] = {
#define TYPE(type, class, after)
#define STATE(name, r, words) [S_##name] = { words, r },
#include "check_order.def"
#undef STATE
#undef TYPE
#undef STEP
};

static const struct type { const char *name; enum class class; enum state after; } types[] = {
#define STATE(name, rest, text)
#define STEP(from, class, to)
#define TYPE(text, cl, next) { text, C_##cl, S_##next },
#include "check_order.def"
#undef TYPE
#undef STEP
};

static const struct { enum state from; enum class class; enum state to; } steps[] = {
#define TYPE(type, class, after)
#define STEP(f, cl, t) { S_##f, C_##cl, S_##t },
#include "check_order.def"
#undef TYPE
#undef STEP
#undef STATE
};

struct event {
	int64_t seq, at_us;
	const char *id, *type_name;
	const struct type *type;
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

static const char *const token_meters[NTOKENS] = {
	"tokens.input", "tokens.output", "tokens.cache_read", "tokens.cache_write_5m", "tokens.cache_write_1h",
};

static const struct type *
type_of(const char *name)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (strcmp(types[i].name, name) == 0)
			return &types[i];
	return NULL;
}

static void
text_at(struct jspan body, const char *key, char *out, size_t size)
{
	struct jspan v;
	size_t n;

	out[0] = '\0';
	if (!jspan_get(body, key, &v) || v.n < 2 || v.p[0] != '"')
		return;
	n = v.n - 2 < size - 1 ? v.n - 2 : size - 1;
	memcpy(out, v.p + 1, n);
	out[n] = '\0';
}

static int64_t
int_at(struct jspan body, const char *key)
{
	struct jspan v;
	int64_t n = 0;

	if (jspan_get(body, key, &v) && !jspan_int(v, &n))
		return -1;
	return n;
}

/* --- order and identity ---------------------------------------------------------------------------------------------------- */

static void
check_body(struct walk *w, const struct event *ev)
{
	char id[ID_MAX], type[64], stamp[64];
	int64_t us = 0;

	text_at(ev->body, "id", id, sizeof id);
	text_at(ev->body, "type", type, sizeof type);
	text_at(ev->body, "processed_at", stamp, sizeof stamp);
	if (strcmp(id, ev->id) != 0 || strcmp(type, ev->type_name) != 0)
		check_fail(w->ck, CK_BODY, w->session, "seq %" PRId64 " is %s %s, its text says %s %s", ev->seq, ev->type_name, ev->id, type, id);
	else if (clock_parse(stamp, &us) < 0 || us != ev->at_us)
		check_fail(w->ck, CK_BODY, w->session, "seq %" PRId64 " (%s) is stamped %" PRId64 " us, its text says %s", ev->seq,
		    ev->type_name, ev->at_us, stamp);
}

static void
check_order(struct walk *w, const struct event *ev)
{
	enum state from = w->state;

	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
		if (steps[i].from == from && steps[i].class == ev->type->class) {
			w->state = steps[i].to;
			return;
		}
	check_fail(w->ck, CK_ORDER, w->session, "seq %" PRId64 ": %s after %s", ev->seq, ev->type_name, states[from].text);
	w->state = ev->type->after;
}

/* --- pairs ----------------------------------------------------------------------------------------------------------------- */

static void
span_start(struct walk *w, const struct event *ev)
{
	if (w->span[0] != '\0')
		check_fail(w->ck, CK_SPANS, w->session, "seq %" PRId64 ": a request begins while %s is open", ev->seq, w->span);
	snprintf(w->span, sizeof w->span, "%s", ev->id);
}

static void
span_end(struct walk *w, const struct event *ev)
{
	char start[ID_MAX];

	text_at(ev->body, "model_request_start_id", start, sizeof start);
	if (strcmp(start, w->span) != 0)
		check_fail(w->ck, CK_SPANS, w->session, "seq %" PRId64 " ends %s, open is %s", ev->seq, start, w->span[0] ? w->span : "none");
	w->span[0] = '\0';
}

static struct open_call *
call_find(struct walk *w, const char *id)
{
	for (int i = 0; i < w->ncalls; i++)
		if (strcmp(w->calls[i].id, id) == 0)
			return &w->calls[i];
	return NULL;
}

static void
call_open(struct walk *w, const struct event *ev)
{
	w->calls = xrealloc(w->calls, (size_t)(w->ncalls + 1) * sizeof *w->calls);
	w->calls[w->ncalls] = (struct open_call){ .answered = false };
	snprintf(w->calls[w->ncalls++].id, ID_MAX, "%s", ev->id);
}

/* An answer that the model does not see (its call was ended before) is a note, not a result. */
static void
call_result(struct walk *w, const struct event *ev, const char *key)
{
	struct open_call *c;
	char id[ID_MAX];

	if (!ev->visible)
		return;
	text_at(ev->body, key, id, sizeof id);
	c = call_find(w, id);
	if (c == NULL || c->answered)
		check_fail(w->ck, CK_CALLS, w->session, "seq %" PRId64 " is %s result of %s", ev->seq, c == NULL ? "the" : "a second", id);
	else
		c->answered = true;
}

static void
check_awaited(struct walk *w, const struct event *ev)
{
	struct jspan stop, ids, one;
	struct jspan_iter it;
	char id[ID_MAX];

	if (!jspan_get(ev->body, "stop_reason", &stop) || !jspan_get(stop, "event_ids", &ids))
		return;
	for (it = jspan_array(ids); jspan_next(&it, &one);) {
		const struct open_call *c;

		snprintf(id, sizeof id, "%.*s", one.n < 2 ? 0 : (int)(one.n - 2), one.p + 1);
		c = call_find(w, id);
		if (c == NULL || c->answered)
			check_fail(w->ck, CK_AWAITED, w->session, "seq %" PRId64 " waits for %s, which is %s", ev->seq, id,
			    c == NULL ? "no open tool use" : "answered");
	}
}

static void
calls_forget_answered(struct walk *w)
{
	int kept = 0;

	for (int i = 0; i < w->ncalls; i++)
		if (!w->calls[i].answered)
			w->calls[kept++] = w->calls[i];
	w->ncalls = kept;
}

/* --- meters ---------------------------------------------------------------------------------------------------------------- */

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

		w->meter = i;
		(void)meter_peek(w, out);
		w->meter = at;
		if (strcmp(out->name, name) == 0 && out->other == other)
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
	told[0] = int_at(usage, "input_tokens");
	told[1] = int_at(usage, "output_tokens");
	told[2] = int_at(usage, "cache_read_input_tokens");
	told[3] = int_at(usage, "cache_creation_input_tokens");
	for (int i = 0; i < NTOKENS; i++)
		billed[i] = bill_class(w, ev, i);
	if (told[0] != billed[0] || told[1] != billed[1] || told[2] != billed[2] || told[3] != billed[3] + billed[4])
		check_fail(w->ck, CK_TOKENS, w->session, "seq %" PRId64 " tells in %" PRId64 " out %" PRId64 " read %" PRId64 " write %" PRId64
		    ", billed are %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64, ev->seq, told[0], told[1], told[2], told[3], billed[0], billed[1],
		    billed[2], billed[3] + billed[4]);
}

/* After an event: whatever rows stand at its seq have been called for, or not. */
static void
bill(struct walk *w, const struct event *ev)
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

/* list_cost is the rows' sum and the runtime, rounded once; it is absent when a row has no price. */
static void
check_told_cost(struct walk *w, struct jspan usage)
{
	const struct cost_spent spent = { .token_nano = w->sum.nano, .active_us = w->sum.active_us };
	char said[32] = "none", want[32] = "none";
	struct jspan cost;

	if (jspan_get(usage, "list_cost", &cost))
		text_at(cost, "amount", said, sizeof said);
	if (!w->sum.unpriced)
		snprintf(want, sizeof want, "%" PRId64, cost_cents(&spent));
	if (strcmp(said, want) != 0)
		check_fail(w->ck, CK_USAGE, w->session, "seq %" PRId64 " shows a list_cost of %s cents, the log says %s", w->usage_seq, said, want);
}

/* A session.usage tells the sums up to the session.status_idle behind it. */
static void
check_usage(struct walk *w)
{
	static const char *const keys[] = { "input_tokens", "output_tokens", "cache_read_input_tokens" };
	struct jspan body = { w->usage_text, strlen(w->usage_text) }, usage = { "{}", 2 }, cache = { "{}", 2 }, seconds = { "", 0 };
	char want[32];

	(void)jspan_get(body, "usage", &usage);
	(void)jspan_get(usage, "cache_creation", &cache);
	(void)jspan_get(usage, "active_seconds", &seconds);
	for (int i = 0; i < 3; i++)
		if (int_at(usage, keys[i]) != w->sum.tokens[i])
			check_fail(w->ck, CK_USAGE, w->session, "seq %" PRId64 " shows %s %" PRId64 ", the log says %" PRId64, w->usage_seq, keys[i],
			    int_at(usage, keys[i]), w->sum.tokens[i]);
	if (int_at(cache, "ephemeral_5m_input_tokens") != w->sum.tokens[3] || int_at(cache, "ephemeral_1h_input_tokens") != w->sum.tokens[4])
		check_fail(w->ck, CK_USAGE, w->session, "seq %" PRId64 " shows other cache writes than the log", w->usage_seq);
	snprintf(want, sizeof want, "%" PRId64 ".%03" PRId64, w->sum.active_us / 1000000, w->sum.active_us / 1000 % 1000);
	check_told_cost(w, usage);
	if (seconds.n != strlen(want) || memcmp(seconds.p, want, seconds.n) != 0)
		check_fail(w->ck, CK_USAGE, w->session, "seq %" PRId64 " shows active_seconds %.*s, the log says %s", w->usage_seq,
		    (int)seconds.n, seconds.p, want);
}

/* --- one event, one session ------------------------------------------------------------------------------------------------ */

static void
remember_usage(struct walk *w, const struct event *ev)
{
	free(w->usage_text);
	w->usage_text = xstrndup(ev->body.p, ev->body.n);
	w->usage_seq = ev->seq;
}

static void
meaning(struct walk *w, const struct event *ev)
{
	switch (ev->type->class) {
	case C_SPAN_START:
		span_start(w, ev);
		break;
	case C_SPAN_END:
		span_end(w, ev);
		break;
	case C_CALL:
		call_open(w, ev);
		break;
	case C_RESULT:
		call_result(w, ev, "tool_use_id");
		break;
	case C_NOTE:
		if (strcmp(ev->type_name, "user.custom_tool_result") == 0)
			call_result(w, ev, "custom_tool_use_id");
		break;
	case C_USAGE:
		remember_usage(w, ev);
		break;
	case C_RUNNING:
		w->said = "running";
		break;
	case C_LATER:
		w->said = "rescheduling";
		break;
	case C_END:
		w->said = "terminated";
		break;
	case C_IDLE:
		w->said = "idle";
		check_awaited(w, ev);
		if (w->usage_text != NULL)
			check_usage(w);
		calls_forget_answered(w);
		break;
	default:
		break;
	}
}

static void
event_check(struct walk *w, const struct event *ev)
{
	w->ck->nevents++;
	if (ev->seq != w->seq + 1)
		check_fail(w->ck, CK_GAPLESS, w->session, "after seq %" PRId64 " comes %" PRId64, w->seq, ev->seq);
	if (ev->at_us <= w->at_us)
		check_fail(w->ck, CK_STAMPS, w->session, "seq %" PRId64 " (%s) is stamped %" PRId64 " us before the one before it", ev->seq,
		    ev->type_name, w->at_us - ev->at_us);
	w->seq = ev->seq;
	w->at_us = ev->at_us;
	check_body(w, ev);
	if (ev->type == NULL) {
		check_fail(w->ck, CK_ORDER, w->session, "seq %" PRId64 " is of an unknown type, %s", ev->seq, ev->type_name);
		return;
	}
	check_order(w, ev);
	bill(w, ev);
	meaning(w, ev);
}

static int
events_walk(struct walk *w, struct err *e)
{
	int n;

	do {
		AUTO(pgres) PGresult *r = NULL;

		if (DB_RUN(w->ck->c->db, STMT_CHECK_EVENTS, &r, e, w->session, DBN(w->seq), EVENTS_PAGE) < 0)
			return err_wrap(e, "log of %s", w->session);
		n = PQntuples(r);
		for (int i = 0; i < n; i++) {
			struct event ev = { .seq = pg_int(r, i, 0), .id = pg_str(r, i, 1), .type_name = pg_str(r, i, 2), .at_us = pg_int(r, i, 3),
			    .type = type_of(pg_str(r, i, 2)), .body = { pg_str(r, i, 4), (size_t)PQgetlength(r, i, 4) },
			    .visible = pg_bool(r, i, 5) };

			event_check(w, &ev);
		}
	} while (n == EVENTS_PAGE_N);
	return 0;
}

/* Calls without a result: fine while somebody works, when they wait for the client, and after the end. */
static int
calls_check(struct walk *w, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	calls_forget_answered(w);
	if (w->ncalls == 0 || strcmp(w->status, "idle") != 0)
		return 0;
	if (DB_RUN(w->ck->c->db, STMT_CHECK_ACTIONS, &r, e, w->session) < 0)
		return err_wrap(e, "calls of %s", w->session);
	for (int i = 0; i < w->ncalls; i++) {
		bool waits = false;

		for (int k = 0; k < PQntuples(r) && !waits; k++)
			waits = strcmp(pg_str(r, k, 0), w->calls[i].id) == 0;
		if (!waits)
			check_fail(w->ck, CK_CALLS, w->session, "%s has no result, and the session is idle without waiting for it", w->calls[i].id);
	}
	return 0;
}

static void
row_check(struct walk *w)
{
	static const char *const names[NTOKENS] = { "input", "output", "cache read", "cache write 5m", "cache write 1h" };

	int64_t sliced;

	meters_before(w, INT64_MAX);
	slices_until(w, INT64_MAX);
	sliced = w->open_us == 0 ? 0 : w->billed_us - w->open_us;
	if (w->seq != w->last_seq)
		check_fail(w->ck, CK_GAPLESS, w->session, "the row says last_seq %" PRId64 ", the log ends at %" PRId64, w->last_seq, w->seq);
	if (w->at_us > w->last_at)
		check_fail(w->ck, CK_STAMPS, w->session, "the newest event is %" PRId64 " us younger than the row's last_at",
		    w->at_us - w->last_at);
	if (strcmp(w->status, w->said) != 0)
		check_fail(w->ck, CK_STATUS, w->session, "the row says %s, the log %s", w->status, w->said);
	if (!states[w->state].rest)
		check_fail(w->ck, CK_ORDER, w->session, "the log ends after %s", states[w->state].text);
	if (w->span[0] != '\0' && strcmp(w->status, "running") != 0)
		check_fail(w->ck, CK_SPANS, w->session, "%s has no end and the session is %s", w->span, w->status);
	if (w->sum.active_us + sliced != w->row.active_us || (w->open_us == 0 ? 0 : w->billed_us) != w->running_since)
		check_fail(w->ck, CK_TOTALS, w->session, "running %" PRId64 " us, open since %" PRId64 "; the log says %" PRId64 " and %" PRId64,
		    w->row.active_us, w->running_since, w->sum.active_us + sliced, w->billed_us);
	for (int i = 0; i < NTOKENS; i++)
		if (w->sum.tokens[i] != w->row.tokens[i])
			check_fail(w->ck, CK_TOTALS, w->session, "%s tokens: the row has %" PRId64 ", the log %" PRId64, names[i], w->row.tokens[i],
			    w->sum.tokens[i]);
	if (w->row.active_us > w->last_at - w->created_at)
		check_fail(w->ck, CK_WALL, w->session, "ran %" PRId64 " us in a life of %" PRId64, w->row.active_us, w->last_at - w->created_at);
}

static int
session_walk(struct check *ck, const PGresult *r, int i, struct err *e)
{
	struct walk w = { .ck = ck, .session = pg_str(r, i, 0), .status = pg_str(r, i, 1), .last_seq = pg_int(r, i, 2),
	    .last_at = pg_int(r, i, 3), .created_at = pg_int(r, i, 4), .running_since = pg_int(r, i, 5), .said = "idle", .state = S_IDLE };
	AUTO(pgres) PGresult *meters = NULL;
	AUTO(pgres) PGresult *slices = NULL;
	int rc;

	w.row.active_us = pg_int(r, i, 6);
	for (int k = 0; k < NTOKENS; k++)
		w.row.tokens[k] = pg_int(r, i, 7 + k);
	if (DB_RUN(ck->c->db, STMT_CHECK_METERS, &meters, e, w.session) < 0 || DB_RUN(ck->c->db, STMT_CHECK_SLICES, &slices, e, w.session) < 0)
		return err_wrap(e, "meters of %s", w.session);
	w.meters = meters;
	w.slices = slices;
	ck->nsessions++;
	ck->nmeters += PQntuples(meters) + PQntuples(slices);
	rc = events_walk(&w, e);
	if (rc == 0)
		rc = calls_check(&w, e);
	if (rc == 0)
		row_check(&w);
	free(w.calls);
	free(w.usage_text);
	return rc;
}

int
check_walk(struct check *ck, struct err *e)
{
	char last[ID_MAX] = "";
	int n;

	do {
		AUTO(pgres) PGresult *r = NULL;

		if (DB_RUN(ck->c->db, STMT_CHECK_SESSIONS, &r, e, ck->session, last, SESSIONS_PAGE) < 0)
			return err_wrap(e, "sessions");
		n = PQntuples(r);
		for (int i = 0; i < n; i++)
			if (session_walk(ck, r, i, e) < 0)
				return -1;
		if (n > 0)
			snprintf(last, sizeof last, "%s", pg_str(r, n - 1, 0));
	} while (n == SESSIONS_PAGE_N);
	return 0;
}
