/*
 * run: file tools as children of pid 1, several at a time. A child drops everything, works, writes its text to the call's memfd and
 * ends; this file only remembers which pid is which call. The memfd is not reachable for other tools: the child is not dumpable.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "confine.h"
#include "init.h"
#include "tool.h"

static struct { pid_t pid; uint32_t call; } running[SB_CALLS_MAX];

static void __attribute__((noreturn))
child(uint32_t tool, int args_fd, int out_fd)
{
	int args = fcntl(args_fd, F_DUPFD_CLOEXEC, 10), out = fcntl(out_fd, F_DUPFD_CLOEXEC, 10), null = open("/dev/null", O_RDWR);

	if (args < 0 || out < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		_exit(120);
	if (confine_drop(CONFINE_APPLET) < 0)
		_exit(121);
	/* only these three, the arguments and the output survive */
	if (dup2(args, 3) < 0 || dup2(out, 4) < 0 || syscall(SYS_close_range, 5u, ~0u, 0u) < 0)
		_exit(122);
	if (fcntl(3, F_SETFD, FD_CLOEXEC) < 0 || fcntl(4, F_SETFD, FD_CLOEXEC) < 0)
		_exit(122);
	_exit(tool_main(tool, 3, 4));
}

void
run_start(uint32_t call, uint32_t tool, int args_fd, int out_fd, int cgroup_fd)
{
	int i;

	for (i = 0; i < SB_CALLS_MAX && running[i].pid; i++)
		;
	if (i == SB_CALLS_MAX) {
		init_send(SB_DONE, call, EBUSY, SB_F_FAILED, 0);
		return;
	}
	running[i].pid = init_fork(cgroup_fd);
	if (running[i].pid == 0)
		child(tool, args_fd, out_fd);
	if (running[i].pid < 0) {
		running[i].pid = 0;
		init_send(SB_DONE, call, errno, SB_F_FAILED, 0);
		return;
	}
	running[i].call = call;
}

bool
run_ended(pid_t pid, int status)
{
	int i;

	for (i = 0; i < SB_CALLS_MAX; i++)
		if (running[i].pid == pid) {
			running[i].pid = 0;
			init_send(SB_DONE, running[i].call, status, 0, 0);
			return true;
		}
	return false;
}
