/*
 * credentials: create, read, update, archive, delete, list and validate the credentials of a vault (contract 2.4, 7). Secrets come in, are sealed at
 * once, and are not seen again: not in a reply, an error or a log line, not in what is kept of answered requests (a keyed hash of the body
 * is), not in the database. The request's own memory is wiped when it is given back (serve.c).
 *
 * An update seals for the next version under the credential's lock. A crash leaves either the old secret or the new one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "change.h"
#include "clock.h"
#include "credcfg.h"
#include "credential.h"
#include "dedupe.h"
#include "jw.h"
#include "jx.h"
#include "page.h"
#include "probe.h"
#include "shape.h"
#include "vault.h"

/* --- encode ------------------------------------------------------------------------------------------------------------------------ */

static void
typed(struct jw *w, const char *key, const char *type)
{
	jw_key(w, key);
	jw_obj(w);
	jw_kstr(w, "type", type);
}

/* Unset members are absent, not null (contract 2.4). */
static void
optional(struct jw *w, const char *key, const char *value)
{
	if (value)
		jw_kstr(w, key, value);
}

static void
encode_server(struct jw *w, const struct credential_row *c)
{
	const struct credential_auth *a = &c->auth;

	jw_kstr(w, "mcp_server_url", a->mcp_server_url);
	optional(w, "expires_at", c->expires);
	if (!a->token_endpoint)
		return;
	jw_key(w, "refresh");
	jw_obj(w);
	jw_kstr(w, "token_endpoint", a->token_endpoint);
	jw_kstr(w, "client_id", a->client_id);
	optional(w, "scope", a->refresh_scope);
	optional(w, "resource", a->refresh_resource);
	typed(w, "token_endpoint_auth", a->endpoint_auth);
	jw_obj_end(w);
	jw_obj_end(w);
}

static void
encode_variable(struct jw *w, const struct credential_auth *a)
{
	jw_kstr(w, "secret_name", a->secret_name);
	typed(w, "networking", a->allowed_hosts ? "limited" : "unrestricted");
	if (a->allowed_hosts)
		jw_kraw(w, "allowed_hosts", a->allowed_hosts);
	jw_obj_end(w);
	jw_key(w, "injection_location");
	jw_obj(w);
	jw_kbool(w, "header", a->inject_header);
	jw_kbool(w, "body", a->inject_body);
	jw_obj_end(w);
}

static void
encode(struct buf *b, const struct credential_row *c)
{
	struct jw w;

	buf_printf(b, "{\"type\":\"vault_credential\",\"id\":\"%s\",\"vault_id\":\"%s\",\"auth\":", c->id, c->vault_id);
	jw_begin(&w, b);
	jw_obj(&w);
	jw_kstr(&w, "type", c->auth.type);
	if (c->auth.secret_name)
		encode_variable(&w, &c->auth);
	else
		encode_server(&w, c);
	jw_obj_end(&w);
	jw_end(&w);
	page_members(b, c->body);
	page_plain(b, "created_at", c->created);
	page_plain(b, "updated_at", c->updated);
	page_plain(b, "archived_at", c->archived);
	buf_ch(b, '}');
}

static int
reply(struct gw_req *r, const char *id, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct credential_row c;

	if (credential_get(r->db, r->who.workspace_id, r->param[0], id, &res, &c, e) < 0)
		return -1;
	encode(&r->out, &c);
	return 0;
}

/* --- create, update, archive, delete ------------------------------------------------------------------------------------------------ */

/* Seal what a request brought, for this credential and version. */
static int
seal(struct gw_req *r, const char *id, const struct credcfg *cfg, int64_t version, struct credential_boxes *out, struct err *e)
{
	struct cred_bind bind = { .organization = r->who.organization_id, .vault = r->param[0], .credential = id, .type = cfg->auth.type,
	    .version = version, .secret_name = cfg->auth.secret_name, .mcp_server_url = cfg->auth.mcp_server_url,
	    .token_endpoint = cfg->auth.token_endpoint, .client_id = cfg->auth.client_id };
	struct credseal_pub pub;

	if (cfg->n > 0 && credseal_pub_load(r->conf->vault_pub_file, &pub, e) < 0)
		return err_wrap(e, "nothing can be sealed");
	for (int i = 0; i < cfg->n; i++) {
		const char *s = cfg->secret[i].secret;

		bind.slot = out->slot[i] = cfg->secret[i].slot;
		if (credseal_secret(&pub, &bind, s, strlen(s), &out->sealed[i], out->key_id[i], e) < 0)
			return err_wrap(e, "seal %s of %s", bind.slot, id);
		out->n = i + 1;
	}
	return 0;
}

int
api_credential_create(struct gw_req *r, struct err *e)
{
	AUTO(boxes) struct credential_boxes boxes = { .n = 0 };
	AUTO(json) json_t *shown = json_pack("{sn s{}}", "display_name", "metadata");
	AUTO(str) char *body = NULL;
	struct credcfg cfg;
	char id[ID_MAX];

	id_new("vcrd_", id);
	if (credcfg_create(json_object_get(r->body, "auth"), clock_wall_us(), r->arena, &cfg, e) < 0 ||
	    seal(r, id, &cfg, 1, &boxes, e) < 0)
		return -1;
	shape_update(&shape_credential_create, shown, r->body);
	body = jx_dump(shown);
	if (db_begin(r->db, e) < 0)
		return -1;
	if (credential_create(r->db, r->who.workspace_id, r->param[0], id, &cfg.auth, cfg.match_key, body, &boxes, e) < 0 ||
	    reply(r, id, e) < 0) {
		db_rollback(r->db);
		return -1;
	}
	return db_commit(r->db, e);
}

