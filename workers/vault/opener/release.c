/*
 * release: gives out what a probe needs and takes back what a refresh brought. See opener.h.
 *
 * The database decides and audits first; then the box is opened against the row it came with, so that a box that was moved between rows
 * opens for nobody. Opened text is wiped as soon as it stands in the answer; the answer lives as long as this process does, which is one
 * connection.
 *
 * A crash before `store` has committed loses a refresh token that the server has already replaced: nothing can prevent that, the
 * customer authorizes again. Its lease runs out by itself.
 */
#include "opener.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "jw.h"

enum { C_ORGANIZATION, C_VAULT, C_CREDENTIAL, C_TYPE, C_URL, C_ENDPOINT, C_CLIENT, C_AUTH, C_SCOPE, C_RESOURCE, C_HAS_REFRESH, C_VERSION, C_SEALED };

#define STORE_TRIES 5	/* how often the credential's version may move under a store */

/* The member `name`: the opened box, null when there is none. */
static int
put_secret(struct opener *o, struct jw *w, const char *name, const char *slot, int64_t version, const char *sealed, struct err *e)
{
	struct cred_bind b = o->bind;
	char *text = NULL;
	size_t len = 0;

	b.slot = slot;
	b.version = version;
	if (sealed && cred_open_text(o->keys, &b, sealed, &text, &len, e) < 0)
		return -1;
	jw_key(w, name);
	jw_str(w, text);
	sodium_free(text);
	return 0;
}

static void
remember(struct opener *o, PGresult *row)
{
	PQclear(o->row);
	o->row = row;
	o->bind = (struct cred_bind){ .organization = pg_str(row, 0, C_ORGANIZATION), .vault = pg_str(row, 0, C_VAULT),
	    .credential = pg_str(row, 0, C_CREDENTIAL), .type = pg_str(row, 0, C_TYPE), .mcp_server_url = pg_str(row, 0, C_URL),
	    .token_endpoint = pg_str(row, 0, C_ENDPOINT), .client_id = pg_str(row, 0, C_CLIENT) };
	o->seen = pg_int(row, 0, C_VERSION);
}

int
opener_release(struct opener *o, const json_t *ask, struct buf *out, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	const char *probe = jx_str(ask, "probe");
	const PGresult *r;
	struct jw w;

	if (!probe || strlen(probe) >= sizeof o->probe || (o->probe[0] && strcmp(o->probe, probe) != 0))
		return err_set(e, EK_INVALID, 0, "release: no probe, or another than before");
	if (DB_RUN(o->db, STMT_CREDENTIAL_RELEASE, &res, e, probe) < 0)
		return -1;
	if (PQntuples(res) != 1)
		return err_set(e, EK_NOT_FOUND, 0, "probe %s has no credential", probe);
	snprintf(o->probe, sizeof o->probe, "%s", probe);
	remember(o, steal(res));
	r = o->row;
	jw_begin(&w, out);
	jw_obj(&w);
	if (put_secret(o, &w, "access_token", "access_token", o->seen, pg_str(r, 0, C_SEALED), e) < 0)
		return -1;
	jw_kint(&w, "version", o->seen);
	jw_kbool(&w, "has_refresh", pg_bool(r, 0, C_HAS_REFRESH));
	jw_kstr(&w, "mcp_server_url", pg_str(r, 0, C_URL));
	jw_kstr(&w, "token_endpoint", pg_str(r, 0, C_ENDPOINT));
	jw_kstr(&w, "client_id", pg_str(r, 0, C_CLIENT));
	jw_kstr(&w, "endpoint_auth", pg_str(r, 0, C_AUTH));
	jw_kstr(&w, "scope", pg_str(r, 0, C_SCOPE));
	jw_kstr(&w, "resource", pg_str(r, 0, C_RESOURCE));
	jw_obj_end(&w);
	jw_end(&w);
	return 0;
}

