/*
 * cgroup: limits and life cycle of sandboxes, on hosts with cgroup v2 alone and on hybrid ones.
 *
 * All groups lie below one group named roost-<instance>, which this instance alone makes, sweeps and removes; no other group is ever
 * touched. v2: limits and kill/freeze in one tree at the v2 root. hybrid: the v2 tree (without controllers) is for kill, freeze and
 * placing; limits are in groups of the same name in the v1 hierarchies of memory, pids and cpu.
 *
 * A group that was killed once is never used again: a later CLONE_INTO_CGROUP into it dies at birth.
 */
#ifndef ROOST_SANDBOX_CGROUP_H
#define ROOST_SANDBOX_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

#define CG_JOINS 3

struct cg;

struct cg_limits {
	int64_t memory_bytes, pids, cpu_pct;
};

/* One sandbox's groups. */
struct cg_box {
	char name[24];
	int fd;			/* its v2 group; -1: none */
	int join[CG_JOINS];	/* v1 cgroup.procs that its first process must write "0" to */
	int njoin;
};

/* Find the hierarchies, remove what a predecessor of this instance left, make its group. EK_UNAVAILABLE names what is missing. */
int cg_open(struct cg **out, const char *instance, struct err *e);
/* Remove the instance's groups (they must be empty) and free; sets *cg = NULL. */
void cg_close(struct cg **cg);
const char *cg_backend(const struct cg *cg);	/* "v2" or "hybrid" */

/* Make a sandbox's groups; owner may start processes in them. The caller closes them with cg_box_close() and removes them later. */
int cg_box_make(struct cg *cg, const char *name, const struct cg_limits *lim, uid_t owner, struct cg_box *out, struct err *e);
/* Move the calling process into the groups; placed: but not into the v2 one. 0, or -1 with errno. */
int cg_box_enter(const struct cg_box *box, bool placed);
/* Close the descriptors that only the start needed. */
void cg_box_joined(struct cg_box *box);
void cg_box_close(struct cg_box *box);
/* Remove the groups. -1 while something in them still lives or dies: try again later. */
int cg_box_remove(struct cg *cg, const struct cg_box *box);

/* A group of its own for one call or shell. Returns its descriptor, -1 with errno. */
int cg_leaf_make(const struct cg_box *box, const char *leaf, uid_t owner);
int cg_leaf_remove(const struct cg_box *box, const char *leaf);

/* Kill everything in a group (box or leaf), forks under way included. */
void cg_kill(int fd);
void cg_freeze(const struct cg_box *box, bool frozen);

#endif
