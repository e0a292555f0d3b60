/* object: what environments and vaults have in common to whoever changes one. */
#ifndef ROOST_STORE_OBJECT_H
#define ROOST_STORE_OBJECT_H

#include <stdbool.h>

#include "db.h"
#include "err.h"

/* Read under the row's lock. Strings are borrowed from the result. */
struct object_locked { const char *body; bool archived; const char *organization_state; };

/* Within a transaction: lock one row of the workspace. EK_NOT_FOUND. The caller owns *res. */
typedef int object_lock(struct db *db, const char *workspace, const char *id, PGresult **res, struct object_locked *out, struct err *e);

#endif
