/*
 * confine: how a process of the sandbox loses what it must not have. Each step only loses privilege; the order is in confine.c.
 */
#ifndef ROOST_SANDBOX_CONFINE_H
#define ROOST_SANDBOX_CONFINE_H

#include <stdbool.h>

/* Once, in pid 1: read the seccomp program from fd, build the landlock ruleset, keep only the capabilities that starting tools takes. */
int confine_prepare(int filter_fd);
/* Is landlock in force for tools? */
bool confine_landlock(void);

enum confine_as { CONFINE_APPLET, CONFINE_SHELL };
/* In a fresh child: become the tool user without any privilege, for good. -1 with errno; the caller must then exit. */
int confine_drop(enum confine_as as);

#endif
