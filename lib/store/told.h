/*
 * told: what a gateway tells the worker that keeps a session's lease together with the doorbell: the one message it has just committed, and
 * the numbers by which the worker proves that it knows the rest (sql/functions/message_send.sql). It is made from what was bound to the
 * statement and from the statement's answer, after the commit; a ring that carries none makes its worker read. The same goes for a message
 * with which the send has opened the turn: then it stands in the log already.
 *
 * The bytes stay on one machine. Who reads them trusts none of their lengths.
 */
#ifndef ROOST_STORE_TOLD_H
#define ROOST_STORE_TOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

struct inbox_sent;	/* inbox.h, as is the gateway's inbox_item; who only reads records has an inbox of its own */
struct inbox_item;

#define TOLD_MAX (16 << 10)	/* bytes of a record; what is longer is read */

/* One item of the inbox: a user.message that wakes. Texts are borrowed from the record. */
struct told {
	uint32_t prior;			/* this and the numbers: see struct inbox_sent */
	int64_t wake_gen, inbox_seq, catalogue;
	int64_t opened_us;
	const char *id, *stem;
	const char *fragment;		/* what the model sees, or NULL */
};

/* The record of a send of this item, behind what *out holds. False: there is none (no facts, another kind of event, too long). */
bool told_encode(const struct inbox_sent *sent, const struct inbox_item *it, struct buf *out);
/* False: these bytes are no record; *out is undefined. */
bool told_decode(const void *bytes, size_t len, struct told *out);

#endif
