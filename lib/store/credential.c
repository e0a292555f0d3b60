/*
 * credential: binds and decodes the statements on credentials. What has to be decided under a lock (the vault's state, its limit, who has
 * the key) is one function of the database; here its answers only get their words. Boxes are passed on as they are.
 */
#include "credential.h"

#include <stdlib.h>
#include <string.h>

#include "vault.h"
#include "xalloc.h"

void
credential_boxes_free(struct credential_boxes *b)
{
	for (int i = 0; i < b->n; i++)
		free(b->sealed[i]);
	b->n = 0;
}

void
credential_row(const PGresult *res, int row, struct credential_row *out)
{
	*out = (struct credential_row){ .id = pg_str(res, row, 0), .vault_id = pg_str(res, row, 1), .body = pg_str(res, row, 3),
	    .created = pg_str(res, row, 4), .updated = pg_str(res, row, 5), .archived = pg_str(res, row, 6), .expires = pg_str(res, row, 9),
	    .auth = { .type = pg_str(res, row, 2), .mcp_server_url = pg_str(res, row, 7), .expires_us = pg_str(res, row, 8),
	    .token_endpoint = pg_str(res, row, 10), .client_id = pg_str(res, row, 11), .endpoint_auth = pg_str(res, row, 12),
	    .refresh_scope = pg_str(res, row, 13), .refresh_resource = pg_str(res, row, 14), .secret_name = pg_str(res, row, 15),
	    .allowed_hosts = pg_str(res, row, 16), .inject_header = pg_bool(res, row, 17), .inject_body = pg_bool(res, row, 18) },
	    .secret_version = pg_int(res, row, 19) };
}

/* Parallel arrays for a statement: slots, key ids, boxes. The caller frees them. */
static void
arrays(const struct credential_boxes *b, char *out[3])
{
	const char *keys[CREDENTIAL_BOXES];

	for (int i = 0; i < b->n; i++)
		keys[i] = b->key_id[i];
	out[0] = pg_array(b->slot, b->n);
	out[1] = pg_array(keys, b->n);
	out[2] = pg_array((const char *const *)b->sealed, b->n);
}

static void
arrays_free(char *a[3])
{
	for (int i = 0; i < 3; i++)
		free(a[i]);
}

/* NULL where the type has no such switch. */
static const char *
flag(const struct credential_auth *a, bool on)
{
	return !a->secret_name ? NULL : on ? "t" : "f";
}

static int
refused(const char *result, const char *vault, const struct credential_auth *auth, struct err *e)
{
	if (strcmp(result, "gone") == 0)
		return err_set(e, EK_NOT_FOUND, 0, "Vault %.64s not found.", vault);
	if (strcmp(result, "suspended") == 0)
		return err_set(e, EK_FORBIDDEN, 0, "This organization is suspended");
	if (strcmp(result, "archived") == 0)
		return err_set(e, EK_INVALID, 0, "Vault is archived.");
	if (strcmp(result, "taken") == 0)
		return err_set(e, EK_CONFLICT, 0, auth->secret_name ? "A credential already exists for this secret name." :
		    "A credential already exists for this MCP server URL.");
	return err_set(e, EK_INVALID, 0, "A vault can have at most %d active credentials.", CREDENTIALS_MAX);
}

int
credential_create(struct db *db, const char *workspace, const char *vault, const char *id, const struct credential_auth *auth,
    const char *match_key, const char *body, const struct credential_boxes *boxes, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;
	char *a[3];
	int rc;

	arrays(boxes, a);
	rc = DB_RUN(db, STMT_CREDENTIAL_INSERT, &r, e, workspace, vault, id, auth->type, match_key, body, auth->mcp_server_url,
	    auth->expires_us, auth->token_endpoint, auth->client_id, auth->endpoint_auth, auth->refresh_scope, auth->refresh_resource,
	    auth->secret_name, auth->allowed_hosts, flag(auth, auth->inject_header), flag(auth, auth->inject_body), a[0], a[1], a[2],
	    DBN(CREDENTIALS_MAX));
	arrays_free(a);
	if (rc < 0)
		return err_wrap(e, "create credential in %s", vault);
	return strcmp(pg_str(r, 0, 0), "ok") == 0 ? 0 : refused(pg_str(r, 0, 0), vault, auth, e);
}

static int
not_found(struct db *db, const char *workspace, const char *vault, const char *id, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;
	struct vault_row v;

	if (vault_get(db, workspace, vault, &r, &v, e) < 0)
		return -1;
	return err_set(e, EK_NOT_FOUND, 0, "Credential %.64s not found.", id);
}

int
credential_get(struct db *db, const char *workspace, const char *vault, const char *id, PGresult **res, struct credential_row *out,
    struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_CREDENTIAL_GET, &r, e, workspace, vault, id) < 0)
		return err_wrap(e, "get credential %s", id);
	if (PQntuples(r) == 0)
		return not_found(db, workspace, vault, id, e);
	credential_row(r, 0, out);
	*res = steal(r);
	return 0;
}

int
credential_lock(struct db *db, const char *workspace, const char *const *ids, PGresult **res, struct object_locked *out, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;

	if (DB_RUN(db, STMT_CREDENTIAL_LOCK, &r, e, workspace, ids[0], ids[1]) < 0)
		return err_wrap(e, "lock credential %s", ids[1]);
	if (!pg_str(r, 0, 0))
		return not_found(db, workspace, ids[0], ids[1], e);
	*out = (struct object_locked){ .organization_state = pg_str(r, 0, 0) };
	*res = steal(r);
	return 0;
}

int
credential_put(struct db *db, const char *workspace, const char *vault, const char *id, const struct credential_auth *auth,
    const char *body, int64_t version, const struct credential_boxes *boxes, struct err *e)
{
	AUTO(pgres) PGresult *r = NULL;
	char *a[3];
	int rc;

	arrays(boxes, a);
	rc = DB_RUN(db, STMT_CREDENTIAL_PUT, &r, e, workspace, vault, id, DBN(version), body, auth->expires_us, auth->refresh_scope,
	    auth->allowed_hosts, flag(auth, auth->inject_header), flag(auth, auth->inject_body), a[0], a[1], a[2]);
	arrays_free(a);
	if (rc < 0)
		return err_wrap(e, "write credential %s", id);
	return pg_bool(r, 0, 0) ? 0 : err_fault(e, EK_INTERNAL, 0, "credential %s is not what was locked", id);
}

int
credential_archive(struct db *db, const char *workspace, const char *vault, const char *id, struct err *e)
{
	return DB_RUN(db, STMT_CREDENTIAL_ARCHIVE, NULL, e, workspace, vault, id) < 0 ? err_wrap(e, "archive credential %s", id) : 0;
}

int
credential_delete(struct db *db, const char *workspace, const char *vault, const char *id, struct err *e)
{
	return DB_RUN(db, STMT_CREDENTIAL_DELETE, NULL, e, workspace, vault, id) < 0 ? err_wrap(e, "delete credential %s", id) : 0;
}

int
credential_list(struct db *db, const char *workspace, const char *vault, const char *after, bool archived, int64_t limit, int64_t bytes,
    PGresult **res, int64_t *found, struct err *e)
{
	if (DB_RUN(db, STMT_CREDENTIAL_LIST, res, e, workspace, vault, after, archived ? "t" : "f", DBN(limit), DBN(bytes)) < 0)
		return err_wrap(e, "list credentials of %s", vault);
	*found = PQntuples(*res) ? pg_int(*res, 0, 20) : 0;
	return 0;
}
