/*
 * outputs: see outputs.h. Whether there is anything to collect is told by a look at the directory from outside: nothing in it, or nothing
 * that changed, costs a few system calls. The work is done by a child (collect.h): it reads hostile files and waits for the disk, so it is
 * neither in our loop nor in possession of what we have: its descriptors are the directory, the store and the list's folder, its
 * capabilities two. What it costs counts as a sandbox's: all collections together have a cgroup with the CPU of one, below the group of
 * all. It writes the new list before it ends (outputs_list.h); we learn the same from a memfd.
 *
 * Crash of the child or of hands: blobs without a list are removed by the store's sweep; a list that was written is taken up at the next
 * start.
 */
#include "outputs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blobs.h"
#include "failpoint.h"
#include "fdio.h"
#include "jx.h"
#include "log.h"
#include "outputs_list.h"
#include "server.h"
#include "session.h"
#include "xalloc.h"

#define COLLECT_MS 120000
#define LIST_BYTES (16u << 20)
#define FILE_BYTES (500ll << 20)	/* as an upload (contract 1.15) */

struct collecting {
	pid_t pid;
	int pidfd, told;		/* its end; the memfd with what it found */
	struct loop_timer *timer;
};

/* --- the child --------------------------------------------------------------------------------------------------------------- */

static int
by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void
keep_only(int *fds, int n)
{
	unsigned from = 3;

	qsort(fds, (size_t)n, sizeof *fds, by_number);
	for (int i = 0; i < n; i++) {
		if ((unsigned)fds[i] > from)
			syscall(SYS_close_range, from, (unsigned)fds[i] - 1, 0u);
		from = (unsigned)fds[i] + 1;
	}
	syscall(SYS_close_range, from, ~0u, 0u);
}

/* Read what tools have locked away from others, and give blobs to the store's owner. */
static int
drop_caps(void)
{
	static const cap_value_t keep[] = { CAP_DAC_OVERRIDE, CAP_CHOWN };
	cap_t caps = cap_init();
	int rc = -1;

	if (caps && cap_set_flag(caps, CAP_PERMITTED, 2, keep, CAP_SET) == 0 && cap_set_flag(caps, CAP_EFFECTIVE, 2, keep, CAP_SET) == 0)
		rc = cap_set_proc(caps);
	cap_free(caps);
	return rc;
}

/* The list as it will be, from what was found: this copy of the process makes the same of it as the parent will. */
static int
save_found(struct session *s, const struct buf *found)
{
	const char *p = found->data, *nl;

	for (; p && (nl = strchr(p, '\n')) != NULL; p = nl + 1) {
		AUTO(json) json_t *item = json_loadb(p, (size_t)(nl - p), 0, NULL);

		if (item)
			outputs_list_put(s, item);
	}
	return outputs_list_save(s, true);
}

