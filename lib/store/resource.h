/* resource: what is attached to a session (contract 2.3): files, each as a copy of the session's own. Rows are shown as the wire's JSON text. */
#ifndef ROOST_STORE_RESOURCE_H
#define ROOST_STORE_RESOURCE_H

#include <stdbool.h>

#include "db.h"
#include "err.h"

#define RESOURCES_MAX 500	/* of one session (contract 1.15) */

/* A file to attach: the file in the workspace, and where (absolute). */
struct resource_new {
	const char *file_id;
	const char *mount_path;
};

/*
 * Attach n files, within a transaction that holds the session's row; after a failure it must be rolled back. EK_NOT_FOUND: a file is not
 * there; EK_INVALID: paths overlap, or too many (contract C-10). *out_shown: all resources of the session as JSON text, borrowed from *res,
 * which the caller owns; the last one is the newest.
 */
int resource_add(struct db *db, const char *workspace, const char *session, const struct resource_new *files, int n, PGresult **res,
    const char **out_shown, struct err *e);

/* Texts are borrowed from *res, which the caller owns. */
int resource_list(struct db *db, const char *workspace, const char *session, int after, int limit, PGresult **res, int *out_n,
    bool *out_more, struct err *e);
const char *resource_text(const PGresult *res, int row);
int resource_ordinal(const PGresult *res, int row);

/* EK_NOT_FOUND, also when there is no such session. */
int resource_get(struct db *db, const char *workspace, const char *session, const char *id, PGresult **res, const char **out_text,
    struct err *e);
int resource_delete(struct db *db, const char *workspace, const char *session, const char *id, struct err *e);

#endif
