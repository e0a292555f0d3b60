/* filter: compile the tools' system call filter (syscalls.def). */
#ifndef ROOST_SANDBOX_FILTER_H
#define ROOST_SANDBOX_FILTER_H

#include "err.h"

/* A memfd with the filter's BPF program, to be handed to each roost-init. The caller closes it. -1 with e. */
int filter_compile(struct err *e);

#endif
