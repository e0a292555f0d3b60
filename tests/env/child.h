/*
 * child: a process that a test program starts and that ends with it, however the test program ends: a test that aborts leaves nobody
 * behind who holds locks, ports or a core. (Servers that go into the background, as Postgres does, see to it themselves: env/postgres.)
 */
#ifndef ROOST_TEST_CHILD_H
#define ROOST_TEST_CHILD_H

#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

#include "xalloc.h"

/* fork(). The child gets sig when the thread that called this ends. */
static inline pid_t
child_fork(int sig)
{
	pid_t parent = getpid(), pid = fork();

	must(pid >= 0);
	if (pid == 0 && (prctl(PR_SET_PDEATHSIG, sig) < 0 || getppid() != parent))
		_exit(127);
	return pid;
}

#endif