static void __attribute__((noreturn))
child(struct session *s, int dir, int told)
{
	struct outputs *o = &s->outputs;
	struct collect_known *known = xcalloc((size_t)o->n + 1, sizeof *known);
	struct collect_limits lim = { .files = (int)s->h->conf.outputs_max - o->taken, .file_bytes = FILE_BYTES,
		.bytes = (s->h->conf.outputs_mb << 20) - o->bytes };
	struct buf found = BUF_INIT(LIST_BYTES);
	int keep[] = { dir, told, s->h->outputs_dir, blobs_dir(s->h->blobs) };
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	prctl(PR_SET_NAME, "roost-outputs", 0, 0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (cg_box_enter(&s->h->collectors, s->h->collectors.njoin > 0) < 0)
		_exit(6);
	keep_only(keep, sizeof keep / sizeof *keep);
	if (drop_caps() < 0)
		_exit(3);
	for (int i = 0; i < o->n; i++)
		known[i] = (struct collect_known){ .path = o->list[i].path, .stamp = o->list[i].stamp, .sha256 = o->list[i].sha256 };
	collect(dir, s->h->blobs, known, o->n, &lim, &found);
	if (found.over || save_found(s, &found) < 0)
		_exit(4);
	_exit(fdio_write(told, found.data, found.len) == found.len ? 0 : 5);
}

/* --- its life ---------------------------------------------------------------------------------------------------------------- */

static void
answer(struct session *s)
{
	struct waiter w;

	while (waiter_pop(&s->outputs.waiters, &w))
		server_outputs(s->h, w.conn, w.n, s);
}

static void
note(struct session *s, int64_t skipped, const char *why)
{
	free(s->outputs.note);
	s->outputs.note = NULL;
	if (skipped <= 0)
		return;
	s->outputs.note = xasprintf("[%lld file%s in " SB_OUTPUTS " could not be handed to the user: %s.]\n", (long long)skipped,
	    skipped == 1 ? "" : "s", why ? why : "unknown");
	log_warn("outputs_skipped", "session", s->id, "files", LOGN(skipped), "why", why, NULL);
}

/* Take over what the child found. */
static void
take_found(struct session *s, int told)
{
	AUTO(buf) struct buf b = BUF_INIT(LIST_BYTES + 1);
	struct stat st;
	bool busy = false;
	char *p, *nl;

	if (fstat(told, &st) < 0 || st.st_size > LIST_BYTES || !(p = buf_reserve(&b, (size_t)st.st_size + 1)) ||
	    pread(told, p, (size_t)st.st_size, 0) != st.st_size)
		return;
	p[st.st_size] = '\0';
	for (; (nl = strchr(p, '\n')) != NULL; p = nl + 1) {
		AUTO(json) json_t *item = json_loadb(p, (size_t)(nl - p), 0, NULL);

		if (item && json_object_get(item, "skipped")) {
			note(s, jx_int(item, "skipped", 0), jx_str(item, "why"));
			busy = jx_bool(item, "busy", 0);
		} else if (item) {
			outputs_list_put(s, item);
		}
	}
	s->outputs.print = busy ? -1 : s->outputs.printing;	/* look again next time, whatever it looks like */
}

static void
end(struct session *s)
{
	struct collecting *c = s->outputs.collecting;

	loop_unwatch(s->h->loop, c->pidfd);
	loop_cancel(s->h->loop, &c->timer);
	close(c->pidfd);
	close(c->told);
	free(c);
	s->outputs.collecting = NULL;
}

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static void look(struct session *s);

static void
on_end(void *ctx, int fd, uint32_t events)
{
	struct session *s = ctx;
	struct collecting *c = s->outputs.collecting;
	siginfo_t si = { 0 };

	(void)events;
	if (waitid(P_PIDFD, (id_t)fd, &si, WEXITED) < 0 && errno == EINTR)
		return;
	if (si.si_code != CLD_EXITED || si.si_status != 0)
		log_warn("outputs_failed", "session", s->id, "status", LOGN(si.si_status), NULL);
	else
		take_found(s, c->told);
	end(s);
	if (!s->box)
		outputs_list_forget(&s->outputs);
	FAILPOINT(HANDS_OUTPUTS);
	outputs_list_shorter(s);
	if (s->outputs.again)
		look(s);
	if (s->outputs.collecting)
		return;
	answer(s);
	if (s->outputs.destroy)
		session_destroy(s);
}

static void
on_late(void *ctx)
{
	struct session *s = ctx;

	s->outputs.collecting->timer = NULL;
	log_warn("outputs_late", "session", s->id, NULL);
	syscall(SYS_pidfd_send_signal, s->outputs.collecting->pidfd, SIGKILL, NULL, 0);
}

static int
start(struct session *s)
{
	struct collecting *c = xcalloc(1, sizeof *c);
	const int dir = box_outputs(s->box);

	c->told = memfd_create("outputs", MFD_CLOEXEC);
	c->pid = c->told < 0 ? -1 : fork();
	if (c->pid == 0)
		child(s, dir, c->told);
	c->pidfd = c->pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, c->pid, 0);
	if (c->pidfd < 0) {
		log_warn("outputs_failed", "session", s->id, "why", strerror(errno), NULL);
		if (c->pid > 0) {
			kill(c->pid, SIGKILL);
			waitpid(c->pid, NULL, 0);
		}
		if (c->told >= 0)
			close(c->told);
		free(c);
		return -1;
	}
	s->outputs.collecting = c;
	c->timer = loop_after(s->h->loop, COLLECT_MS, on_late, s);
	loop_watch(s->h->loop, c->pidfd, EPOLLIN, on_end, s);
	return 0;
}

/* Is there anything new? Then begin to collect it. */
static void
look(struct session *s)
{
	struct outputs *o = &s->outputs;

	o->again = false;
	if (!s->box || !box_is_ready(s->box) || s->running > 0 || !s->h->blobs)
		return;
	o->printing = collect_print(box_outputs(s->box));
	if (o->printing != 0 && (o->printing < 0 || o->printing != o->print))
		(void)start(s);
}

void
outputs_pause(struct session *s, uint64_t conn, int64_t n)
{
	struct outputs *o = &s->outputs;

	if (o->collecting)
		o->again = true;
	else
		look(s);
	if (o->collecting)
		waiter_add(&o->waiters, conn, n, false);
	else
		server_outputs(s->h, conn, n, s);
}

void
outputs_lost(struct session *s)
{
	s->outputs.print = 0;
	s->outputs.destroy = false;
	if (!s->outputs.collecting)
		outputs_list_forget(&s->outputs);
}

void
outputs_free(struct session *s)
{
	struct outputs *o = &s->outputs;

	must(!o->collecting && o->npending == 0);
	outputs_list_forget(o);
	free(o->pending);
	free(o->note);
	*o = (struct outputs){ 0 };
}
