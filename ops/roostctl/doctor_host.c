/*
 * doctor_host: what the machine must offer, whether an instance runs on it or not: kernel features for sandboxes, clock, disk, memory,
 * limits, programs, users. Each check asks the kernel instead of guessing from version numbers.
 */
#include "doctor.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

/* Does the file have this word (between spaces, commas, tabs or line breaks)? */
static bool
file_has_word(const char *path, const char *word)
{
	FILE *f = fopen(path, "re");
	char text[4096], *save = NULL;
	bool found = false;

	if (!f)
		return false;
	while (!found && fgets(text, sizeof(text), f))
		for (char *w = strtok_r(text, " ,\t\n", &save); w && !found; w = strtok_r(NULL, " ,\t\n", &save))
			found = strcmp(w, word) == 0;
	fclose(f);
	return found;
}

void
doctor_kernel(struct doctor *d)
{
	struct utsname u;
	int major = 0, minor = 0;

	uname(&u);
	sscanf(u.release, "%d.%d", &major, &minor);
	if (major > 5 || (major == 5 && minor >= 14))
		doctor_ok(d, "Linux %s", u.release);
	else
		doctor_fail(d, "use Debian 12's kernel (6.1) or a newer one", "Linux %s lacks cgroup.kill and clone into a cgroup", u.release);
}

/* Try the namespaces in a child of ours, so that nothing of this process changes. Returns 0 or the errno. */
static int
try_unshare(int flags)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(unshare(flags) == 0 ? 0 : errno);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return EAGAIN;
	return WEXITSTATUS(status);
}

void
doctor_namespaces(struct doctor *d)
{
	static const struct { int flag; const char *name; } all[] = {
		{ CLONE_NEWUSER, "user" }, { CLONE_NEWNS, "mount" }, { CLONE_NEWPID, "pid" }, { CLONE_NEWIPC, "ipc" },
		{ CLONE_NEWUTS, "uts" }, { CLONE_NEWNET, "net" }, { CLONE_NEWCGROUP, "cgroup" },
	};
	bool bad = false;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		int rc = try_unshare(all[i].flag);

		if (rc == 0)
			continue;
		bad = true;
		doctor_fail(d, geteuid() != 0 ? "run the doctor as root" :
		    "raise /proc/sys/user/max_*_namespaces; in a container, run it with the right to make namespaces",
		    "cannot make a %s namespace: %s", all[i].name, strerror(rc));
	}
	if (!bad)
		doctor_ok(d, "user, mount, pid, ipc, uts, net, cgroup");
}

void
doctor_cgroups(struct doctor *d)
{
	static const char *const v2 = "/sys/fs/cgroup/cgroup.controllers";
	static const char *const wanted[] = { "memory", "pids", "cpu" };
	bool unified = access(v2, R_OK) == 0;

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		char path[64];

		snprintf(path, sizeof(path), "/sys/fs/cgroup/%s", wanted[i]);
		if (unified ? file_has_word(v2, wanted[i]) : access(path, W_OK) == 0)
			continue;
		doctor_fail(d, unified ? "enable the controller at the root of the cgroup tree (kernel command line: cgroup_enable)" :
		    "mount the cgroup tree writable at /sys/fs/cgroup, or boot with a unified one",
		    "no %s controller", wanted[i]);
		return;
	}
	doctor_ok(d, "%s", unified ? "v2 with memory, pids, cpu" : "hybrid: v1 with memory, pids, cpu");
}

void
doctor_seccomp(struct doctor *d)
{
	if (file_has_word("/proc/sys/kernel/seccomp/actions_avail", "errno") &&
	    file_has_word("/proc/sys/kernel/seccomp/actions_avail", "kill_process"))
		doctor_ok(d, "filters with errno and kill_process");
	else
		doctor_fail(d, "use a kernel built with CONFIG_SECCOMP_FILTER", "no seccomp filters: sandboxes do not start");
}

void
doctor_landlock(struct doctor *d)
{
	/* landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) */
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1u);

	if (abi > 0)
		doctor_ok(d, "version %ld", abi);
	else
		doctor_warn(d, "add landlock to the kernel's lsm= list if you can", "not active: sandboxes go without this extra fence");
}

void
doctor_overlay(struct doctor *d)
{
	if (file_has_word("/proc/filesystems", "overlay"))
		doctor_ok(d, "overlay file system");
	else
		doctor_warn(d, "modprobe overlay", "the overlay file system is not loaded (it may load by itself)");
}

