/*
 * files: see files.h. The mounts are made by a child that shares our memory and enters the sandbox's mount namespace while we wait for it
 * (about 100 us): entering is per process, and we stay where we are. It runs nothing but the few calls below, executes nothing, and every
 * path that it walks lies in a folder that tools cannot write to: a tmpfs of its own, made with the first file, which is not part of the
 * sandbox's quota. Even so no link is followed.
 *
 * A crash of hands ends the sandbox and its mounts with it. Paths come from the gateway, which has checked them; they are checked again.
 */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blobs.h"
#include "box.h"
#include "jx.h"
#include "log.h"
#include "wire.h"
#include "xalloc.h"

/* see mnt.c */
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
int umount2(const char *target, int flags);
#define DETACH 2
#define NOFOLLOW 8

#define PATH_BYTES 4096
#define STACK (256u << 10)

static void
list_free(struct file *list, int n)
{
	for (int i = 0; i < n; i++)
		free(list[i].path);
	free(list);
}

void
files_unmounted(struct files *f)
{
	list_free(f->mounted, f->nmounted);
	f->mounted = NULL;
	f->nmounted = 0;
}

void
files_free(struct files *f)
{
	files_unmounted(f);
	list_free(f->list, f->n);
	*f = (struct files){ 0 };
}

