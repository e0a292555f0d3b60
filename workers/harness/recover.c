/*
 * recover: see recover.h. The log is replayed from old to new over the few kinds of event that say where a turn stands.
 *
 * What is open at the end: a model request without end; tool calls without result. A call that was allowed may have been started by
 * the worker that is gone: it becomes LOST, hands is asked, and it is never sent again. The only call that is known not to have been
 * started is one confirmed while the session stayed idle (partial answers).
 */
#include "recover.h"

#include <stdlib.h>
#include <string.h>

#include "jspan.h"
#include "jx.h"
#include "plan.h"
#include "xalloc.h"

static struct call *
find_call(struct turn *t, const char *id)
{
	for (int i = 0; id != NULL && i < t->ncalls; i++)
		if (strcmp(t->calls[i].id, id) == 0)
			return &t->calls[i];
	return NULL;
}

static void
drop_call(struct turn *t, const char *id)
{
	struct call *c = find_call(t, id);
	int at = c != NULL ? (int)(c - t->calls) : -1;

	if (c == NULL)
		return;
	free(c->name);
	free(c->input);
	free(c->content);
	memmove(c, c + 1, (size_t)(t->ncalls - at - 1) * sizeof(*c));
	t->ncalls--;
}

static void
open_call(struct turn *t, const struct tail_event *ev, const json_t *doc)
{
	const char *name = jx_str(doc, "name"), *permission = jx_str(doc, "evaluated_permission");
	struct jspan body = { ev->body, strlen(ev->body) }, span = { "{}", 2 };
	AUTO(str) char *input = NULL;
	struct call *c;

	(void)jspan_get(body, "input", &span);	/* as text: inputs are never re-dumped */
	input = xstrndup(span.p, span.n);
	c = turn_call_add(t, ev->id, name != NULL ? name : "", input);
	c->custom = strcmp(ev->type, "agent.custom_tool_use") == 0;
	c->confirm = permission != NULL && strcmp(permission, "ask") == 0;
	c->state = CALL_LOST;
	if (c->custom || c->confirm) {
		c->state = CALL_WAITING;
	} else if (permission != NULL && strcmp(permission, "deny") == 0) {
		plan_deny(c);
		c->state = CALL_DONE;
	}
}

static void
confirmation(struct turn *t, const json_t *doc)
{
	struct call *c = find_call(t, jx_str(doc, "tool_use_id"));
	const char *result = jx_str(doc, "result");

	if (c == NULL || result == NULL || !c->confirm)
		return;
	if (strcmp(result, "deny") == 0) {
		plan_reject(c, jx_str(doc, "deny_message"));
		c->state = CALL_DONE;
	} else {
		c->state = strcmp(t->status, "idle") == 0 ? CALL_READY : CALL_LOST;
	}
}

static void
span_end(struct turn *t, const json_t *doc)
{
	t->span_id[0] = '\0';
	if (jx_bool(doc, "is_error", 0))
		return;
	t->retries = 0;
	t->owed = false;
}

static void
replay(struct turn *t, const struct tail_event *ev, const json_t *doc)
{
	const char *type = ev->type;

	if (strcmp(type, "session.status_idle") == 0) {
		t->rounds = t->retries = 0;
		t->owed = false;
	} else if (strcmp(type, "user.message") == 0 || strcmp(type, "system.message") == 0) {
		t->owed = true;
	} else if (strcmp(type, "span.model_request_start") == 0) {
		strncpy(t->span_id, ev->id, sizeof(t->span_id) - 1);
		t->rounds++;
	} else if (strcmp(type, "span.model_request_end") == 0) {
		span_end(t, doc);
	} else if (strcmp(type, "agent.tool_use") == 0 || strcmp(type, "agent.custom_tool_use") == 0) {
		open_call(t, ev, doc);
	} else if (strcmp(type, "agent.tool_result") == 0) {
		drop_call(t, jx_str(doc, "tool_use_id"));
		t->owed = true;
	} else if (strcmp(type, "user.custom_tool_result") == 0) {
		drop_call(t, jx_str(doc, "custom_tool_use_id"));
		t->owed = true;
	} else if (strcmp(type, "user.tool_confirmation") == 0) {
		confirmation(t, doc);
	} else if (strcmp(type, "session.error") == 0) {
		const char *retry = jx_str(json_object_get(json_object_get(doc, "error"), "retry_status"), "type");

		t->retries += retry != NULL && strcmp(retry, "retrying") == 0;
	}
}

void
recover_tail(struct turn *t, const struct tail_event *ev, int n)
{
	t->owed = strcmp(t->status, "idle") != 0;
	for (int i = n - 1; i >= 0; i--) {
		AUTO(json) json_t *doc = NULL;
		struct err e = ERR_INIT;

		/* a body that cannot be parsed says nothing about the turn: it is one the kinds above never have */
		if (jx_parse(ev[i].body, strlen(ev[i].body), &doc, &e) < 0)
			continue;
		replay(t, &ev[i], doc);
	}
	for (int i = 0; i < t->ncalls; i++)
		t->calls[i].next = t->calls[i].state;
}