static int
update_locked(struct gw_req *r, const struct object_locked *locked, struct err *e)
{
	const char *id = r->param[1];
	AUTO(pgres) PGresult *res = NULL;
	AUTO(boxes) struct credential_boxes boxes = { .n = 0 };
	AUTO(json) json_t *stored = NULL, *shown = NULL;
	AUTO(str) char *body = NULL;
	struct credential_row now;
	struct credcfg cfg;

	if (credential_get(r->db, r->who.workspace_id, r->param[0], id, &res, &now, e) < 0)
		return -1;
	if (now.archived)
		return err_set(e, EK_INVALID, 0, "Credential is archived.");
	if (credcfg_update(&now.auth, json_object_get(r->body, "auth"), clock_wall_us(), r->arena, &cfg, e) < 0 ||
	    jx_parse(now.body, strlen(now.body), &stored, e) < 0)
		return -1;
	shown = json_copy(stored);
	shape_update(&shape_credential_update, shown, r->body);
	if (shape_pairs(json_object_get(shown, "metadata"), e) < 0)
		return -1;
	if (cfg.n == 0 && json_equal(stored, shown) && !credcfg_differs(&now.auth, &cfg.auth))
		return 0;
	if (seal(r, id, &cfg, now.secret_version + 1, &boxes, e) < 0)
		return -1;
	body = jx_dump(shown);
	return credential_put(r->db, r->who.workspace_id, r->param[0], id, &cfg.auth, body, now.secret_version + (cfg.n > 0), &boxes, e);
}

static int
archive_locked(struct gw_req *r, const struct object_locked *locked, struct err *e)
{
	return credential_archive(r->db, r->who.workspace_id, r->param[0], r->param[1], e);
}

static int
delete_locked(struct gw_req *r, const struct object_locked *locked, struct err *e)
{
	return credential_delete(r->db, r->who.workspace_id, r->param[0], r->param[1], e) < 0 ? -1 : dedupe_forget(r->db, r->param[1], e);
}

int
api_credential_update(struct gw_req *r, struct err *e)
{
	return object_change(r, credential_lock, update_locked, e) < 0 ? -1 : reply(r, r->param[1], e);
}

int
api_credential_archive(struct gw_req *r, struct err *e)
{
	return object_change(r, credential_lock, archive_locked, e) < 0 ? -1 : reply(r, r->param[1], e);
}

int
api_credential_delete(struct gw_req *r, struct err *e)
{
	if (object_change(r, credential_lock, delete_locked, e) < 0)
		return -1;
	buf_printf(&r->out, "{\"id\":\"%s\",\"type\":\"vault_credential_deleted\"}", r->param[1]);
	return 0;
}

/* --- validate ----------------------------------------------------------------------------------------------------------------------- */

int
api_credential_validate(struct gw_req *r, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct credential_row c;

	if (credential_get(r->db, r->who.workspace_id, r->param[0], r->param[1], &res, &c, e) < 0)
		return -1;
	if (c.archived)
		return err_set(e, EK_INVALID, 0, "Credential is archived.");
	if (strcmp(c.auth.type, "mcp_oauth") != 0)
		return err_set(e, EK_INVALID, 0, "Only mcp_oauth credentials can be validated; this one is of type %s.", c.auth.type);
	return probe_begin(r, c.vault_id, c.id, e);
}

/* --- read --------------------------------------------------------------------------------------------------------------------------- */

int
api_credential_get(struct gw_req *r, struct err *e)
{
	return reply(r, r->param[1], e);
}

static int
vault_there(struct gw_req *r, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct vault_row v;

	return vault_get(r->db, r->who.workspace_id, r->param[0], &res, &v, e);
}

static int
encode_row(struct gw_req *r, const PGresult *res, int row, struct cursor *at, struct err *e)
{
	struct credential_row c;

	(void)e;
	credential_row(res, row, &c);
	encode(&r->out, &c);
	snprintf(at->id, sizeof at->id, "%s", c.id);
	return 0;
}

int
api_credential_list(struct gw_req *r, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct cursor at, next = { .list = CURSOR_CREDENTIALS };
	int64_t found;
	bool given;

	if (page_cursor(r, CURSOR_CREDENTIALS, false, r->param[0], &at, &given, e) < 0 ||
	    credential_list(r->db, r->who.workspace_id, r->param[0], given ? at.id : NULL, query_bool(&r->query, "include_archived"),
	    query_int(&r->query, "limit"), r->conf->page_bytes_max, &res, &found, e) < 0)
		return -1;
	if (PQntuples(res) == 0 && vault_there(r, e) < 0)
		return -1;
	snprintf(next.scope, sizeof next.scope, "%s", r->param[0]);
	return page_rows(r, res, found, encode_row, &next, e);
}
