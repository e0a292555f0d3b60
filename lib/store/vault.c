/*
 * vault: binds and decodes the statements on vaults. One statement per call, on one workspace; what an archive takes along is one function
 * of the database.
 */
#include "vault.h"

static int
not_found(const char *id, struct err *e)
{
	return err_set(e, EK_NOT_FOUND, 0, "Vault %.64s not found.", id);
}

void
vault_row(const PGresult *res, int row, struct vault_row *out)
{
	*out = (struct vault_row){ .id = pg_str(res, row, 0), .body = pg_str(res, row, 1), .created = pg_str(res, row, 2),
	    .updated = pg_str(res, row, 3), .archived = pg_str(res, row, 4) };
}

int
vault_create(struct db *db, const char *workspace, const char *organization, const char *id, const char *body, PGresult **res,
    struct vault_row *out, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_VAULT_INSERT, &r, e, workspace, organization, id, body) < 0)
		return err_wrap(e, "create vault");
	if (PQntuples(r) == 0)
		return err_set(e, EK_FORBIDDEN, 0, "This organization is suspended");
	vault_row(r, 0, out);
	*res = steal(r);
	return 0;
}

int
vault_get(struct db *db, const char *workspace, const char *id, PGresult **res, struct vault_row *out, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_VAULT_GET, &r, e, workspace, id) < 0)
		return err_wrap(e, "get vault %s", id);
	if (PQntuples(r) == 0)
		return not_found(id, e);
	vault_row(r, 0, out);
	*res = steal(r);
	return 0;
}

int
vault_lock(struct db *db, const char *workspace, const char *const *ids, PGresult **res, struct object_locked *out, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_VAULT_LOCK, &r, e, workspace, ids[0]) < 0)
		return err_wrap(e, "lock vault %s", ids[0]);
	if (PQntuples(r) == 0)
		return not_found(ids[0], e);
	*out = (struct object_locked){ .body = pg_str(r, 0, 0), .archived = pg_bool(r, 0, 1), .organization_state = pg_str(r, 0, 2) };
	*res = steal(r);
	return 0;
}

int
vault_put(struct db *db, const char *workspace, const char *id, const char *body, struct err *e)
{
	return DB_RUN(db, STMT_VAULT_PUT, NULL, e, workspace, id, body) < 0 ? err_wrap(e, "write vault %s", id) : 0;
}

int
vault_archive(struct db *db, const char *workspace, const char *id, struct err *e)
{
	return DB_RUN(db, STMT_VAULT_ARCHIVE, NULL, e, workspace, id) < 0 ? err_wrap(e, "archive vault %s", id) : 0;
}

int
vault_delete(struct db *db, const char *workspace, const char *id, struct err *e)
{
	if (DB_RUN(db, STMT_VAULT_FORGET, NULL, e, workspace, id) < 0 || DB_RUN(db, STMT_VAULT_DELETE, NULL, e, workspace, id) < 0)
		return err_wrap(e, "delete vault %s", id);
	return 0;
}

int
vault_list(struct db *db, const char *workspace, const char *after, bool archived, int64_t limit, int64_t bytes, PGresult **res,
    int64_t *found, struct err *e)
{
	if (DB_RUN(db, STMT_VAULT_LIST, res, e, workspace, after, archived ? "t" : "f", DBN(limit), DBN(bytes)) < 0)
		return err_wrap(e, "list vaults");
	*found = PQntuples(*res) ? pg_int(*res, 0, 5) : 0;
	return 0;
}
