/*
 * check_walk: reads the log of each session from its first event to its last and proves what only the order can show: numbering, stamps,
 * the order of contract 3.5 (check_order.def); pairs (check_pairs.c), and that the meters are exactly the log (check_bill.c).
 *
 * Memory is bounded by one page of events, one session's meter rows and its open calls. The caller holds a snapshot, so a session and
 * its log belong together. A log that is broken in one place is reported there and read on.
 */
#include "check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_log.h"
#include "clock.h"
#include "xalloc.h"

#define SESSIONS_PAGE "500"
#define EVENTS_PAGE "2000"
#define EVENTS_PAGE_N 2000
#define SESSIONS_PAGE_N 500

static const struct { const char *text; bool rest; } states[S_COUNT] = {
#define TYPE(type, class, after)
#define STEP(from, class, to)
#define STATE(name, r, words) [S_##name] = { words, r },
#include "check_order.def"
#undef STATE
#undef TYPE
#undef STEP
};

static const struct event_type types[] = {
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

static const struct event_type *
type_of(const char *name)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (strcmp(types[i].name, name) == 0)
			return &types[i];
	return NULL;
}

void
check_text_at(struct jspan body, const char *key, char *out, size_t size)
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

int64_t
check_int_at(struct jspan body, const char *key)
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

	check_text_at(ev->body, "id", id, sizeof id);
	check_text_at(ev->body, "type", type, sizeof type);
	check_text_at(ev->body, "processed_at", stamp, sizeof stamp);
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
		check_span_start(w, ev);
		break;
	case C_SPAN_END:
		check_span_end(w, ev);
		break;
	case C_CALL:
		check_call_open(w, ev);
		break;
	case C_RESULT:
		check_call_result(w, ev, "tool_use_id");
		break;
	case C_NOTE:
		if (strcmp(ev->type_name, "user.custom_tool_result") == 0)
			check_call_result(w, ev, "custom_tool_use_id");
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
		check_calls_forget(w);
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
	check_bill(w, ev);
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

static void
row_check(struct walk *w)
{
	static const char *const names[NTOKENS] = { "input", "output", "cache read", "cache write 5m", "cache write 1h" };

	int64_t sliced;

	check_bill_rest(w);
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
		rc = check_calls_end(&w, e);
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
