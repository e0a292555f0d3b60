/*
 * sending: see sending.h. Answers to calls, interrupts, the budget's cap, messages that wait for answers, system messages, outcomes, the
 * inbox's bounds, each with a check of its own.
 *
 * Reads besides the locked row only what a rare event needs (the agent's model for a system message, the open outcome). Takes no lock,
 * so what it says is true as long as the caller's transaction.
 */
#include "sending.h"

#include <stdio.h>
#include <string.h>

#include "catalogue.h"
#include "jx.h"
#include "outcomes.h"

static int
open_calls(const struct sending *s)
{
	int n = 0;

	for (int i = 0; i < s->n_calls; i++)
		n += s->calls[i].open;
	return n;
}

struct send_call *
sending_call(const struct sending *s, const char *tool_use_id)
{
	for (int i = 0; i < s->n_calls; i++)
		if (strcmp(s->calls[i].row.tool_use_id, tool_use_id) == 0)
			return &s->calls[i];
	return NULL;
}

int
sending_check_state(const struct sending *s, struct err *e)
{
	if (req_active(s->session.organization_state, e) < 0)
		return -1;
	if (s->session.archived)
		return err_set(e, EK_INVALID, 0, "Session %s is archived.", s->r->param[0]);
	if (strcmp(s->session.status, "terminated") == 0)
		return err_set(e, EK_INVALID, 0, "Session %s is terminated.", s->r->param[0]);
	return 0;
}

/* An answer to a call: open -> answered; the same answer again -> a repeat; anything else is refused. */
static int
answer(struct sending *s, size_t i, struct err *e)
{
	struct inbox_item *it = &s->items[i];
	bool custom = strcmp(it->type, "user.custom_tool_result") == 0;
	struct send_call *c = sending_call(s, it->refers_to);
	const char *first;

	if (!c || (strcmp(c->row.kind, "custom") == 0) != custom)
		return err_set(e, EK_INVALID, 0, "Invalid %s event at events[%zu]: %s \"%.64s\" %s", it->type, i,
		    custom ? "custom_tool_use_id" : "tool_use_id", it->refers_to,
		    c ? "does not wait for this kind of response" : "does not match any tool use that waits for a response");
	if (c->open) {
		c->open = false;
		c->answered_by = i + 1;
		return 0;
	}
	first = c->answered_by ? s->items[c->answered_by - 1].hash : c->row.answer_hash;
	if (custom && first && strcmp(first, it->hash) == 0) {
		s->skip[i] = true;
		return 0;
	}
	return err_set(e, EK_INVALID, 0, "Invalid %s event at events[%zu]: tool use \"%.64s\" %s", it->type, i, it->refers_to,
	    first ? "has already been answered" : "was interrupted and no longer waits for a response");
}

/* An interrupt ends every wait. Where nothing runs or waits it is recorded at once and changes nothing (contract A25). */
static int
interrupt(struct sending *s, size_t i, bool woken, struct err *e)
{
	const char *thread = jx_str(json_array_get(s->events, i), "session_thread_id");
	bool busy = woken || strcmp(s->session.wire_status, "idle") != 0 || open_calls(s) > 0;

	if (thread && strcmp(thread, s->session.thread_id) != 0)
		return err_set(e, EK_NOT_FOUND, 0, "Thread not found: %.64s", thread);
	for (int k = 0; k < s->n_calls; k++)
		s->calls[k].open = false;
	s->items[i].wakes = busy;
	s->items[i].on_receipt = !busy;
	return 0;
}

/*
 * At the budget's cap only what settles calls is accepted. An interrupt of a paused session is accepted and does nothing: it is not kept
 * (contract 9.3, 3.6).
 */
static int
budget_check(struct sending *s, struct err *e)
{
	if (!s->session.budget || !cost_reached(&s->session.spent, s->session.budget))
		return 0;
	for (size_t i = 0; i < s->count; i++) {
		if (!cost_accepts(s->items[i].type))
			return err_set(e, EK_INVALID, 0, "Invalid %s event at events[%zu]: the session has reached its budget; only " COST_ACCEPTED
			    " may be sent", s->items[i].type, i);
		if (s->session.paused && strcmp(s->items[i].type, "user.interrupt") == 0)
			s->skip[i] = true;
	}
	return 0;
}

static bool
has_system(const struct sending *s)
{
	return s->count > 0 && strcmp(s->items[s->count - 1].type, "system.message") == 0;
}

/*
 * A system message needs a model that takes one. Alone it is for an idle session; it is recorded at once, starts nothing, and the next
 * turn's model request is the first to see it.
 */
