/*
 * attempt: whether a request may be one of several attempts of the same call, and what they have in common (README.md, "Retried
 * requests"). Only reads headers and hashes; who was first is the database's to say.
 */
#ifndef ROOST_GATEWAY_ATTEMPT_H
#define ROOST_GATEWAY_ATTEMPT_H

#include <stddef.h>

#include "dedupe.h"
#include "err.h"

#define ATTEMPT_KEY_MAX 255
#define ATTEMPT_HASH_KEY 32

/* The headers as they came; NULL: absent. */
struct attempt_headers {
	const char *key;		/* Idempotency-Key */
	const char *traceparent;
	const char *retry_count;	/* X-Stainless-Retry-Count */
};

/* Who asks for what. */
struct attempt_call {
	const char *credential, *workspace, *method, *uri;	/* uri: path and query as sent */
	const char *body;
	size_t body_len;
	const unsigned char *key;	/* ATTEMPT_HASH_KEY bytes; of a body with secrets, so that nobody can try guesses against its hash; or NULL */
};

/*
 * Fill all of out but `request`. kind DEDUPE_NONE: nothing tells attempts apart. EK_INVALID: a key that is none. A traceparent or count
 * that is not well-formed counts as absent.
 */
int attempt_read(const struct attempt_headers *h, const struct attempt_call *c, struct dedupe_id *out, struct err *e);

#endif
