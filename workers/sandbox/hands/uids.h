/*
 * uids: which host uids a sandbox's users are. A sandbox has 65 536 of its own; an instance takes a stretch that no other live instance
 * of this host holds (a lock file per stretch), found by hashing the instance id. Nothing on disk carries these uids, so a stretch may
 * change from start to start.
 */
#ifndef ROOST_SANDBOX_UIDS_H
#define ROOST_SANDBOX_UIDS_H

#include <stdint.h>
#include <sys/types.h>

#include "err.h"

#define UIDS_EACH 65536u

struct uids;

/* base 0: find a stretch; else take this one. slots: how many sandboxes at most. */
int uids_open(struct uids **out, const char *instance, int64_t base, int slots, struct err *e);
void uids_free(struct uids **u);

/* A free slot, or -1 when all are taken. */
int uids_take(struct uids *u);
void uids_put(struct uids *u, int slot);
/* The host uid (and gid) of a slot's user 0. */
uid_t uids_base(const struct uids *u, int slot);
/* The slot's user namespace, made on first use and kept; borrowed. -1 with e. */
int uids_userns(struct uids *u, int slot, struct err *e);

#endif
