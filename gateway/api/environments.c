/*
 * environments: create, read, update, archive, delete and list environments (contract 2.2). An update merges under the row lock. A
 * session that is being created at the same moment as its environment is archived or deleted may still come to be: it keeps its own
 * snapshot of what it needs.
 */
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "change.h"
#include "dedupe.h"
#include "envcfg.h"
#include "environment.h"
#include "jx.h"
#include "page.h"

static void
encode(struct buf *b, const struct environment_row *v)
{
	buf_printf(b, "{\"type\":\"environment\",\"id\":\"%s\",\"state\":\"%s\"", v->id, v->archived ? "archived" : "active");
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
	struct environment_row v;

	if (environment_get(r->db, r->who.workspace_id, r->param[0], &res, &v, e) < 0)
		return -1;
	encode(&r->out, &v);
	return 0;
}

int
api_environment_create(struct gw_req *r, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	AUTO(json) json_t *cfg = NULL;
	AUTO(str) char *body = NULL;
	struct environment_row v;
	char id[ID_MAX];

	if (envcfg_create(r->body, &cfg, e) < 0)
		return -1;
	body = jx_dump(cfg);
	if (environment_create(r->db, r->who.workspace_id, r->who.organization_id, id_new("env_", id), jx_str(cfg, "name"), body, &res, &v,
	    e) < 0)
		return -1;
	encode(&r->out, &v);
	return 0;
}

int
api_environment_get(struct gw_req *r, struct err *e)
{
	return reply(r, e);
}

static int
update_locked(struct gw_req *r, const struct object_locked *now, struct err *e)
{
	AUTO(json) json_t *stored = NULL, *cfg = NULL;
	AUTO(str) char *body = NULL;

	if (now->archived)
		return err_coded(e, EC_ENVIRONMENT_ARCHIVED, "Environment %s is archived.", r->param[0]);
	if (jx_parse(now->body, strlen(now->body), &stored, e) < 0 || envcfg_update(stored, r->body, &cfg, e) < 0)
		return -1;
	if (json_equal(stored, cfg))
		return 0;
	body = jx_dump(cfg);
	return environment_put(r->db, r->who.workspace_id, r->param[0], jx_str(cfg, "name"), body, e);
}

static int
delete_locked(struct gw_req *r, const struct object_locked *now, struct err *e)
{
	int64_t busy = 0;

	if (!query_bool(&r->query, "force") && environment_busy(r->db, r->who.workspace_id, r->param[0], &busy, e) < 0)
		return -1;
	if (busy > 0)
		return err_set(e, EK_CONFLICT, 0, "Environment has %lld active sessions. Use force=true to delete anyway.", (long long)busy);
	return environment_delete(r->db, r->who.workspace_id, r->param[0], e) < 0 ? -1 : dedupe_forget(r->db, r->param[0], e);
}

int
api_environment_update(struct gw_req *r, struct err *e)
{
	return object_change(r, environment_lock, update_locked, e) < 0 ? -1 : reply(r, e);
}

int
api_environment_delete(struct gw_req *r, struct err *e)
{
	if (object_change(r, environment_lock, delete_locked, e) < 0)
		return -1;
	buf_printf(&r->out, "{\"id\":\"%s\",\"type\":\"environment_deleted\"}", r->param[0]);
	return 0;
}

int
api_environment_archive(struct gw_req *r, struct err *e)
{
	if (environment_archive(r->db, r->who.workspace_id, r->param[0], e) < 0)
		return -1;
	return reply(r, e);
}

static int
encode_row(struct gw_req *r, const PGresult *res, int row, struct cursor *at, struct err *e)
{
	struct environment_row v;

	(void)e;
	environment_row(res, row, &v);
	encode(&r->out, &v);
	snprintf(at->id, sizeof at->id, "%s", v.id);
	return 0;
}

int
api_environment_list(struct gw_req *r, struct err *e)
{
	return page_list(r, CURSOR_ENVIRONMENTS, environment_list, encode_row, e);
}
