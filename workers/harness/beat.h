/*
 * beat: this worker's life sign. Its row in `worker` is renewed on a connection of its own, which holds the advisory lock that says
 * the process lives (design section 3.3). Each beat teaches the database's time.
 */
#ifndef ROOST_HARNESS_BEAT_H
#define ROOST_HARNESS_BEAT_H

#include <stdbool.h>

#include "harness.h"

struct beat *beat_new(struct wk *wk);
void beat_free(struct beat **b);

/* This worker holds nothing and claims nothing any more: its row goes, so that nobody waits for it. */
void beat_leave(struct beat *b);

/* The row and the lock are there: sessions may be claimed. */
bool beat_registered(const struct beat *b);

/* Database time of the first beat on the present connection; 0: none yet, or no connection. Only who has one may judge others. */
int64_t beat_since_us(const struct beat *b);

/* Its lease is beyond doubt: it has been renewed on the present connection, less than half of it ago. */
bool beat_sure(const struct beat *b);

#endif
