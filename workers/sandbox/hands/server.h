/*
 * server: the socket that workers talk to: who may connect, frames in, replies out. The protocol is in workers/sandbox/README.md.
 */
#ifndef ROOST_SANDBOX_SERVER_H
#define ROOST_SANDBOX_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "hands.h"

struct call;
struct session;

/* Listen on conf.hands_socket (0660, group conf.listen_group or roost-hands when there is such a group) and serve in h->loop. */
int server_start(struct hands *h, struct err *e);
/* Close everything; the socket file is removed. */
void server_stop(void);

/* Replies; a connection that is gone is ignored. */
void server_ok(struct hands *h, uint64_t conn, int64_t n);
void server_error(struct hands *h, uint64_t conn, int64_t n, const char *kind, const char *message);
/* state unknown: of a call that hands has never heard of. */
void server_unknown(struct hands *h, uint64_t conn, int64_t n);
/* How many sandboxes there are, and how they are limited. */
void server_status(struct hands *h, uint64_t conn, int64_t n);
void server_provisioned(struct hands *h, uint64_t conn, int64_t n, bool fresh);
/* ok, and what outputs wait to be published. */
void server_outputs(struct hands *h, uint64_t conn, int64_t n, struct session *s);
void server_result(struct hands *h, uint64_t conn, int64_t n, bool attach, const struct call *c);

#endif
