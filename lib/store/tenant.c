/*
 * tenant: the lookup behind authentication. One indexed read by the key's public part; who is revoked, expired or in an archived
 * workspace is not found. The comparison of secrets is the caller's (constant time), so that this file never sees a whole key.
 * Fails only when the database does.
 */
#include "tenant.h"

#include <stdio.h>
#include <string.h>

int
tenant_key_get(struct db *db, const char *public_id, struct tenant_key *out, char hash[APIKEY_HEX], int64_t *out_left_ms,
    bool *out_found, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;

	if (DB_RUN(db, STMT_TENANT_KEY_GET, &res, e, public_id) < 0)
		return err_wrap(e, "look up API key");
	*out_found = PQntuples(res) == 1;
	if (!*out_found)
		return 0;
	memset(out, 0, sizeof *out);
	snprintf(out->key_id, sizeof out->key_id, "%s", pg_str(res, 0, 0));
	snprintf(out->organization_id, sizeof out->organization_id, "%s", pg_str(res, 0, 1));
	out->admin = pg_str(res, 0, 2) == NULL;
	if (!out->admin)
		snprintf(out->workspace_id, sizeof out->workspace_id, "%s", pg_str(res, 0, 2));
	snprintf(hash, APIKEY_HEX, "%s", pg_str(res, 0, 3));
	*out_left_ms = pg_str(res, 0, 4) ? pg_int(res, 0, 4) : INT64_MAX;
	out->suspended = pg_bool(res, 0, 5);
	return 0;
}
