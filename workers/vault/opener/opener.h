/*
 * opener: one connection to roost-vault. The peer is roost-egress (a probe of a credential) or root (reseal); each.c has looked.
 *
 * Frames of JSON, one answer to each request:
 *   {"op":"release","probe":ID}    {"access_token":text|null,"version":n,"has_refresh":bool,"mcp_server_url":..,"token_endpoint":..,"client_id":..,
 *                                   "endpoint_auth":..,"scope":..,"resource":..}; again after a refresh by somebody else
 *   {"op":"refresh"}               {"state":"go","refresh_token":..,"client_secret":text|null} or {"state":"busy"|"changed"|"none"|"gone"}
 *   {"op":"store","access_token":..,"refresh_token":text|null,"expires_in":n|null}    {"state":"stored"|"changed"|"gone"}
 *   {"op":"end"}                   {}: the refresh came to nothing
 *   {"op":"reseal"}                {"resealed":n,"failed":n}; root only
 * or {"error":kind}. What may be released is decided by the database (sql/functions/credential_use.sql), which audits it before it is opened.
 */
#ifndef ROOST_VAULT_OPENER_H
#define ROOST_VAULT_OPENER_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "conf.h"
#include "credopen.h"
#include "db.h"
#include "err.h"
#include "id.h"
#include "jx.h"

/* How long a refresh is one caller's: longer than a probe may live (roost-egress ends it at probe_s + 10). */
#define OPENER_LEASE_MS(conf) (((conf)->probe_s + 10) * 1000)

struct opener {
	const struct conf *conf;
	struct credkeys *keys;
	struct db *db;
	bool root;			/* the peer is */
	char probe[ID_MAX];		/* "" before a release */
	char owner[ID_MAX];		/* of a lease: this connection */
	PGresult *row;			/* what was released last; the binding points into it */
	struct cred_bind bind;		/* without slot and version */
	int64_t seen, used;		/* versions of the access token that was given out, and of the refresh token */
	bool leased;
};

/* release.c: the answers. out is empty before. */
int opener_release(struct opener *o, const json_t *ask, struct buf *out, struct err *e);
int opener_refresh(struct opener *o, struct buf *out, struct err *e);
int opener_store(struct opener *o, const json_t *ask, struct buf *out, struct err *e);
int opener_end(struct opener *o, struct err *e);

/* reseal.c: everything that an older key opens is sealed for the current one. */
int opener_reseal(struct opener *o, struct buf *out, struct err *e);

#endif
