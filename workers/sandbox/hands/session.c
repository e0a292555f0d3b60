/*
 * session: see session.h. This file owns struct session; calls are call.c's. A sandbox that ends by itself (its pid 1 killed, its
 * start failed) ends the session's running calls as errors that say so, and the next call starts a fresh one.
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "failpoint.h"
#include "id.h"
#include "log.h"
#include "server.h"
#include "xalloc.h"

#define SESSIONS_MAX 20000

void
session_init(struct hands *h)
{
	TAILQ_INIT(&h->sessions);
	TAILQ_INIT(&h->done);
}

static void
session_free(struct session *s)
{
	TAILQ_REMOVE(&s->h->sessions, s, link);
	LIST_REMOVE(s, in_bucket);
	s->h->nsessions--;
	files_free(&s->files);
	outputs_free(s);
	free(s);
}

/* Forget the longest unused sessions that hold nothing but an epoch. */
static void
make_room(struct hands *h)
{
	struct session *s, *next;

	for (s = TAILQ_FIRST(&h->sessions); s && h->nsessions >= SESSIONS_MAX; s = next) {
		next = TAILQ_NEXT(s, link);
		if (!s->box && TAILQ_EMPTY(&s->calls) && !s->provisions && !s->outputs.collecting && s->outputs.npending == 0)
			session_free(s);
	}
}

static struct session_bucket *
bucket(struct hands *h, const char *id)
{
	return &h->buckets[id_hash(id) % SESSION_BUCKETS];
}

struct session *
session_find(struct hands *h, const char *id)
{
	struct session *s;

	LIST_FOREACH(s, bucket(h, id), in_bucket)
		if (strcmp(s->id, id) == 0)
			return s;
	return NULL;
}

struct session *
session_enter(struct hands *h, const char *id, int64_t epoch, bool kill_older, struct err *e)
{
	struct session *s = session_find(h, id);

	if (!s) {
		make_room(h);
		s = xcalloc(1, sizeof *s);
		s->h = h;
		s->epoch = epoch;
		s->shell.fd = -1;
		snprintf(s->id, sizeof s->id, "%s", id);
		TAILQ_INIT(&s->calls);
		TAILQ_INSERT_TAIL(&h->sessions, s, link);
		LIST_INSERT_HEAD(bucket(h, id), s, in_bucket);
		h->nsessions++;
		return s;
	}
	if (epoch < s->epoch) {
		err_set(e, EK_CONFLICT, 0, "epoch %lld is over: %lld was seen", (long long)epoch, (long long)s->epoch);
		return NULL;
	}
	TAILQ_REMOVE(&h->sessions, s, link);
	TAILQ_INSERT_TAIL(&h->sessions, s, link);
	s->epoch = epoch;
	if (kill_older)
		call_cancel_older(s, epoch);
	return s;
}

static void
answer_provisions(struct session *s, const char *failure)
{
	struct waiter w;

	while (waiter_pop(&s->provisions, &w)) {
		if (failure)
			server_error(s->h, w.conn, w.n, "failed", failure);
		else
			server_provisioned(s->h, w.conn, w.n, true);
	}
}

static void
on_ready(void *owner)
{
	struct session *s = owner;
	const bool ahead = s->provisions != NULL;

	files_mount(&s->files, s->h->blobs, s->box, s->id);
	answer_provisions(s, NULL);
	call_pump(s);
	if (ahead && s->box)
		call_warm(s);
	session_settle(s);
}

static void
on_message(void *owner, const struct sb_msg *m)
{
	struct session *s = owner;

	if (m->op == SB_DONE) {
		call_done(s, m);
	} else if (m->op == SB_GONE && m->call == s->shell_gen) {
		s->shell_errno = m->flags & SB_F_FAILED ? m->status : 0;
		if (!s->bash)
			session_shell_drop(s, s->shell_errno != 0);
	}
}

/* Forget what died with the box: descriptors of groups, mounts, the directory of outputs. */
static void
box_forget(struct session *s)
{
	files_unmounted(&s->files);
	outputs_lost(s);
	leaf_drop(NULL, &s->shell);
	while (s->nold > 0)
		leaf_drop(NULL, &s->old[--s->nold]);
}

static void
on_lost(void *owner, const char *why)
{
	struct session *s = owner;
	bool started = !why;

	s->box = NULL;
	s->pause_wanted = false;
	s->replaced = started && s->running == 0;
	box_forget(s);
	answer_provisions(s, "the sandbox could not be started");
	call_all_lost(s, started ? "The sandbox was lost while this was running: its processes and files are gone. The next tool call gets "
	    "a fresh sandbox." : "The sandbox could not be started.");
}

static const struct box_hooks hooks = { .ready = on_ready, .message = on_message, .lost = on_lost };

/* Give up the sandbox whose session has been idle for longest. */
static bool
evict(struct hands *h)
{
	struct session *s;

	TAILQ_FOREACH(s, &h->sessions, link)
		if (s->box && box_is_frozen(s->box) && s->running == 0 && !s->outputs.collecting) {
			log_warn("sandbox_evicted", "session", s->id, NULL);
			box_drop(&s->box);
			box_forget(s);
			s->replaced = true;
			return true;
		}
	return false;
}

int
session_provision(struct session *s, bool *fresh, struct err *e)
{
	s->pause_wanted = false;
	if (s->box) {
		*fresh = false;
		box_freeze(s->box, false);
		return 0;
	}
	*fresh = true;
	FAILPOINT(HANDS_SPAWN);
	if (box_start(s->h, &hooks, s, &s->box, e) == 0)
		return 0;
	if (e->kind != EK_LIMIT || !evict(s->h))
		return -1;
	return box_start(s->h, &hooks, s, &s->box, e);
}

int
session_files(struct session *s, const json_t *list, struct err *e)
{
	if (files_want(&s->files, list, e) < 0)
		return -1;
	if (list && s->box && box_is_ready(s->box))
		files_mount(&s->files, s->h->blobs, s->box, s->id);
	return 0;
}

void
session_pause(struct session *s)
{
	s->pause_wanted = s->box != NULL;
	session_settle(s);
}

void
session_settle(struct session *s)
{
	if (s->pause_wanted && s->box && box_is_ready(s->box) && s->running == 0) {
		s->pause_wanted = false;
		box_freeze(s->box, true);
	}
}

void
session_lose_box(struct session *s, const char *why)
{
	if (!s->box)
		return;
	log_warn("sandbox_given_up", "session", s->id, "why", why, NULL);
	box_drop(&s->box);
	on_lost(s, NULL);
}

void
session_destroy(struct session *s)
{
	box_drop(&s->box);
	s->pause_wanted = s->replaced = false;
	box_forget(s);
	answer_provisions(s, "the sandbox was destroyed");
	call_all_lost(s, CALL_INTERRUPTED);
	call_forget_all(s);
}

void
session_shell_drop(struct session *s, bool kill)
{
	if (s->shell.fd < 0)
		return;
	if (kill) {
		cg_kill(s->shell.fd);
		leaf_drop(s->box, &s->shell);
		return;
	}
	if (s->nold == OLD_SHELLS) {
		cg_kill(s->old[0].fd);
		leaf_drop(s->box, &s->old[0]);
		memmove(s->old, s->old + 1, (size_t)--s->nold * sizeof s->old[0]);
	}
	s->old[s->nold++] = s->shell;
	s->shell.fd = -1;
}

void
session_shells_kill(struct session *s)
{
	session_shell_drop(s, true);
	while (s->nold > 0) {
		s->nold--;
		cg_kill(s->old[s->nold].fd);
		leaf_drop(s->box, &s->old[s->nold]);
	}
}
