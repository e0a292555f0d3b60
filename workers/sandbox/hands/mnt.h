/*
 * mnt: the sandbox's file system. Called in the child, in its own mount namespace, still as root of the host. Each function returns 0,
 * or -1 with errno and mnt_step naming what failed.
 */
#ifndef ROOST_SANDBOX_MNT_H
#define ROOST_SANDBOX_MNT_H

#include "spawn.h"

extern const char *mnt_step;

int mnt_private(const struct spawn_spec *s);	/* nothing mounted here is seen outside */
int mnt_root(const struct spawn_spec *s);	/* the one writable file system, with its directories; becomes the cwd */
int mnt_usr(const struct spawn_spec *s);	/* the host's /usr and /etc of ours, read-only */
int mnt_dev(const struct spawn_spec *s);
int mnt_proc(const struct spawn_spec *s);
int mnt_pivot(const struct spawn_spec *s);	/* the old root is gone after this */

#endif
