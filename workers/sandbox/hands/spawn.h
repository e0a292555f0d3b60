/*
 * spawn: make one sandbox's namespaces and file system and start roost-init in them.
 *
 * The work is done in the child, so that hands goes on meanwhile: moving into a v1 cgroup may wait for 10 ms. The child reports a
 * failed step as text on a pipe and ends; hands sees the socket close.
 */
#ifndef ROOST_SANDBOX_SPAWN_H
#define ROOST_SANDBOX_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cgroup.h"
#include "err.h"

struct spawn_spec {
	const char *root_dir;	/* where the new root is mounted (in the sandbox's own mount namespace only) */
	const char *etc_dir;	/* the made /etc (etc.h) */
	const struct cg_box *box;
	uid_t base;		/* host uid of the sandbox's user 0 */
	int userns, init, filter;	/* borrowed descriptors: user namespace, roost-init, seccomp program */
	int64_t disk_mb, inodes, pids;
	bool join_by_write;	/* do not clone into the group: see hands.h */
};

struct spawned {
	pid_t pid;
	int pidfd;		/* readable when pid 1 has ended */
	int sock;		/* to roost-init, SOCK_SEQPACKET, non-blocking */
	int report;		/* what went wrong, as text; EOF at once when all went well */
};

/* Start it. Success means "on its way": SB_READY or EOF comes on sock. The caller owns the descriptors. */
int spawn(const struct spawn_spec *spec, struct spawned *out, struct err *e);

#endif
