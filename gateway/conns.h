/*
 * conns: which requests came on which connection of a client. An HTTP/1.1 client sends the next request on a connection when it has read
 * the answer to the one before: so a later request proves that an answer was delivered, and an equal call from elsewhere is no retry of
 * that one (README.md, "Retried requests").
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

#endif
