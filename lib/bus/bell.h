/*
 * bell: the doorbell between processes of one machine. Each worker listens on a unix datagram socket that has its name, in a folder that
 * the machine's gateways reach; a gateway that is told who has a session writes there, instead of to Redis, which costs two processes'
 * wake-ups less. It never waits: whatever keeps a letter from being delivered (no such socket: a worker of another machine, or an older
 * one; one that has died; a full queue) is -1, and then Redis is rung (bus.h). Trying in vain costs a system call, 4 us.
 *
 * A ring is a hint, as in bus.h: Postgres decides. One that was delivered may still be lost, with the worker that has not read it, or by
 * its reader's crash. It is made up for as a lost entry of Redis is: a worker that lives compares its leases with the database each second
 * (rounds.c), one that has died is reaped, and what was sent is then due for whoever claims next.
 *
 * Who may write to the socket is believed (its mode and the folder's: ops/setup/users.sh), but what is read is checked all the same. The
 * folder is the workers', so who rings trusts none of its names: it writes to what is a socket there, not a link, and was made by the
 * folder's owner. What a letter tells never gets to another user, whatever a worker that was broken into has put there (README.md).
 *
 * A letter is one or more rings: `<bytes> <workspace> <session>[ ...]\n`, so many bytes, NUL. What follows the session in the line is
 * skipped. Names are such as id_is_name() takes.
 */
#ifndef ROOST_BUS_BELL_H
#define ROOST_BUS_BELL_H

#include <stdbool.h>
#include <stddef.h>

#include "loop.h"

#define BELL_MAX 32768		/* bytes of a letter: several of them fit into a socket's default buffer */

/* --- who rings: one per thread ------------------------------------------------------------------------------------------------------ */

struct bells;
/* dir "": nobody is ever reached. NULL then, or without a socket; all that follows takes NULL. */
struct bells *bells_open(const char *dir);
void bells_close(struct bells **b);

/* Begin a letter to this owner of leases. False: there is no way to it. */
bool bells_to(struct bells *b, const char *owner);
/*
 * One more ring, and what rides along: bytes that are the reader's business; told may be NULL. What no letter could take is left out.
 * False: this letter is full; send it and begin another.
 */
bool bells_add(struct bells *b, const char *workspace, const char *session, const char *told, size_t told_len);
/* Send it. 0, or -1: none of it was delivered. */
int bells_send(struct bells *b);

/* --- who is rung -------------------------------------------------------------------------------------------------------------------- */

/* Borrowed until the callback returns. told: "" when nothing came along; a NUL that is not counted follows. */
struct bell_ring { const char *workspace, *session, *told; size_t told_len; };

typedef void bell_fn(void *ctx, const struct bell_ring *ring);

/*
 * Listen in dir as name, for the life of the process, and remove what workers that were killed have left there. NULL: dir is "", or it
 * cannot be done, which has been logged: rings come by Redis.
 */
struct bell;
struct bell *bell_new(struct loop *l, const char *dir, const char *name, bell_fn *fn, void *ctx);
void bell_free(struct bell **b);

#endif
