/*
 * environment: binds and decodes the statements on environments. One statement per call, on one workspace. That names are unique among
 * live environments is the database's index; here its violation only gets its words.
 */
#include "environment.h"

static int
not_found(const char *id, struct err *e)
{
	return err_coded(e, EC_ENVIRONMENT_NOT_FOUND, "Environment %.64s not found.", id);
}

static int
name_taken(const char *name, struct err *e)
{
	if (e->kind == EK_CONFLICT)
		err_set(e, EK_CONFLICT, 0, "An environment named \"%.256s\" already exists.", name);
	return err_wrap(e, "write environment");
}

void
environment_row(const PGresult *res, int row, struct environment_row *out)
{
	*out = (struct environment_row){ .id = pg_str(res, row, 0), .body = pg_str(res, row, 1), .created = pg_str(res, row, 2),
	    .updated = pg_str(res, row, 3), .archived = pg_str(res, row, 4) };
}

int
environment_create(struct db *db, const char *workspace, const char *organization, const char *id, const char *name, const char *body,
    PGresult **res, struct environment_row *out, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_ENVIRONMENT_INSERT, &r, e, workspace, organization, id, name, body) < 0)
		return name_taken(name, e);
	if (PQntuples(r) == 0)
		return err_set(e, EK_FORBIDDEN, 0, "This organization is suspended");
	environment_row(r, 0, out);
	*res = steal(r);
	return 0;
}

int
environment_get(struct db *db, const char *workspace, const char *id, PGresult **res, struct environment_row *out, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_ENVIRONMENT_GET, &r, e, workspace, id) < 0)
		return err_wrap(e, "get environment %s", id);
	if (PQntuples(r) == 0)
		return not_found(id, e);
	environment_row(r, 0, out);
	*res = steal(r);
	return 0;
}

int
environment_lock(struct db *db, const char *workspace, const char *const *ids, PGresult **res, struct object_locked *out, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_ENVIRONMENT_LOCK, &r, e, workspace, ids[0]) < 0)
		return err_wrap(e, "lock environment %s", ids[0]);
	if (PQntuples(r) == 0)
		return not_found(ids[0], e);
	*out = (struct object_locked){ .body = pg_str(r, 0, 0), .archived = pg_bool(r, 0, 1), .organization_state = pg_str(r, 0, 2) };
	*res = steal(r);
	return 0;
}

int
environment_put(struct db *db, const char *workspace, const char *id, const char *name, const char *body, struct err *e)
{
	return DB_RUN(db, STMT_ENVIRONMENT_PUT, NULL, e, workspace, id, name, body) < 0 ? name_taken(name, e) : 0;
}

int
environment_archive(struct db *db, const char *workspace, const char *id, struct err *e)
{
	return DB_RUN(db, STMT_ENVIRONMENT_ARCHIVE, NULL, e, workspace, id) < 0 ? err_wrap(e, "archive environment %s", id) : 0;
}

int
environment_busy(struct db *db, const char *workspace, const char *id, int64_t *out, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;

	if (DB_RUN(db, STMT_ENVIRONMENT_BUSY, &res, e, workspace, id) < 0)
		return err_wrap(e, "count sessions of environment %s", id);
	*out = pg_int(res, 0, 0);
	return 0;
}

int
environment_delete(struct db *db, const char *workspace, const char *id, struct err *e)
{
	return DB_RUN(db, STMT_ENVIRONMENT_DELETE, NULL, e, workspace, id) < 0 ? err_wrap(e, "delete environment %s", id) : 0;
}

int
environment_list(struct db *db, const char *workspace, const char *after, bool archived, int64_t limit, int64_t bytes, PGresult **res,
    int64_t *found, struct err *e)
{
	if (DB_RUN(db, STMT_ENVIRONMENT_LIST, res, e, workspace, after, archived ? "t" : "f", DBN(limit), DBN(bytes)) < 0)
		return err_wrap(e, "list environments");
	*found = PQntuples(*res) ? pg_int(*res, 0, 5) : 0;
	return 0;
}
