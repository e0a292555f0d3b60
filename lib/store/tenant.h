/* tenant: API keys and the workspace and organization they speak for. */
#ifndef ROOST_STORE_TENANT_H
#define ROOST_STORE_TENANT_H

#include <stdbool.h>
#include <stdint.h>

#include "apikey.h"
#include "db.h"
#include "err.h"
#include "id.h"

/* A live key. */
struct tenant_key {
	char key_id[ID_MAX];
	char organization_id[ID_MAX];
	char workspace_id[ID_MAX];	/* "" for an admin key */
	bool admin;
	bool suspended;			/* the organization is: it may read, not write */
};

/*
 * Find a key by its public part. *out_found false: unknown, revoked, expired, or of an archived workspace. hash receives what the row
 * holds (compare with apikey_hash_equal), *out_left_ms the time until it expires (INT64_MAX: never).
 */
int tenant_key_get(struct db *db, const char *public_id, struct tenant_key *out, char hash[APIKEY_HEX], int64_t *out_left_ms,
    bool *out_found, struct err *e);

#endif