/* Below SB_UPLOADS, absolute, without empty, . or .. components. */
static bool
path_ok(const char *path)
{
	static const char root[] = SB_UPLOADS "/";
	const char *p;
	size_t n;

	if (!path || strncmp(path, root, sizeof root - 1) != 0 || strlen(path) >= PATH_BYTES)
		return false;
	for (p = path + sizeof root - 1;; p += n + 1) {
		n = strcspn(p, "/");
		if (n == 0 || n > 255 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		if (!p[n])
			return true;
	}
}

static int
by_path(const void *a, const void *b)
{
	return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

int
files_want(struct files *f, const json_t *list, struct err *e)
{
	size_t n = json_array_size(list), i;
	struct file *want;
	json_t *v;

	if (!list)
		return 0;
	if (!json_is_array(list) || n > FILES_MAX)
		return err_set(e, EK_INVALID, 0, "files: must be an array of at most %d", FILES_MAX);
	want = xcalloc(n + 1, sizeof *want);
	json_array_foreach(list, i, v) {
		const char *blob = jx_str(v, "blob"), *path = jx_str(v, "path");

		if (!blob || !blob_id_ok(blob) || !path_ok(path)) {
			list_free(want, (int)i);
			return err_set(e, EK_INVALID, 0, "files[%zu]: no blob, or a path that is not below " SB_UPLOADS, i);
		}
		memcpy(want[i].blob, blob, sizeof want[i].blob);
		want[i].path = xstrdup(path);
	}
	qsort(want, n, sizeof *want, by_path);
	list_free(f->list, f->n);
	f->list = want;
	f->n = (int)n;
	return 0;
}

/* --- inside ------------------------------------------------------------------------------------------------------------------ */

/* What the child does, and how it went. */
struct job {
	int mounts;			/* the sandbox's mount namespace */
	uid_t base;
	const struct file **gone;	/* to unmount */
	int ngone;
	const struct file **fresh;	/* to mount: trees[i] is for fresh[i] */
	const int *trees;
	int nfresh;
	int *failed;			/* of fresh[i]: errno, or 0 */
	int broken;			/* nothing could be done at all: errno */
};

static int
open_in(int dir, const char *path)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };

	return (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
}

/* The folder of all files: a tmpfs that only holds mount points, 500 of them at a depth of 16 at most (gateway/mountpath.c). */
static int
open_uploads(const struct job *j)
{
	struct stat outer, inner;
	char opts[120];

	if (lstat("/mnt/session", &outer) < 0 || lstat(SB_UPLOADS, &inner) < 0)
		return -1;
	if (outer.st_dev == inner.st_dev) {
		snprintf(opts, sizeof opts, "mode=755,size=1m,nr_inodes=8704,uid=%u,gid=%u", j->base, j->base);
		if (mount("uploads", SB_UPLOADS, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, opts) < 0)
			return -1;
	}
	return open(SB_UPLOADS, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* The mount point of one file, its parents made on the way; the tree is attached there. */
static int
attach(const struct job *j, int uploads, const char *path, int tree)
{
	char part[PATH_BYTES], *p = part, *slash;
	int dir = fcntl(uploads, F_DUPFD_CLOEXEC, 0), next, rc = -1;

	snprintf(part, sizeof part, "%s", path + sizeof SB_UPLOADS);
	while (dir >= 0 && (slash = strchr(p, '/')) != NULL) {
		*slash = '\0';
		if (mkdirat(dir, p, 0755) == 0)
			(void)!fchownat(dir, p, j->base, j->base, AT_SYMLINK_NOFOLLOW);
		next = open_in(dir, p);
		close(dir);
		dir = next;
		p = slash + 1;
	}
	if (dir < 0)
		return -1;
	next = openat(dir, p, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
	if (next >= 0) {
		(void)!fchown(next, j->base, j->base);
		close(next);
		rc = (int)syscall(SYS_move_mount, tree, "", dir, p, MOVE_MOUNT_F_EMPTY_PATH);
		if (rc < 0) {
			int saved = errno;

			(void)unlinkat(dir, p, 0);
			errno = saved;
		}
	}
	close(dir);
	return rc;
}

static void
detach(const char *path)
{
	char parent[PATH_BYTES], *slash;

	(void)umount2(path, DETACH | NOFOLLOW);
	if (unlink(path) < 0)
		return;
	snprintf(parent, sizeof parent, "%s", path);
	while ((slash = strrchr(parent, '/')) != NULL && slash > parent + sizeof SB_UPLOADS - 1) {
		*slash = '\0';
		if (rmdir(parent) < 0)
			return;
	}
}

static int
inside(void *ctx)
{
	struct job *j = ctx;
	int uploads, i;

	if (setns(j->mounts, CLONE_NEWNS) < 0 || (uploads = open_uploads(j)) < 0) {
		j->broken = errno;
		return 1;
	}
	for (i = 0; i < j->ngone; i++)
		detach(j->gone[i]->path);
	for (i = 0; i < j->nfresh; i++)
		if (j->trees[i] >= 0)
			j->failed[i] = attach(j, uploads, j->fresh[i]->path, j->trees[i]) < 0 ? errno : 0;
	close(uploads);
	j->broken = 0;
	return 0;
}

/* Run it there; the calling process stands still meanwhile and shares its memory, so results are simply there. */
static int
run_inside(struct job *j)
{
	char *stack = xmalloc(STACK);
	pid_t pid;
	int status;

	j->broken = EIO;
	pid = clone(inside, stack + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, j);
	if (pid < 0)
		j->broken = errno;
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	free(stack);
	errno = j->broken;
	return j->broken ? -1 : 0;
}

/* --- outside ----------------------------------------------------------------------------------------------------------------- */

/* Both lists are sorted: what is in one of them only. */
static void
compare(const struct files *f, struct job *j)
{
	int a = 0, b = 0, c;

	while (a < f->n || b < f->nmounted) {
		c = a == f->n ? 1 : b == f->nmounted ? -1 : strcmp(f->list[a].path, f->mounted[b].path);
		if (c == 0 && f->mounted[b].blob[0] && strcmp(f->list[a].blob, f->mounted[b].blob) != 0) {
			j->gone[j->ngone++] = &f->mounted[b];
			j->fresh[j->nfresh++] = &f->list[a];
		} else if (c < 0) {
			j->fresh[j->nfresh++] = &f->list[a];
		} else if (c > 0 && f->mounted[b].blob[0]) {
			j->gone[j->ngone++] = &f->mounted[b];
		}
		a += c <= 0;
		b += c >= 0;
	}
}

/* What the box has now: all that is wanted, without the blob where that failed. */
static void
note_mounted(struct files *f, const struct job *j)
{
	struct file *now = xcalloc((size_t)f->n + 1, sizeof *now);
	int i, k;

	for (i = 0; i < f->n; i++) {
		memcpy(now[i].blob, f->list[i].blob, sizeof now[i].blob);
		now[i].path = xstrdup(f->list[i].path);
		for (k = 0; k < f->nmounted; k++)
			if (!f->mounted[k].blob[0] && strcmp(f->mounted[k].path, now[i].path) == 0)
				now[i].blob[0] = '\0';
		for (k = 0; k < j->nfresh; k++)
			if (j->fresh[k] == &f->list[i])
				now[i].blob[0] = j->failed[k] ? '\0' : f->list[i].blob[0];
	}
	files_unmounted(f);
	f->mounted = now;
	f->nmounted = f->n;
}

static void
apply(struct files *f, struct blobs *blobs, struct job *j, const char *session)
{
	const char **ids = xcalloc((size_t)j->nfresh + 1, sizeof *ids);
	int *trees = xcalloc((size_t)j->nfresh + 1, sizeof *trees), i;

	for (i = 0; i < j->nfresh; i++) {
		ids[i] = j->fresh[i]->blob;
		j->failed[i] = ENOENT;
	}
	blobs_mounts(blobs, ids, j->nfresh, trees);
	j->trees = trees;
	if (run_inside(j) < 0)
		log_warn("files_not_mounted", "session", session, "why", strerror(errno), NULL);
	for (i = 0; i < j->nfresh; i++) {
		if (trees[i] >= 0)
			close(trees[i]);
		if (j->failed[i])
			log_warn("file_not_mounted", "session", session, "blob", j->fresh[i]->blob, "why", strerror(j->failed[i]), NULL);
	}
	note_mounted(f, j);
	free(trees);
	free(ids);
}

void
files_mount(struct files *f, struct blobs *blobs, const struct box *box, const char *session)
{
	struct job j = { .mounts = box_mounts(box), .base = box_base(box) };

	if (f->n == 0 && f->nmounted == 0)
		return;
	j.gone = xcalloc((size_t)f->nmounted + 1, sizeof(void *));
	j.fresh = xcalloc((size_t)f->n + 1, sizeof(void *));
	j.failed = xcalloc((size_t)f->n + 1, sizeof *j.failed);
	compare(f, &j);
	if (j.ngone + j.nfresh > 0)
		apply(f, blobs, &j, session);
	else if (f->nmounted != f->n)
		note_mounted(f, &j);	/* one that could not be mounted is not wanted any more */
	free(j.gone);
	free(j.fresh);
	free(j.failed);
}
