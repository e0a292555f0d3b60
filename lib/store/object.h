/* object: what environments, vaults and credentials have in common to whoever changes one. */
#ifndef ROOST_STORE_OBJECT_H
#define ROOST_STORE_OBJECT_H

#include <stdbool.h>

#include "db.h"
#include "err.h"

/* Read under the row's lock. Strings are borrowed from the result. body: NULL when it is to be read by a statement of its own. */
struct object_locked { const char *body; bool archived; const char *organization_state; };

/* Within a transaction: lock one row of the workspace. ids: those that name it, as in its path. EK_NOT_FOUND. The caller owns *res. */
typedef int object_lock(struct db *db, const char *workspace, const char *const *ids, PGresult **res, struct object_locked *out, struct err *e);

#endif
