/*
 * conns: what proves that an answer reached its client, so that an equal call from elsewhere is no retry of that one (README.md, "Retried
 * requests"). Which requests came on which connection: an HTTP/1.1 client sends the next one when it has read the answer to the one before.
 * And which objects were named in a path, by whom: who made one learns its name from the answer. The second is needed because a client
 * that goes on at once takes another connection of its own (Node's fetch does, always, for a call that directly follows one).
 *
 * nginx names connection and request: `start-pid.connection.number`. It numbers connections from 1 each time it starts and process ids come
 * again, so `start` is random and of that start (ops/setup/services.sh): no name ever means another connection, also after a reboot. All gateways of a host share one mapped file. It is a memory of fixed size
 * that forgets: what is not known is not proven. Nothing here can fail a request.
 */
#ifndef ROOST_GATEWAY_CONNS_H
#define ROOST_GATEWAY_CONNS_H

#include <stdbool.h>

#include "err.h"

#define CONN_NAME 64

struct conns;

/* path "": this process' own memory. Made when absent. NULL with e set. */
struct conns *conns_open(const char *path, struct err *e);
void conns_close(struct conns **c);

/* A request came. NULL or anything that is no such name is ignored. Thread-safe. */
void conns_note(struct conns *c, const char *name);

/* Has a later request come on this one's connection? */
bool conns_went_on(const struct conns *c, const char *name);

/* A request of this caller named this object; has one? Thread-safe. */
void conns_named(struct conns *c, const char *caller, const char *object);
bool conns_was_named(const struct conns *c, const char *caller, const char *object);

#endif
