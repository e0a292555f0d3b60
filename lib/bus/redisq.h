/*
 * redisq: one non-blocking Redis connection in a loop.h loop: connects, authenticates, reconnects with backoff, hands replies over
 * in the order of the commands. busq.c makes the writer and the tail of it.
 */
#ifndef ROOST_BUS_REDISQ_H
#define ROOST_BUS_REDISQ_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

#include "conf.h"
#include "loop.h"

struct redisq;

/* One reply, borrowed until return. May send; must not free the connection. A quiet connection's are no answers in particular. */
typedef void redisq_reply_fn(void *ctx, const redisReply *r);
/* up true: ready for commands. false: lost; replies to what was sent before will not come. Must not free the connection. */
typedef void redisq_state_fn(void *ctx, bool up);

/* Reads redis_socket, redis_user and redis_pass_file of c (borrowed for the life of the connection). Connects from the loop. */
struct redisq *redisq_new(struct loop *loop, const struct conf *c, redisq_reply_fn *reply, redisq_state_fn *state, void *ctx);
/* Accepts NULL, sets *q = NULL. Calls nothing back. */
void redisq_free(struct redisq **q);

/*
 * Nobody waits for this connection's replies: Redis is asked to give none but to one command each second or so, whose answer is read then
 * (where its ACL refuses CLIENT REPLY: to all, read many at a time), and nothing wakes the loop for them. That Redis is gone is heard at
 * once all the same. Before it is up.
 */
void redisq_quiet(struct redisq *q);

/* Send one command, before the loop waits again. -1 when not up or when too much waits unsent: it is dropped. */
int redisq_send(struct redisq *q, int argc, const char *const *argv, const size_t *len);
bool redisq_up(const struct redisq *q);

/* Give up this connection (a reply made no sense); it reconnects after the backoff. */
void redisq_drop(struct redisq *q);

/* The first line of a password file (0400). -1 with errno when it cannot be read. Wipe out after use. */
int redisq_password(const char *file, char *out, size_t size);

#endif
