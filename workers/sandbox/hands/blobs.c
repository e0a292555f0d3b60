/*
 * blobs: see blobs.h. A blob is written in tmp/, made durable, and renamed to its place: a crash leaves a file in tmp/ or a blob that
 * no row names, and the store's housekeeping removes both. Its owner becomes that of the store's folder.
 *
 * The mount table of a process shows, of a file that is mounted somewhere, the path in its file system. So blobs are not mounted from the
 * store itself but from a read-only overlay of it that exists for one moment: there the path is /ab/<id>. It is made with relative
 * names, because the overlay's own names are shown too, and made anew for each batch, because an overlay must not see its layers change.
 */
#include "blobs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"
#include "xalloc.h"

/* see mnt.c */
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
int umount2(const char *target, int flags);
#define DETACH 2

#define PARTS 48	/* ab/<id> or tmp/<id> */

struct blobs {
	int dir;		/* the store */
	int view;		/* a private folder with store/ (the store once more), empty/, and merged/, where the overlay appears */
	int64_t spare;		/* bytes that stay free */
	uid_t uid;
	gid_t gid;
	bool plain;		/* no overlay on this kernel */
};

static int
open_at(int dir, const char *path, uint64_t flags, mode_t mode)
{
	struct open_how how = { .flags = flags | O_CLOEXEC | O_NOFOLLOW, .mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };

	return (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
}

static void
place(const char *id, char out[PARTS])
{
	snprintf(out, PARTS, "%.2s/%.32s", id, id);
}

/* The folder for views: our own tmpfs, so that nothing of it outlives us, with the store bound into it. */
static int
prepare_view(struct blobs *b, const char *store, const char *dir)
{
	char path[PATH_MAX];

	if ((mkdir(dir, 0700) < 0 && errno != EEXIST) ||
	    mount("view", dir, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=700,size=64k") < 0)
		return -1;
	b->view = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->view < 0 || mkdirat(b->view, "store", 0700) < 0 || mkdirat(b->view, "empty", 0700) < 0 ||
	    mkdirat(b->view, "merged", 0700) < 0)
		return -1;
	snprintf(path, sizeof path, "%s/store", dir);
	return mount(store, path, NULL, MS_BIND, NULL);
}

int
blobs_open(struct blobs **out, const char *dir, const char *view_dir, int64_t spare, struct err *e)
{
	struct blobs *b;
	struct stat st;

	*out = NULL;
	if (!dir[0])
		return 0;
	b = xcalloc(1, sizeof *b);
	b->view = -1;
	b->spare = spare;
	b->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->dir < 0 || fstat(b->dir, &st) < 0 || prepare_view(b, dir, view_dir) < 0) {
		err_fault(e, EK_UNAVAILABLE, errno, "blob_dir: cannot use %s", dir);
		blobs_free(&b);
		return -1;
	}
	b->uid = st.st_uid;
	b->gid = st.st_gid;
	*out = b;
	return 0;
}

void
blobs_free(struct blobs **bp)
{
	struct blobs *b = *bp;

	*bp = NULL;
	if (!b)
		return;
	if (b->dir >= 0)
		close(b->dir);
	if (b->view >= 0)
		close(b->view);
	free(b);
}

int blobs_dir(const struct blobs *b) { return b ? b->dir : -1; }

/* Mount the overlay; the names in its options are relative, so we stand in the view for a moment. A descriptor of its root, or -1. */
static int
merged(struct blobs *b)
{
	AUTO(fd) int back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = -1, saved;

	if (back < 0 || fchdir(b->view) < 0)
		return -1;
	if (mount("files", "merged", "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "lowerdir=store:empty") == 0) {
		fd = open("merged", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			umount2("merged", DETACH);
	}
	saved = errno;
	must(fchdir(back) == 0);
	errno = saved;
	return fd;
}

static void
unmerge(struct blobs *b)
{
	AUTO(fd) int back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (back < 0 || fchdir(b->view) < 0)
		return;
	umount2("merged", DETACH);
	must(fchdir(back) == 0);
}

/* One blob as a detached mount, or -1. */
static int
detached(int root, const char *id)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC };
	char path[PARTS];
	AUTO(fd) int fd = -1;
	AUTO(fd) int tree = -1;
	struct stat st;

	place(id, path);
	fd = id && blob_id_ok(id) ? open_at(root, path, O_PATH, 0) : -1;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -1;
	tree = (int)syscall(SYS_open_tree, fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (tree < 0 || syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0)
		return -1;
	return steal_fd(tree);
}

void
blobs_mounts(struct blobs *b, const char *const *ids, int n, int *out)
{
	int root = -1, i;

	if (b && !b->plain && (root = merged(b)) < 0) {
		b->plain = true;
		log_warn("files_without_overlay", "note", "sandboxes see where on the host their files lie", "why", strerror(errno), NULL);
	}
	for (i = 0; i < n; i++)
		out[i] = b ? detached(root >= 0 ? root : b->dir, ids[i]) : -1;
	if (root >= 0) {
		close(root);
		unmerge(b);
	}
}

bool
blobs_room(const struct blobs *b, int64_t bytes)
{
	struct statvfs st;

	return fstatvfs(b->dir, &st) == 0 && (int64_t)st.f_bavail * (int64_t)st.f_frsize >= bytes + b->spare;
}

int
blobs_create(struct blobs *b, char id[BLOB_ID])
{
	unsigned char raw[(BLOB_ID - 1) / 2];
	char path[PARTS];
	int fd;

	if (!b) {
		errno = ENOENT;
		return -1;
	}
	if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw)
		return -1;
	sodium_bin2hex(id, BLOB_ID, raw, sizeof raw);
	snprintf(path, sizeof path, "tmp/%s", id);
	fd = open_at(b->dir, path, O_RDWR | O_CREAT | O_EXCL, 0644);
	if (fd >= 0 && fchown(fd, b->uid, b->gid) < 0) {
		int saved = errno;

		close(fd);
		blobs_drop(b, id);
		errno = saved;
		return -1;
	}
	return fd;
}

static int
folder(const struct blobs *b, const char *id)
{
	char part[3];

	snprintf(part, sizeof part, "%.2s", id);
	return open_at(b->dir, part, O_RDONLY | O_DIRECTORY, 0);
}

/* The content of all first, then all names, then their folders: each first sync of a kind commits what the others would wait for. */
void
blobs_keep(struct blobs *b, struct blob_new *list, int n)
{
	AUTO(fd) int tmp = open_at(b->dir, "tmp", O_RDONLY | O_DIRECTORY, 0);
	int i;

	for (i = 0; i < n; i++)
		list[i].kept = tmp >= 0 && fsync(list[i].fd) == 0;
	for (i = 0; i < n; i++) {
		AUTO(fd) int to = list[i].kept ? folder(b, list[i].id) : -1;

		list[i].kept = to >= 0 && renameat(tmp, list[i].id, to, list[i].id) == 0;
	}
	for (i = 0; i < n; i++) {
		AUTO(fd) int to = list[i].kept ? folder(b, list[i].id) : -1;

		list[i].kept = to >= 0 && fsync(to) == 0;
	}
}

void
blobs_drop(struct blobs *b, const char *id)
{
	AUTO(fd) int tmp = open_at(b->dir, "tmp", O_RDONLY | O_DIRECTORY, 0);

	if (tmp >= 0)
		(void)unlinkat(tmp, id, 0);
}

bool
blobs_have(struct blobs *b, const char *id)
{
	char path[PARTS];
	AUTO(fd) int fd = -1;

	if (!b || !blob_id_ok(id))
		return false;
	place(id, path);
	fd = open_at(b->dir, path, O_PATH, 0);
	return fd >= 0;
}

void
blobs_remove(struct blobs *b, const char *id)
{
	AUTO(fd) int dir = b && blob_id_ok(id) ? folder(b, id) : -1;

	if (dir >= 0)
		(void)unlinkat(dir, id, 0);
}
