/*
 * replymem: Redis' replies in memory that is taken back at once. hiredis allocates each string and each array of a reply by itself, thirty
 * for one entry of a stream; a hub reads thousands of entries a second, most of them for sessions that nobody here follows.
 */
#ifndef ROOST_BUS_REPLYMEM_H
#define ROOST_BUS_REPLYMEM_H

#include <hiredis/hiredis.h>
#include <stddef.h>

/* Zero-initialised is valid and empty. */
struct replymem {
	struct replymem_piece *pieces;	/* the latest first */
};

/* This connection's replies live in r, which outlives the connection. Before anything is read. They are not freed by freeReplyObject. */
void replymem_use(struct replymem *r, redisContext *rc);
/* The reply that was read last is not needed any more; nothing of another has been read yet. What a usual reply takes is kept. */
void replymem_reset(struct replymem *r);
void replymem_free(struct replymem *r);

#endif
