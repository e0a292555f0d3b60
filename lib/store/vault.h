/* vault: vaults. A body is display_name and metadata as one JSON object. What lies in a vault: credential.h. */
#ifndef ROOST_STORE_VAULT_H
#define ROOST_STORE_VAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "db.h"
#include "err.h"
#include "object.h"

/* Strings are borrowed from the result. */
struct vault_row {
	const char *id, *body, *created, *updated, *archived;
};

void vault_row(const PGresult *res, int row, struct vault_row *out);

/* EK_FORBIDDEN: the organization is suspended. The caller owns *res. */
int vault_create(struct db *db, const char *workspace, const char *organization, const char *id, const char *body, PGresult **res,
    struct vault_row *out, struct err *e);

/* EK_NOT_FOUND. The caller owns *res. */
int vault_get(struct db *db, const char *workspace, const char *id, PGresult **res, struct vault_row *out, struct err *e);

object_lock vault_lock;
int vault_put(struct db *db, const char *workspace, const char *id, const char *body, struct err *e);

/* With all its credentials, whose secrets are purged; twice is once. */
int vault_archive(struct db *db, const char *workspace, const char *id, struct err *e);
/* Within a transaction that has locked it. With all its credentials, and what is kept of answers about them. */
int vault_delete(struct db *db, const char *workspace, const char *id, struct err *e);

/* Newest first; found as in agent_list(). */
int vault_list(struct db *db, const char *workspace, const char *after, bool archived, int64_t limit, int64_t bytes, PGresult **res,
    int64_t *found, struct err *e);

#endif
