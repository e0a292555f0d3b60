/*
 * roost-init: pid 1 of one sandbox. Static; started by roost-hands inside finished namespaces as user 0 of the sandbox's own user
 * namespace, with one socket to hands and the compiled seccomp filter. It starts tools, keeps the shell, reaps everything that is
 * orphaned, and reports ends. It never reads what a tool wrote except to copy the shell's output, and holds nothing worth stealing.
 *
 * It ends when hands closes the socket or dies; the kernel then kills every process of the pid namespace. A failure before READY is
 * its exit status, which hands logs; after READY it has no way to fail but to end.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confine.h"
#include "init.h"

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

#define FDS_MAX 3

void
init_send(uint32_t op, uint32_t call, int status, uint32_t flags, uint64_t bytes)
{
	struct sb_msg m = { .op = op, .call = call, .flags = flags, .status = status, .bytes = bytes };

	while (send(SB_FD_HANDS, &m, sizeof m, MSG_NOSIGNAL) != (ssize_t)sizeof m)
		if (errno != EINTR)
			_exit(10);
}

pid_t
init_fork(int cgroup_fd)
{
	struct clone_args ca = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (unsigned)cgroup_fd };
	pid_t pid = (pid_t)syscall(SYS_clone3, &ca, sizeof ca);
	sigset_t none;

	if (pid == 0) {
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGPIPE, SIG_DFL);
	}
	return pid;
}

/* One message and its descriptors. Returns how many, -1 when hands is gone. */
static int
receive(struct sb_msg *m, int fds[FDS_MAX])
{
	union { char space[CMSG_SPACE(FDS_MAX * sizeof(int))]; struct cmsghdr align; } control;
	struct iovec iov = { .iov_base = m, .iov_len = sizeof *m };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	struct cmsghdr *c;
	ssize_t n;
	int count = 0;

	do
		n = recvmsg(SB_FD_HANDS, &mh, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof *m)
		return -1;
	c = CMSG_FIRSTHDR(&mh);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), (size_t)count * sizeof(int));
	}
	return count;
}

static void
serve_hands(void)
{
	struct sb_msg m;
	int fds[FDS_MAX], n = receive(&m, fds), i;

	if (n < 0)
		_exit(0);
	if (m.op == SB_RUN && n == 3) {
		run_start(m.call, m.tool, fds[0], fds[1], fds[2]);
		for (i = 0; i < n; i++)
			close(fds[i]);
	} else if (m.op == SB_SHELL && n == 1) {
		shell_start(m.call, fds[0]);
	} else if (m.op == SB_BASH && n == 2) {
		shell_run(m.call, fds[0], fds[1]);
	} else {
		_exit(11);
	}
}

static void
serve_children(int sigfd)
{
	struct signalfd_siginfo si;
	int status;
	pid_t pid;

	while (read(sigfd, &si, sizeof si) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (!run_ended(pid, status))
			shell_ended(pid, status);	/* neither: an orphan, reaped */
}

int
main(void)
{
	struct pollfd fds[2 + SHELL_POLLS];
	sigset_t chld;
	nfds_t n;
	int sigfd;

	prctl(PR_SET_NAME, "roost-init", 0, 0, 0);
	/* set again after the change of user: that had cleared it */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return 2;
	if (confine_prepare(SB_FD_FILTER) < 0)
		return 3;
	close(SB_FD_FILTER);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &chld, NULL) < 0 || (sigfd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		return 4;
	init_send(SB_READY, 0, 0, confine_landlock() ? SB_F_LANDLOCK : 0, 0);
	for (;;) {
		fds[0] = (struct pollfd){ .fd = SB_FD_HANDS, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = sigfd, .events = POLLIN };
		n = (nfds_t)shell_polls(fds + 2);
		if (poll(fds, 2 + n, -1) < 0)
			continue;
		shell_served(fds + 2, (int)n);
		if (fds[1].revents)
			serve_children(sigfd);
		if (fds[0].revents)
			serve_hands();
	}
}
