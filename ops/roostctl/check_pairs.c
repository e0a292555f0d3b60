/*
 * check_pairs: of one session's log (check_log.h): each request has one end, each call one result, and an idle session waits only for calls
 * that are open. Calls are few at a time, so they are looked for one by one.
 */
#include "check_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "xalloc.h"

void
check_span_start(struct walk *w, const struct event *ev)
{
	if (w->span[0] != '\0')
		check_fail(w->ck, CK_SPANS, w->session, "seq %" PRId64 ": a request begins while %s is open", ev->seq, w->span);
	snprintf(w->span, sizeof w->span, "%s", ev->id);
}

void
check_span_end(struct walk *w, const struct event *ev)
{
	char start[ID_MAX];

	check_text_at(ev->body, "model_request_start_id", start, sizeof start);
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

void
check_call_open(struct walk *w, const struct event *ev)
{
	w->calls = xrealloc(w->calls, (size_t)(w->ncalls + 1) * sizeof *w->calls);
	w->calls[w->ncalls] = (struct open_call){ .answered = false };
	snprintf(w->calls[w->ncalls++].id, ID_MAX, "%s", ev->id);
}

void
check_call_result(struct walk *w, const struct event *ev, const char *key)
{
	struct open_call *c;
	char id[ID_MAX];

	if (!ev->visible)
		return;
	check_text_at(ev->body, key, id, sizeof id);
	c = call_find(w, id);
	if (c == NULL || c->answered)
		check_fail(w->ck, CK_CALLS, w->session, "seq %" PRId64 " is %s result of %s", ev->seq, c == NULL ? "the" : "a second", id);
	else
		c->answered = true;
}

void
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

void
check_calls_forget(struct walk *w)
{
	int kept = 0;

	for (int i = 0; i < w->ncalls; i++)
		if (!w->calls[i].answered)
			w->calls[kept++] = w->calls[i];
	w->ncalls = kept;
}

int
check_calls_end(struct walk *w, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	check_calls_forget(w);
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
