/*
 * credential: what lies in a vault (contract 2.4, 7). What may be shown is in columns; secrets are sealed boxes (credseal.h) that go in here
 * and never come out: no statement of this process can read one.
 */
#ifndef ROOST_STORE_CREDENTIAL_H
#define ROOST_STORE_CREDENTIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "credseal.h"
#include "db.h"
#include "err.h"
#include "object.h"

#define CREDENTIALS_MAX 20	/* active ones of a vault (contract 1.15) */
#define CREDENTIAL_BOXES 3	/* secrets of one credential, at most */

/* What may be shown. Members that a type has not are NULL. */
struct credential_auth {
	const char *type;		/* mcp_oauth, static_bearer, environment_variable */
	const char *mcp_server_url;
	const char *expires_us;		/* microseconds as text; NULL: not known */
	const char *token_endpoint, *client_id, *endpoint_auth, *refresh_scope, *refresh_resource;	/* NULL: it cannot be refreshed */
	const char *secret_name;
	const char *allowed_hosts;	/* a JSON list; NULL: any host that the environment allows */
	bool inject_header, inject_body;
};

/* Strings are borrowed from the result. body: display_name and metadata as one JSON object. */
struct credential_row {
	const char *id, *vault_id, *body, *created, *updated, *archived;
	const char *expires;		/* of auth, in the wire's form */
	struct credential_auth auth;
	int64_t secret_version;
};

/* Secrets that have been sealed for one credential and one version. */
struct credential_boxes {
	int n;
	const char *slot[CREDENTIAL_BOXES];
	char *sealed[CREDENTIAL_BOXES];		/* owned */
	char key_id[CREDENTIAL_BOXES][CREDSEAL_KEY_ID];
};
void credential_boxes_free(struct credential_boxes *b);

__attribute__((unused)) static inline void
boxes_cleanup(struct credential_boxes *b)
{
	credential_boxes_free(b);
}

void credential_row(const PGresult *res, int row, struct credential_row *out);

/*
 * Store a new one with version 1 of its secrets. match_key: what the active credentials of a vault are unique by.
 * EK_NOT_FOUND the vault; EK_INVALID the vault is archived or full; EK_CONFLICT the key is taken; EK_FORBIDDEN the organization is suspended.
 */
int credential_create(struct db *db, const char *workspace, const char *vault, const char *id, const struct credential_auth *auth,
    const char *match_key, const char *body, const struct credential_boxes *boxes, struct err *e);

/* EK_NOT_FOUND, of the vault or of the credential. The caller owns *res. */
int credential_get(struct db *db, const char *workspace, const char *vault, const char *id, PGresult **res, struct credential_row *out,
    struct err *e);

/* ids: vault, credential. EK_NOT_FOUND of either. What it holds is read afterwards. */
object_lock credential_lock;
/* Change one that is locked and active. version: of the boxes, the next one; without boxes the stored one. */
int credential_put(struct db *db, const char *workspace, const char *vault, const char *id, const struct credential_auth *auth,
    const char *body, int64_t version, const struct credential_boxes *boxes, struct err *e);
/* Its secrets are purged; twice is once. */
int credential_archive(struct db *db, const char *workspace, const char *vault, const char *id, struct err *e);
int credential_delete(struct db *db, const char *workspace, const char *vault, const char *id, struct err *e);

/* Newest first; found as in agent_list(). No rows for a vault that is not there. */
int credential_list(struct db *db, const char *workspace, const char *vault, const char *after, bool archived, int64_t limit, int64_t bytes,
    PGresult **res, int64_t *found, struct err *e);

#endif
