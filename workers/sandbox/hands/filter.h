/* filter: the system call filters of tools (syscalls.def) and of hands itself. */
#ifndef ROOST_SANDBOX_FILTER_H
#define ROOST_SANDBOX_FILTER_H

#include "err.h"

/* A memfd with the filter's BPF program, to be handed to each roost-init. The caller closes it. -1 with e. */
int filter_compile(struct err *e);

/*
 * Put ourselves under a filter, and with us everything that we start: what tools may call, and the few calls more that making a sandbox
 * takes. After no_new_privs. EK_UNAVAILABLE.
 */
int filter_self(struct err *e);

#endif
