/*
 * hands: what the parts of roost-hands share. One thread, one loop; everything hangs off this.
 */
#ifndef ROOST_SANDBOX_HANDS_H
#define ROOST_SANDBOX_HANDS_H

#include <stdint.h>
#include <sys/queue.h>

#include "cgroup.h"
#include "conf.h"
#include "loop.h"
#include "uids.h"

struct box;
struct call;
struct session;

TAILQ_HEAD(call_queue, call);
TAILQ_HEAD(session_queue, session);

struct hands {
	struct conf conf;
	struct loop *loop;
	struct cg *cg;
	struct uids *uids;
	int init, filter;			/* sealed copy of roost-init; seccomp program */
	char root_dir[300], etc_dir[300];
	int boxes;				/* alive or dying */
	uint32_t box_seq;			/* names them: never used twice in one run */
	struct session_queue sessions;		/* most recently used last */
	int nsessions;
	struct call_queue done;			/* finished, not acknowledged, oldest first */
	size_t kept;				/* bytes of their texts */
};

#endif
