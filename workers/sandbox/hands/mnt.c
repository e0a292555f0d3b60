/*
 * mnt: see mnt.h. One tmpfs is the root and all that can be written: its size and inode count are the sandbox's disk quota. Measured
 * against a loop image (mkfs 22 ms, mount 6 ms) it costs nothing to make and leaves nothing behind when the namespace dies; its pages
 * count as the sandbox's memory, so hands insists that quota and inodes fit well below the memory limit.
 *
 * From the host come /usr (read-only, nosuid, nodev, with the host's root shown as the sandbox's root where the file system can map
 * ids) and six device nodes; nothing else. /usr/local is writable by an overlay whose upper layer lies in the tmpfs. No /sys.
 */
#include "mnt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "wire.h"

/* glibc's <sys/mount.h> and <linux/mount.h> cannot be included together on this release; these two are all we take from the former. */
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
int umount2(const char *target, int flags);
#define DETACH 2

#define COUNT(a) (sizeof(a) / sizeof *(a))

const char *mnt_step = "";

#define STEP(what) (mnt_step = (what))

static const struct { const char *path; mode_t mode; bool tools; } dirs[] = {
	{ "dev", 0755, false }, { "dev/pts", 0755, false }, { "dev/shm", 01777, false }, { "proc", 0555, false }, { "etc", 0755, false },
	{ "usr", 0755, false }, { "root", 0700, false }, { "opt", 0755, false }, { "run", 0755, false }, { "tmp", 01777, false },
	{ "var", 0755, false }, { "var/tmp", 01777, false }, { "var/lib", 0755, false }, { "var/log", 0755, false },
	{ "var/cache", 0755, false }, { "var/empty", 0555, false }, { "home", 0755, false }, { "home/" SB_USER, 0755, true },
	{ "workspace", 0755, true }, { "mnt", 0755, false }, { "mnt/session", 0755, false }, { "mnt/session/outputs", 0755, true },
	{ "mnt/session/uploads", 0755, false },
	{ ".overlay", 0700, false }, { ".overlay/work", 0700, false }, { ".overlay/upper", 0755, true },
};

static const char *const top_links[] = { "bin", "sbin", "lib", "lib32", "lib64", "libx32" };
static const char *const local_dirs[] = { "bin", "sbin", "lib", "lib/node_modules", "share", "include", "etc", "src" };
static const char *const nodes[] = { "null", "zero", "full", "random", "urandom", "tty" };
static const struct { const char *path, *target; } dev_links[] = {
	{ "dev/fd", "/proc/self/fd" }, { "dev/stdin", "/proc/self/fd/0" }, { "dev/stdout", "/proc/self/fd/1" },
	{ "dev/stderr", "/proc/self/fd/2" }, { "dev/ptmx", "pts/ptmx" },
};
/* What others than root can read or nobody may touch. Each mask costs 40 us of every start: root-only files are left to their mode. */
static const char *const masked_files[] = {
	"proc/kcore", "proc/keys", "proc/key-users", "proc/kmsg", "proc/kallsyms", "proc/timer_list", "proc/sched_debug",
	"proc/sysrq-trigger", "proc/latency_stats", "proc/config.gz", "proc/cmdline", "proc/bootconfig", "proc/modules", "proc/diskstats",
};
static const char *const masked_dirs[] = { "proc/acpi", "proc/scsi", "proc/driver", "proc/asound", "proc/bus", "proc/fs", "proc/irq" };

int
mnt_private(const struct spawn_spec *s)
{
	STEP("make mounts private");
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

int
mnt_root(const struct spawn_spec *s)
{
	char opts[160];
	size_t i;

	STEP("mount the root file system");
	snprintf(opts, sizeof opts, "size=%lldm,nr_inodes=%lld,mode=755,uid=%u,gid=%u", (long long)s->disk_mb, (long long)s->inodes,
	    s->base, s->base);
	if (mount("sandbox", s->root_dir, "tmpfs", MS_NOSUID | MS_NODEV, opts) < 0 || chdir(s->root_dir) < 0)
		return -1;
	STEP("make directories");
	for (i = 0; i < COUNT(dirs); i++) {
		uid_t uid = s->base + (dirs[i].tools ? SB_UID : 0);

		if (mkdir(dirs[i].path, dirs[i].mode) < 0 || chmod(dirs[i].path, dirs[i].mode) < 0 || chown(dirs[i].path, uid, uid) < 0)
			return -1;
	}
	return 0;
}

/*
 * Attach a read-only, nosuid, nodev copy of the mount at from to directory `to`, ids mapped when the file system can do that (else the
 * host's root is shown as nobody, which harms nothing).
 */
static int
attach(const char *from, const char *to, int userns)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_IDMAP,
		.userns_fd = (uint64_t)userns };
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC), rc, saved;

	if (fd < 0)
		return -1;
	rc = (int)syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof attr);
	if (rc < 0) {
		attr.attr_set &= ~(uint64_t)MOUNT_ATTR_IDMAP;
		attr.userns_fd = 0;
		rc = (int)syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof attr);
	}
	if (rc == 0)
		rc = (int)syscall(SYS_move_mount, fd, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH);
	saved = errno;
	close(fd);
	errno = saved;
	return rc;
}

