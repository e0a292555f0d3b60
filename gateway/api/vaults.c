/*
 * vaults: create, read, update, archive, delete and list vaults (contract 2.4, 1.12). A vault is a name with metadata; what it holds is
 * credentials.c's. Archiving and deleting take its credentials along, secrets first of all.
 */
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "change.h"
#include "jx.h"
#include "page.h"
#include "shape.h"
#include "vault.h"

static void
encode(struct buf *b, const struct vault_row *v)
{
	buf_printf(b, "{\"type\":\"vault\",\"id\":\"%s\"", v->id);
	page_members(b, v->body);
	page_plain(b, "created_at", v->created);
	page_plain(b, "updated_at", v->updated);
	page_plain(b, "archived_at", v->archived);
	buf_ch(b, '}');
}

static int
reply(struct gw_req *r, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct vault_row v;

	if (vault_get(r->db, r->who.workspace_id, r->param[0], &res, &v, e) < 0)
		return -1;
	encode(&r->out, &v);
	return 0;
}

int
api_vault_create(struct gw_req *r, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	AUTO(json) json_t *cfg = json_pack("{s{}}", "metadata");
	AUTO(str) char *body = NULL;
	struct vault_row v;
	char id[ID_MAX];

	shape_update(&shape_vault_create, cfg, r->body);
	body = jx_dump(cfg);
	if (vault_create(r->db, r->who.workspace_id, r->who.organization_id, id_new("vlt_", id), body, &res, &v, e) < 0)
		return -1;
	encode(&r->out, &v);
	return 0;
}

int
api_vault_get(struct gw_req *r, struct err *e)
{
	return reply(r, e);
}

static int
update_locked(struct gw_req *r, const struct object_locked *now, struct err *e)
{
	AUTO(json) json_t *stored = NULL, *cfg = NULL;
	AUTO(str) char *body = NULL;

	if (now->archived)
		return err_set(e, EK_INVALID, 0, "Vault is archived.");
	if (jx_parse(now->body, strlen(now->body), &stored, e) < 0)
		return -1;
	cfg = json_copy(stored);
	shape_update(&shape_vault_update, cfg, r->body);
	if (shape_pairs(json_object_get(cfg, "metadata"), e) < 0)
		return -1;
	if (json_equal(stored, cfg))
		return 0;
	body = jx_dump(cfg);
	return vault_put(r->db, r->who.workspace_id, r->param[0], body, e);
}

static int
archive_locked(struct gw_req *r, const struct object_locked *now, struct err *e)
{
	return vault_archive(r->db, r->who.workspace_id, r->param[0], e);
}

static int
delete_locked(struct gw_req *r, const struct object_locked *now, struct err *e)
{
	return vault_delete(r->db, r->who.workspace_id, r->param[0], e);
}

int
api_vault_update(struct gw_req *r, struct err *e)
{
	return object_change(r, vault_lock, update_locked, e) < 0 ? -1 : reply(r, e);
}

int
api_vault_archive(struct gw_req *r, struct err *e)
{
	return object_change(r, vault_lock, archive_locked, e) < 0 ? -1 : reply(r, e);
}

int
api_vault_delete(struct gw_req *r, struct err *e)
{
	if (object_change(r, vault_lock, delete_locked, e) < 0)
		return -1;
	buf_printf(&r->out, "{\"id\":\"%s\",\"type\":\"vault_deleted\"}", r->param[0]);
	return 0;
}

static int
encode_row(struct gw_req *r, const PGresult *res, int row, struct cursor *at, struct err *e)
{
	struct vault_row v;

	(void)e;
	vault_row(res, row, &v);
	encode(&r->out, &v);
	snprintf(at->id, sizeof at->id, "%s", v.id);
	return 0;
}

int
api_vault_list(struct gw_req *r, struct err *e)
{
	return page_list(r, CURSOR_VAULTS, vault_list, encode_row, e);
}
