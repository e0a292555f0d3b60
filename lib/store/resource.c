/*
 * resource: see resource.h. One statement each; what belongs together is one function of the database, under the session's lock where the
 * caller holds it.
 */
#include "resource.h"

#include <string.h>

#include "file.h"
#include "id.h"
#include "session.h"
#include "xalloc.h"

/* How the function ended; which of the files it is about. */
static int
outcome(const PGresult *r, const struct resource_new *files, struct err *e)
{
	const char *result = pg_str(r, 0, 0);
	const struct resource_new *f = &files[pg_int(r, 0, 1)];

	if (strcmp(result, "ok") == 0)
		return 0;
	if (strcmp(result, "missing") == 0)
		return file_absent(f->file_id, e);
	if (strcmp(result, "overlap") == 0)
		return err_set(e, EK_INVALID, 0, "Invalid file resource: `mount_path` overlaps another resource: %.300s", f->mount_path);
	return err_set(e, EK_INVALID, 0, "A session can have at most %d file resources.", RESOURCES_MAX);
}

int
resource_add(struct db *db, const char *workspace, const char *session, const struct resource_new *files, int n, PGresult **res,
    const char **out_shown, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;
	char (*made)[ID_MAX] = xcalloc((size_t)n * 2 + 1, sizeof *made);
	const char **list[4];
	char *array[4];
	int i, rc;

	for (i = 0; i < 4; i++)
		list[i] = xcalloc((size_t)n + 1, sizeof **list);
	for (i = 0; i < n; i++) {
		list[0][i] = id_new("sesrsc_", made[2 * i]);
		list[1][i] = id_new("file_", made[2 * i + 1]);
		list[2][i] = files[i].file_id;
		list[3][i] = files[i].mount_path;
	}
	for (i = 0; i < 4; i++)
		array[i] = pg_array(list[i], n);
	rc = DB_RUN(db, STMT_RESOURCE_ADD, &r, e, workspace, session, array[0], array[1], array[2], array[3], DBN(RESOURCES_MAX));
	for (i = 0; i < 4; i++) {
		free(array[i]);
		free(list[i]);
	}
	free(made);
	if (rc < 0)
		return err_wrap(e, "attach %d files to session %s", n, session);
	if (outcome(r, files, e) < 0)
		return -1;
	*out_shown = pg_str(r, 0, 2);
	*res = steal(r);
	return 0;
}

int
resource_list(struct db *db, const char *workspace, const char *session, int after, int limit, PGresult **res, int *out_n,
    bool *out_more, struct err *e)
{
	int n;

	if (DB_RUN(db, STMT_RESOURCE_LIST, res, e, workspace, session, DBN(after), DBN(limit)) < 0)
		return err_wrap(e, "list resources of session %s", session);
	n = PQntuples(*res);
	*out_more = n > limit;
	*out_n = *out_more ? limit : n;
	return 0;
}

const char *
resource_text(const PGresult *res, int row)
{
	return pg_str(res, row, 0);
}

int
resource_ordinal(const PGresult *res, int row)
{
	return (int)pg_int(res, row, 1);
}

static int
not_found(struct db *db, const char *workspace, const char *session, const char *id, struct err *e)
{
	if (session_exists(db, workspace, session, NULL, e) < 0)
		return -1;
	return err_set(e, EK_NOT_FOUND, 0, "Resource not found: %.64s", id);
}

int
resource_get(struct db *db, const char *workspace, const char *session, const char *id, PGresult **res, const char **out_text,
    struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_RESOURCE_GET, &r, e, workspace, session, id) < 0)
		return err_wrap(e, "get resource %s", id);
	if (PQntuples(r) == 0)
		return not_found(db, workspace, session, id, e);
	*out_text = pg_str(r, 0, 0);
	*res = steal(r);
	return 0;
}

int
resource_delete(struct db *db, const char *workspace, const char *session, const char *id, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_RESOURCE_DELETE, &r, e, workspace, session, id) < 0)
		return err_wrap(e, "delete resource %s", id);
	return pg_bool(r, 0, 0) ? 0 : not_found(db, workspace, session, id, e);
}
