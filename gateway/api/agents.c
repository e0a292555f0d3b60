/*
 * agents: create, read, update, archive and list agents (contract 2.1). A version is immutable: an update that changes something writes
 * the next one under the agent's row lock, one that changes nothing returns what is there.
 */
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "agentcfg.h"
#include "api.h"
#include "create.h"
#include "jx.h"
#include "page.h"

static void
encode(struct buf *b, const struct agent_row *a)
{
	buf_printf(b, "{\"type\":\"agent\",\"id\":\"%s\",\"version\":%d", a->id, a->version);
	page_members(b, a->body);
	page_plain(b, "created_at", a->created);
	page_plain(b, "updated_at", a->updated);
	page_plain(b, "archived_at", a->archived);
	buf_ch(b, '}');
}

static int
reply(struct gw_req *r, const char *id, int version, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct agent_row a;

	if (agent_get(r->db, r->who.workspace_id, id, version, &res, &a, e) < 0)
		return -1;
	encode(&r->out, &a);
	return 0;
}

static int
suspended(struct gw_req *r, struct err *e)
{
	return req_active("suspended", e);
}

int
api_agent_create(struct gw_req *r, struct err *e)
{
	AUTO(json) json_t *cfg = NULL;
	AUTO(str) char *body = NULL;
	struct create *c;
	char id[ID_MAX];

	if (agentcfg_create(r->db, r->body, &cfg, e) < 0)
		return -1;
	body = jx_dump(cfg);
	c = create_new(r, STMT_AGENT_INSERT, 5, suspended);
	c->params[0] = arena_strdup(r->arena, r->who.workspace_id);
	c->params[1] = arena_strdup(r->arena, r->who.organization_id);
	c->params[2] = arena_strdup(r->arena, id_new("agent_", id));
	c->params[3] = arena_strdup(r->arena, jx_str(cfg, "name"));
	c->params[4] = arena_strdup(r->arena, body);
	encode(&r->out, &(const struct agent_row){ .id = id, .version = 1, .body = body, .created = r->id, .updated = r->id });
	return create_run(r, c, e);
}

int
api_agent_get(struct gw_req *r, struct err *e)
{
	return reply(r, r->param[0], (int)query_int(&r->query, "version"), e);
}

/* Under the row lock: the next version, unless nothing changes. */
static int
update_locked(struct gw_req *r, const struct agent_locked *now, struct err *e)
{
	const json_t *expected = json_object_get(r->body, "version");
	AUTO(json) json_t *stored = NULL, *cfg = NULL;
	AUTO(pgres) PGresult *res = NULL;
	AUTO(str) char *body = NULL;
	struct agent_row a;

	if (req_active(now->organization_state, e) < 0)
		return -1;
	if (now->archived)
		return err_set(e, EK_INVALID, 0, "Cannot modify archived agent");
	if (expected && json_integer_value(expected) != now->version)
		return err_set(e, EK_CONFLICT, 0, "Concurrent modification detected. Please fetch the latest version and retry.");
	if (agent_get(r->db, r->who.workspace_id, r->param[0], now->version, &res, &a, e) < 0 ||
	    jx_parse_exact(a.body, strlen(a.body), &stored, e) < 0 || agentcfg_update(r->db, stored, r->body, &cfg, e) < 0)
		return -1;
	if (json_equal(stored, cfg))
		return 0;
	body = jx_dump(cfg);
	return agent_put_version(r->db, r->who.workspace_id, r->param[0], now->version + 1, jx_str(cfg, "name"), body, e);
}

int
api_agent_update(struct gw_req *r, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct agent_locked now;

	if (db_begin(r->db, e) < 0)
		return -1;
	if (agent_lock(r->db, r->who.workspace_id, r->param[0], &res, &now, e) < 0 || update_locked(r, &now, e) < 0) {
		db_rollback(r->db);
		return -1;
	}
	if (db_commit(r->db, e) < 0)
		return -1;
	return reply(r, r->param[0], 0, e);
}

int
api_agent_archive(struct gw_req *r, struct err *e)
{
	if (agent_archive(r->db, r->who.workspace_id, r->param[0], e) < 0)
		return -1;
	return reply(r, r->param[0], 0, e);
}

static int
encode_listed(struct gw_req *r, const PGresult *res, int row, struct cursor *at, struct err *e)
{
	struct agent_row a;

	(void)e;
	agent_row(res, row, &a);
	encode(&r->out, &a);
	snprintf(at->id, sizeof at->id, "%s", a.id);
	at->at = agent_list_created(res, row);
	return 0;
}

int
api_agent_list(struct gw_req *r, struct err *e)
{
	struct agent_filter f = { .created_gte = query_time(&r->query, "created_at[gte]", r->arena),
	    .created_lte = query_time(&r->query, "created_at[lte]", r->arena), .archived = query_bool(&r->query, "include_archived"),
	    .limit = query_int(&r->query, "limit"), .bytes = r->conf->page_bytes_max };
	AUTO(pgres) PGresult *res = NULL;
	struct cursor at, next = { .list = CURSOR_AGENTS };
	int64_t found;
	bool given;

	if (page_cursor(r, CURSOR_AGENTS, false, "", &at, &given, e) < 0)
		return -1;
	f.after = given ? at.id : NULL;
	if (agent_list(r->db, r->who.workspace_id, &f, &res, &found, e) < 0)
		return -1;
	return page_rows(r, res, found, encode_listed, &next, e);
}

static int
encode_version(struct gw_req *r, const PGresult *res, int row, struct cursor *at, struct err *e)
{
	struct agent_row a;

	(void)e;
	agent_row(res, row, &a);
	encode(&r->out, &a);
	at->a = a.version;
	return 0;
}

int
api_agent_versions(struct gw_req *r, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct cursor at, next = { .list = CURSOR_VERSIONS };
	int64_t found;
	bool given;

	if (page_cursor(r, CURSOR_VERSIONS, false, r->param[0], &at, &given, e) < 0)
		return -1;
	if (agent_versions(r->db, r->who.workspace_id, r->param[0], given ? at.a : 0, query_int(&r->query, "limit"),
	    r->conf->page_bytes_max, &res, &found, e) < 0)
		return -1;
	if (PQntuples(res) == 0 && !given)
		return err_set(e, EK_NOT_FOUND, 0, "Agent not found.");
	snprintf(next.scope, sizeof next.scope, "%s", r->param[0]);
	return page_rows(r, res, found, encode_version, &next, e);
}