void
doctor_clock(struct doctor *d)
{
	struct timex t = { .modes = 0 };
	AUTO(pgres) PGresult *res = NULL;
	struct err e = ERR_INIT;
	int64_t now = clock_wall_us(), off;
	char text[CLOCK_TEXT];

	if (now < INT64_C(1735689600) * 1000000) {	/* 2025 */
		doctor_fail(d, "set the clock (chrony or systemd-timesyncd)", "it is not %s", clock_format(now, text));
		return;
	}
	if (DB_RUN(d->ctl->db, STMT_STATUS_SERVER, &res, &e) == 0) {
		off = (pg_int(res, 0, 4) - clock_wall_us()) / 1000;
		if (off > 1000 || off < -1000)
			doctor_fail(d, "synchronise both clocks: meters rely on them", "Postgres' clock is %" PRId64 " ms off", off);
	}
	if (adjtimex(&t) == TIME_ERROR || (t.status & STA_UNSYNC))
		doctor_warn(d, "install chrony or systemd-timesyncd if nothing else keeps it", "the kernel does not call it synchronised");
	else
		doctor_ok(d, "synchronised");
}

void
doctor_disk(struct doctor *d)
{
	const char *dir = access(d->ctl->conf.state_dir, F_OK) == 0 ? d->ctl->conf.state_dir : "/var/lib";
	struct statvfs v;
	uint64_t free_mb;

	if (statvfs(dir, &v) != 0) {
		doctor_fail(d, "check the mount", "%s: %s", dir, strerror(errno));
		return;
	}
	free_mb = (uint64_t)v.f_bavail * v.f_frsize >> 20;
	if (free_mb < 512 || (v.f_files > 0 && v.f_favail < 10000))
		doctor_fail(d, "make room: Postgres stops when the disk is full", "%" PRIu64 " MB and %" PRIu64 " files left at %s", free_mb,
		    (uint64_t)v.f_favail, dir);
	else if (free_mb < 4096)
		doctor_warn(d, "make room before it fills", "%" PRIu64 " MB left at %s", free_mb, dir);
	else
		doctor_ok(d, "%" PRIu64 " GB left at %s", free_mb >> 10, dir);
}

void
doctor_memory(struct doctor *d)
{
	FILE *f = fopen("/proc/meminfo", "re");
	char line[128];
	long kb = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	if (kb < 512 * 1024)
		doctor_warn(d, "stop something else, or lower sandbox_memory_mb", "%ld MB available", kb / 1024);
	else
		doctor_ok(d, "%ld MB available", kb / 1024);
}

void
doctor_files(struct doctor *d)
{
	struct rlimit r;

	getrlimit(RLIMIT_NOFILE, &r);
	if (r.rlim_max < 4096)
		doctor_fail(d, "raise the hard limit of open files (limits.conf, or LimitNOFILE=)", "only %ju open files per process",
		    (uintmax_t)r.rlim_max);
	else if (r.rlim_max < 20000)
		doctor_warn(d, "raise the hard limit for thousands of streams", "%ju open files per process", (uintmax_t)r.rlim_max);
	else
		doctor_ok(d, "%ju per process", (uintmax_t)r.rlim_max);
}

static bool
in_path(const char *program)
{
	static const char *const dirs[] = { "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin" };
	char path[128];

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dirs[i], program);
		if (access(path, X_OK) == 0)
			return true;
	}
	return false;
}

void
doctor_programs(struct doctor *d)
{
	static const char *const needed[] = { "nginx", "redis-server", "runsvdir", "svlogd", "chpst", "setpriv", "openssl", "curl", "jq", "rg",
		"bash", NULL };
	bool bad = false;

	for (int i = 0; needed[i]; i++)
		if (!in_path(needed[i])) {
			bad = true;
			doctor_fail(d, "run ops/deps", "%s is not installed", needed[i]);
		}
	if (!bad)
		doctor_ok(d, "all there");
}

void
doctor_users(struct doctor *d)
{
	static const char *const users[] = { "roost-pg", "roost-redis", "roost-nginx", "roost-gw", "roost-stream", "roost-worker", "roost-vault",
	    "roost-egress", "roost-log" };
	static const char *const groups[] = { "roost-api", "roost-sse", "roost-hands", "roost-probe" };
	bool bad = false;

	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++)
		if (!getpwnam(users[i])) {
			bad = true;
			doctor_fail(d, "run make up", "no system user %s", users[i]);
		}
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (!getgrnam(groups[i])) {
			bad = true;
			doctor_fail(d, "run make up", "no group %s", groups[i]);
		}
	if (!bad)
		doctor_ok(d, "users and groups are there");
}