int
opener_refresh(struct opener *o, struct buf *out, struct err *e)
{
	enum { STATE, REFRESH_VERSION, REFRESH, CLIENT_VERSION, CLIENT };
	AUTO(pgres) PGresult *r = NULL;
	struct jw w;

	if (!o->row)
		return err_set(e, EK_INVALID, 0, "refresh: nothing was released");
	if (DB_RUN(o->db, STMT_CREDENTIAL_REFRESH_BEGIN, &r, e, o->probe, o->owner, DBN(o->seen), DBN(OPENER_LEASE_MS(o->conf))) < 0)
		return -1;
	o->leased = strcmp(pg_str(r, 0, STATE), "go") == 0;
	o->used = pg_int(r, 0, REFRESH_VERSION);
	jw_begin(&w, out);
	jw_obj(&w);
	jw_kstr(&w, "state", pg_str(r, 0, STATE));
	if (o->leased &&
	    (put_secret(o, &w, "refresh_token", "refresh_token", o->used, pg_str(r, 0, REFRESH), e) < 0 ||
	    put_secret(o, &w, "client_secret", "client_secret", pg_int(r, 0, CLIENT_VERSION), pg_str(r, 0, CLIENT), e) < 0))
		return -1;
	jw_obj_end(&w);
	jw_end(&w);
	return 0;
}

static int
seal(const struct opener *o, const struct credseal_pub *pub, const char *slot, int64_t version, const char *text, char **out,
    struct err *e)
{
	struct cred_bind b = o->bind;
	char id[CREDSEAL_KEY_ID];

	b.slot = slot;
	b.version = version;
	return credseal_secret(pub, &b, text, strlen(text), out, id, e);
}

/* One attempt for a base version. *out_state is moved when another write has come between; *base is then the new one. */
static int
store_for(struct opener *o, const json_t *ask, int64_t *base, char out_state[16], struct err *e)
{
	const json_t *expires = json_object_get(ask, "expires_in");	/* borrowed */
	const char *access = jx_str(ask, "access_token"), *refresh = jx_str(ask, "refresh_token");
	AUTO(pgres) PGresult *r = NULL;
	AUTO(str) char *access_box = NULL;
	AUTO(str) char *refresh_box = NULL;
	struct credseal_pub pub;

	if (credseal_pub_load(o->conf->vault_pub_file, &pub, e) < 0 || seal(o, &pub, "access_token", *base + 1, access, &access_box, e) < 0 ||
	    (refresh && seal(o, &pub, "refresh_token", *base + 2, refresh, &refresh_box, e) < 0))
		return -1;
	if (DB_RUN(o->db, STMT_CREDENTIAL_REFRESH_STORE, &r, e, o->probe, o->owner, DBN(o->seen), DBN(o->used), DBN(*base), pub.id, access_box,
	    refresh_box, json_is_integer(expires) ? DBN(json_integer_value(expires)) : NULL) < 0)
		return -1;
	snprintf(out_state, 16, "%s", pg_str(r, 0, 0));
	*base = pg_int(r, 0, 1);
	return 0;
}

int
opener_store(struct opener *o, const json_t *ask, struct buf *out, struct err *e)
{
	int64_t base = o->seen > o->used ? o->seen : o->used;	/* a first guess: the answer tells when there is another */
	char state[16] = "moved";

	if (!o->leased || !jx_str(ask, "access_token"))
		return err_set(e, EK_INVALID, 0, "store: no refresh is under way, or no token");
	for (int i = 0; i < STORE_TRIES && strcmp(state, "moved") == 0; i++)
		if (store_for(o, ask, &base, state, e) < 0)
			return -1;
	if (strcmp(state, "moved") == 0)
		return err_fault(e, EK_UNAVAILABLE, 0, "credential %s is written all the time", o->bind.credential);
	if (strcmp(state, "stored") == 0)
		o->leased = false;	/* given back in the same transaction */
	else if (opener_end(o, e) < 0)
		return -1;
	buf_printf(out, "{\"state\":\"%s\"}", state);
	return 0;
}

int
opener_end(struct opener *o, struct err *e)
{
	if (!o->leased)
		return 0;
	o->leased = false;
	return DB_RUN(o->db, STMT_CREDENTIAL_REFRESH_END, NULL, e, o->owner);
}
