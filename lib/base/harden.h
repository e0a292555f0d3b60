/*
 * harden: what a process does first that will hold other people's secrets.
 */
#ifndef ROOST_BASE_HARDEN_H
#define ROOST_BASE_HARDEN_H

/*
 * No core dump, no ptrace and no /proc/self/mem for others of the same user, no way to gain privileges, and memory that is not written to
 * swap (as far as RLIMIT_MEMLOCK allows; the start script raises it). Aborts when the kernel refuses one of the first three.
 */
void harden_process(void);

#endif
