/*
 * box: see box.h. A box is starting (no READY yet), ready, or dying. Dying: its cgroup has been killed; we wait for pid 1 to be
 * reapable, then remove the groups (retried, because rmdir is refused for a while after the last exit), and only then give the uid
 * range back, so that two sandboxes never share one.
 */
#include "box.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "spawn.h"
#include "xalloc.h"

#define START_MS 15000
#define RETRY_MS 10
#define GARBAGE_MAX 64

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

struct box {
	struct hands *h;
	const struct box_hooks *hooks;
	void *owner;			/* NULL once let go */
	enum { STARTING, READY, DYING } state;
	bool frozen;
	int slot;
	struct cg_box cg;
	struct spawned sp;
	int mounts, outputs;		/* descriptors into it (SB_PLACES); -1: not there */
	struct loop_timer *timer;	/* STARTING: deadline; DYING: next try to remove the groups */
	uint32_t leaves;
	char garbage[GARBAGE_MAX][16];	/* leaves that could not be removed yet */
	int ngarbage;
};

static void
box_free(struct box *b)
{
	loop_cancel(b->h->loop, &b->timer);
	cg_box_close(&b->cg);
	uids_put(b->h->uids, b->slot);
	b->h->boxes--;
	b->h->dying -= b->state == DYING;
	free(b);
}

static void
bury(void *ctx)
{
	struct box *b = ctx;

	b->timer = NULL;
	if (cg_box_remove(b->h->cg, &b->cg) < 0)
		b->timer = loop_after(b->h->loop, RETRY_MS, bury, b);
	else
		box_free(b);
}

/* pid 1 has ended: the kernel has killed the whole pid namespace. */
static void
reap(struct box *b, int *status)
{
	siginfo_t si = { 0 };

	loop_unwatch(b->h->loop, b->sp.pidfd);
	if (waitid(P_PIDFD, (id_t)b->sp.pidfd, &si, WEXITED) == 0 && status)
		*status = si.si_status;
	close(b->sp.pidfd);
	b->sp.pidfd = -1;
}

static void
forget(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void
begin_dying(struct box *b)
{
	struct loop *l = b->h->loop;

	b->state = DYING;
	b->h->dying++;
	b->owner = NULL;
	loop_cancel(l, &b->timer);
	loop_unwatch(l, b->sp.sock);
	forget(&b->sp.sock);
	forget(&b->sp.report);
	forget(&b->mounts);		/* they would keep its file system alive */
	forget(&b->outputs);
	cg_box_joined(&b->cg);
	cg_kill(b->cg.fd);
	if (b->sp.pidfd < 0)
		b->timer = loop_after(l, 0, bury, b);
}

/* The sandbox ended by itself. */
static void
lose(struct box *b)
{
	const struct box_hooks *hooks = b->hooks;
	void *owner = b->owner;
	char why[256] = "";
	bool starting = b->state == STARTING;
	ssize_t n = starting ? read(b->sp.report, why, sizeof why - 1) : 0;

	why[n > 0 ? n : 0] = '\0';
	if (starting && !why[0])
		snprintf(why, sizeof why, "roost-init did not come up");
	if (starting)
		log_error("sandbox_start_failed", "sandbox", b->cg.name, "step", why, NULL);
	else
		log_warn("sandbox_lost", "sandbox", b->cg.name, NULL);
	begin_dying(b);
	if (owner)
		hooks->lost(owner, why[0] ? why : NULL);
}

static void
on_pidfd(void *ctx, int fd, uint32_t events)
{
	struct box *b = ctx;
	int status = 0;

	(void)fd;
	(void)events;
	reap(b, &status);
	if (b->state == DYING)
		b->timer = loop_after(b->h->loop, 0, bury, b);
	else
		lose(b);
}

/* One message. Descriptors are taken with the first one only, which the child sends before it is roost-init. */
static ssize_t
receive(struct box *b, struct sb_msg *m)
{
	union { char space[CMSG_SPACE(2 * sizeof(int))]; struct cmsghdr align; } control;
	struct iovec iov = { .iov_base = m, .iov_len = sizeof *m };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;
	int fds[2];
	ssize_t n;

	if (b->state == STARTING && b->mounts < 0) {
		mh.msg_control = &control;
		mh.msg_controllen = sizeof control;
	}
	n = recvmsg(b->sp.sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	c = n >= 0 && mh.msg_control ? CMSG_FIRSTHDR(&mh) : NULL;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof fds)) {
		memcpy(fds, CMSG_DATA(c), sizeof fds);
		b->mounts = fds[0];
		b->outputs = fds[1];
	}
	return n;
}

static void
on_sock(void *ctx, int fd, uint32_t events)
{
	struct box *b = ctx;
	struct sb_msg m;
	ssize_t n = receive(b, &m);

	(void)fd;
	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != (ssize_t)sizeof m) {
		lose(b);
		return;
	}
	if (m.op == SB_PLACES)
		return;
	if (m.op == SB_READY && b->state == STARTING) {
		b->h->landlock = (m.flags & SB_F_LANDLOCK) != 0;
		b->state = READY;
		loop_cancel(b->h->loop, &b->timer);
		cg_box_joined(&b->cg);
		close(b->sp.report);
		b->sp.report = -1;
		b->hooks->ready(b->owner);
	} else if (b->state == READY) {
		b->hooks->message(b->owner, &m);
	}
}

