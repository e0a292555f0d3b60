/* credcfg: what a credential's auth says (contract 2.4, 7.2, 7.3): checked, resolved, its secrets apart from what may be shown. */
#ifndef ROOST_GATEWAY_CREDCFG_H
#define ROOST_GATEWAY_CREDCFG_H

#include <jansson.h>
#include <stdint.h>

#include "arena.h"
#include "credential.h"
#include "err.h"

struct credcfg {
	struct credential_auth auth;	/* strings of the body, of the stored row, or of the arena */
	const char *match_key;		/* of a new one */
	int n;
	struct { const char *slot, *secret; } secret[CREDENTIAL_BOXES];	/* borrowed from the body */
};

/* From the auth of a create body that has passed its shape. now_us: what an expiry must lie behind. EK_INVALID; never quotes a secret. */
int credcfg_create(const json_t *auth, int64_t now_us, struct arena *a, struct credcfg *out, struct err *e);

/* The stored auth with an update's applied; auth NULL: nothing changes. EK_INVALID also for another type. */
int credcfg_update(const struct credential_auth *stored, const json_t *auth, int64_t now_us, struct arena *a, struct credcfg *out,
    struct err *e);

/* Do they differ in what may change? */
bool credcfg_differs(const struct credential_auth *x, const struct credential_auth *y);

#endif
