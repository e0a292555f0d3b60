/*
 * sessionenc: see sessionenc.h. Stored JSON (agent snapshot, metadata) is spliced as text. What comes with later features is shown in
 * its empty form. list_cost is null when something was consumed that has no price: any number would be a lie.
 */
#include "sessionenc.h"

#include <string.h>

#include "cost.h"
#include "jw.h"
#include "jx.h"

static void
usage(struct jw *w, const struct session_row *s)
{
	jw_key(w, "usage");
	jw_obj(w);
	jw_kint(w, "input_tokens", s->input);
	jw_kint(w, "output_tokens", s->output);
	jw_kint(w, "cache_read_input_tokens", s->cache_read);
	jw_key(w, "cache_creation");
	if (s->cache_5m + s->cache_1h > 0) {
		jw_obj(w);
		jw_kint(w, "ephemeral_5m_input_tokens", s->cache_5m);
		jw_kint(w, "ephemeral_1h_input_tokens", s->cache_1h);
		jw_obj_end(w);
	} else {
		jw_null(w);
	}
	jw_kraw(w, "server_tool_use", "{\"web_search_requests\":0,\"web_fetch_requests\":0}");
	jw_key(w, "active_seconds");
	jw_seconds(w, s->active_us / 1000);
	jw_key(w, "list_cost");
	cost_write(w, &s->spent);
	jw_obj_end(w);
}

void
session_encode(struct buf *b, const struct session_row *s, const char *status)
{
	struct jw w;

	jw_begin(&w, b);
	jw_obj(&w);
	jw_kstr(&w, "type", "session");
	jw_kstr(&w, "id", s->id);
	jw_kraw(&w, "agent", s->agent);
	jw_kstr(&w, "environment_id", s->environment_id);
	jw_kstr(&w, "title", s->title);
	jw_kstr(&w, "status", status ? status : s->status);
	jw_kraw(&w, "metadata", s->metadata);
	jw_kraw(&w, "resources", s->resources);
	jw_kraw(&w, "vault_ids", "[]");
	jw_key(&w, "budget");
	cost_write_budget(&w, s->budget);
	jw_kraw(&w, "outcome_evaluations", s->outcomes ? s->outcomes : "[]");
	jw_key(&w, "stats");
	jw_obj(&w);
	jw_key(&w, "active_seconds");
	jw_seconds(&w, s->active_us / 1000);
	jw_key(&w, "duration_seconds");
	jw_seconds(&w, s->duration_us / 1000);
	jw_obj_end(&w);
	usage(&w, s);
	jw_knull(&w, "deployment_id");
	jw_kstr(&w, "created_at", s->created);
	jw_kstr(&w, "updated_at", s->updated);
	jw_kstr(&w, "archived_at", s->archived);
	jw_obj_end(&w);
	jw_end(&w);
}

/* Consumption of a thread; its runtime is not part of its cost (contract 9.1). */
static void
thread_usage(struct jw *w, const struct thread_row *t)
{
	const struct session_row as_session = { .input = t->input, .output = t->output, .cache_read = t->cache_read,
	    .cache_5m = t->cache_5m, .cache_1h = t->cache_1h, .active_us = t->active_us,
	    .spent = { .token_nano = t->spent.token_nano, .unpriced = t->spent.unpriced } };

	if (t->moved)
		usage(w, &as_session);
	else
		jw_knull(w, "usage");
}

int
thread_encode(struct buf *b, const char *session_id, const struct thread_row *t, struct err *e)
{
	AUTO(json) json_t *agent = NULL;
	struct jw w;

	if (jx_parse_exact(t->agent, strlen(t->agent), &agent, e) < 0)
		return err_fault(e, EK_INTERNAL, 0, "stored agent of thread %s", t->id);
	json_object_del(agent, "multiagent");
	jw_begin(&w, b);
	jw_obj(&w);
	jw_kstr(&w, "type", "session_thread");
	jw_kstr(&w, "id", t->id);
	jw_kstr(&w, "session_id", session_id);
	jw_kstr(&w, "parent_thread_id", t->parent_id);
	jw_kjson(&w, "agent", agent);
	jw_kstr(&w, "status", t->status);
	jw_key(&w, "stats");
	if (t->moved) {
		jw_obj(&w);
		jw_key(&w, "active_seconds");
		jw_seconds(&w, t->active_us / 1000);
		jw_key(&w, "duration_seconds");
		jw_seconds(&w, t->duration_us / 1000);
		jw_obj_end(&w);
	} else {
		jw_null(&w);
	}
	thread_usage(&w, t);
	jw_kstr(&w, "workflow_run_id", t->workflow_run_id);
	jw_kstr(&w, "created_at", t->created);
	jw_kstr(&w, "updated_at", t->updated);
	jw_kstr(&w, "archived_at", t->archived);
	jw_obj_end(&w);
	jw_end(&w);
	return 0;
}
