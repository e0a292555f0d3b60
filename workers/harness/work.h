/*
 * work: which sessions this worker has, and where new ones come from.
 *
 * Work is found by the doorbell, by a poll, and when a retry falls due; it is always dequeued from Postgres. Once a second the leases
 * in the database are compared with the table here, both ways, dead workers are reaped, and dropped sandboxes are destroyed.
 */
#ifndef ROOST_HARNESS_WORK_H
#define ROOST_HARNESS_WORK_H

#include "harness.h"
#include "sess.h"

struct work *work_new(struct wk *wk);
void work_free(struct work **w);

/* This worker is registered: look after dead ones now, not at the next second (all may have died together), then claim. */
void work_begin(struct work *w);
/* Take due sessions, as many as there is room for. */
void work_claim(struct work *w);
/* What the worker's beat tells (peers.h): does it take sessions, percent of what it can do, how many workers should be at work. */
bool work_open(const struct work *w);
int work_load(const struct work *w);
int work_spread(const struct work *w);
/* Every lease is lost: this worker had been declared dead. */
void work_lose_all(struct work *w);
/* Stop claiming and bring each session to a point where its lease can be given back; the loop stops when none is left. */
void work_drain(struct work *w);

#endif
