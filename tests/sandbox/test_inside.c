/*
 * test_inside: the attack list of the sandbox, tried from inside. The probe is compiled in the sandbox, which is also a test that an
 * ordinary build works there.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "drive.h"
#include "tests.h"

#define S "sesn_inside"

static const struct { const char *name, *want; } expected[] = {
	{ "mount", "EPERM" }, { "umount2", "EPERM" }, { "fsopen", "EPERM" }, { "open_tree", "EPERM" }, { "mount_setattr", "EPERM" },
	{ "pivot_root", "EPERM" }, { "chroot", "EPERM" }, { "unshare_user", "EPERM" }, { "unshare_mnt", "EPERM" },
	{ "clone_newuser", "EPERM" }, { "clone_newnet", "EPERM" }, { "clone3", "ENOSYS" }, { "setns", "EPERM" },
	{ "sethostname", "EPERM" }, { "ptrace", "EPERM" }, { "process_vm_readv", "EPERM" }, { "pidfd_getfd", "EPERM" },
	{ "kcmp", "EPERM" }, { "bpf", "EPERM" }, { "perf_event_open", "EPERM" }, { "userfaultfd", "EPERM" },
	{ "io_uring_setup", "EPERM" }, { "add_key", "EPERM" }, { "keyctl", "EPERM" }, { "request_key", "EPERM" },
	{ "open_by_handle_at", "EPERM" }, { "init_module", "EPERM" }, { "kexec_load", "EPERM" }, { "reboot", "EPERM" },
	{ "swapon", "EPERM" }, { "acct", "EPERM" }, { "settimeofday", "EPERM" }, { "syslog", "EPERM" }, { "mknod", "EPERM" }, { "mkfifo",
	    "ok" },
	{ "personality", "ENOSYS" }, { "iopl", "EPERM" }, { "modify_ldt", "EPERM" }, { "fanotify_init", "EPERM" },
	{ "unknown_call", "ENOSYS" }, { "sync", "ok" }, { "syncfs_of_nothing", "ok" }, { "x32", "killed 31" }, { "i386", "killed 31|EBADF" }, { "thread", "ok" },
	{ "inet", "ok" }, { "unix", "ok" }, { "netlink_route", "ok" }, { "netlink_audit", "EPROTONOSUPPORT" }, { "inet_raw", "EPERM" },
	{ "vsock", "EAFNOSUPPORT" }, { "vsock_high_bits", "EAFNOSUPPORT" }, { "packet", "EAFNOSUPPORT" }, { "alg", "EAFNOSUPPORT" },
	{ "bluetooth", "EAFNOSUPPORT" }, { "xdp", "EAFNOSUPPORT" }, { "can", "EAFNOSUPPORT" }, { "key", "EAFNOSUPPORT" },
	{ "connect_public", "ENETUNREACH" }, { "connect_metadata", "ENETUNREACH" }, { "connect_loopback", "ECONNREFUSED" },
	{ "connect_abstract", "ECONNREFUSED" },
	{ "setuid", "EPERM" }, { "setgid", "EPERM" }, { "setgroups", "EPERM" }, { "nice", "EPERM" }, { "fifo", "EPERM" },
	{ "rlimit", "EPERM" }, { "kill_init", "EPERM" }, { "oom_score_adj", "EACCES" }, { "init_environ", "EACCES" },
	{ "init_mem", "EACCES" }, { "init_root", "EACCES" }, { "init_fd", "EACCES" }, { "init_exe", "EACCES" },
	{ "sysctl_write", "EROFS|EACCES" }, { "sysrq_write", "EACCES|ENOENT" }, { "etc_write", "EACCES|EROFS" }, { "usr_write",
	    "EACCES|EROFS" },
	{ "root_write", "EACCES" }, { "pty", "ok" }, { "pty_slave", "ok" }, { "tiocsti", "EPERM" }, { "tiocsti_high_bits", "EPERM" },
	{ "tioclinux", "EPERM" }, { "tiocgwinsz", "ok" }, { "kcore", "empty|ENOENT" }, { "kmsg", "empty|ENOENT" }, { "keys",
	    "empty|ENOENT" },
	{ "timer_list", "empty|ENOENT" }, { "cmdline", "empty|ENOENT" }, { "config", "empty|ENOENT" }, { "meminfo", "readable" },
};

/* The probe's line for name, or NULL. */
static const char *
outcome(const char *report, const char *name, char *buf, size_t size)
{
	size_t len = strlen(name);
	const char *p = report;

	for (; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
		if (strncmp(p, name, len) == 0 && p[len] == ' ') {
			snprintf(buf, size, "%.*s", (int)strcspn(p + len + 1, "\n"), p + len + 1);
			return buf;
		}
	return NULL;
}

/* Is got one of want's alternatives, separated by '|'? */
static bool
one_of(const char *got, const char *want)
{
	size_t len = strlen(got);

	while (*want) {
		size_t n = strcspn(want, "|");

		if (n == len && strncmp(got, want, n) == 0)
			return true;
		want += n + (want[n] == '|');
	}
	return false;
}

static char *
file_text(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 1 << 16);

	if (f) {
		(void)!fread(text, 1, (1 << 16) - 1, f);
		fclose(f);
	}
	return text;
}

static bool
file_has(const char *path, const char *word)
{
	char *text = file_text(path);
	bool has = strstr(text, word) != NULL;

	free(text);
	return has;
}

