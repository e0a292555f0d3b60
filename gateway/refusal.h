/*
 * refusal: an error as the client gets it: the JSON envelope (contract 1.11) and the headers that go with it. Shared by roost-gateway and
 * roost-stream, so that both refuse in the same words.
 */
#ifndef ROOST_GATEWAY_REFUSAL_H
#define ROOST_GATEWAY_REFUSAL_H

#include "buf.h"
#include "err.h"
#include "tenant.h"

/* request-id, and organization and workspace once who is known: header lines of every reply. */
void reply_headers(struct buf *out, const char *request_id, const struct tenant_key *who);

/* x-should-retry and retry-after, as err.def and errcode.def say; nothing for EK_NONE. */
void refusal_headers(struct buf *out, const struct err *e);

/* {"type":"error","error":{...},"request_id":...} at the end of out. */
void refusal_body(struct buf *out, const struct err *e, const char *request_id);

#endif
