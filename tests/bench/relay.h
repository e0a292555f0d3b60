/*
 * relay: what the machine itself adds to something that lasts as long as a turn and passes through as many processes: fifteen pieces of
 * 80 us of work, one after the other, in three processes that wake each other. No disk, no database. What its slowest runs take beyond
 * its median is taken from everybody: the kernel's own threads, other processes, a hypervisor.
 */
#ifndef ROOST_BENCH_RELAY_H
#define ROOST_BENCH_RELAY_H

#include <sys/types.h>

#define RELAY_ROW "a relay of 1.2 ms of work through three processes (floor: the machine itself)"

struct relay { pid_t pid[2]; int in, out; };

/* Starts the other two; they end with relay_close(), or with this process, and hold open until then what is open now. */
void relay_open(struct relay *r);
/* Once round: how long it took, in microseconds. */
double relay_run(struct relay *r);
void relay_close(struct relay *r);

#endif
