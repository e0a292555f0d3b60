/*
 * tools: the calls of one reply in the sandbox, up to PARALLEL at a time. Their tool_use events are in the log before this starts.
 *
 * A call is sent to hands once. When the outcome of a sent call is in doubt (hands' connection broke, or another worker had sent it)
 * hands is asked for it; if hands does not know either, the result says so, and the model decides. An unreachable hands makes error
 * results, not a stuck session.
 */
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "failpoint.h"
#include "frame.h"
#include "jx.h"
#include "log.h"
#include "publish.h"
#include "sess.h"
#include "xalloc.h"

#define PARALLEL 8
#define STOP_WAIT_MS 10000
#define INPUT_MAX (FRAME_MAX - 65536)	/* what fits one frame besides its other members */

#define TEXT_INPUT "Invalid tool input: it is too large or too deep, repeats a key, or holds a number or character that no tool can take."
#define TEXT_DOWN "The sandbox is not available at the moment. The call was not run."

static void advance(struct sess *s);

static void
hint(struct sess *s, const char *op, const char *call)
{
	hands_send(s->wk->hands, &(struct hands_request){ .op = op, .session = s->t.id, .epoch = s->epoch, .call = call });
}

static void
settle(struct call *c, const char *content, bool is_error)
{
	call_outcome(c, xstrdup(content), is_error);
	c->state = CALL_DONE;
}

static void
on_outcome(struct call *c, const json_t *doc)
{
	const char *state = jx_str(doc, "state"), *content = jx_str(doc, "content");

	if (state != NULL && strcmp(state, "unknown") == 0)
		settle(c, CALL_TEXT_UNKNOWN, true);
	else
		settle(c, content != NULL ? content : "", jx_bool(doc, "is_error", 0));
}

static void
on_refused(struct sess *s, struct call *c, const json_t *doc)
{
	const json_t *error = json_object_get(doc, "error");
	const char *kind = jx_str(error, "kind"), *message = jx_str(error, "message");
	AUTO(str) char *text = xasprintf("The sandbox could not run the call: %s.", message != NULL ? message : "no reason given");

	log_warn("hands_refused", "session", s->t.id, "kind", kind, "message", message, NULL);
	settle(c, text, true);
}

static void
on_reply(void *owner, const char *id, enum hands_outcome outcome, const json_t *doc)
{
	struct sess *s = owner;
	struct call *c = turn_call(&s->t, id);

	sess_at_hand(s);
	FAILPOINT_IN(CALL_DONE, turn_state_name(s->state));
	if (c == NULL || c->state != CALL_RUNNING)
		return;
	switch (outcome) {
	case HANDS_OK:
		on_outcome(c, doc);
		break;
	case HANDS_REFUSED:
		on_refused(s, c, doc);
		break;
	case HANDS_LOST:
		s->stray = true;
		c->state = CALL_LOST;
		break;
	case HANDS_DOWN:
		s->stray = true;
		settle(c, c->asked ? CALL_TEXT_UNKNOWN : TEXT_DOWN, true);
		break;
	}
	advance(s);
}

/*
 * hands reads a frame with the same parser and drops a connection that carries nonsense, with every session's calls on it: what it
 * could not read is not sent. In brackets, the input stands as deep as in its frame.
 */
static bool
can_travel(const struct call *c)
{
	AUTO(json) json_t *doc = NULL;
	AUTO(str) char *framed = NULL;
	struct err e = ERR_INIT;

	if (strlen(c->input) > INPUT_MAX)
		return false;
	framed = xasprintf("[%s]", c->input);
	return jx_parse(framed, strlen(framed), &doc, &e) == 0;
}

/* The session's files go along with each call, because the sandbox may be a new one; ahead of it when the frame has no room. */
static const char *
files_with(struct sess *s, const struct call *c)
{
	const char *files = s->files != NULL ? s->files : s->provisioned ? NULL : "[]";

	if (files == NULL || strlen(files) + strlen(c->input) <= INPUT_MAX)
		return files;
	hands_send(s->wk->hands, &(struct hands_request){ .op = "provision", .session = s->t.id, .epoch = s->epoch, .files = files });
	return NULL;
}

static void
send_call(struct sess *s, struct call *c)
{
	bool ask = c->state == CALL_LOST;
	const char *files;

	if (!ask && !can_travel(c)) {
		settle(c, TEXT_INPUT, true);
		return;
	}
	files = ask ? NULL : files_with(s, c);
	c->state = CALL_RUNNING;
	c->sent = true;
	c->asked = ask;
	s->provisioned = true;
	s->tools += !ask;
	FAILPOINT(CALL);
	hands_send(s->wk->hands, &(struct hands_request){ .op = ask ? "result" : "call", .session = s->t.id, .epoch = s->epoch,
	    .call = c->id, .tool = ask ? NULL : c->name, .input = c->input,
	    .files = files, .done = on_reply, .owner = s });
}

/* Start what may start; when nothing runs any more the calls are settled. */
static void
advance(struct sess *s)
{
	int running = turn_calls_in(&s->t, CALL_RUNNING);
	bool stopping = s->state == TS_STOPPING;

	for (int i = 0; i < s->t.ncalls && running < PARALLEL && !stopping; i++) {
		struct call *c = &s->t.calls[i];

		if (c->state != CALL_READY && c->state != CALL_LOST)
			continue;
		send_call(s, c);
		running += c->state == CALL_RUNNING;
	}
	if (running > 0)
		return;
	loop_cancel(s->wk->loop, &s->stop_timer);
	sess_fire(s, TE_SETTLED);
}

void
tools_begin(struct sess *s)
{
	if (s->news)
		load_peek(s);
	advance(s);
}

/* hands took too long to stop a call: the turn ends without it. Its later reply finds nobody. */
static void
on_stop_late(void *ctx)
{
	struct sess *s = ctx;

	s->stop_timer = NULL;
	s->stray = true;
	sess_at_hand(s);
	log_warn("tool_stop_late", "session", s->t.id, NULL);
	hands_forget(s->wk->hands, s);
	for (int i = 0; i < s->t.ncalls; i++)
		if (s->t.calls[i].state == CALL_RUNNING)
			settle(&s->t.calls[i], CALL_TEXT_INTERRUPTED, true);
	advance(s);
}

void
tools_stop(struct sess *s)
{
	for (int i = 0; i < s->t.ncalls; i++) {
		const struct call *c = &s->t.calls[i];

		if (c->state == CALL_RUNNING)
			hint(s, "cancel", c->id);
	}
	s->stop_timer = loop_after(s->wk->loop, STOP_WAIT_MS, on_stop_late, s);
	advance(s);
}

/* A call that an earlier owner may have left running, and that an interrupt has ended, is stopped now. */
void
tools_committed(struct sess *s)
{
	for (int i = 0; i < s->t.ncalls; i++) {
		const struct call *c = &s->t.calls[i];

		if (c->next != CALL_GONE)
			continue;
		if (c->state == CALL_LOST) {	/* (not heard of while hands is away: kept_wanted) */
			hint(s, "cancel", c->id);
			s->provisioned = true;
		}
		if (c->sent || c->state == CALL_LOST)
			hint(s, "ack", c->id);
	}
}

/*
 * The session stops running: no free CPU, and what it put out is published. Calls that go on for the next owner (drain) keep their sandbox
 * awake.
 */
void
tools_pause(struct sess *s)
{
	if (s->provisioned && turn_calls_in(&s->t, CALL_RUNNING) == 0)
		publish_pause(s->wk, s->t.id, s->epoch, strcmp(s->t.status, "terminated") == 0);
	s->provisioned = false;
}
