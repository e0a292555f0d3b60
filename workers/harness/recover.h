/*
 * recover: where a turn stands, read from the end of the log. For sessions that are not idle (their worker is gone, or a retry is
 * due) and for idle ones that wait for the client.
 *
 * Pure.
 */
#ifndef ROOST_HARNESS_RECOVER_H
#define ROOST_HARNESS_RECOVER_H

#include "turn.h"

struct tail_event {
	const char *id, *type, *body;
};

/* ev: the newest event first. Fills the turn's open span, open calls, counters and `owed`. */
void recover_tail(struct turn *t, const struct tail_event *ev, int n);

#endif
