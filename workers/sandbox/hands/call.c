/*
 * call: see call.h. A call waits for the sandbox and, when it is a command, for the commands before it; then it runs until roost-init
 * reports its end. Its time starts when it runs. Killing is always by its cgroup, and the result still comes through roost-init, with
 * what was put out until then; if that does not come within the grace, pid 1 is not what it was and the sandbox is given up.
 *
 * Finished results are kept until acknowledged, oldest dropped first when their bytes exceed KEPT_MAX: `result` then answers unknown.
 */
#include "call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "failpoint.h"
#include "log.h"
#include "result.h"
#include "server.h"
#include "xalloc.h"

#define DEFAULT_MS 120000
#define GRACE_MS 10000
#define RESTART_MS 5000
#define RESTART_POLL_MS 1
#define KEPT_MAX (64u << 20)

struct call *
call_find(struct session *s, const char *id)
{
	struct call *c;

	TAILQ_FOREACH(c, &s->calls, in_session)
		if (strcmp(c->id, id) == 0) {
			c->epoch = s->epoch;
			return c;
		}
	return NULL;
}

static struct call *
call_new(struct session *s, const char *id)
{
	struct call *c = xcalloc(1, sizeof *c);

	c->s = s;
	c->epoch = s->epoch;
	c->out = -1;
	c->leaf.fd = -1;
	snprintf(c->id, sizeof c->id, "%s", id);
	TAILQ_INSERT_TAIL(&s->calls, c, in_session);
	return c;
}

/* Forget a finished call. */
static void
call_forget(struct call *c)
{
	struct hands *h = c->s->h;
	struct waiter w;

	must(c->state == CALL_DONE);
	h->kept -= c->len + sizeof *c;
	TAILQ_REMOVE(&h->done, c, in_done);
	TAILQ_REMOVE(&c->s->calls, c, in_session);
	while (waiter_pop(&c->waiters, &w))
		;
	free(c->text);
	free(c);
}

void
call_ack(struct call *c)
{
	if (c->state == CALL_DONE)
		call_forget(c);
	else
		c->forget = true;
}

void
call_forget_all(struct session *s)
{
	struct call *c, *next;

	for (c = TAILQ_FIRST(&s->calls); c; c = next) {
		next = TAILQ_NEXT(c, in_session);
		if (c->state == CALL_DONE)
			call_forget(c);
	}
}

/* c->text is set: tell who waits, keep it for who may ask. c may be gone after this. */
static void
finish(struct call *c)
{
	struct session *s = c->s;
	struct hands *h = s->h;
	struct waiter w;

	loop_cancel(h->loop, &c->timer);
	if (c->state == CALL_RUNNING)
		s->running--;
	if (s->bash == c)
		s->bash = NULL;
	if (c->out >= 0)
		close(c->out);
	c->out = -1;
	leaf_drop(s->box, &c->leaf);
	input_free(&c->in);
	c->state = CALL_DONE;
	TAILQ_INSERT_TAIL(&h->done, c, in_done);
	h->kept += c->len + sizeof *c;
	FAILPOINT(HANDS_KEPT);
	while (waiter_pop(&c->waiters, &w))
		server_result(h, w.conn, w.n, w.attach, c);
	if (c->forget) {
		call_forget(c);
		return;
	}
	while (h->kept > KEPT_MAX && TAILQ_FIRST(&h->done) != c) {
		log_warn("result_dropped", "session", TAILQ_FIRST(&h->done)->s->id, "call", TAILQ_FIRST(&h->done)->id, NULL);
		call_forget(TAILQ_FIRST(&h->done));
	}
}

static void
finish_text(struct call *c, const char *text, bool is_error)
{
	c->text = xstrdup(text);
	c->len = strlen(text);
	c->is_error = is_error;
	finish(c);
}

static void
kill_group(struct call *c)
{
	if (c->in.tool == SB_TOOL_bash)
		session_shell_drop(c->s, true);
	else
		cg_kill(c->leaf.fd);
}

