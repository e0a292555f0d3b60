/*
 * shares: how many handler threads of this process requests of one organization may hold, so that slow ones (a long statement, a row that
 * somebody has locked) do not take the last thread from everybody else. Of the threads a quarter is kept for organizations that hold
 * none; a request beyond that waits in its organization's queue, in order, without a thread. Of fewer than four threads none is kept.
 *
 * Counts and queues only, for several threads; what waits and how it goes on is waiting.h's.
 */
#ifndef ROOST_GATEWAY_SHARES_H
#define ROOST_GATEWAY_SHARES_H

#include <stdbool.h>

struct shares;

/* waiting_max: of one organization. */
struct shares *shares_new(int threads, int waiting_max);
/* Who still waits is forgotten. */
void shares_free(struct shares **all);

/* This thread is about to handle a request of that organization, and may: true, until shares_end(). "" is nobody, and always may. */
bool shares_begin(struct shares *all, const char *organization);
/* The same where it has begun before, and is only brought to its end here. */
void shares_join(struct shares *all, const char *organization);
void shares_end(struct shares *all, const char *organization);

/* To be called again when there is room: given back by shares_next(). False: too many wait already. */
bool shares_wait(struct shares *all, const char *organization, void *ticket);
/* One that may be handled now, and counts as begun; NULL: none. To be asked whenever a thread has ended one, and now and then. */
void *shares_next(struct shares *all);
int shares_waiting(const struct shares *all);

#endif
