/*
 * reseal: after a new key was made, secrets that older keys sealed are sealed for it, so that the older ones can be put away. In pages, each
 * secret in a transaction of its own that does nothing when the secret was written anew meanwhile; may be broken off and begun again.
 *
 * What does not open (its key is gone, the row was tampered with) is counted, logged by name and left as it is.
 */
#include "opener.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

#define PAGE "200"

enum { C_ORGANIZATION, C_VAULT, C_CREDENTIAL, C_TYPE, C_SLOT, C_VERSION, C_NAME, C_URL, C_ENDPOINT, C_CLIENT, C_KEY, C_SEALED };

/* 1: done; 0: written anew meanwhile. */
static int
one(struct opener *o, const struct credseal_pub *pub, const PGresult *page, int i, struct err *e)
{
	const struct cred_bind b = { .organization = pg_str(page, i, C_ORGANIZATION), .vault = pg_str(page, i, C_VAULT),
	    .credential = pg_str(page, i, C_CREDENTIAL), .type = pg_str(page, i, C_TYPE), .slot = pg_str(page, i, C_SLOT),
	    .version = pg_int(page, i, C_VERSION), .secret_name = pg_str(page, i, C_NAME), .mcp_server_url = pg_str(page, i, C_URL),
	    .token_endpoint = pg_str(page, i, C_ENDPOINT), .client_id = pg_str(page, i, C_CLIENT) };
	AUTO(pgres) PGresult *r = NULL;
	AUTO(str) char *box = NULL;
	char id[CREDSEAL_KEY_ID], *text = NULL;
	size_t len = 0;
	int rc;

	if (cred_open_text(o->keys, &b, pg_str(page, i, C_SEALED), &text, &len, e) < 0)
		return -1;
	rc = credseal_secret(pub, &b, text, len, &box, id, e);
	sodium_free(text);
	if (rc < 0 || DB_RUN(o->db, STMT_CREDENTIAL_RESEAL, &r, e, b.credential, b.slot, DBN(b.version), pg_str(page, i, C_KEY), id, box) < 0)
		return -1;
	return pg_bool(r, 0, 0) ? 1 : 0;
}

int
opener_reseal(struct opener *o, struct buf *out, struct err *e)
{
	char credential[ID_MAX] = "", slot[32] = "";
	struct credseal_pub pub;
	int64_t done = 0, failed = 0;
	int n;

	if (!o->root)
		return err_set(e, EK_FORBIDDEN, 0, "reseal: root's");
	if (credseal_pub_load(o->conf->vault_pub_file, &pub, e) < 0)
		return -1;
	(void)alarm(0);		/* it may take longer than a probe */
	do {
		AUTO(pgres) PGresult *page = NULL;

		if (DB_RUN(o->db, STMT_CREDENTIAL_OLD, &page, e, pub.id, credential, slot, PAGE) < 0)
			return -1;
		n = PQntuples(page);
		for (int i = 0; i < n; i++) {
			struct err why = ERR_INIT;
			int rc = one(o, &pub, page, i, &why);

			done += rc == 1;
			failed += rc < 0;
			if (rc < 0)
				log_err("reseal", &why, NULL);
			snprintf(credential, sizeof credential, "%s", pg_str(page, i, C_CREDENTIAL));
			snprintf(slot, sizeof slot, "%s", pg_str(page, i, C_SLOT));
		}
	} while (n > 0);
	buf_printf(out, "{\"resealed\":%lld,\"failed\":%lld}", (long long)done, (long long)failed);
	return 0;
}
