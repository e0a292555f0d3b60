/*
 * sessions: retrieve, update, archive, delete (contract 2.3, 1.12). An update changes the row and tells the log through the inbox. Archive
 * and delete are refused while the session works; both end in one database function under the row lock and are published afterwards, so a
 * crash in between costs a live subscriber nothing but the hub's next comparison with the log.
 */
#include <string.h>

#include "after.h"
#include "agentcfg.h"
#include "api.h"
#include "budget.h"
#include "clock.h"
#include "dedupe.h"
#include "draft.h"
#include "fit.h"
#include "inbox.h"
#include "jw.h"
#include "jx.h"
#include "resources.h"
#include "session.h"
#include "sessionenc.h"
#include "shape.h"

static int
reply(struct gw_req *r, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct session_row s;

	if (session_get(r->db, r->who.workspace_id, r->param[0], &res, &s, e) < 0)
		return -1;
	session_encode(&r->out, &s, NULL);
	return 0;
}

int
api_session_get(struct gw_req *r, struct err *e)
{
	return reply(r, e);
}

/* --- update ----------------------------------------------------------------------------------------------------------------- */

static int
updatable(const struct session_locked *now, const char *id, struct err *e)
{
	if (req_active(now->organization_state, e) < 0)
		return -1;
	if (now->archived || strcmp(now->status, "terminated") == 0)
		return err_set(e, EK_INVALID, 0, "Session %s is %s and cannot be updated.", id, now->archived ? "archived" : "terminated");
	return 0;
}

/* The agent snapshot with the body's tools and mcp_servers, as text, or NULL when that changes nothing. The session's row is locked. */
static int
agent_changed(struct gw_req *r, const struct session_locked *now, char **out, struct err *e)
{
	const json_t *change = json_object_get(r->body, "agent");
	AUTO(pgres) PGresult *row = NULL;
	AUTO(json) json_t *before = NULL, *after = NULL, *environment = NULL, *resources = NULL;
	struct session_setup with;

	if (!change || json_object_size(change) == 0)
		return 0;
	if (strcmp(now->wire_status, "idle") != 0)
		return err_set(e, EK_INVALID, 0, "agent: cannot be updated while the session's status is \"%s\"", now->wire_status);
	if (session_setup(r->db, r->who.workspace_id, r->param[0], &row, &with, e) < 0 ||
	    jx_parse_exact(with.agent, strlen(with.agent), &before, e) < 0 ||
	    jx_parse_exact(with.resources, strlen(with.resources), &resources, e) < 0 ||
	    (with.environment && jx_parse_exact(with.environment, strlen(with.environment), &environment, e) < 0))
		return -1;
	after = json_copy(before);
	shape_update(&shape_session_agent_update, after, change);
	if (agentcfg_tools(change, after, e) < 0 || fit_tools(after, environment, e) < 0 || resources_check(resources, after, e) < 0)
		return -1;
	if (!json_equal(before, after))
		*out = jx_dump(after);
	return 0;
}

/* What the body makes of the budget, in cents. A budget that stays needs a model with a price (contract 9.3). */
static int
budget_changed(struct gw_req *r, const struct session_locked *now, int64_t *out_cents, struct err *e)
{
	const json_t *sent = json_object_get(r->body, "budget");
	AUTO(pgres) PGresult *row = NULL;
	AUTO(json) json_t *snapshot = NULL;
	struct session_setup with;

	if (budget_update(sent, now->budget, out_cents, e) < 0)
		return -1;
	if (!sent || !*out_cents)
		return 0;
	if (session_setup(r->db, r->who.workspace_id, r->param[0], &row, &with, e) < 0 ||
	    jx_parse_exact(with.agent, strlen(with.agent), &snapshot, e) < 0)
		return -1;
	return budget_model(r->db, json_object_get(snapshot, "model"), e);
}

