/*
 * token: one exchange of a refresh token at a token endpoint (RFC 6749, section 6).
 */
#ifndef ROOST_EGRESS_TOKEN_H
#define ROOST_EGRESS_TOKEN_H

#include <stdint.h>

#include "fetch.h"
#include "jx.h"
#include "scrub.h"

#define TOKEN_MAX 65536	/* bytes of a token; what the vault takes */

struct token_ask {
	const char *endpoint, *client_id, *auth;	/* none, client_secret_basic, client_secret_post */
	const char *refresh_token, *client_secret, *scope, *resource;	/* the last three may be NULL */
};

enum token_outcome {
	TOKEN_NEW,
	TOKEN_REJECTED,		/* the server says that this will not work: 4xx, or an error in its answer */
	TOKEN_UNUSABLE,		/* an answer, but neither a token nor a refusal: 5xx, 429, nonsense */
	TOKEN_NO_ANSWER
};

struct token_result {
	enum token_outcome outcome;
	char *access_token, *refresh_token;	/* owned; the second NULL when the old one stays */
	int64_t expires_in;			/* seconds; -1: not told */
	struct fetch_reply reply;
};

/* What may be sent back is made known to scrub. */
void token_refresh(struct fetch *f, const struct token_ask *ask, struct scrub *s, int64_t ms, struct token_result *out);
void token_result_free(struct token_result *r);

#endif
