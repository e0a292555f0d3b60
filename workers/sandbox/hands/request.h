/*
 * request: what a worker asks hands to do; the protocol is in workers/sandbox/README.md. Every request is answered once, by a server_*()
 * reply, now or when what it waits for is over.
 */
#ifndef ROOST_SANDBOX_REQUEST_H
#define ROOST_SANDBOX_REQUEST_H

#include <jansson.h>
#include <stdint.h>

#include "hands.h"

/* doc: an object, borrowed until return; conn: where the answer goes. */
void request_run(struct hands *h, uint64_t conn, const json_t *doc);

#endif
