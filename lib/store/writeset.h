/*
 * writeset: new objects that are written together (writeq.h): which of those that wait, in which order, and how they are sent.
 */
#ifndef ROOST_STORE_WRITESET_H
#define ROOST_STORE_WRITESET_H

#include "writeq.h"

/* Writes in order, linked by `next`. */
struct writeset {
	struct writeq_write *first, **end;
	int n;
};
void writeset_empty(struct writeset *l);
void writeset_add(struct writeset *l, struct writeq_write *w);
/* Give back what they have heard. */
void writeset_clear(struct writeset *l);

/* Move the oldest of the queue into the empty set, up to 32 and WRITEQ_BYTES, in the order of their locks; equal ones as they came. */
void writeset_choose(struct writeset *queue, struct writeset *set);

/* All statements that may be sent; then pipelined, up to a sync. False: the connection is of no use. */
bool writeset_prepare(PGconn *conn);
bool writeset_send(PGconn *conn, const struct writeset *set);

#endif