static void
on_late(void *ctx)
{
	struct box *b = ctx;

	b->timer = NULL;
	lose(b);
}

int
box_start(struct hands *h, const struct box_hooks *hooks, void *owner, struct box **out, struct err *e)
{
	const struct cg_limits lim = { .memory_bytes = h->conf.sandbox_memory_mb << 20, .pids = h->conf.sandbox_pids,
		.cpu_pct = h->conf.sandbox_cpu_pct };
	struct spawn_spec spec = { .root_dir = h->root_dir, .etc_dir = h->etc_dir, .init = h->init, .filter = h->filter,
		.disk_mb = h->conf.sandbox_disk_mb, .inodes = h->conf.sandbox_inodes, .pids = h->conf.sandbox_pids,
		.join_by_write = h->join_by_write };
	struct box *b;
	char name[24];
	int slot = h->boxes - h->dying < h->conf.sandboxes_max ? uids_take(h->uids) : -1;

	if (slot < 0)
		return err_set(e, EK_LIMIT, 0, "all %lld sandboxes of this host are in use", (long long)h->conf.sandboxes_max);
	b = xcalloc(1, sizeof *b);
	b->h = h;
	b->hooks = hooks;
	b->owner = owner;
	b->slot = slot;
	b->mounts = b->outputs = -1;
	h->boxes++;
	snprintf(name, sizeof name, "sb-%u", ++h->box_seq);
	spec.base = uids_base(h->uids, slot);
	spec.userns = uids_userns(h->uids, slot, e);
	spec.box = &b->cg;
	b->cg.fd = -1;
	if (spec.userns < 0 || cg_box_make(h->cg, name, &lim, spec.base, &b->cg, e) < 0) {
		box_free(b);
		return -1;
	}
	if (spawn(&spec, &b->sp, e) < 0) {
		(void)cg_box_remove(h->cg, &b->cg);
		box_free(b);
		return -1;
	}
	b->timer = loop_after(h->loop, START_MS, on_late, b);
	loop_watch(h->loop, b->sp.sock, EPOLLIN, on_sock, b);
	loop_watch(h->loop, b->sp.pidfd, EPOLLIN, on_pidfd, b);
	*out = b;
	return 0;
}

bool box_is_ready(const struct box *b) { return b->state == READY; }
bool box_is_frozen(const struct box *b) { return b->frozen; }
int box_mounts(const struct box *b) { return b->mounts; }
int box_outputs(const struct box *b) { return b->outputs; }
uid_t box_base(const struct box *b) { return uids_base(b->h->uids, b->slot); }

void
box_drop(struct box **bp)
{
	struct box *b = *bp;

	*bp = NULL;
	if (b)
		begin_dying(b);
}

void
box_freeze(struct box *b, bool frozen)
{
	if (b->frozen != frozen)
		cg_freeze(&b->cg, frozen);
	b->frozen = frozen;
}

int
box_send(struct box *b, const struct sb_msg *m, const int *fds, int nfds)
{
	union { char space[CMSG_SPACE(3 * sizeof(int))]; struct cmsghdr align; } control = { { 0 } };
	struct sb_msg copy = *m;
	struct iovec iov = { .iov_base = &copy, .iov_len = sizeof copy };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
		.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
	ssize_t n;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
	memcpy(CMSG_DATA(c), fds, (size_t)nfds * sizeof(int));
	do
		n = sendmsg(b->sp.sock, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof copy ? 0 : -1;
}

int
leaf_make(struct box *b, char kind, struct leaf *out)
{
	snprintf(out->name, sizeof out->name, "%c%u", kind, ++b->leaves);
	out->fd = cg_leaf_make(&b->cg, out->name, uids_base(b->h->uids, b->slot));
	return out->fd < 0 ? -1 : 0;
}

/* Try again what could not be removed before. */
static void
collect(struct box *b)
{
	int i, n = 0;

	for (i = 0; i < b->ngarbage; i++)
		if (cg_leaf_remove(&b->cg, b->garbage[i]) < 0)
			memmove(b->garbage[n++], b->garbage[i], sizeof b->garbage[0]);
	b->ngarbage = n;
}

bool
leaves_gone(struct box *b)
{
	collect(b);
	return b->ngarbage == 0;
}

void
leaf_drop(struct box *b, struct leaf *leaf)
{
	if (leaf->fd < 0)
		return;
	if (b && b->state != DYING) {
		if (b->ngarbage)
			collect(b);
		if (cg_leaf_remove(&b->cg, leaf->name) < 0) {
			cg_kill(leaf->fd);
			if (b->ngarbage < GARBAGE_MAX)	/* else it goes with the box */
				memcpy(b->garbage[b->ngarbage++], leaf->name, sizeof leaf->name);
		}
	}
	close(leaf->fd);
	leaf->fd = -1;
}
