/*
 * spawn: see spawn.h. The order of steps is the one of the table below; each may only lose privilege. All namespaces but one belong to
 * the host's user namespace: the sandbox enters its own last, so that even every capability there gives nothing over its mounts, its
 * network or its processes' cgroups. The cgroup namespace is made only after all groups were joined, so that paths read "/".
 *
 * A crash of hands at any point: the child's socket closes and PDEATHSIG fires, the mounts die with its namespace, the groups are swept
 * at the next start.
 */
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mnt.h"
#include "wire.h"

static int
join_groups(const struct spawn_spec *s)
{
	mnt_step = "join the cgroups";
	return cg_box_enter(s->box, !s->join_by_write);
}

static int
loopback_up(const struct spawn_spec *s)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;

	mnt_step = "bring the loopback up";
	if (fd < 0)
		return -1;
	rc = ioctl(fd, SIOCSIFFLAGS, &ifr);
	close(fd);
	return rc;
}

static int
name_host(const struct spawn_spec *s)
{
	mnt_step = "name the host";
	return sethostname("sandbox", 7) < 0 || setdomainname("", 0) < 0 ? -1 : 0;
}

static int
set_limits(const struct spawn_spec *s)
{
	struct rlimit procs = { (rlim_t)s->pids, (rlim_t)s->pids };

	mnt_step = "set limits";
	return setrlimit(RLIMIT_NPROC, &procs);
}

static int
hide_cgroups(const struct spawn_spec *s)
{
	mnt_step = "make the cgroup namespace";
	return unshare(CLONE_NEWCGROUP);
}

/*
 * hands gets hold of two places of the sandbox while that is still ours to give: its mount namespace, so that files can be mounted into
 * it later (files.h), and its outputs, so that they can be read without entering it (outputs.h).
 */
static int
send_places(const struct spawn_spec *s, int sock)
{
	union { char space[CMSG_SPACE(2 * sizeof(int))]; struct cmsghdr align; } control = { { 0 } };
	struct sb_msg m = { .op = SB_PLACES };
	struct iovec iov = { .iov_base = &m, .iov_len = sizeof m };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
	int fds[2];

	mnt_step = "hand over the places";
	fds[0] = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	fds[1] = open(SB_OUTPUTS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fds[0] < 0 || fds[1] < 0)
		return -1;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof fds);
	memcpy(CMSG_DATA(c), fds, sizeof fds);
	if (sendmsg(sock, &mh, MSG_NOSIGNAL) != (ssize_t)sizeof m)
		return -1;
	close(fds[0]);
	close(fds[1]);
	return 0;
}

/* From here on nothing of the host can be changed any more. */
static int
enter_userns(const struct spawn_spec *s)
{
	mnt_step = "enter the user namespace";
	if (setns(s->userns, CLONE_NEWUSER) < 0 || setgroups(0, NULL) < 0)
		return -1;
	return setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0 ? -1 : 0;
}

static const struct { int (*run)(const struct spawn_spec *); } steps[] = {
	{ join_groups }, { mnt_private }, { mnt_root }, { mnt_usr }, { mnt_dev }, { mnt_proc }, { mnt_pivot },
	{ loopback_up }, { name_host }, { set_limits }, { hide_cgroups }, { enter_userns },
};

/* Descriptors into place, then exec. Returns only with errno; report is where the caller finds its pipe in that case. */
static int
start_init(const struct spawn_spec *s, int sock, int *report_fd)
{
	char *const argv[] = { (char *)"roost-init", NULL }, *const envp[] = { NULL };
	int filter, init, null, report = *report_fd;

	mnt_step = "start roost-init";
	/* all out of the way first: the originals may have any number */
	sock = fcntl(sock, F_DUPFD_CLOEXEC, 20);
	init = fcntl(s->init, F_DUPFD_CLOEXEC, 20);
	filter = fcntl(s->filter, F_DUPFD_CLOEXEC, 20);
	report = fcntl(report, F_DUPFD_CLOEXEC, 20);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (sock < 0 || init < 0 || filter < 0 || report < 0 || null < 0)
		return -1;
	*report_fd = report;
	if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 || dup2(sock, SB_FD_HANDS) < 0 || dup2(filter, SB_FD_FILTER) < 0)
		return -1;
	/* the rest of what hands had open is close-on-exec; this is the second lock on that door */
	if (syscall(SYS_close_range, SB_FD_FILTER + 1u, 19u, 0u) < 0)
		return -1;
	if (syscall(SYS_close_range, 20u, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		return -1;
	return (int)syscall(SYS_execveat, init, "", argv, envp, AT_EMPTY_PATH);
}

static void __attribute__((noreturn))
child(const struct spawn_spec *s, int sock, int report)
{
	char text[160];
	sigset_t none;
	size_t i;
	int n;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (i = 0; i < sizeof steps / sizeof *steps; i++)
		if ((steps[i].run == enter_userns && send_places(s, sock) < 0) || steps[i].run(s) < 0)
			break;
	if (i == sizeof steps / sizeof *steps)
		(void)start_init(s, sock, &report);
	n = snprintf(text, sizeof text, "%s: %s", mnt_step, strerror(errno));
	(void)!write(report, text, (size_t)n);
	_exit(1);
}

int
spawn(const struct spawn_spec *spec, struct spawned *out, struct err *e)
{
	int pair[2] = { -1, -1 }, report[2] = { -1, -1 }, pidfd = -1, saved;
	struct clone_args ca = {
		.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_PIDFD |
		    (spec->join_by_write ? 0 : CLONE_INTO_CGROUP),
		.pidfd = (uint64_t)(uintptr_t)&pidfd, .exit_signal = SIGCHLD, .cgroup = spec->join_by_write ? 0 : (uint64_t)spec->box->fd,
	};
	pid_t pid = -1;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0 && pipe2(report, O_CLOEXEC) == 0)
		pid = (pid_t)syscall(SYS_clone3, &ca, sizeof ca);
	if (pid == 0)
		child(spec, pair[1], report[1]);
	saved = errno;
	if (pair[1] >= 0)
		close(pair[1]);
	if (report[1] >= 0)
		close(report[1]);
	if (pid < 0) {
		if (pair[0] >= 0)
			close(pair[0]);
		if (report[0] >= 0)
			close(report[0]);
		return err_fault(e, EK_UNAVAILABLE, saved, "cannot start a sandbox's first process");
	}
	(void)fcntl(pair[0], F_SETFL, O_NONBLOCK);
	(void)fcntl(report[0], F_SETFL, O_NONBLOCK);
	*out = (struct spawned){ .pid = pid, .pidfd = pidfd, .sock = pair[0], .report = report[0] };
	return 0;
}