/* Write what changed, put session.updated into the inbox, and commit. */
static int
update_locked(struct gw_req *r, const struct session_locked *now, char owner[INBOX_OWNER], bool *out_changed, struct err *e)
{
	AUTO(json) json_t *before = json_pack("{ss?}", "title", now->title), *bag = NULL, *after = NULL;
	struct draft_changes c = { 0 };
	const json_t *title, *metadata;
	AUTO(str) char *text = NULL, *agent = NULL;
	struct inbox_item item;
	int rc;

	if (updatable(now, r->param[0], e) < 0 || jx_parse_exact(now->metadata, strlen(now->metadata), &bag, e) < 0)
		return -1;
	json_object_set(before, "metadata", bag);
	after = json_copy(before);
	shape_update(&shape_session_update, after, r->body);
	title = json_object_get(after, "title");
	metadata = json_object_get(after, "metadata");
	if (shape_pairs(metadata, e) < 0 || agent_changed(r, now, &agent, e) < 0 ||
	    budget_changed(r, now, &c.budget_cents, e) < 0)
		return -1;
	if (json_is_object(json_object_get(r->body, "budget")) && !cost_below(&now->spent, c.budget_cents))
		return err_coded(e, EC_BUDGET_NOT_RAISED, COST_NOT_RAISED);
	c.title = json_equal(title, json_object_get(before, "title")) ? NULL : title;
	c.metadata = json_equal(metadata, bag) ? NULL : metadata;
	c.agent = agent;
	c.budget = c.budget_cents != now->budget;
	*out_changed = c.title || c.metadata || c.agent || c.budget;
	if (!*out_changed)
		return db_commit(r->db, e);
	if (now->inbox_events >= r->conf->inbox_max_events ||
	    now->inbox_bytes + (int64_t)(agent ? strlen(agent) : 0) > r->conf->inbox_max_bytes)
		return err_set(e, EK_LIMIT, 0, "Too many events wait in this session; update it when it has processed them.");
	text = jx_dump(metadata);
	if (session_put(r->db, r->who.workspace_id, r->param[0], json_string_value(title), text, agent, c.budget_cents, e) < 0)
		return -1;
	draft_updated(&c, &item);
	item.wakes = c.budget && now->paused;	/* what stands at the old cap goes on by itself */
	rc = inbox_put_commit(r->db, r->param[0], (struct inbox_item *[]){ &item }, 1, owner, e);
	inbox_item_free(&item);
	return rc;
}

int
api_session_update(struct gw_req *r, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	struct session_locked now;
	char owner[INBOX_OWNER] = "";
	bool changed = false;

	if (json_object_get(r->body, "vault_ids"))
		return err_set(e, EK_INVALID, 0, "vault_ids: not supported yet");
	if (db_begin(r->db, e) < 0)
		return -1;
	if (session_lock(r->db, r->who.workspace_id, r->param[0], &res, &now, e) < 0 || update_locked(r, &now, owner, &changed, e) < 0) {
		db_rollback(r->db);
		return -1;
	}
	if (changed)
		after_ring(r, r->param[0], owner);
	return reply(r, e);
}

/* --- archive and delete ----------------------------------------------------------------------------------------------------- */

/* The two events that close an archived session's log. */
static int
archive(struct gw_req *r, const char *thread_id, const char *agent_name, struct err *e)
{
	static const char *const types[] = { "session.thread_status_terminated", "session.status_terminated" };
	char thread_event[ID_MAX], session_event[ID_MAX];
	const char *ids[] = { id_new("sevt_", thread_event), id_new("sevt_", session_event) };
	AUTO(buf) struct buf first = BUF_INIT(0), second = BUF_INIT(0);
	AUTO(pgres) PGresult *res = NULL;
	struct session_ended ev;
	bool done;

	buf_printf(&first, "{\"id\":\"%s\",\"type\":\"%s\",\"session_thread_id\":\"%s\",\"agent_name\":", ids[0], types[0], thread_id);
	jw_quote(&first, agent_name, strlen(agent_name));
	buf_printf(&second, "{\"id\":\"%s\",\"type\":\"%s\"", ids[1], types[1]);
	if (session_archive(r->db, r->who.workspace_id, r->param[0], ids, types, (const char *const[]){ first.data, second.data }, 2, &res,
	    &done, e) < 0)
		return -1;
	for (int i = 0; done && i < PQntuples(res); i++) {
		session_ended(res, i, &ev);
		if (ev.type)
			after_publish(r, r->param[0], ev.type, ev.seq, ev.body);
	}
	return 0;
}

int
api_session_archive(struct gw_req *r, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	AUTO(json) json_t *snapshot = NULL;
	const char *thread, *agent;

	/* what the closing events name never changes, so no lock is needed to read it */
	if (session_names(r->db, r->who.workspace_id, r->param[0], &res, &thread, &agent, e) < 0 ||
	    jx_parse_exact(agent, strlen(agent), &snapshot, e) < 0 || archive(r, thread, jx_str(snapshot, "name"), e) < 0)
		return -1;
	return reply(r, e);
}

int
api_session_delete(struct gw_req *r, struct err *e)
{
	AUTO(buf) struct buf body = BUF_INIT(0);
	char id[ID_MAX], now[CLOCK_TEXT];
	int64_t seq;

	if (session_delete(r->db, r->who.workspace_id, r->param[0], &seq, e) < 0)
		return -1;
	buf_printf(&body, "{\"id\":\"%s\",\"type\":\"session.deleted\",\"processed_at\":\"%s\"}", id_new("sevt_", id),
	    clock_format(clock_wall_us(), now));
	after_publish(r, r->param[0], "session.deleted", seq, body.data);
	if (dedupe_forget(r->db, r->param[0], e) < 0)
		return -1;
	buf_printf(&r->out, "{\"id\":\"%s\",\"type\":\"session_deleted\"}", r->param[0]);
	return 0;
}
