/*
 * relay: what the machine itself adds to something that lasts as long as a turn and passes through as many processes: fifteen pieces of
 * 80 us of work, one after the other, in three processes that wake each other. No disk, no database. What its slowest runs take beyond
 * its median is taken from everybody: the kernel's own threads, other processes, a hypervisor.
 */
#ifndef ROOST_BENCH_RELAY_H
#define ROOST_BENCH_RELAY_H

#include <sys/types.h>

#include "stats.h"

#define RELAY_ROW "a relay of 1.2 ms of work through three processes (floor: the machine itself)"

#define RELAY_RUNS 30

struct relay { pid_t pid[2]; int in, out; };

/* Starts the other two; they end with relay_close(), or with this process, and hold open until then what is open now. */
void relay_open(struct relay *r);
/* Some in a row, into each. Between two measurements it could make the next one slower: its processes take the others' place in caches and
 * on cores. So they are run in blocks, between sessions. */
void relay_runs(const struct relay *r, struct samples *each);
void relay_close(struct relay *r);

#endif
