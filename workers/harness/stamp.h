/*
 * stamp: database time without asking the database (design section 3.4).
 *
 * Each heartbeat teaches the offset between our monotonic clock and Postgres' clock_timestamp(); in between, stamps are monotonic +
 * offset. A stamp is never at or below the newest event of its session, and event k of an append stands k microseconds later.
 * Pure: the caller passes its clock readings.
 */
#ifndef ROOST_HARNESS_STAMP_H
#define ROOST_HARNESS_STAMP_H

#include <stdbool.h>
#include <stdint.h>

struct stamp {
	bool known;		/* learnt at least once */
	int64_t offset_us;	/* database wall time - our monotonic time */
};

/* A statement sent at `sent` and answered at `got` (monotonic us) returned the database's time. */
void stamp_learn(struct stamp *s, int64_t sent_us, int64_t got_us, int64_t db_us);

/* Database time at monotonic `mono_us`. */
int64_t stamp_now(const struct stamp *s, int64_t mono_us);

/* The stamp of the first event of an append: database time, but after everything the session has. */
int64_t stamp_base(const struct stamp *s, int64_t mono_us, int64_t last_at_us);

#endif
