/*
 * events: sending events to a session (contract 3.2). A batch is checked whole against the session's state under its row lock, put into
 * the inbox in one transaction, and acknowledged after the commit; then the doorbell rings. Messages alone are checked and put by one
 * statement (put_quick); where it finds anything in their way, the longer way looks and says what. Nothing is appended to the log here.
 *
 * A crash before the commit leaves nothing. A reply that is lost after it leaves a batch that the client may send again: custom tool
 * results are recognised as repeats here, everything else by the frame (once.h).
 */
#include <string.h>

#include "after.h"
#include "api.h"
#include "catalogue.h"
#include "clock.h"
#include "draft.h"
#include "failpoint.h"
#include "filerefs.h"
#include "inbox.h"
#include "jx.h"
#include "outcomes.h"
#include "session.h"
#include "together.h"
#include "told.h"
#include "xalloc.h"

/* A call that waits for the client, as the batch sees it while it is walked. */
struct call {
	struct action_row row;
	bool open;
	size_t answered_by;		/* index + 1 of the event in this batch */
};

struct sending {
	struct send_later later;	/* first: r->later is this */
	struct gw_req *r;
	const json_t *events;
	size_t count;
	struct session_locked session;
	struct call *calls;
	int n_calls;
	struct inbox_item *items;	/* one per event; those with skip[i] are repeats and are not put */
	struct inbox_item **all;	/* pointers to all of them */
	bool *skip;
};

static void
sending_done(struct sending **sp)
{
	struct sending *s = *sp;

	for (size_t i = 0; s && s->items && i < s->count; i++)
		inbox_item_free(&s->items[i]);
}

static int
open_calls(const struct sending *s)
{
	int n = 0;

	for (int i = 0; i < s->n_calls; i++)
		n += s->calls[i].open;
	return n;
}

static struct call *
call_of(struct sending *s, const char *tool_use_id)
{
	for (int i = 0; i < s->n_calls; i++)
		if (strcmp(s->calls[i].row.tool_use_id, tool_use_id) == 0)
			return &s->calls[i];
	return NULL;
}

static int
state_check(const struct sending *s, struct err *e)
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
	struct call *c = call_of(s, it->refers_to);
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

/* Walk the batch against the session's state; *out_n events are to be put. */
static int
plan(struct sending *s, int *out_n, struct err *e)
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

static void
load_calls(struct sending *s, const PGresult *res)
{
	s->n_calls = PQntuples(res);
	s->calls = arena_alloc(s->r->arena, (size_t)s->n_calls * sizeof *s->calls + 1);
	for (int i = 0; i < s->n_calls; i++) {
		action_row(res, i, &s->calls[i].row);
		s->calls[i].open = strcmp(s->calls[i].row.state, "open") == 0;
	}
}

/* Show an event, and note what was shown. */
static void
show(struct sending *s, const char *id, const char *stem, const char *stamp)
{
	draft_echo(&s->r->out, stem, stamp);
	buf_printf(&s->r->sent, "%s %s\n", id, stamp ? stamp : "-");
}

/* The echo of a repeated answer is the first one's event: of this batch, or found in log or inbox. */
static int
echo_first(struct sending *s, size_t i, const char *now, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	const struct call *c = call_of(s, s->items[i].refers_to);
	const char *text, *stamp;
	size_t stem;
	bool closed;

	if (c->answered_by) {
		show(s, s->items[c->answered_by - 1].id, s->items[c->answered_by - 1].stem, now);
		return 0;
	}
	if (event_find(s->r->db, s->r->param[0], c->row.answer_id, &res, &text, &closed, &stamp, e) < 0)
		return -1;
	if (closed) {
		stem = draft_stem_len(text);
		stamp = text + stem + sizeof ",\"processed_at\":\"" - 1;
		stamp = arena_strndup(s->r->arena, stamp, strcspn(stamp, "\""));
		text = arena_strndup(s->r->arena, text, stem);
	}
	show(s, c->row.answer_id, text, stamp);
	return 0;
}

static int
echo(struct sending *s, struct err *e)
{
	bool unkept = false;		/* an event is shown that is nowhere: then the reply itself is what another attempt gets */
	char now[CLOCK_TEXT];

	clock_format(clock_wall_us(), now);
	buf_str(&s->r->out, "{\"data\":[");
	for (size_t i = 0; i < s->count; i++) {
		if (i)
			buf_ch(&s->r->out, ',');
		unkept = unkept || (s->skip[i] && !s->items[i].refers_to);
		if (!s->skip[i] || !s->items[i].refers_to)
			show(s, s->items[i].id, s->items[i].stem, s->items[i].on_receipt || s->skip[i] ? now : NULL);
		else if (echo_first(s, i, now, e) < 0)
			return -1;
	}
	buf_str(&s->r->out, "]}");
	if (unkept)
		buf_reset(&s->r->sent);
	return 0;
}

