/*
 * resources: files attached to a session (contract 2.3): list, retrieve, add, delete; an update is for repositories, which a session cannot
 * have yet. Adding makes the session's own copy of the file; deleting removes it. The sandbox follows when the session next works: its
 * worker names all files whenever it asks for the sandbox, so nothing has to be told here, and a crash leaves nothing half-done.
 */
#include "resources.h"

#include <stdio.h>
#include <string.h>

#include "api.h"
#include "cursor.h"
#include "file.h"
#include "jx.h"
#include "mountpath.h"
#include "page.h"
#include "resource.h"
#include "session.h"
#include "toolset.h"

int
resources_check(const json_t *resources, const json_t *agent, struct err *e)
{
	if (json_array_size(resources) > 0 && !toolset_usable(json_object_get(agent, "tools"), "read"))
		return err_set(e, EK_INVALID, 0, "Missing required tool: file resources require the read tool to be usable (enabled and "
		    "not always_deny) on the session's `agent_toolset`");
	return 0;
}

int
resources_attach(struct gw_req *r, const char *session, const json_t *resources, PGresult **res, const char **out_shown, struct err *e)
{
	size_t n = json_array_size(resources), i;
	struct resource_new *files = arena_alloc(r->arena, n * sizeof *files);
	char path[MOUNT_PATH_MAX];
	json_t *v;

	json_array_foreach(resources, i, v) {
		files[i].file_id = jx_str(v, "file_id");
		if (!id_ok("file_", files[i].file_id))
			return file_absent(files[i].file_id, e);
		if (mount_path(jx_str(v, "mount_path"), files[i].file_id, path, e) < 0)
			return -1;
		files[i].mount_path = arena_strdup(r->arena, path);
	}
	return resource_add(r->db, r->who.workspace_id, session, files, (int)n, res, out_shown, e);
}

/* Lock the session: may its resources be changed? */
static int
lock(struct gw_req *r, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct session_locked now;

	if (session_lock(r->db, r->who.workspace_id, r->param[0], &res, &now, e) < 0 || req_active(now.organization_state, e) < 0)
		return -1;
	if (now.archived || strcmp(now.status, "terminated") == 0)
		return err_set(e, EK_INVALID, 0, "Session %s is %s and its resources cannot be changed.", r->param[0],
		    now.archived ? "archived" : "terminated");
	return 0;
}

/* Has its agent what a file needs? */
static int
may_attach(struct gw_req *r, const json_t *resources, struct err *e)
{
	AUTO(pgres) PGresult *names = NULL;
	AUTO(json) json_t *agent = NULL;
	const char *thread, *text;

	if (session_names(r->db, r->who.workspace_id, r->param[0], &names, &thread, &text, e) < 0 ||
	    jx_parse_exact(text, strlen(text), &agent, e) < 0)
		return -1;
	return resources_check(resources, agent, e);
}

/* The newest is the last of the list. */
static int
reply_last(struct gw_req *r, const char *shown, struct err *e)
{
	AUTO(json) json_t *list = NULL;
	AUTO(str) char *text = NULL;

	if (jx_parse_exact(shown, strlen(shown), &list, e) < 0)
		return -1;
	text = jx_dump(json_array_get(list, json_array_size(list) - 1));
	buf_str(&r->out, text);
	return 0;
}

int
api_resource_add(struct gw_req *r, struct err *e)
{
	AUTO(json) json_t *resources = json_pack("[O]", r->body);
	AUTO(pgres) PGresult *res = NULL;
	const char *shown = "";		/* for the analyzer, which does not see that file_absent() always fails */

	if (db_begin(r->db, e) < 0)
		return -1;
	if (lock(r, e) < 0 || may_attach(r, resources, e) < 0 || resources_attach(r, r->param[0], resources, &res, &shown, e) < 0 ||
	    reply_last(r, shown, e) < 0) {
		db_rollback(r->db);
		return -1;
	}
	return db_commit(r->db, e);
}

int
api_resource_list(struct gw_req *r, struct err *e)
{
	struct cursor at, next = { .list = CURSOR_RESOURCES };
	AUTO(pgres) PGresult *res = NULL;
	bool given, more;
	int n, i;

	if (page_cursor(r, CURSOR_RESOURCES, false, r->param[0], &at, &given, e) < 0 ||
	    resource_list(r->db, r->who.workspace_id, r->param[0], given ? (int)at.a : 0, (int)query_int(&r->query, "limit"), &res, &n,
	    &more, e) < 0 || (n == 0 && session_exists(r->db, r->who.workspace_id, r->param[0], NULL, e) < 0))
		return -1;
	page_begin(&r->out);
	for (i = 0; i < n; i++) {
		page_next(&r->out, i);
		buf_str(&r->out, resource_text(res, i));
	}
	if (more) {
		snprintf(next.scope, sizeof next.scope, "%s", r->param[0]);
		next.a = resource_ordinal(res, n - 1);
	}
	page_end(r, more ? &next : NULL, false, NULL);
	return 0;
}

int
api_resource_get(struct gw_req *r, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	const char *text;

	if (resource_get(r->db, r->who.workspace_id, r->param[0], r->param[1], &res, &text, e) < 0)
		return -1;
	buf_str(&r->out, text);
	return 0;
}

int
api_resource_update(struct gw_req *r, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	const char *text;

	if (resource_get(r->db, r->who.workspace_id, r->param[0], r->param[1], &res, &text, e) < 0)
		return -1;
	return err_set(e, EK_INVALID, 0, "Only github_repository resources can be updated.");
}

int
api_resource_delete(struct gw_req *r, struct err *e)
{
	if (db_begin(r->db, e) < 0)
		return -1;
	if (lock(r, e) < 0 || resource_delete(r->db, r->who.workspace_id, r->param[0], r->param[1], e) < 0) {
		db_rollback(r->db);
		return -1;
	}
	buf_printf(&r->out, "{\"id\":\"%s\",\"type\":\"session_resource_deleted\"}", r->param[1]);
	return db_commit(r->db, e);
}
