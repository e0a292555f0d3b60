/*
 * opening: the next turn of a session that its worker keeps, prepared at the end of the one before: the events with which it opens but for
 * its message, so that whoever sends that message can write them in the same commit (sql/functions/message_send.sql). *(pure)*
 *
 * Their ids are drawn when it is made, and each opening is used once: the send takes only what the session's row holds, and that counts
 * until the row is written again.
 */
#ifndef ROOST_HARNESS_OPENING_H
#define ROOST_HARNESS_OPENING_H

#include <stdint.h>

#include "batch.h"
#include "plan.h"

#define OPENING_TEXTS 4
#define OPENING_MESSAGE 8192	/* bytes of a message (stem and fragment) that a send opens with (also in message_send) */

struct opening;
void opening_free(struct opening **o);
__attribute__((unused)) static inline void
opening_cleanup(struct opening **o)
{
	opening_free(o);
}

struct opening *opening_new(struct batch_who who, int64_t epoch);

/* What the row holds of it: three stems and the lease's epoch. Borrowed. */
const char *const *opening_texts(const struct opening *o);
/* The id of the request's start. */
const char *opening_span(const struct opening *o);

/* The append that the send has made of it with this message, not stamped, and the plan that it stands for. The opening is empty then. */
void opening_take(struct opening *o, struct batch_who who, const struct arrival *message, struct batch *out, struct plan *plan);

#endif