/* The transaction, in two round trips. The reply is composed before its commit, and sent after it. */
static int
put(struct sending *s, struct inbox_sent *out, int *out_n, struct err *e)
{
	AUTO(pgres) PGresult *session = NULL;
	AUTO(pgres) PGresult *actions = NULL;
	struct inbox_item **chosen = arena_alloc(s->r->arena, s->count * sizeof(void *));
	const char **answered = arena_alloc(s->r->arena, s->count * sizeof *answered);
	AUTO(str) char *named = NULL;
	int n = 0;

	for (size_t i = 0; i < s->count; i++)
		if (s->items[i].refers_to)
			answered[n++] = s->items[i].refers_to;
	named = pg_array(answered, n);
	n = 0;
	if (session_begin(s->r->db, s->r->who.workspace_id, s->r->param[0], named, &session, &s->session, &actions, e) < 0 ||
	    state_check(s, e) < 0)
		return -1;
	load_calls(s, actions);
	if (plan(s, out_n, e) < 0 || echo(s, e) < 0)
		return -1;
	for (size_t i = 0; i < s->count; i++)
		if (!s->skip[i])
			chosen[n++] = &s->items[i];
	if (n == 0)
		return db_commit(s->r->db, e);
	FAILPOINT(GW_BEFORE);
	return inbox_put_commit(s->r->db, s->r->param[0], chosen, n, out->owner, e);
}

#define QUICK_BYTES 65536	/* texts that are kept for a second way */

/* Messages and nothing else: no call, no interrupt, no answer. */
static bool
is_plain(const struct sending *s)
{
	size_t bytes = 0;

	for (size_t i = 0; i < s->count; i++) {
		const struct inbox_item *it = &s->items[i];

		if (strcmp(it->type, "user.message") != 0 || it->refers_to || !it->wakes || it->on_receipt)
			return false;
		bytes += strlen(it->stem) + (it->fragment ? strlen(it->fragment) : 0);
	}
	return bytes <= QUICK_BYTES;
}

static int
uncertain(struct err *e)
{
	return err_fault(e, EK_UNCERTAIN, 0, "the connection was lost while the message was on its way");
}

/* One round trip. Returns 1 when it is done, 0 when something stands in the way and put() has to look, or -1. */
static int
put_quick(struct sending *s, struct inbox_sent *out, struct err *e)
{
	struct inbox_caps caps = { s->r->conf->inbox_max_events, s->r->conf->inbox_max_bytes };

	if (inbox_send(s->r->db, s->r->who.workspace_id, s->r->param[0], s->all, (int)s->count, &caps, out, e) == 0)
		return 1;
	return e->kind == EK_CONFLICT ? err_clear(e) : -1;
}

/* One message is told with the ring, if the session's owner may know the rest. */
static void
ring(struct sending *s, const struct inbox_sent *sent)
{
	__attribute__((cleanup(buf_cleanup))) struct buf told = BUF_INIT(TOLD_MAX);

	if (s->count == 1)
		(void)told_encode(sent, &s->items[0], &told);
	after_ring_told(s->r, s->r->param[0], sent->owner, told.data, told.len);
}

/* Look, and put. quick: what put_quick(), or others for us, have come to. */
static int
finish(struct sending *s, int quick, struct inbox_sent *sent, struct err *e)
{
	int n = 0;

	if (quick == 0) {
		buf_reset(&s->r->out);
		buf_reset(&s->r->sent);
		if (put(s, sent, &n, e) < 0) {
			db_rollback(s->r->db);
			return -1;
		}
	}
	if (quick > 0 || n > 0)
		ring(s, sent);
	return quick < 0 ? -1 : 0;
}

/* The answer to a message that went with others has come. */
static int
sent(struct gw_req *r, struct err *e)
{
	__attribute__((cleanup(sending_done))) struct sending *s = (struct sending *)r->later;
	struct inbox_sent *said = &s->later.send.sent;

	s->r = r;
	switch (s->later.send.item.result) {
	case WARMQ_DONE:
		return finish(s, 1, said, e);
	case WARMQ_LOOK:
		return finish(s, 0, said, e);
	case WARMQ_ALONE:
		return finish(s, put_quick(s, said, e), said, e);
	case WARMQ_UNCERTAIN:
	default:
		return uncertain(e);
	}
}

/* Leave it to be sent with others: sent() goes on. */
static int
leave(struct sending *s)
{
	struct gw_req *r = s->r;

	s->later.send = (struct sendq_send){ .workspace = arena_strdup(r->arena, r->who.workspace_id), .session = r->param[0],
	    .items = s->all, .n = (int)s->count };
	s->later.sent = sent;
	r->later = &s->later;
	return 0;
}

int
api_event_send(struct gw_req *r, struct err *e)
{
	__attribute__((cleanup(sending_done))) struct sending *s = arena_alloc(r->arena, sizeof *s);
	size_t count = json_array_size(json_object_get(r->body, "events"));
	struct inbox_sent said = { .facts = false };
	json_t *event;
	size_t i;
	int quick = 0;

	s->r = r;
	s->events = json_object_get(r->body, "events");
	if (draft_check("events", s->events, e) < 0 || filerefs_resolve(r->db, r->who.workspace_id, s->events, e) < 0 ||
	    outcomes_resolve(r->db, r->who.workspace_id, r->conf->blob_dir, s->events, e) < 0)
		return -1;
	s->items = arena_alloc(r->arena, count * sizeof *s->items);
	s->all = arena_alloc(r->arena, count * sizeof(void *));
	s->skip = arena_alloc(r->arena, count * sizeof *s->skip);
	json_array_foreach(s->events, i, event) {
		s->all[i] = &s->items[i];
		draft_make(event, &s->items[s->count++]);
	}
	if (is_plain(s) && db_alone(r->db)) {
		if (echo(s, e) < 0)
			return -1;
		FAILPOINT(GW_BEFORE);
		if ((int)s->count <= r->may_send) {
			leave(s);
			s = NULL;
			return 0;
		}
		quick = put_quick(s, &said, e);
	}
	return finish(s, quick, &said, e);
}
