/*
 * events: sending events to a session (contract 3.2). A batch is checked whole against the session's state under its row lock, put into
 * the inbox in one transaction, and acknowledged after the commit; then the doorbell rings. Messages alone are checked and put by one
 * statement (put_quick); where it finds anything in their way, the longer way looks and says what (sending.c). Nothing is appended
 * to the log here.
 *
 * A crash before the commit leaves nothing. A reply that is lost after it leaves a batch that the client may send again: custom tool
 * results are recognised as repeats here, everything else by the frame (once.h).
 */
#include <string.h>

#include "after.h"
#include "api.h"
#include "clock.h"
#include "draft.h"
#include "failpoint.h"
#include "filerefs.h"
#include "outcomes.h"
#include "sending.h"
#include "told.h"

static void
sending_done(struct sending **sp)
{
	struct sending *s = *sp;

	for (size_t i = 0; s && s->items && i < s->count; i++)
		inbox_item_free(&s->items[i]);
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
	const struct send_call *c = sending_call(s, s->items[i].refers_to);
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
	    sending_check_state(s, e) < 0)
		return -1;
	load_calls(s, actions);
	if (sending_check(s, out_n, e) < 0 || echo(s, e) < 0)
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