/* /bin and its like as on the host: links into /usr, or (on an unmerged host) directories of their own. */
static int
top_level(const struct spawn_spec *s)
{
	char host[16], target[PATH_MAX];
	struct stat st;
	ssize_t n;
	size_t i;

	for (i = 0; i < COUNT(top_links); i++) {
		snprintf(host, sizeof host, "/%s", top_links[i]);
		if (lstat(host, &st) < 0)
			continue;
		if (S_ISLNK(st.st_mode)) {
			n = readlink(host, target, sizeof target - 1);
			target[n > 0 ? n : 0] = '\0';
			if (n <= 0 || symlink(target, top_links[i]) < 0)
				return -1;
		} else if (S_ISDIR(st.st_mode) && (mkdir(top_links[i], 0755) < 0 || attach(host, top_links[i], s->userns) < 0)) {
			return -1;
		}
	}
	return 0;
}

/*
 * /usr/local writable for tools (npm install -g, make install). A kernel without overlayfs leaves it read-only. The directories
 * that tools install into are made in the upper layer as theirs, unless the host has something else of that name.
 */
static void
local_overlay(const struct spawn_spec *s)
{
	char path[64];
	struct stat st;
	size_t i;

	if (stat("usr/local", &st) < 0)
		return;
	for (i = 0; i < COUNT(local_dirs); i++) {
		snprintf(path, sizeof path, "usr/local/%s", local_dirs[i]);
		if (lstat(path, &st) == 0 && !S_ISDIR(st.st_mode))
			continue;
		snprintf(path, sizeof path, ".overlay/upper/%s", local_dirs[i]);
		if (mkdir(path, 0755) == 0)
			(void)!chown(path, s->base + SB_UID, s->base + SB_UID);
	}
	(void)mount("sandbox", "usr/local", "overlay", MS_NOSUID | MS_NODEV,
	    "lowerdir=usr/local,upperdir=.overlay/upper,workdir=.overlay/work");
}

int
mnt_usr(const struct spawn_spec *s)
{
	STEP("attach /usr");
	if (attach("/usr", "usr", s->userns) < 0 || top_level(s) < 0)
		return -1;
	local_overlay(s);
	STEP("attach /etc");
	return attach(s->etc_dir, "etc", s->userns);
}

static int
bind(const char *from, const char *to)
{
	return mount(from, to, NULL, MS_BIND, NULL);
}

int
mnt_dev(const struct spawn_spec *s)
{
	char host[32];
	size_t i;
	int fd;

	STEP("make /dev");
	for (i = 0; i < COUNT(nodes); i++) {
		snprintf(host, sizeof host, "/dev/%s", nodes[i]);
		fd = open(host + 1, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		if (fd < 0)
			return -1;
		close(fd);
		if (bind(host, host + 1) < 0)
			return -1;
	}
	for (i = 0; i < COUNT(dev_links); i++)
		if (symlink(dev_links[i].target, dev_links[i].path) < 0)
			return -1;
	STEP("mount /dev/pts");
	/* no gid=: older kernels read it as a signed number, and a pty may as well be its opener's */
	return mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,max=64");
}

static int
sysctl_put(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), rc;

	if (fd < 0)
		return -1;
	rc = write(fd, value, strlen(value)) < 0 ? -1 : 0;
	close(fd);
	return rc;
}

static int
mask(const char *from, const char *to)
{
	return bind(from, to) < 0 && errno != ENOENT ? -1 : 0;
}

int
mnt_proc(const struct spawn_spec *s)
{
	size_t i;

	STEP("mount /proc");
	if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return -1;
	/* while it can still be written: low ports for tools; System V shared memory outlives its makers, so it gets little */
	STEP("set sysctls");
	if (sysctl_put("proc/sys/net/ipv4/ip_unprivileged_port_start", "0") < 0 || sysctl_put("proc/sys/kernel/shmall", "4096") < 0)
		return -1;
	STEP("mask /proc");
	for (i = 0; i < COUNT(masked_files); i++)
		if (mask("dev/null", masked_files[i]) < 0)
			return -1;
	for (i = 0; i < COUNT(masked_dirs); i++)
		if (mask("var/empty", masked_dirs[i]) < 0)
			return -1;
	if (bind("proc/sys", "proc/sys") < 0)
		return -1;
	return mount(NULL, "proc/sys", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

int
mnt_pivot(const struct spawn_spec *s)
{
	STEP("pivot_root");
	if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", DETACH) < 0)
		return -1;
	return chdir("/");
}
