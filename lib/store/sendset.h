/*
 * sendset: sends that travel together (sendq.h): which of those that wait, and the statement they become.
 */
#ifndef ROOST_STORE_SENDSET_H
#define ROOST_STORE_SENDSET_H

#include "sendq.h"

/* Sends in order, linked by `next`. */
struct sendset {
	struct sendq_send *first, **end;
	int n;
};
void sendset_empty(struct sendset *l);
void sendset_add(struct sendset *l, struct sendq_send *s);

/*
 * Move from the queue into the empty set what goes next: the oldest, and with it, if it is of one event, others of one event whose session
 * has not been passed by, up to 32 and 64 kB. The rest stays, in order. The queue is not empty.
 */
void sendset_choose(struct sendset *queue, struct sendset *set);

/* Its statement: message_send of one, message_send_many of several, or of one whose answer is kept. */
enum db_stmt sendset_stmt(const struct sendset *set);
/* Send it. False: the connection is of no use any more. */
bool sendset_send(PGconn *conn, const struct sendset *set, const struct inbox_caps *caps);

#endif