static void
attacks(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "\0roost-test-abstract" };
	int host = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char *source = file_text("tests/sandbox/probe.c"), got[64];
	const bool plain = hands_logged(&H, "\"landlock\":\"no\"");
	struct result r;
	size_t i;

	(void)bind(host, (struct sockaddr *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 20));
	(void)listen(host, 1);
	put_file(S, "/tmp/probe.c", source);
	free(source);
	r = sh(S, "cc -w -o /tmp/probe /tmp/probe.c -lpthread && echo built");
	is_text(r, false, "built\n", "a C program is compiled in the sandbox");
	r = sh(S, "/tmp/probe roost-test-abstract");
	for (i = 0; i < sizeof expected / sizeof *expected; i++) {
		const char *have = outcome(r.text, expected[i].name, got, sizeof got), *want = expected[i].want;
		bool ok;

		if (plain && strstr("oom_score_adj sysrq_write", expected[i].name))
			want = "ok";	/* its own score; a masked file: landlock is the fence that is missing here */
		ok = have && one_of(have, want);
		check(ok, "attack: %s gives %s%s%s", expected[i].name, want, ok ? "" : " # got ", ok ? "" : have ? have : "nothing");
	}
	close(host);
}

static void
namespaces(void)
{
	static const char *const kinds[] = { "user", "mnt", "pid", "ipc", "uts", "net", "cgroup" };
	char path[64], ours[64], cmd[64];
	size_t i;

	for (i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		struct result r;
		ssize_t n;

		snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[i]);
		n = readlink(path, ours, sizeof ours - 2);
		ours[n > 0 ? n : 0] = '\0';
		snprintf(cmd, sizeof cmd, "readlink %s", path);
		r = sh(S, cmd);
		check(n > 0 && !r.is_error && strncmp(r.text, ours, strlen(ours)) != 0, "its own %s namespace", kinds[i]);
	}
}

static void
identity(void)
{
	char cmd[400];

	is_text(sh(S, "id"), false, "uid=1000(agent) gid=1000(agent) groups=1000(agent)\n", "tools are user 1000");
	is_text(sh(S, "grep -c '^Cap.*:\t0000000000000000$' /proc/self/status"), false, "5\n", "all five capability sets are empty");
	has_text(sh(S, "cat /proc/self/status"), false, "\nSeccomp:\t2\n", "seccomp filter is on");
	has_text(sh(S, "cat /proc/self/status"), false, "\nNoNewPrivs:\t1\n", "no_new_privs is set");
	is_text(sh(S, "cat /proc/self/oom_score_adj"), false, "1000\n", "tools are the first to go when memory runs out");
	is_text(sh(S, "hostname; pwd"), false, "sandbox\n/workspace\n", "host name and working directory");
	is_text(sh(S, "ls -l /proc/self/fd | grep -c -- '->'; true"), false, "4\n",
	    "a command holds stdin, stdout, stderr and nothing else");
	is_text(sh(S, "cut -d: -f3 /proc/self/cgroup | grep -vcE '^/(s[0-9]+)?$'"), true, "0\n", "cgroup paths start at the sandbox");
	is_text(sh(S, "env | cut -d= -f1 | sort | tr '\\n' ' '"), false, "HOME LANG LOGNAME PATH PWD SHELL SHLVL TERM USER _ ",
	    "the environment is ours");
	is_text(sh(S, "ls -d /proc/[0-9]* | wc -l | awk '{ print ($1 < 9) }'"), false, "1\n", "no process of the host is visible");
	is_text(sh(S, "ls -A /sys /root /home/* /var/lib 2>/dev/null | grep -vE ':|^$' ; ls /home"), false, "agent\n",
	    "nothing in /sys, /root, /home, /var/lib");
	is_text(sh(S, "cat /etc/shadow"), true, "cat: /etc/shadow: No such file or directory\n", "no /etc/shadow");
	is_text(sh(S, "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '"), false, "lo\n", "the only interface is lo");
	is_text(sh(S, "grep -vE ' (tmpfs|devtmpfs|proc|devpts|overlay) ' /proc/mounts | cut -d' ' -f2"), false, "/usr\n",
	    "of the host's file systems only /usr is mounted");
	snprintf(cmd, sizeof cmd, "grep -c '%s' /proc/self/mountinfo; ls -d '%s' 2>&1 | grep -c 'No such'", H.dir, H.dir);
	is_text(sh(S, cmd), false, "0\n1\n", "the launcher's directory neither exists nor is named");
	is_text(sh(S, "stat -c %U /usr/bin/env /etc/passwd | grep -vcE '^(root|nobody)$'"), true, "0\n",
	    "files of the system are not ours");
	if (file_has("/proc/filesystems", "overlay"))
		is_text(sh(S, "cp /usr/bin/id /usr/local/bin/mine && mine -u"), false, "1000\n", "/usr/local can be installed into");
	is_text(sh(S, "python3 -c 'import socket; s=socket.socket(); s.bind((\"127.0.0.1\", 80)); print(\"bound\")'"), false, "bound\n",
	    "low ports can be bound on loopback");
	is_text(sh(S, "touch /workspace/a /tmp/a ~/a /mnt/session/outputs/a /dev/shm/a /var/tmp/a && echo all"), false, "all\n",
	    "the places to write to can be written");
	is_text(sh(S, "echo x > /tmp/m1 && mv /tmp/m1 /workspace/m2 && cat /workspace/m2"), false, "x\n",
	    "files can be moved between them");
}

/* hands itself, as the host sees it. */
static void
launcher(void)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/status", (int)H.pid);
	check(file_has(path, "\nSeccomp:\t2\n") && file_has(path, "\nNoNewPrivs:\t1\n"), "roost-hands is under a filter of its own");
	check(file_has(path, "\nCapEff:\t00000000002411eb\n") && file_has(path, "\nCapBnd:\t00000000002411eb\n"), "and has ten capabilities");
}

void
test_inside(void)
{
	launcher();
	identity();
	namespaces();
	attacks();
}
