/* agent: agents and their immutable versions. A body is a configuration as one JSON object (see sql/migrations/0001). */
#ifndef ROOST_STORE_AGENT_H
#define ROOST_STORE_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "db.h"
#include "err.h"

/* One version as the wire needs it. Strings are borrowed from the result it was read from. */
struct agent_row {
	const char *id, *body, *created, *updated, *archived;	/* archived NULL: live */
	int version;
};

void agent_row(const PGresult *res, int row, struct agent_row *out);

/* One version (0: the newest). EK_NOT_FOUND "Agent not found." or "Agent version not found.". The caller owns *res. */
int agent_get(struct db *db, const char *workspace, const char *id, int version, PGresult **res, struct agent_row *out, struct err *e);

/* Within a transaction: lock the agent to change it; then agent_get() reads what is current. Borrowed from *res. EK_NOT_FOUND. */
struct agent_locked { int version; bool archived; const char *organization_state; };
int agent_lock(struct db *db, const char *workspace, const char *id, PGresult **res, struct agent_locked *out, struct err *e);

/* Within the same transaction: write the next version. */
int agent_put_version(struct db *db, const char *workspace, const char *id, int version, const char *name, const char *body, struct err *e);

/* Archive; nothing happens to one that is archived or does not exist. */
int agent_archive(struct db *db, const char *workspace, const char *id, struct err *e);

/* Rows of agent_row(), newest first. *found counts one row beyond the page when there is one. The caller owns *res. */
struct agent_filter { const char *after, *created_gte, *created_lte; bool archived; int64_t limit, bytes; };
int agent_list(struct db *db, const char *workspace, const struct agent_filter *f, PGresult **res, int64_t *found, struct err *e);
int64_t agent_list_created(const PGresult *res, int row);	/* created_at in microseconds, for a cursor */
int agent_versions(struct db *db, const char *workspace, const char *id, int64_t before, int64_t limit, int64_t bytes, PGresult **res,
    int64_t *found, struct err *e);

#endif
