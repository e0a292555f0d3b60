/*
 * confine: see confine.h. pid 1 is user 0 of its own user namespace, which owns none of the other namespaces, with the three
 * capabilities it takes to start a tool. A tool is user 1000 with none, cannot regain any (no_new_privs, empty bounding set), may
 * write below a few directories only (landlock) and may make only the system calls of hands/syscalls.def (seccomp).
 *
 * The filter was compiled once by hands; here it is only loaded. Landlock missing in the kernel is not an error: it is the second
 * fence for files (/proc above all), the first one being ownership. hands decides at its start whether it insists.
 */
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "wire.h"

#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)
#endif

#define NPROC_SPARE 16	/* processes that a fork bomb in the shell must leave to file tools */

static struct sock_fprog filter;
static int ruleset = -1;

/* Where a tool may write. Everything else is readable at most. */
static const char *const writable[] = { SB_WORKDIR, SB_OUTPUTS, "/tmp", "/var/tmp", SB_HOME, "/usr/local", "/dev", NULL };

static int
ruleset_allow(const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr beneath = { .allowed_access = access };
	int rc;

	beneath.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (beneath.parent_fd < 0)
		return errno == ENOENT ? 0 : -1;
	rc = (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
	close(beneath.parent_fd);
	return rc;
}

static int
ruleset_build(void)
{
	const uint64_t read_only = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
	/* the first version's rights are bits 0..12 */
	uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
	struct { uint64_t fs; } attr;		/* the first field is all that version 1 knows, and all we use */
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	int i;

	if (version < 1)
		return 0;
	if (version >= 2)
		all |= LANDLOCK_ACCESS_FS_REFER;
	if (version >= 3)
		all |= LANDLOCK_ACCESS_FS_TRUNCATE;
	if (version >= 5)
		all |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
	attr.fs = all;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
	if (ruleset < 0 || ruleset_allow("/", read_only) < 0)
		return -1;
	for (i = 0; writable[i]; i++)
		if (ruleset_allow(writable[i], all) < 0)
			return -1;
	return 0;
}

static int
filter_load(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -1;
	filter.filter = malloc((size_t)st.st_size);
	if (!filter.filter || pread(fd, filter.filter, (size_t)st.st_size, 0) != st.st_size)
		return -1;
	filter.len = (unsigned short)((size_t)st.st_size / sizeof *filter.filter);
	return filter.len > 0 ? 0 : -1;
}

/* Set this process's capability sets to exactly these, the bounding set included. */
static int
caps_only(const cap_value_t *keep, int n)
{
	cap_t caps = cap_init();
	cap_value_t c;
	int i, rc = -1;

	if (!caps)
		return -1;
	for (c = 0; cap_get_bound(c) >= 0; c++) {
		for (i = 0; i < n && keep[i] != c; i++)
			;
		if (i == n && cap_get_bound(c) > 0 && cap_drop_bound(c) < 0)
			goto out;
	}
	if (n > 0 && (cap_set_flag(caps, CAP_PERMITTED, n, keep, CAP_SET) < 0 || cap_set_flag(caps, CAP_EFFECTIVE, n, keep, CAP_SET) < 0))
		goto out;
	rc = cap_set_proc(caps);
out:
	cap_free(caps);
	return rc;
}

int
confine_prepare(int filter_fd)
{
	static const cap_value_t keep[] = { CAP_SETUID, CAP_SETGID, CAP_SETPCAP };

	if (filter_load(filter_fd) < 0 || ruleset_build() < 0)
		return -1;
	return caps_only(keep, sizeof keep / sizeof *keep);
}

bool
confine_landlock(void)
{
	return ruleset >= 0;
}

/* hands set the hard limit of processes to the sandbox's own; the shell's tree gets a little less, so that file tools still work. */
static int
limits(enum confine_as as)
{
	struct rlimit core = { 0, 0 }, files = { 1024, 4096 }, procs;

	if (getrlimit(RLIMIT_NPROC, &procs) < 0)
		return -1;
	if (as == CONFINE_SHELL && procs.rlim_max != RLIM_INFINITY && procs.rlim_max > 2 * NPROC_SPARE)
		procs.rlim_cur = procs.rlim_max = procs.rlim_max - NPROC_SPARE;
	if (setrlimit(RLIMIT_CORE, &core) < 0 || setrlimit(RLIMIT_NOFILE, &files) < 0)
		return -1;
	return setrlimit(RLIMIT_NPROC, &procs);
}

/* Killed first when memory runs out, so that pid 1 lives. */
static int
oom_first(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC), rc;

	if (fd < 0)
		return -1;
	rc = write(fd, "1000", 4) == 4 ? 0 : -1;
	close(fd);
	return rc;
}

int
confine_drop(enum confine_as as)
{
	if (setsid() < 0 || oom_first() < 0 || limits(as) < 0)
		return -1;
	umask(022);
	if (cap_reset_ambient() < 0 || setgroups(0, NULL) < 0)
		return -1;
	/* the bounding set needs CAP_SETPCAP, so it goes before the user does */
	if (cap_drop_bound(CAP_SETUID) < 0 || cap_drop_bound(CAP_SETGID) < 0 || cap_drop_bound(CAP_SETPCAP) < 0)
		return -1;
	if (setresgid(SB_UID, SB_UID, SB_UID) < 0 || setresuid(SB_UID, SB_UID, SB_UID) < 0 || caps_only(NULL, 0) < 0)
		return -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	if (ruleset >= 0 && (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 || close(ruleset) < 0))
		return -1;
	/* last: it filters the steps above */
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter);
}
