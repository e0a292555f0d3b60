/*
 * session_create: a session from an agent, an environment and its first events (contract 2.3). The agent's configuration, with overrides
 * applied, is copied into the session: later versions of the agent do not change it. With initial events, session and inbox are one
 * transaction, and the session reads `running` from its first moment.
 *
 * A session of an agent and an environment alone, from which one was made before, is one statement that looks whether they are what they
 * were (kits.h, create.h); where they are not, the longer way looks and says what.
 */
#include <string.h>

#include "after.h"
#include "agentcfg.h"
#include "api.h"
#include "budget.h"
#include "create.h"
#include "draft.h"
#include "failpoint.h"
#include "filerefs.h"
#include "fit.h"
#include "inbox.h"
#include "jx.h"
#include "kits.h"
#include "outcomes.h"
#include "resources.h"
#include "session.h"
#include "sessionenc.h"

/* Which agent is meant. */
struct wanted {
	const char *agent_id, *environment_id;
	int version;			/* 0: the newest */
	const json_t *overrides;	/* or NULL */
	int64_t budget;			/* cents; 0: none */
};

static int
wanted_of(const json_t *body, struct wanted *w, struct err *e)
{
	const json_t *agent = json_object_get(body, "agent"), *budget = json_object_get(body, "budget");

	*w = (struct wanted){ .environment_id = jx_str(body, "environment_id") };
	if (json_is_string(agent)) {
		w->agent_id = json_string_value(agent);
	} else {
		w->agent_id = jx_str(agent, "id");
		w->version = (int)jx_int(agent, "version", 0);
		if (strcmp(jx_str(agent, "type"), "agent_with_overrides") == 0)
			w->overrides = agent;
	}
	if (!id_ok("agent_", w->agent_id))
		return err_set(e, EK_INVALID, 0, "agent: Invalid agent ID.");
	if (!id_ok("env_", w->environment_id))
		return err_set(e, EK_INVALID, 0, "environment_id: Invalid environment ID.");
	return budget && !json_is_null(budget) ? budget_read(budget, &w->budget, e) : 0;
}

static int
parts_check(const struct wanted *w, const struct session_parts *p, struct err *e)
{
	if (!p->agent)
		return err_set(e, EK_NOT_FOUND, 0, "Agent not found.");
	if (p->version == 0)
		return err_set(e, EK_NOT_FOUND, 0, "agent.version: %d not found", w->version);
	if (p->agent_archived)
		return err_set(e, EK_INVALID, 0, "agent %s is archived and cannot be used to create a session", w->agent_id);
	if (!p->environment)
		return err_coded(e, EC_ENVIRONMENT_NOT_FOUND, "Environment %s not found.", w->environment_id);
	if (p->environment_archived)
		return err_coded(e, EC_ENVIRONMENT_ARCHIVED, "Environment %s is archived.", w->environment_id);
	return 0;
}

static struct kit_key
kit_key(const struct gw_req *r, const struct wanted *w)
{
	return (struct kit_key){ .workspace = r->who.workspace_id, .agent = w->agent_id, .environment = w->environment_id, .version = w->version };
}

/* The agent snapshot's text (the caller frees it) and its version. NULL with e set. */
static char *
snapshot(struct gw_req *r, const struct wanted *w, int *out_version, struct err *e)
{
	AUTO(pgres) PGresult *res = NULL;
	AUTO(json) json_t *stored = NULL, *agent = NULL, *environment = NULL;
	struct session_parts p;
	char *text;

	if (session_parts(r->db, r->who.workspace_id, w->agent_id, w->version, w->environment_id, &res, &p, e) < 0 ||
	    parts_check(w, &p, e) < 0 || jx_parse_exact(p.agent_body, strlen(p.agent_body), &stored, e) < 0 ||
	    agentcfg_session(r->db, w->agent_id, p.version, stored, w->overrides, &agent, e) < 0 ||
	    jx_parse_exact(p.environment_body, strlen(p.environment_body), &environment, e) < 0 || fit_check(agent, environment, e) < 0 ||
	    resources_check(json_object_get(r->body, "resources"), agent, e) < 0 ||
	    (w->budget && budget_model(r->db, json_object_get(agent, "model"), e) < 0))
		return NULL;
	*out_version = p.version;
	text = jx_dump(agent);
	if (!w->overrides) {
		const struct kit_key key = kit_key(r, w);

		kits_put(r->kits, &key, &(const struct kit){ .version = p.version, .environment_us = p.environment_us, .snapshot = text });
	}
	return text;
}

/* Insert the row, attach its files, and encode it as the reply. With files, or an outcome (whose event is drafted): in a transaction. */
static int
insert(struct gw_req *r, const struct wanted *w, const char *agent, int version, const char *id, const char *status, struct err *e)
{
	const json_t *metadata = json_object_get(r->body, "metadata"), *files = json_object_get(r->body, "resources");
	AUTO(pgres) PGresult *res = NULL;
	AUTO(pgres) PGresult *attached = NULL;
	AUTO(str) char *bag = metadata ? jx_dump(metadata) : NULL;
	AUTO(str) char *outcomes = outcomes_pending(json_object_get(r->body, "initial_events"));
	const char *title = jx_str(r->body, "title");
	char thread[ID_MAX];
	struct session_new s = { .workspace = r->who.workspace_id, .organization = r->who.organization_id, .id = id,
	    .agent_id = w->agent_id, .environment_id = w->environment_id, .key_id = r->who.key_id, .thread_id = id_new("sthr_", thread),
	    .title = title && title[0] ? title : NULL, .metadata = bag ? bag : "{}", .agent = agent, .agent_version = version,
	    .budget = w->budget };
	struct session_row row;
	bool open;

	if (session_create(r->db, &s, &res, &row, e) < 0 ||
	    (json_array_size(files) > 0 && resources_attach(r, id, files, &attached, &row.resources, e) < 0) ||
	    (outcomes && session_outcome(r->db, s.workspace, id, &open, e) < 0))
		return -1;
	row.outcomes = outcomes;
	FAILPOINT(GW_CREATE);
	session_encode(&r->out, &row, status);
	return 0;
}

