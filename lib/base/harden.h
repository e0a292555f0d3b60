/*
 * harden: what a process does first that will hold other people's secrets.
 */
#ifndef ROOST_BASE_HARDEN_H
#define ROOST_BASE_HARDEN_H

#include <stdbool.h>

/*
 * No core dump, no ptrace and no /proc/self/mem for others of the same user, no way to gain privileges; aborts when the kernel refuses.
 * lock: besides, memory that is not written to swap, as far as RLIMIT_MEMLOCK allows (the start script raises it).
 */
void harden_process(bool lock);

#endif