static int
system_check(struct sending *s, struct err *e)
{
	bool alone = s->count == 1;
	AUTO(pgres) PGresult *res = NULL;
	AUTO(json) json_t *agent = NULL;
	struct catalogue_model model;
	struct session_setup with;
	const char *id;

	if (!has_system(s))
		return 0;
	if (session_setup(s->r->db, s->r->who.workspace_id, s->r->param[0], &res, &with, e) < 0 ||
	    jx_parse_exact(with.agent, strlen(with.agent), &agent, e) < 0)
		return -1;
	id = jx_str(json_object_get(agent, "model"), "id");
	if (catalogue_model(s->r->db, id, NULL, NULL, &model, e) < 0)
		return -1;
	if (!model.mid_system)
		return err_coded(e, EC_MODEL_NO_SYSTEM_MESSAGE, "Invalid system.message event at events[%zu]: the model \"%.128s\" does not support "
		    "system messages in a conversation", s->count - 1, id);
	if (alone && strcmp(s->session.wire_status, "idle") != 0)
		return err_set(e, EK_INVALID, 0, "Invalid system.message event at events[0]: while the session is running it must follow a "
		    "`user.message`, `user.tool_result`, or `user.custom_tool_result` of the same request");
	s->items[s->count - 1].on_receipt = alone;
	return 0;
}

/* Messages are refused while an idle session waits for answers that this batch does not bring. */
static int
waiting_check(const struct sending *s, struct err *e)
{
	char ids[224] = "";
	size_t used = 0, i = 0;
	int named = 0;

	if (strcmp(s->session.status, "idle") != 0 || open_calls(s) == 0)
		return 0;
	while (i < s->count && strcmp(s->items[i].type, "user.message") != 0 && strcmp(s->items[i].type, OUTCOME_TYPE) != 0 &&
	    !(s->count == 1 && has_system(s)))
		i++;
	if (i == s->count)
		return 0;
	for (int k = 0; k < s->n_calls && used + strlen(s->calls[k].row.tool_use_id) + sizeof " and 1000 more" < sizeof ids; k++)
		if (s->calls[k].open) {
			used += (size_t)snprintf(ids + used, sizeof ids - used, "%s%s", used ? " " : "", s->calls[k].row.tool_use_id);
			named++;
		}
	if (named < open_calls(s))
		snprintf(ids + used, sizeof ids - used, " and %d more", open_calls(s) - named);
	return err_set(e, EK_INVALID, 0, "Invalid %s event at events[%zu]: waiting on responses to events [%s]; only "
	    "`user.tool_confirmation`, `user.custom_tool_result`, `user.tool_result`, or `user.interrupt` may be sent (a `system.message` may "
	    "trail a tool result)", s->items[i].type, i, ids);
}

static int
caps_check(const struct sending *s, int n, struct err *e)
{
	int64_t bytes = s->session.inbox_bytes;

	for (size_t i = 0; i < s->count; i++)
		if (!s->skip[i])
			bytes += (int64_t)strlen(s->items[i].stem);
	if (s->session.inbox_events + n > s->r->conf->inbox_max_events || bytes > s->r->conf->inbox_max_bytes)
		return err_set(e, EK_LIMIT, 0, "Too many events wait in this session; send more when it has processed them.");
	return 0;
}

/* One outcome at a time. */
static int
one_outcome(const struct sending *s, struct err *e)
{
	bool freed = false;

	for (size_t i = 0; i < s->count; i++) {
		if (strcmp(s->items[i].type, OUTCOME_TYPE) == 0 &&
		    outcomes_admit(s->r->db, s->r->who.workspace_id, s->r->param[0], i, freed, e) < 0)
			return -1;
		freed |= strcmp(s->items[i].type, "user.interrupt") == 0;
	}
	return 0;
}

int
sending_check(struct sending *s, int *out_n, struct err *e)
{
	bool woken = false;
	int n = 0;

	if (budget_check(s, e) < 0)
		return -1;
	for (size_t i = 0; i < s->count; i++) {
		struct inbox_item *it = &s->items[i];

		if (it->refers_to ? answer(s, i, e) < 0 : strcmp(it->type, "user.interrupt") == 0 && interrupt(s, i, woken, e) < 0)
			return -1;
		woken = woken || it->wakes;
		n += !s->skip[i];
	}
	if (waiting_check(s, e) < 0 || system_check(s, e) < 0 || one_outcome(s, e) < 0 || caps_check(s, n, e) < 0)
		return -1;
	*out_n = n;
	return 0;
}
