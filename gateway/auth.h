/*
 * auth: from request headers to the caller, in the contract's order: key (401) -> beta (404) -> anthropic-version (400) -> whether
 * this kind of key may come here (403). The caller of this module has already answered 404 for an unknown route.
 *
 * Shared by roost-gateway and roost-stream. A positive lookup is reused for at most key_cache_s seconds, keyed by the keyed hash of
 * the whole key, so a revocation works within that time; nothing negative is kept. Safe from several threads.
 */
#ifndef ROOST_GATEWAY_AUTH_H
#define ROOST_GATEWAY_AUTH_H

#include <stdbool.h>

#include "conf.h"
#include "db.h"
#include "err.h"
#include "tenant.h"

struct auth;

/* What the checks need of a request. Strings are borrowed from the request; NULL = header absent. */
struct auth_headers {
	const char *authorization, *api_key, *version, *workspace;
	const char *beta[4];		/* anthropic-beta lines, in order; the rest NULL */
	bool conflict;			/* a credential header came twice with different values */
};

enum auth_scope { AUTH_WORKSPACE, AUTH_ADMIN };

/* Beta rule of a route (contract 1.4). */
enum auth_beta {
	AUTH_BETA_NONE,			/* ignored */
	AUTH_BETA_MANAGED,		/* managed-agents-2026-04-01 required, others ignored */
	AUTH_BETA_KNOWN			/* optional; a value nobody knows is a 400 */
};

/* Read the FastCGI environment ("HTTP_X_API_KEY=..."). */
void auth_headers_read(struct auth_headers *h, char *const *envp);

/* Loads the pepper. One per process. */
struct auth *auth_open(const struct conf *c, struct err *e);
void auth_close(struct auth **a);

/* Does a beta line name managed-agents-2026-04-01? */
bool auth_managed(const struct auth_headers *h);

/* Every check above. *out is written as soon as the key is known: a later refusal still says whose it is. A suspended organization is the caller's business (out->suspended). */
int auth_check(struct auth *a, struct db *db, const struct auth_headers *h, enum auth_scope scope, enum auth_beta beta,
    struct tenant_key *out, struct err *e);

#endif
