/*
 * outputs: see outputs.h. Whether there is anything to collect is told by a look at the directory from outside: nothing in it, or nothing
 * that changed, costs a few system calls. The work is done by a child (collect.h): it reads hostile files and waits for the disk, so it is
 * neither in our loop nor in possession of what we have: its descriptors are the directory, the store and the list's folder, its
 * capabilities two. What it costs counts as a sandbox's: all collections together have a cgroup with the CPU of one, below the group of all. It writes the new list before it ends; we learn the same from a memfd.
 *
 * Crash of the child or of hands: blobs without a list are removed by the store's sweep; a list that was written is taken up at the next
 * start. A list that was handed out and not confirmed is offered to any worker again (`outputs`), after RETELL_MS.
 */
#include "outputs.h"

#include <dirent.h>
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
#include "clock.h"
#include "failpoint.h"
#include "fdio.h"
#include "jx.h"
#include "log.h"
#include "server.h"
#include "session.h"
#include "xalloc.h"

#define COLLECT_MS 120000
#define RETELL_MS 3000
#define REPLY_BYTES (1u << 20)
#define LIST_BYTES (16u << 20)
#define FILE_BYTES (500ll << 20)	/* as an upload (contract 1.15) */

DEFINE_CLEANUP(DIR *, dirp, closedir)

struct collecting {
	pid_t pid;
	int pidfd, told;		/* its end; the memfd with what it found */
	struct loop_timer *timer;
};

/* --- the list ---------------------------------------------------------------------------------------------------------------- */

static void
write_one(struct jw *w, const struct unpublished *u)
{
	jw_obj(w);
	jw_kstr(w, "path", u->path);
	jw_kstr(w, "name", u->name);
	jw_kstr(w, "blob", u->blob);
	jw_kstr(w, "sha256", u->sha256);
	jw_kint(w, "size", u->size);
	jw_obj_end(w);
}