static void
on_grace(void *ctx)
{
	struct call *c = ctx;

	c->timer = NULL;
	session_lose_box(c->s, "a killed tool was not reported");
}

static void
end_by_force(struct call *c, enum call_why why)
{
	if (c->state == CALL_DONE || c->why != CALL_ENDED)
		return;
	c->why = why;
	if (c->state == CALL_QUEUED) {
		finish_text(c, CALL_INTERRUPTED, true);
		return;
	}
	if (c->in.restart)		/* its own timer ends it */
		return;
	kill_group(c);
	loop_cancel(c->s->h->loop, &c->timer);
	c->timer = loop_after(c->s->h->loop, GRACE_MS, on_grace, c);
}

static void
on_timeout(void *ctx)
{
	struct call *c = ctx;

	c->timer = NULL;
	log_info("tool_timeout", "session", c->s->id, "call", c->id, NULL);
	end_by_force(c, CALL_TIMED_OUT);
}

void
call_cancel(struct call *c)
{
	struct session *s = c->s;

	end_by_force(c, CALL_CANCELLED);
	session_settle(s);
}

void
call_cancel_older(struct session *s, int64_t epoch)
{
	struct call *c, *next;

	for (c = TAILQ_FIRST(&s->calls); c; c = next) {
		next = TAILQ_NEXT(c, in_session);
		if (c->epoch < epoch && c->state != CALL_DONE)
			end_by_force(c, CALL_CANCELLED);
	}
}

/* A shell in a group of its own, unless there is one. */
static int
need_shell(struct session *s)
{
	struct sb_msg m = { .op = SB_SHELL, .call = s->shell_gen + 1 };

	if (s->shell.fd >= 0)
		return 0;
	if (leaf_make(s->box, 's', &s->shell) < 0)
		return -1;
	s->shell_gen++;
	return box_send(s->box, &m, &s->shell.fd, 1);
}

void
call_warm(struct session *s)
{
	if (need_shell(s) < 0)
		session_lose_box(s, strerror(errno));
}

/* Hand one call to roost-init. -1 with errno when that is not possible. */
static int
hand_over(struct call *c, int args)
{
	struct session *s = c->s;
	struct sb_msg m = { .call = c->num, .tool = c->in.tool };
	int fds[3] = { args, c->out, -1 };

	if (c->in.tool == SB_TOOL_bash) {
		m.op = SB_BASH;
		return need_shell(s) < 0 ? -1 : box_send(s->box, &m, fds, 2);
	}
	m.op = SB_RUN;
	if (leaf_make(s->box, 'c', &c->leaf) < 0)
		return -1;
	fds[2] = c->leaf.fd;
	return box_send(s->box, &m, fds, 3);
}

/* Everything of the old shells is dead before the answer: what they held (ports, files, memory) is free again. */
static void
on_restart(void *ctx)
{
	struct call *c = ctx;
	struct session *s = c->s;

	c->timer = NULL;
	if (c->why == CALL_ENDED && !leaves_gone(s->box) && clock_mono_ms() < c->until) {
		c->timer = loop_after(s->h->loop, RESTART_POLL_MS, on_restart, c);
		return;
	}
	finish_text(c, c->why == CALL_ENDED ? "bash session restarted" : CALL_INTERRUPTED, c->why != CALL_ENDED);
	call_pump(s);
	session_settle(s);
}

static void
restart(struct call *c)
{
	struct session *s = c->s;

	session_shells_kill(s);
	c->state = CALL_RUNNING;
	c->num = ++s->next_num;
	s->running++;
	s->bash = c;
	c->until = clock_mono_ms() + RESTART_MS;
	c->timer = loop_after(s->h->loop, 0, on_restart, c);
}

