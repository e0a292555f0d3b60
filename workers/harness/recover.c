/*
 * recover: see recover.h. The log is replayed from old to new over the few kinds of event that say where a turn stands.
 *
 * What is open at the end: a model request without end; tool calls without result. A call that was allowed may have been started by
 * the worker that is gone: it becomes LOST, hands is asked, and it is never sent again. The only call that is known not to have been
 * started is one confirmed while the session stayed idle (partial answers).
 *
 * Bodies are read as text: a tool's input may hold numbers that no parser of ours takes, and is handed on byte for byte.
 */
#include "recover.h"

#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "jspan.h"
#include "xalloc.h"

/* The string at a key, decoded; NULL when there is none. The caller frees. */
static char *
member(struct jspan body, const char *key)
{
	struct buf out = BUF_INIT(0);
	struct jspan v;

	if (!jspan_get(body, key, &v) || v.n == 0 || v.p[0] != '"')
		return NULL;
	jspan_unquote(&out, v);
	return buf_steal(&out);
}

static bool
member_is(struct jspan body, const char *key, const char *text)
{
	struct jspan v;

	return jspan_get(body, key, &v) && jspan_is(v, text);
}

static void
drop_call(struct turn *t, struct jspan body, const char *key)
{
	AUTO(str) char *id = member(body, key);
	struct call *c = turn_call(t, id);
	int at = c != NULL ? (int)(c - t->calls) : -1;

	t->owed = true;		/* a result: the model has to read it */
	if (c == NULL)
		return;
	turn_call_clear(c);
	memmove(c, c + 1, (size_t)(t->ncalls - at - 1) * sizeof(*c));
	t->ncalls--;
}

static void
open_call(struct turn *t, const struct tail_event *ev, struct jspan body)
{
	AUTO(str) char *name = member(body, "name"), *input = NULL;
	struct jspan span = { "{}", 2 };
	struct call *c;

	(void)jspan_get(body, "input", &span);
	input = xstrndup(span.p, span.n);
	c = turn_call_add(t, ev->id, name != NULL ? name : "", input);
	c->custom = strcmp(ev->type, "agent.custom_tool_use") == 0;
	c->confirm = member_is(body, "evaluated_permission", "ask");
	c->state = CALL_LOST;
	if (c->custom || c->confirm) {
		c->state = CALL_WAITING;
	} else if (member_is(body, "evaluated_permission", "deny")) {
		call_deny(c);
		c->state = CALL_DONE;
	}
}

static void
confirmation(struct turn *t, struct jspan body)
{
	AUTO(str) char *id = member(body, "tool_use_id"), *words = member(body, "deny_message");
	struct call *c = turn_call(t, id);

	if (c == NULL || !c->confirm)
		return;
	if (member_is(body, "result", "deny")) {
		call_reject(c, words);
		c->state = CALL_DONE;
	} else {
		c->state = turn_idle(t) ? CALL_READY : CALL_LOST;
	}
}

static void
span_end(struct turn *t, struct jspan body)
{
	struct jspan v;

	t->span_id[0] = '\0';
	if (jspan_get(body, "is_error", &v) && v.n == 4)	/* true */
		return;
	t->retries = 0;
	t->owed = false;
}

static bool
retrying(struct jspan body)
{
	struct jspan error, status;

	return jspan_get(body, "error", &error) && jspan_get(error, "retry_status", &status) && member_is(status, "type", "retrying");
}

/*
 * A request that was begun is owed an answer until it has one: after a pause at the budget's cap nothing else says that there is something
 * to answer. A request for a summary answers nothing: *before says what was owed when it began.
 */
static void
replay(struct turn *t, const struct tail_event *ev, bool *before)
{
	struct jspan body = { ev->body, strlen(ev->body) };
	const char *type = ev->type;

	if (strcmp(type, "session.status_idle") == 0) {
		t->rounds = t->retries = 0;
		t->owed = false;
	} else if (strcmp(type, "user.message") == 0) {
		t->owed = true;
	} else if (strcmp(type, "span.model_request_start") == 0) {
		strncpy(t->span_id, ev->id, sizeof(t->span_id) - 1);
		t->rounds++;
		*before = t->owed;
		t->owed = true;
	} else if (strcmp(type, "span.model_request_end") == 0) {
		span_end(t, body);
	} else if (strcmp(type, BATCH_COMPACTED) == 0) {
		t->owed = *before;
	} else if (strcmp(type, "agent.tool_use") == 0 || strcmp(type, "agent.custom_tool_use") == 0) {
		open_call(t, ev, body);
	} else if (strcmp(type, "agent.tool_result") == 0) {
		drop_call(t, body, "tool_use_id");
	} else if (strcmp(type, "user.custom_tool_result") == 0) {
		drop_call(t, body, "custom_tool_use_id");
	} else if (strcmp(type, "user.tool_confirmation") == 0) {
		confirmation(t, body);
	} else if (strcmp(type, "session.error") == 0) {
		t->retries += retrying(body);
	} else if (strcmp(type, OUTCOME_END) == 0) {
		t->retries = 0;
	}
	t->owed |= outcome_asks(&t->outcome, type, ev->body);
}

void
recover_tail(struct turn *t, const struct tail_event *ev, int n)
{
	bool before;

	before = t->owed = !turn_idle(t);
	for (int i = n - 1; i >= 0; i--)
		replay(t, &ev[i], &before);
	for (int i = 0; i < t->ncalls; i++)
		t->calls[i].next = t->calls[i].state;
}
