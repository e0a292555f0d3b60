/*
 * spill: see spill.h. The opener is a child that has become a tool in every respect (confine.h); it hands the descriptor back and ends. A
 * tool that stops it, or that has put something in its way, costs its own sandbox a second and its output the file.
 */
#include "spill.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "confine.h"
#include "wire.h"

#define OPEN_MS 1000

static void
send_fd(int sock, int fd)
{
	union { char space[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control = { { 0 } };
	char byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	struct cmsghdr *c = CMSG_FIRSTHDR(&mh);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	(void)!sendmsg(sock, &mh, MSG_NOSIGNAL);
}

static void __attribute__((noreturn))
child(int sock, uint32_t call)
{
	char path[64];
	struct stat st;
	int fd;

	snprintf(path, sizeof path, SB_SPILL_BASH, call);
	if (confine_drop(CONFINE_APPLET) < 0 || dup2(sock, 3) < 0 || syscall(SYS_close_range, 4u, ~0u, 0u) < 0)
		_exit(1);
	if (mkdir(SB_SPILL_DIR, 0755) < 0 && errno != EEXIST)
		_exit(1);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		_exit(1);
	send_fd(3, fd);
	_exit(0);
}

static int
receive_fd(int sock)
{
	union { char space[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	struct pollfd p = { .fd = sock, .events = POLLIN };
	struct cmsghdr *c;
	int fd = -1;

	if (poll(&p, 1, OPEN_MS) <= 0 || recvmsg(sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
		return -1;
	c = CMSG_FIRSTHDR(&mh);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof fd))
		memcpy(&fd, CMSG_DATA(c), sizeof fd);
	return fd;
}

int
spill_open(uint32_t call)
{
	int pair[2], fd;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	pid = fork();
	if (pid == 0)
		child(pair[1], call);
	close(pair[1]);
	fd = pid > 0 ? receive_fd(pair[0]) : -1;
	close(pair[0]);
	if (pid > 0)
		kill(pid, SIGKILL);	/* reaped with the orphans */
	return fd;
}
