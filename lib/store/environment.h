/* environment: environments. A body is name, description, config, metadata and scope as one JSON object. */
#ifndef ROOST_STORE_ENVIRONMENT_H
#define ROOST_STORE_ENVIRONMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "db.h"
#include "err.h"
#include "object.h"

/* Strings are borrowed from the result. */
struct environment_row {
	const char *id, *body, *created, *updated, *archived;
};

void environment_row(const PGresult *res, int row, struct environment_row *out);

/* EK_CONFLICT: a live environment has that name. EK_FORBIDDEN: the organization is suspended. The caller owns *res. */
int environment_create(struct db *db, const char *workspace, const char *organization, const char *id, const char *name, const char *body,
    PGresult **res, struct environment_row *out, struct err *e);

/* EK_NOT_FOUND environment_not_found. The caller owns *res. */
int environment_get(struct db *db, const char *workspace, const char *id, PGresult **res, struct environment_row *out, struct err *e);

object_lock environment_lock;
/* EK_CONFLICT: the new name is taken. */
int environment_put(struct db *db, const char *workspace, const char *id, const char *name, const char *body, struct err *e);
int environment_archive(struct db *db, const char *workspace, const char *id, struct err *e);
/* Sessions that keep it from being deleted. */
int environment_busy(struct db *db, const char *workspace, const char *id, int64_t *out, struct err *e);
int environment_delete(struct db *db, const char *workspace, const char *id, struct err *e);

/* Newest first; found as in agent_list(). */
int environment_list(struct db *db, const char *workspace, const char *after, bool archived, int64_t limit, int64_t bytes, PGresult **res,
    int64_t *found, struct err *e);

#endif
