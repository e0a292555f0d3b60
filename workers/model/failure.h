/*
 * failure: why a request to a provider failed, in the contract's words (3.7), and what may be done about it.
 *
 * One table maps a status (real, or implied by an error event inside a stream) to type, retry and fallback. The text for the client
 * is ours plus at most the provider's own error sentence: never a key, a header or the rest of a body.
 */
#ifndef ROOST_WORKERS_MODEL_FAILURE_H
#define ROOST_WORKERS_MODEL_FAILURE_H

#include <stdbool.h>
#include <stddef.h>

#include "jspan.h"
#include "model.h"

struct failure {
	struct model_failure f;
	bool next;		/* another route may be tried, when nothing was put out yet */
	char said[512];		/* the provider's sentence, cleaned, for deciding; "" when there was none */
};

/* A fault of the transport or of the stream: retryable, next route allowed. */
void failure_broken(struct failure *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Something that no retry will change. */
void failure_final(struct failure *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same: the reply is larger than allowed. */
void failure_over(struct failure *out);

/* A status, and an error body as providers write it: {"error":{"type","code","message"}}, {"error":"..."}, {"message":...}. */
void failure_body(struct failure *out, int status, const char *body, size_t len, const char *secret);

/* The status that an error object inside a 200 stream stands for; 500 when it says nothing known. */
int failure_implied_status(struct jspan error);

#endif