/* Where the path is in the list, or belongs. */
static int
place(const struct outputs *o, const char *path)
{
	int from = 0, to = o->n;

	while (from < to) {
		int mid = (from + to) / 2;

		if (strcmp(o->list[mid].path, path) < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

static struct output *
find(struct outputs *o, const char *path)
{
	int at = place(o, path);

	return at < o->n && strcmp(o->list[at].path, path) == 0 ? &o->list[at] : NULL;
}

/* All that is pending, as the list's file: "NAME.new", then renamed. Nothing pending: no file. What only got shorter needs no sync. */
static int
save(const struct session *s, bool sync)
{
	const struct outputs *o = &s->outputs;
	const int dir = s->h->outputs_dir;
	AUTO(buf) struct buf b = { 0 };
	AUTO(fd) int fd = -1;
	char tmp[SESSION_ID_MAX + 8];
	struct jw w;

	if (o->npending == 0)
		return unlinkat(dir, s->id, 0) < 0 && errno != ENOENT ? -1 : 0;
	jw_begin(&w, &b);
	jw_arr(&w);
	for (int i = 0; i < o->npending; i++)
		write_one(&w, &o->pending[i]);
	jw_arr_end(&w);
	jw_end(&w);
	snprintf(tmp, sizeof tmp, "%s.new", s->id);
	fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fdio_write(fd, b.data, b.len) < b.len || (sync && fdatasync(fd) < 0))
		return -1;
	return renameat(dir, tmp, dir, s->id);
}

static struct output *
add(struct outputs *o, const char *path)
{
	const int at = place(o, path);

	o->list = xrealloc(o->list, (size_t)(o->n + 1) * sizeof *o->list);
	memmove(o->list + at + 1, o->list + at, (size_t)(o->n++ - at) * sizeof *o->list);
	o->list[at] = (struct output){ .path = xstrdup(path) };
	return &o->list[at];
}

/* What the child found about one path: a new content, or only a new stamp. */
static void
put(struct session *s, const json_t *item)
{
	struct outputs *o = &s->outputs;
	const char *path = jx_str(item, "path"), *name = jx_str(item, "name"), *blob = jx_str(item, "blob"), *sha = jx_str(item, "sha256");
	struct output *x = path ? find(o, path) : NULL;
	struct unpublished *u;

	if (!path || (blob && (!name || !sha || !blob_id_ok(blob) || strlen(sha) != 64)) || (!blob && !x))
		return;
	if (!x)
		x = add(o, path);
	x->stamp = (struct collect_stamp){ .ino = (uint64_t)jx_int(item, "ino", 0), .size = jx_int(item, "size", 0),
		.mtime_ns = jx_int(item, "mtime", 0), .ctime_ns = jx_int(item, "ctime", 0) };
	if (!blob)
		return;
	memcpy(x->sha256, sha, sizeof x->sha256);
	o->taken++;
	o->bytes += x->stamp.size;
	o->pending = xrealloc(o->pending, (size_t)(o->npending + 1) * sizeof *o->pending);
	u = &o->pending[o->npending++];
	*u = (struct unpublished){ .path = xstrdup(path), .name = xstrdup(name), .size = x->stamp.size };
	memcpy(u->blob, blob, sizeof u->blob);
	memcpy(u->sha256, sha, sizeof u->sha256);
	s->h->outputs_pending += o->npending == 1;
}

/* A list on disk that still names what was confirmed would be offered again after a crash: no harm, but no use. */
static void
save_shorter(struct session *s)
{
	if (s->outputs.shorter && save(s, false) < 0)
		log_warn("outputs_list", "session", s->id, "why", strerror(errno), NULL);
	s->outputs.shorter = false;
}

static void
forget(struct unpublished *u)
{
	free(u->path);
	free(u->name);
}

static void
take_off(struct outputs *o, int k)
{
	forget(&o->pending[k]);
	memmove(o->pending + k, o->pending + k + 1, (size_t)(--o->npending - k) * sizeof *o->pending);
}

/* The list has become shorter, from `had` on. */
static void
shortened(struct session *s, int had)
{
	struct outputs *o = &s->outputs;

	s->h->outputs_pending -= had > 0 && o->npending == 0;
	o->shorter |= had != o->npending;
	if (!o->collecting)
		save_shorter(s);
}

/* A copy that is not in the store any more (its file was published, then deleted, and nobody told us) is not offered again. */
static void
drop_missing(struct session *s)
{
	const int had = s->outputs.npending;

	for (int k = had - 1; k >= 0; k--)
		if (!blobs_have(s->h->blobs, s->outputs.pending[k].blob))
			take_off(&s->outputs, k);
	shortened(s, had);
}

void
outputs_write(struct session *s, struct jw *w)
{
	struct outputs *o = &s->outputs;
	size_t before = w->out->len;
	bool more = false;

	if (!o->collecting)
		drop_missing(s);

	jw_kstr(w, "session", s->id);
	jw_key(w, "outputs");
	jw_arr(w);
	for (int i = 0; i < o->npending && !more; i++) {
		more = w->out->len - before > REPLY_BYTES;
		if (!more)
			write_one(w, &o->pending[i]);
	}
	jw_arr_end(w);
	jw_kbool(w, "more", more);
	o->told_ms = clock_mono_ms();
}

void
outputs_done(struct session *s, const json_t *blobs, bool keep)
{
	struct outputs *o = &s->outputs;
	const int had = o->npending;
	const json_t *v;
	size_t i;
	int k;

	json_array_foreach(blobs, i, v) {
		for (k = 0; k < o->npending && !(json_is_string(v) && strcmp(o->pending[k].blob, json_string_value(v)) == 0); k++)
			;
		if (k == o->npending)
			continue;
		if (!keep) {
			blobs_remove(s->h->blobs, o->pending[k].blob);
			o->taken--;
			o->bytes -= o->pending[k].size;
		}
		take_off(o, k);
	}
	shortened(s, had);
}

struct session *
outputs_forgotten(struct hands *h)
{
	int64_t now = clock_mono_ms();
	struct session *s;

	if (h->outputs_pending == 0)
		return NULL;
	TAILQ_FOREACH(s, &h->sessions, link)
		if (s->outputs.npending > 0 && !s->outputs.collecting && now - s->outputs.told_ms >= RETELL_MS)
			return s;
	return NULL;
}

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
			put(s, item);
	}
	return save(s, true);
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
			put(s, item);
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

/* What a sandbox that is gone held: what another one writes again is recognised by its content when it is published. */
static void
forget_list(struct outputs *o)
{
	for (int i = 0; i < o->n; i++)
		free(o->list[i].path);
	free(o->list);
	o->list = NULL;
	o->n = 0;
}

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
		forget_list(&s->outputs);
	FAILPOINT(HANDS_OUTPUTS);
	save_shorter(s);
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
		forget_list(&s->outputs);
}

void
outputs_free(struct session *s)
{
	struct outputs *o = &s->outputs;

	must(!o->collecting && o->npending == 0);
	forget_list(o);
	free(o->pending);
	free(o->note);
	*o = (struct outputs){ 0 };
}

/* --- the start --------------------------------------------------------------------------------------------------------------- */

static void
take_up(struct hands *h, const char *name)
{
	AUTO(json) json_t *list = NULL;
	AUTO(fd) int fd = openat(h->outputs_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct err e = ERR_INIT;
	struct session *s;
	const json_t *v;
	size_t i;

	list = fd >= 0 ? json_loadfd(fd, 0, NULL) : NULL;
	if (!json_is_array(list) || !(s = session_enter(h, name, 0, false, &e))) {
		log_warn("outputs_list", "session", name, "why", "not readable", NULL);
		return;
	}
	json_array_foreach(list, i, v)
		put(s, v);
	log_info("outputs_pending", "session", name, "files", LOGN(s->outputs.npending), NULL);
}

int
outputs_open(struct hands *h, struct err *e)
{
	char path[320];
	AUTO(dirp) DIR *dir = NULL;
	struct dirent *d;

	snprintf(path, sizeof path, "%s/outputs", h->conf.sandbox_dir);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot make %s", path);
	h->outputs_dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	dir = opendir(path);
	if (h->outputs_dir < 0 || !dir)
		return err_fault(e, EK_UNAVAILABLE, errno, "cannot open %s", path);
	while ((d = readdir(dir)) != NULL) {
		if (d->d_name[0] == '.')
			continue;
		if (strchr(d->d_name, '.'))
			(void)unlinkat(h->outputs_dir, d->d_name, 0);	/* half-written */
		else
			take_up(h, d->d_name);
	}
	return 0;
}
