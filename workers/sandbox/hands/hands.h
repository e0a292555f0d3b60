/*
 * hands: what the parts of roost-hands share. One thread, one loop; everything hangs off this.
 */
#ifndef ROOST_SANDBOX_HANDS_H
#define ROOST_SANDBOX_HANDS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "cgroup.h"
#include "conf.h"
#include "loop.h"
#include "uids.h"

struct blobs;
struct box;
struct call;
struct session;

TAILQ_HEAD(call_queue, call);
TAILQ_HEAD(session_queue, session);
LIST_HEAD(session_bucket, session);

#define SESSION_BUCKETS 4096

struct hands {
	struct conf conf;
	struct loop *loop;
	struct cg *cg;
	struct cg_box collectors;		/* where outputs are read (outputs.c) */
	struct uids *uids;
	int init, filter;			/* sealed copy of roost-init; seccomp program */
	char root_dir[300], etc_dir[300];
	/*
	 * The kernel kills a process at birth when it is cloned from a cgroup that was once killed into one that was not (seen on 6.18).
	 * When the trial sandbox ends that way, we are in such a group: processes then move into theirs by writing, which may take 10 ms.
	 */
	bool join_by_write;
	bool landlock;				/* the kernel has it: told by the trial sandbox */
	int boxes, dying;			/* all of them; those on their way out */
	uint32_t box_seq;			/* names them: never used twice in one run */
	struct session_queue sessions;		/* most recently used last */
	struct session_bucket buckets[SESSION_BUCKETS];
	int nsessions;
	struct call_queue done;			/* finished, not acknowledged, oldest first */
	size_t kept;				/* bytes of their texts */
	struct blobs *blobs;			/* NULL: no blob_dir; then no files and no outputs */
	int outputs_dir;			/* lists of outputs not published yet (outputs.h) */
	int outputs_pending;			/* sessions that have such a list */
};

#endif