static void
run(struct call *c)
{
	struct session *s = c->s;
	AUTO(fd) int args = -1;

	if (c->in.restart) {
		restart(c);
		return;
	}
	FAILPOINT(HANDS_START);
	args = input_memfd(&c->in);
	c->out = memfd_create("output", MFD_CLOEXEC);
	c->num = ++s->next_num;
	if (args < 0 || c->out < 0) {
		finish_text(c, "The host has no room to start this tool.", true);
		return;
	}
	c->state = CALL_RUNNING;
	s->running++;
	if (c->in.tool == SB_TOOL_bash)
		s->bash = c;
	if (hand_over(c, args) < 0) {
		session_lose_box(s, strerror(errno));	/* ends this call too */
		return;
	}
	c->timer = loop_after(s->h->loop, c->timeout_ms, on_timeout, c);
}

/* The first call that may run now: any tool, or a command when none runs. */
static struct call *
runnable(struct session *s)
{
	struct call *c;

	TAILQ_FOREACH(c, &s->calls, in_session)
		if (c->state == CALL_QUEUED && !(c->in.tool == SB_TOOL_bash && s->bash))
			return c;
	return NULL;
}

void
call_pump(struct session *s)
{
	struct call *c;

	while (s->box && box_is_ready(s->box) && s->running < SB_CALLS_MAX && (c = runnable(s)) != NULL)
		run(c);
}

void
call_start(struct session *s, const char *id, struct input *in, uint64_t conn, int64_t n)
{
	struct call *c = call_new(s, id);
	struct err e = ERR_INIT;
	int64_t most = s->h->conf.tool_timeout_ms;
	bool fresh;

	c->in = *in;
	in->args = (struct buf){ 0 };
	c->timeout_ms = c->in.timeout_ms > 0 ? c->in.timeout_ms : DEFAULT_MS;
	if (c->timeout_ms > most)
		c->timeout_ms = most;
	waiter_add(&c->waiters, conn, n, false);
	if (session_provision(s, &fresh, &e) < 0) {
		log_err("sandbox_refused", &e, "session", s->id, NULL);
		finish_text(c, e.kind == EK_LIMIT ? "No sandbox is free on this host. Please retry later." :
		    "The sandbox could not be started.", true);
		return;
	}
	call_pump(s);
	session_settle(s);
}

void
call_refused(struct session *s, const char *id, const char *text, uint64_t conn, int64_t n)
{
	struct call *c = call_new(s, id);

	waiter_add(&c->waiters, conn, n, false);
	finish_text(c, text, true);
}

/* The shell had ended before the command reached it: the command has not run, so it may be given to a new shell, once. */
static bool
again(struct call *c, const struct sb_msg *m)
{
	struct session *s = c->s;

	if (!(m->flags & SB_F_FAILED) || m->status != ESRCH || c->retried)
		return false;
	c->retried = true;
	c->state = CALL_QUEUED;
	loop_cancel(s->h->loop, &c->timer);
	close(c->out);
	c->out = -1;
	s->running--;
	s->bash = NULL;
	return true;
}

static struct call *
running(struct session *s, uint32_t num)
{
	struct call *c;

	TAILQ_FOREACH(c, &s->calls, in_session)
		if (c->state == CALL_RUNNING && c->num == num)
			return c;
	return NULL;
}

void
call_done(struct session *s, const struct sb_msg *m)
{
	struct sb_msg said = *m;
	struct call *c = running(s, m->call);

	if (!c)
		return;		/* ended in another way already */
	if (c->in.tool == SB_TOOL_bash && (m->flags & (SB_F_GONE | SB_F_FAILED)) && c->why == CALL_ENDED) {
		session_shell_drop(s, (m->flags & SB_F_FAILED) != 0);
		if (again(c, m)) {
			call_pump(s);
			return;
		}
		if (m->status == ESRCH && s->shell_errno)
			said.status = s->shell_errno;
	}
	result_compose(c, &said);
	finish(c);
	call_pump(s);
	session_settle(s);
}

void
call_all_lost(struct session *s, const char *text)
{
	struct call *c, *next;

	for (c = TAILQ_FIRST(&s->calls); c; c = next) {
		next = TAILQ_NEXT(c, in_session);
		if (c->state != CALL_DONE)
			finish_text(c, c->why == CALL_CANCELLED ? CALL_INTERRUPTED : text, true);
	}
}