/* Session and files in one transaction. */
static int
insert_with_files(struct gw_req *r, const struct wanted *w, const char *agent, int version, const char *id, struct err *e)
{
	if (db_begin(r->db, e) < 0)
		return -1;
	if (insert(r, w, agent, version, id, NULL, e) < 0) {
		db_rollback(r->db);
		return -1;
	}
	return db_commit(r->db, e);
}

/* Session, files and first events in one transaction. */
static int
insert_with_events(struct gw_req *r, const struct wanted *w, const char *agent, int version, const char *id, const json_t *events,
    struct err *e)
{
	size_t n = json_array_size(events), i;
	struct inbox_item *items = arena_alloc(r->arena, n * sizeof *items), **list = arena_alloc(r->arena, n * sizeof(void *));
	char owner[INBOX_OWNER] = "";
	json_t *event;
	int rc;

	json_array_foreach(events, i, event)
		draft_make(event, list[i] = &items[i]);
	rc = db_begin(r->db, e);
	if (rc == 0) {
		rc = insert(r, w, agent, version, id, "running", e);
		if (rc == 0)
			rc = inbox_put_commit(r->db, id, list, (int)n, owner, e);
		if (rc < 0)
			db_rollback(r->db);
	}
	for (i = 0; i < n; i++)
		inbox_item_free(&items[i]);
	if (rc == 0)
		after_ring(r, id, owner);
	return rc;
}

/* From parts that are looked at. */
static int
make(struct gw_req *r, const struct wanted *w, struct err *e)
{
	const json_t *events = json_object_get(r->body, "initial_events");
	AUTO(str) char *agent = NULL;
	char id[ID_MAX];
	int version;

	if (!(agent = snapshot(r, w, &version, e)))
		return -1;
	id_new("sesn_", id);
	if (json_array_size(events) == 0 && json_array_size(json_object_get(r->body, "resources")) == 0)
		return insert(r, w, agent, version, id, NULL, e);
	if (json_array_size(events) == 0)
		return insert_with_files(r, w, agent, version, id, e);
	return insert_with_events(r, w, agent, version, id, events, e);
}

/* What was known does not hold any more. */
static int
make_anew(struct gw_req *r, struct err *e)
{
	struct kit_key key;
	struct wanted w;

	if (wanted_of(r->body, &w, e) < 0)
		return -1;
	key = kit_key(r, &w);
	kits_forget(r->kits, &key);
	return make(r, &w, e);
}

static int
make_known(struct gw_req *r, const struct wanted *w, const struct kit *kit, struct err *e)
{
	struct create *c = create_new(r, STMT_SESSION_INSERT_KNOWN, 13, make_anew);
	const json_t *metadata = json_object_get(r->body, "metadata");
	AUTO(str) char *bag = metadata ? jx_dump(metadata) : NULL;
	const char *title = jx_str(r->body, "title");
	struct session_row row = { .agent = kit->snapshot, .environment_id = w->environment_id, .title = title && title[0] ? title : NULL,
	    .metadata = bag ? arena_strdup(r->arena, bag) : "{}", .status = "idle", .created = r->id, .updated = r->id, .resources = "[]" };
	char id[ID_MAX];

	row.id = c->params[2] = arena_strdup(r->arena, id_new("sesn_", id));
	c->params[0] = arena_strdup(r->arena, r->who.workspace_id);
	c->params[1] = arena_strdup(r->arena, r->who.organization_id);
	c->params[3] = w->agent_id;		/* of the body, which lives as long as the request */
	c->params[4] = arena_printf(r->arena, "%d", kit->version);
	c->params[5] = w->environment_id;
	c->params[6] = arena_strdup(r->arena, r->who.key_id);
	c->params[7] = arena_strdup(r->arena, id_new("sthr_", id));
	c->params[8] = row.title;
	c->params[9] = row.metadata;
	c->params[10] = kit->snapshot;
	c->params[11] = w->version ? "t" : "f";
	c->params[12] = arena_printf(r->arena, "%lld", (long long)kit->environment_us);
	session_encode(&r->out, &row, NULL);
	return create_run(r, c, e);
}

/* Is it an agent and an environment and nothing else, and are they known? */
static bool
known(struct gw_req *r, const struct wanted *w, struct kit *out)
{
	const struct kit_key key = kit_key(r, w);

	return !w->overrides && !w->budget && json_array_size(json_object_get(r->body, "initial_events")) == 0 &&
	    json_array_size(json_object_get(r->body, "resources")) == 0 && kits_find(r->kits, &key, r->arena, out);
}

int
api_session_create(struct gw_req *r, struct err *e)
{
	const json_t *events = json_object_get(r->body, "initial_events");
	struct wanted w;
	struct kit kit;

	if (draft_check("initial_events", events, e) < 0 || filerefs_resolve(r->db, r->who.workspace_id, events, e) < 0 ||
	    outcomes_resolve(r->db, r->who.workspace_id, r->conf->blob_dir, events, e) < 0 || wanted_of(r->body, &w, e) < 0)
		return -1;
	return known(r, &w, &kit) ? make_known(r, &w, &kit, e) : make(r, &w, e);
}
